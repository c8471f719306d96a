//! What a source answers.

use core::fmt;
use core::time::Duration;

use crate::headers;

/// What the caller of a [`Source`](super::Source) is to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Action<'a> {
    /// Send a request.
    Connect(Connect<'a>),
    /// Announce `open`, and push what arrives.
    Open,
    /// Announce `error` with the state [`State::Connecting`], and call
    /// [`handle_timeout`](super::Source::handle_timeout) at this time.
    WaitUntil(Duration),
    /// Announce `error` with the state [`State::Closed`]. There will be no further try.
    Fail(FailReason),
    /// Nothing more: the application closed the source, or a single-shot stream is complete.
    Closed,
}

/// A request to be sent: GET, unless the mode is single-shot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Connect<'a> {
    /// Where to.
    pub url: &'a str,
    /// Value of the `Last-Event-ID` header, UTF-8. `None`: no such header, because there is no last
    /// event ID or because it cannot go into a header.
    pub last_event_id: Option<&'a [u8]>,
}

impl<'a> Connect<'a> {
    /// Names, in lower case, and values of the headers that the standard sends: `accept`,
    /// `cache-control` and, if there is one, `last-event-id`.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &'a [u8])> + use<'a> {
        let fixed = [
            ("accept", headers::CONTENT_TYPE.as_bytes()),
            ("cache-control", b"no-cache"),
        ];
        let id = self.last_event_id.map(|id| (headers::LAST_EVENT_ID, id));
        fixed.into_iter().chain(id)
    }
}

/// Why there will be no further try.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FailReason {
    /// The server answered 204: it asks not to be tried again.
    NoContent,
    /// The server answered with this status.
    Status(u16),
    /// The response is not an event stream: its media type says otherwise, or there is none.
    ContentType,
    /// More redirects than [`Source::MAX_REDIRECTS`](super::Source::MAX_REDIRECTS).
    Redirects,
    /// The user or the platform aborted the request.
    Aborted,
    /// The delay policy gave up.
    GivenUp,
    /// Single-shot: there was no response.
    Network,
    /// Single-shot: the stream ended within an event, or before its sentinel.
    Truncated,
}

impl fmt::Display for FailReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoContent => "the server answered 204: it asks not to be tried again",
            Self::Status(status) => return write!(f, "the server answered {status}, not 200"),
            Self::ContentType => "the response is not of the type text/event-stream",
            Self::Redirects => "the server redirects without end",
            Self::Aborted => "the request was aborted",
            Self::GivenUp => "too many tries have failed",
            Self::Network => "there was no response",
            Self::Truncated => "the stream ended before it was complete",
        })
    }
}

impl core::error::Error for FailReason {}

/// The `readyState` of the standard.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// `CONNECTING` (0): a request is under way, or will be after a delay.
    Connecting,
    /// `OPEN` (1)
    Open,
    /// `CLOSED` (2): for good.
    Closed,
}
