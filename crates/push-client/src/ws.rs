//! A subscription's connection over WebSocket.

use core::ops::Range;
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};
use core::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode};
use session_proto::envelope::{ClientMessage, EnvelopeError, SUBPROTOCOL, ServerMessage};
use session_proto::{Beat, HeartbeatConfig, Verdict, classify_close};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ws_proto::handshake::{ClientHandshake, DeflateParams};
use ws_proto::{
    Assembler, Client, CloseCode, CloseFrame, Config, Connection, Event, Inflater, Kind,
    MaskSource, Message, Rule, Violation,
};

use crate::delivery::{GapNotice, ReceivedEvent};
use crate::error::{ClientError, ConnectionError, Problem};
use crate::http::{Endpoint, HttpConnection, READ_BUFFER};
use crate::options::SubscribeOptions;
use crate::pulse::Pulse;
use crate::signal::{Failure, Signal};
use crate::tls::Socket;

/// An open session of `tidegate.v1+json`.
pub(crate) struct WsStream {
    socket: Socket,
    connection: Connection<Client<Masks>>,
    assembler: Assembler,
    max_event: usize,
    buffer: Vec<u8>,
    /// The part of `buffer` that was received and not decoded yet; more is read once it is empty.
    received: Range<usize>,
    /// Whole frames that wait to be written: `resume`, pongs, a ping, a close.
    out: Vec<u8>,
    pulse: Pulse,
    /// The hub has answered `resume`, so errors are not about that any more.
    resumed: bool,
    /// `ready` came since the start or the last gap. The hub repeats it with each heartbeat that
    /// finds the log grown, to move the cursor.
    ready: bool,
}

impl WsStream {
    /// Opens a session and asks for what comes after `after`.
    pub(crate) async fn open(
        endpoint: &Endpoint,
        options: &SubscribeOptions,
        pulse: HeartbeatConfig,
        after: Option<&str>,
    ) -> Result<Self, Failure> {
        let Upgraded {
            socket,
            early,
            deflate,
        } = upgrade(endpoint, options.compression).await?;
        let mut config = Config::default();
        config
            .max_frame(options.max_event)
            .max_message(options.max_event)
            .message_timeout(options.message_timeout)
            .compressed(deflate.is_some());
        let mut assembler = Assembler::new(options.max_event);
        if let Some(agreed) = deflate {
            assembler = assembler.inflating(Inflater::new(agreed.server));
        }
        let mut stream = Self {
            socket,
            connection: Connection::client(config, Masks::new().map_err(stop)?),
            assembler,
            max_event: options.max_event,
            received: 0..early.len(),
            buffer: early,
            out: Vec::new(),
            pulse: Pulse::new(pulse, options.idle_timeout),
            resumed: false,
            ready: false,
        };
        let mut resume = Vec::new();
        let topics = options.topics.iter().map(Into::into).collect();
        let policy = options.policy.as_deref().map(Into::into);
        ClientMessage::Resume {
            after: after.map(Into::into),
            topics,
            policy,
        }
        .to_json(&mut resume);
        // A connection that was just opened takes data.
        let _sent = stream.connection.send(Kind::Text, &resume, &mut stream.out);
        Ok(stream)
    }

    /// The next thing on the connection, or why there is none any more.
    pub(crate) fn poll_signal(&mut self, cx: &mut Context<'_>) -> Poll<Result<Signal, Failure>> {
        loop {
            while !self.received.is_empty() {
                if let Some(outcome) = self.decode() {
                    return Poll::Ready(outcome);
                }
            }
            self.poll_write(cx)?;
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ConnectionError::Ended.into())),
                Poll::Ready(Ok(length)) => {
                    self.received = 0..length;
                    self.pulse.received();
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending if self.poll_timeout(cx).is_ready() => {
                    let violation = Rule::MessageTimeout.into();
                    return Poll::Ready(Err(Failure::Violation(self.violation(violation))));
                }
                Poll::Pending => match ready!(self.pulse.poll_beat(cx)) {
                    // A connection that is closing sends no pings, and the hub ends it soon.
                    Beat::Send => {
                        let _closing = self.connection.ping(b"");
                    }
                    Beat::Dead => return Poll::Ready(Err(self.pulse.death().into())),
                },
            }
        }
    }

    /// Ready once the connection gives up. That a message took too long is the only reason: nobody
    /// polls a connection that is closing.
    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(due) = self.connection.poll_timeout() {
            ready!(self.pulse.poll_until(due, cx));
            self.connection.handle_timeout(self.pulse.now());
            if self.connection.is_closing() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// Tells the hub that it broke the protocol.
    pub(crate) fn refuse(&mut self) {
        self.close(CloseCode::PROTOCOL);
    }

    /// Queues a close frame, unless there is one already, and writes what the socket takes at once:
    /// the connection is over and nobody waits for it.
    fn close(&mut self, code: CloseCode) {
        let _already_closing = self.connection.close(code, "", self.pulse.now());
        let mut nobody = Context::from_waker(Waker::noop());
        if let Err(error) = self.poll_write(&mut nobody) {
            tracing::debug!(%error, "the close frame was not sent");
        }
        self.out.clear();
    }

    /// Decodes one event off what was received; `None` if it is of no interest here.
    fn decode(&mut self) -> Option<Result<Signal, Failure>> {
        let now = self.pulse.now();
        let received = self
            .buffer
            .get_mut(self.received.clone())
            .unwrap_or_default();
        let mut events = self.connection.push(received, now);
        let mut message = Ok(None);
        match events.next() {
            Some(Ok(Event::Data(chunk))) => message = self.assembler.push(chunk),
            Some(Ok(Event::Close(frame))) => return Some(Err(close_failure(frame))),
            Some(Ok(Event::Ping(_) | Event::Pong(_))) | None => {}
            Some(Err(violation)) => message = Err(violation),
        }
        self.received.start = self.received.end - events.into_rest().len();
        match message {
            Ok(message) => self.read_message(message?).transpose(),
            Err(violation) => {
                // The connection itself only knows of those that are not in what was compressed.
                let _already_closing = self.connection.close(violation.code, "", now);
                Some(Err(Failure::Violation(self.violation(violation))))
            }
        }
    }

    fn read_message(&mut self, message: Message) -> Result<Option<Signal>, Failure> {
        let malformed = |detail| {
            Failure::Violation(ClientError::Malformed {
                what: "message",
                detail,
            })
        };
        let Message::Text(text) = message else {
            return Err(malformed(
                "binary, where the subprotocol has text alone".to_owned(),
            ));
        };
        let message = match ServerMessage::parse(&text) {
            Ok(message) => message,
            Err(EnvelopeError::UnknownType { .. }) => {
                tracing::debug!(%text, "passed over a message of a newer hub");
                return Ok(None);
            }
            Err(error) => return Err(malformed(error.to_string())),
        };
        let signal = match message {
            ServerMessage::Subscribed { at, .. } => {
                self.resumed = true;
                return Ok(at.map(|at| Signal::Id(at.into_owned())));
            }
            ServerMessage::Gap {
                reason,
                after,
                id,
                skipped,
            } => {
                self.resumed = true;
                self.ready = false;
                Signal::Gap(GapNotice {
                    reason,
                    after: after.map(Into::into),
                    id: id.into_owned(),
                    skipped,
                })
            }
            ServerMessage::Ready { id, .. } if self.ready => Signal::Id(id.into_owned()),
            ServerMessage::Ready { id, .. } => {
                self.ready = true;
                Signal::Ready {
                    id: id.into_owned(),
                }
            }
            ServerMessage::Drain { retry_ms } => Signal::Drain(Duration::from_millis(retry_ms)),
            ServerMessage::Error { code, detail, .. } if !self.resumed => {
                return Err(Failure::Stop(ClientError::Refused(Problem {
                    status: None,
                    code: Some(code.into_owned()),
                    detail: Some(detail.into_owned()),
                })));
            }
            ServerMessage::Error { code, detail, .. } => {
                tracing::warn!(%code, %detail, "the hub reports an error");
                return Ok(None);
            }
            message @ ServerMessage::Event { .. } => {
                Signal::Event(ReceivedEvent::try_from(message).map_err(Failure::Violation)?)
            }
            message => {
                tracing::debug!(?message, "passed over a message of no interest");
                return Ok(None);
            }
        };
        Ok(Some(signal))
    }

    fn violation(&self, violation: Violation) -> ClientError {
        match violation.rule {
            Rule::FrameTooBig | Rule::MessageTooBig => ClientError::TooLarge {
                limit: self.max_event,
            },
            _ => ClientError::WebSocket(violation),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        self.buffer.resize(READ_BUFFER, 0);
        let mut buffer = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Writes what waits as far as the socket takes it. Reading goes on meanwhile, since a hub that
    /// waits for this end to read before it reads itself would otherwise wait for ever.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), ConnectionError> {
        self.connection.poll_transmit(&mut self.out);
        while !self.out.is_empty() {
            match Pin::new(&mut self.socket).poll_write(cx, &self.out) {
                Poll::Ready(written) => drop(self.out.drain(..written?)),
                Poll::Pending => break,
            }
        }
        // TLS takes more than it has sent.
        if let Poll::Ready(flushed) = Pin::new(&mut self.socket).poll_flush(cx) {
            flushed?;
        }
        Ok(())
    }
}

impl Drop for WsStream {
    fn drop(&mut self) {
        self.close(CloseCode::GOING_AWAY);
    }
}

fn stop(error: impl Into<ClientError>) -> Failure {
    Failure::Stop(error.into())
}

/// A connection after its handshake.
struct Upgraded {
    socket: Socket,
    /// What came right behind the handshake.
    early: Vec<u8>,
    /// What was agreed on about compression.
    deflate: Option<DeflateParams>,
}

async fn upgrade(endpoint: &Endpoint, compression: bool) -> Result<Upgraded, Failure> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(stop)?;
    let mut handshake =
        ClientHandshake::new(nonce, SUBPROTOCOL).map_err(|_| stop(ClientError::Subprotocol))?;
    if compression {
        let mut wish = DeflateParams::default();
        // This end sends nothing that is worth compressing, so the hub needs no window for it.
        wish.client.no_context_takeover = true;
        handshake = handshake.with_deflate(wish);
    }
    let mut request = endpoint.request(Method::GET, "ws", &[]).map_err(stop)?;
    for (name, value) in handshake.request_headers() {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            request
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
    }
    let mut http = HttpConnection::open(endpoint).await?;
    let response = http.send(request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(http.explain(response).await);
    }
    let headers: Vec<_> = response
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    let protocol = handshake
        .verify(response.status().as_u16(), headers.iter().copied())
        .map_err(|error| stop(ClientError::Handshake(error)))?;
    if protocol.is_none() {
        return Err(stop(ClientError::Subprotocol));
    }
    let deflate = handshake
        .verify_deflate(headers.iter().copied())
        .map_err(|error| stop(ClientError::Handshake(error)))?;
    let (socket, early) = http.into_socket().await?;
    Ok(Upgraded {
        socket,
        early: early.into(),
        deflate,
    })
}

fn close_failure(frame: CloseFrame<'_>) -> Failure {
    let code = Some(frame.code)
        .filter(|code| *code != CloseCode::NO_STATUS)
        .map(u16::from);
    let reason = frame.reason.to_owned();
    let after = match classify_close(code, frame.reason) {
        Verdict::Stop => {
            return Failure::Stop(ClientError::Closed {
                code: frame.code.into(),
                reason,
            });
        }
        Verdict::Reconnect => None,
        Verdict::ReconnectAfter(delay) => Some(delay),
    };
    Failure::Retry {
        why: ConnectionError::Closed { code, reason },
        after,
    }
}

/// Masks from the operating system's randomness, fetched many at a time.
struct Masks {
    bytes: [u8; Self::FETCHED],
    /// `used <= FETCHED`, a multiple of four.
    used: usize,
}

impl Masks {
    const FETCHED: usize = 256;

    fn new() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; Self::FETCHED];
        getrandom::fill(&mut bytes)?;
        Ok(Self { bytes, used: 0 })
    }
}

impl MaskSource for Masks {
    fn next_mask(&mut self) -> [u8; 4] {
        if self.used == Self::FETCHED {
            // Masks keep whoever chooses the payload from choosing the bytes on the wire (RFC 6455
            // section 10.3). This end sends nothing that somebody else chose but echoes of pings,
            // so in the unheard-of case that the randomness has dried up, old masks will do.
            let _old = getrandom::fill(&mut self.bytes);
            self.used = 0;
        }
        let mask = self
            .bytes
            .get(self.used..)
            .and_then(|rest| rest.first_chunk());
        self.used += 4;
        mask.copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_differ_and_do_not_run_out() {
        let mut masks = Masks::new().unwrap();
        let drawn: std::collections::HashSet<_> = (0..1000).map(|_| masks.next_mask()).collect();
        // A chance repetition among 1000 of 2^32 is rare, two are not to be seen.
        assert!(drawn.len() >= 998, "{}", drawn.len());
    }
}
