//! What can go wrong, split by when: before anything is sent, on one connection, for good.

use core::time::Duration;
use std::io;

use thiserror::Error;
use ws_proto::handshake::HandshakeError;

/// A mistake in the arguments of [`Subscriber::new`](crate::Subscriber::new) or
/// [`Publisher::new`](crate::Publisher::new), found before any connection is made.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The text is no URL.
    #[error("{url:?} is not a URL ({source}): write it like http://127.0.0.1:8080")]
    NotAUrl {
        /// The text.
        url: String,
        /// What is wrong with it.
        source: url::ParseError,
    },
    /// There is no certificate to trust.
    #[error("no certificates to trust: {detail}")]
    Roots {
        /// What is wrong with those that were named, or those of the system.
        detail: String,
    },
    /// TLS cannot be spoken to this host.
    #[error("no TLS to the hub: {detail}")]
    Tls {
        /// Why.
        detail: String,
    },
    /// The URL has a scheme that no hub speaks, often because `http://` was left out.
    #[error("the URL {url:?} does not begin with http:// or ws://: write it like http://{url}")]
    UnsupportedScheme {
        /// The URL.
        url: String,
    },
    /// The URL carries a user name or a password, which would not be sent.
    #[error("the URL carries a user name or password, which is not supported: leave it out")]
    Credentials,
    /// The URL has a query or a fragment; it should be the address of the hub alone.
    #[error(
        "the URL has a {part} ({text:?}), but it should be the hub's address alone, like \
         http://127.0.0.1:8080"
    )]
    Extra {
        /// `query` or `fragment`.
        part: &'static str,
        /// Its text.
        text: String,
    },
    /// The delays between attempts make no sense.
    #[error("backoff: {0}")]
    Backoff(#[from] session_proto::BackoffError),
    /// The idle timeout is zero.
    #[error("the idle timeout is zero: 45 s is a good value")]
    IdleTimeout,
    /// There is no topic to subscribe to.
    #[error("no topic given: name at least one")]
    NoTopics,
}

/// Why a connection ended or could not be made, where another attempt may do better.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// Nothing accepted the connection.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Host and port.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The hub did not answer in time.
    #[error("no answer within {after:?}")]
    Timeout {
        /// The time that was allowed.
        after: Duration,
    },
    /// The hub, or something before it, answered that it cannot serve now: 408, 425, 429 or 5xx but
    /// 501.
    #[error("{0}")]
    Unavailable(Problem),
    /// The hub ended the stream.
    #[error("the hub ended the stream")]
    Ended,
    /// The connection broke, or what arrived is not HTTP.
    #[error("the connection failed: {}", with_cause(.0))]
    Http(#[from] hyper::Error),
    /// The connection broke.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// Nothing arrived for the whole idle timeout.
    #[error("nothing received for {after:?}")]
    Idle {
        /// The idle timeout.
        after: Duration,
    },
    /// The hub closed the WebSocket in a way that asks to come again.
    #[error("the hub closed the connection ({})", close_text(*code, reason))]
    Closed {
        /// The close code, if there was one.
        code: Option<u16>,
        /// The reason in the close frame.
        reason: String,
    },
    /// This side closed the connection because of the error that was handed out just before.
    #[error("closed because of the error before this")]
    Violation,
}

/// What a subscription or a publish could not recover from by itself.
///
/// After an error that [is final](Self::is_final) a subscriber is over; after another it
/// reconnects.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The hub refused the request: a topic it does not accept, no right to it, and so on.
    #[error("{0}")]
    Refused(Problem),
    /// The hub's certificate is none that this client trusts, or is for another name. One that has
    /// expired, or is not valid yet, only delays the connection.
    #[error("the certificate of {address} is refused: {reason}")]
    Certificate {
        /// Host and port.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The answer has a status that a hub does not send here.
    #[error(
        "unexpected answer {status}{}: is this the address of a hub?",
        location.as_ref().map_or_else(String::new, |to| format!(" (redirect to {to})"))
    )]
    UnexpectedStatus {
        /// The status code.
        status: u16,
        /// The target, if the answer is a redirect; redirects are not followed.
        location: Option<String>,
    },
    /// The answer is 200, but no event stream.
    #[error(
        "the answer is {}, not text/event-stream: is this the address of a hub?",
        found.as_deref().unwrap_or("of no content type")
    )]
    ContentType {
        /// The content type it has.
        found: Option<String>,
    },
    /// The answer to the WebSocket handshake is wrong (RFC 6455 §4.1).
    #[error("the WebSocket handshake failed: {0}")]
    Handshake(HandshakeError),
    /// The answer to the WebSocket handshake does not choose the subprotocol `tidegate.v1+json`.
    #[error("the answer does not choose tidegate.v1+json: is this the address of a hub?")]
    Subprotocol,
    /// The hub closed the WebSocket in a way that says not to come again.
    #[error("the hub closed the connection for good ({})", close_text(Some(*code), reason))]
    Closed {
        /// The close code.
        code: u16,
        /// The reason in the close frame.
        reason: String,
    },
    /// An id arrived that is not above the one before it: the hub broke its promise of order, or
    /// sent an event twice. The connection is replaced.
    #[error("the id {id} arrived after {last}: events out of order or repeated")]
    OutOfOrder {
        /// The id that arrived.
        id: String,
        /// The newest one before it.
        last: String,
    },
    /// A message or an answer is not of the form that the protocol gives it. On a subscription
    /// the connection is replaced.
    #[error("malformed {what} from the hub: {detail}")]
    Malformed {
        /// Which part.
        what: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// An event is larger than the limit set with
    /// [`max_event`](crate::SubscribeOptions::max_event). The connection is replaced, and the same
    /// event comes again, so raise the limit or stop.
    #[error("an event is larger than the limit of {limit} bytes: raise max_event")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The hub broke the rules of WebSocket framing. The connection is replaced.
    #[error("the hub broke the WebSocket protocol: {0}")]
    WebSocket(ws_proto::Violation),
    /// The address of the hub and the topics do not make a request, because together they are
    /// longer than 64 KiB.
    #[error("no request can be made of the hub's address and the topics: {detail}")]
    Request {
        /// What is wrong.
        detail: String,
    },
    /// A value of a [`Message`](crate::Message) cannot be sent as the header it belongs in.
    #[error(
        "the {header} header cannot carry this value: no control characters, no space at either \
         end, not empty"
    )]
    HeaderValue {
        /// The header.
        header: &'static str,
    },
    /// The deadline passed before the hub answered. What was asked may or may not have been done:
    /// publish again with the same key to find out.
    #[error(
        "not done within {after:?} ({attempts} attempts, the last: {last}){}",
        idempotency_key.as_ref().map_or_else(String::new, |key| format!(
            "; to try again without publishing twice, use the idempotency key {key}"
        ))
    )]
    Deadline {
        /// The deadline.
        after: Duration,
        /// How many attempts were made.
        attempts: u32,
        /// How the last one failed.
        last: ConnectionError,
        /// The key that all attempts to publish carried.
        idempotency_key: Option<String>,
    },
    /// The operating system has no randomness to give.
    #[error("no randomness from the operating system: {0}")]
    Entropy(#[from] getrandom::Error),
}

impl ClientError {
    /// Whether trying again would fail in the same way. A subscriber that handed out a final error
    /// is over; after any other one it reconnects.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::OutOfOrder { .. }
            | Self::Malformed { .. }
            | Self::TooLarge { .. }
            | Self::WebSocket(_)
            | Self::Deadline { .. } => false,
            Self::Refused(_)
            | Self::Certificate { .. }
            | Self::UnexpectedStatus { .. }
            | Self::ContentType { .. }
            | Self::Handshake(_)
            | Self::Subprotocol
            | Self::Closed { .. }
            | Self::Request { .. }
            | Self::HeaderValue { .. }
            | Self::Entropy(_) => true,
        }
    }
}

/// The body of a refusal (RFC 9457, `application/problem+json`), as far as there was one.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
#[error(
    "the hub {}{}{}",
    status.map_or_else(|| "refused".to_owned(), |status| format!("answered {status}")),
    code.as_ref().map_or_else(String::new, |code| format!(" ({code})")),
    detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}"))
)]
pub struct Problem {
    /// The HTTP status; `None` if the hub refused in a WebSocket message.
    pub status: Option<u16>,
    /// The stable code, for programs.
    pub code: Option<String>,
    /// The explanation, for people.
    pub detail: Option<String>,
}

fn close_text(code: Option<u16>, reason: &str) -> String {
    let code = code.map_or_else(|| "no code".to_owned(), |code| format!("code {code}"));
    if reason.is_empty() {
        code
    } else {
        format!("{code}: {reason}")
    }
}

/// hyper's own text leaves out what happened underneath.
fn with_cause(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
