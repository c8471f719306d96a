//! One WebSocket session of `tidegate.v1+json`, over any byte stream.

mod requests;
mod transport;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use backpressure::ShardHandle;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, Stream as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use session_proto::envelope::ServerMessage;
use session_proto::{Beat, Heartbeat};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Sleep;
use ws_proto::handshake::{DeflateParams, DeflateSide};
use ws_proto::{Assembler, CloseCode, Connection, Eof, Event, Inflater, Message, Server};

use self::transport::poll_read;
use crate::form::frame;
use crate::hub::Hub;
use crate::link::Link;
use crate::metrics::{Closed, Transport, Via};
use crate::serve::{Socket, Ticket, Work};
use crate::subscriber::{Subscriber, SubscriberError};
use crate::turn;

/// How many publishes of one connection may wait for the store; beyond it nothing is read.
const MAX_PUBLISHES: usize = 64;

/// After so many things in a row others get their turn, or after [`turn::BYTES`].
const STEPS: u32 = 32;

/// How many things a session waits for.
const SOURCES: u8 = 4;

/// Runs one session until either side ends it: the client's `resume` opens the subscription,
/// `publish` appends, `subscribe` and `unsubscribe` change the topics. `docs/resume-protocol.md`
/// is the specification.
///
/// The handshake must be over, and `io` must begin right behind it. `deflate` is what it agreed on
/// about compression; the memory is that of [`Compression`](crate::Compression).
///
/// # Cancel safety
///
/// Dropping the future cuts the connection; the client resumes by its last id. Publishes that
/// were not answered may or may not have been appended.
pub async fn websocket<IO>(hub: Hub, io: IO, deflate: Option<DeflateParams>)
where
    IO: AsyncRead + AsyncWrite + Send + Unpin,
{
    let link = Link::new(
        &hub,
        hub.next_connection(),
        Transport::WebSocket,
        Via::Other,
        None,
    );
    let setup = Setup { link, deflate };
    setup.over(io, None).await;
}

/// What a session is made of, once its handshake is over.
pub(super) struct Setup {
    pub(super) link: Link,
    /// What was agreed on about compression.
    pub(super) deflate: Option<DeflateParams>,
}

impl Setup {
    /// The session, on the worker of a shard if there is one. `io` begins right behind the handshake.
    pub(super) fn over<IO>(self, io: IO, shard: Option<ShardHandle>) -> Session<IO> {
        let Self { mut link, deflate } = self;
        link.begin();
        let hub = link.hub();
        let interval = hub.config().heartbeat;
        let limit = hub.config().max_message_bytes;
        let heartbeat = hub.heartbeat(interval * 2);
        let mut config = ws_proto::Config::default();
        config
            .max_frame(limit)
            .max_message(limit)
            .compressed(deflate.is_some());
        let mut assembler = Assembler::new(limit);
        if let Some(agreed) = deflate {
            assembler = assembler.inflating(Inflater::new(agreed.client));
        }
        Session {
            io,
            connection: Connection::server(config),
            assembler,
            deflate: deflate.map(|agreed| agreed.server),
            heartbeat,
            subscriber: None,
            publishes: None,
            out: Vec::new(),
            writing: Bytes::new(),
            unflushed: false,
            stage: Stage::Open,
            since: 0,
            shut: false,
            next: 0,
            closing: None,
            timer: None,
            shard,
            link,
        }
    }
}

/// One session. The future completes when it is over, in order or not.
///
/// It is polled by hand: as an `async fn` it would keep what it is made of twice, and room for all that
/// it may wait for, as long as a connection is idle.
pub(crate) struct Session<IO> {
    io: IO,
    link: Link,
    connection: Connection<Server>,
    assembler: Assembler,
    /// What answers may be compressed with.
    deflate: Option<DeflateSide>,
    /// Not told of what is sent: a peer that only listens to a busy topic must be pinged too, or
    /// its silence could not be told from its death.
    heartbeat: Heartbeat,
    subscriber: Option<Subscriber>,
    /// Those that wait for the store, in a box while there are any.
    publishes: Option<Box<Publishes>>,
    /// Whole frames that wait to be written: answers and control frames.
    out: Vec<u8>,
    /// What is being written. Nothing else happens meanwhile.
    writing: Bytes,
    /// Something was written since the transport was last flushed.
    unflushed: bool,
    stage: Stage,
    /// When the stage began, unless it is the first, in nanoseconds of the [hub's time](Hub::now).
    since: u64,
    /// The transport's writing end is closed.
    shut: bool,
    /// Which of its sources is asked first. Last is the one that had something, so that it does not
    /// keep the others from their turn.
    next: u8,
    /// Tells when the hub closes, while nobody else does.
    closing: Option<Box<BoxFuture<'static, ()>>>,
    timer: Option<Pin<Box<Sleep>>>,
    /// What wakes the subscription.
    shard: Option<ShardHandle>,
}

/// How far a session is.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Stage {
    Open,
    /// The peer takes nothing of what is being written.
    Blocked,
    /// It has ended, and reads what the peer had sent before it knew.
    Lingering,
}

type Publishes = FuturesOrdered<BoxFuture<'static, Vec<u8>>>;

enum Wake {
    Read(io::Result<Vec<u8>>),
    Published(Vec<u8>),
    Subscribed(Option<Result<Bytes, SubscriberError>>),
    Timeout,
    /// The hub closes; a subscription would say so too, but there may be none.
    Closing,
}

impl Work for Session<Socket> {
    fn seat(&mut self, ticket: &Arc<Ticket>) {
        self.io.seat(ticket);
    }
}

impl Work for Session<TokioIo<Upgraded>> {}

impl<IO: AsyncRead + AsyncWrite + Unpin> Future for Session<IO> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Err(error) = ready!(self.poll_session(cx)) {
            let connection = self.link.id();
            tracing::debug!(connection, %error, "a WebSocket session was cut");
        }
        Poll::Ready(())
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Session<IO> {
    fn poll_session(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (mut steps, mut taken) = (0, 0);
        loop {
            ready!(self.poll_write(cx))?;
            if self.stage == Stage::Lingering {
                return self.poll_linger(cx);
            }
            if steps == STEPS || taken >= turn::BYTES {
                return turn::end(cx);
            }
            steps += 1;
            self.connection.poll_transmit(&mut self.out);
            if !self.out.is_empty() {
                self.writing = std::mem::take(&mut self.out).into();
                continue;
            }
            if self.connection.closed().is_some() {
                self.enter(Stage::Lingering);
                continue;
            }
            match ready!(self.poll_wake(cx)) {
                Wake::Read(Ok(bytes)) if bytes.is_empty() => {
                    self.connection.handle_eof(Eof::Clean);
                    return Poll::Ready(Ok(()));
                }
                Wake::Read(Ok(mut bytes)) => self.receive(&mut bytes),
                Wake::Read(Err(error)) => {
                    self.connection.handle_eof(Eof::Reset);
                    return Poll::Ready(Err(error));
                }
                // Nothing may follow a Close frame.
                Wake::Published(_) if self.connection.is_closing() => {}
                Wake::Published(answer) => self.out.extend(answer),
                Wake::Subscribed(Some(Ok(bytes))) => {
                    taken += bytes.len();
                    self.writing = bytes;
                }
                Wake::Subscribed(end) => {
                    self.subscriber = None;
                    if let Some(Err(error)) = &end {
                        self.link.end(Closed::from(error));
                    }
                    match end {
                        Some(Err(SubscriberError::Dropped)) => {
                            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                        }
                        Some(Err(error)) => {
                            self.close(CloseCode::TRY_AGAIN_LATER, &error.to_string());
                        }
                        None => self.go_away(),
                        Some(Ok(_)) => {}
                    }
                }
                Wake::Timeout => self.handle_timeout()?,
                Wake::Closing => self.go_away(),
            }
        }
    }

    /// Ready with the next thing to do.
    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        let first = self.next;
        for source in first..first + SOURCES {
            let wake = match source % SOURCES {
                0 => self.poll_subscriber(cx),
                1 => self.poll_read(cx),
                2 => self.poll_publishes(cx),
                _ => self.poll_end(cx),
            };
            if wake.is_ready() {
                self.next = (source + 1) % SOURCES;
                return wake;
            }
        }
        self.next = 0;
        Poll::Pending
    }

    fn poll_subscriber(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        match &mut self.subscriber {
            Some(subscriber) if !self.connection.is_closing() => {
                subscriber.poll_next(cx).map(Wake::Subscribed)
            }
            _ => Poll::Pending,
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        let publishes = self.publishes.as_ref().map_or(0, |it| it.len());
        if publishes >= MAX_PUBLISHES {
            return Poll::Pending;
        }
        poll_read(&mut self.io, cx).map(Wake::Read)
    }

    fn poll_publishes(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        let Some(publishes) = &mut self.publishes else {
            return Poll::Pending;
        };
        match ready!(Pin::new(&mut **publishes).poll_next(cx)) {
            Some(answer) => Poll::Ready(Wake::Published(answer)),
            None => {
                self.publishes = None;
                Poll::Pending
            }
        }
    }

    /// Ready when a deadline has passed, or the hub closes.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        // A subscription that waits for events is told, too, and costs less to ask.
        let told = self.subscriber.as_ref().is_some_and(Subscriber::is_live);
        if told || self.connection.is_closing() {
            self.closing = None;
        } else {
            let hub = self.link.hub();
            let closing = self.closing.get_or_insert_with(|| Box::new(closes(hub)));
            if closing.as_mut().as_mut().poll(cx).is_ready() {
                self.closing = None;
                return Poll::Ready(Wake::Closing);
            }
        }
        let deadlines = [
            self.heartbeat.poll_timeout(),
            self.connection.poll_timeout(),
        ];
        match deadlines.into_iter().flatten().min() {
            Some(due) => self.poll_until(cx, due).map(|()| Wake::Timeout),
            None => Poll::Pending,
        }
    }
}

impl<IO> Session<IO> {
    fn enter(&mut self, stage: Stage) {
        self.since = u64::try_from(self.now().as_nanos()).unwrap_or(u64::MAX);
        self.stage = stage;
    }

    /// When the stage, which is not the first, has lasted for `patience`.
    fn deadline(&self, patience: Duration) -> Duration {
        Duration::from_nanos(self.since) + patience
    }

    fn now(&self) -> Duration {
        self.link.hub().now()
    }

    fn handle_timeout(&mut self) -> io::Result<()> {
        let now = self.now();
        self.connection.handle_timeout(now);
        match self.heartbeat.handle_timeout(now) {
            Some(Beat::Send) => {
                if let Some(subscriber) = &mut self.subscriber {
                    self.out.extend_from_slice(&subscriber.beat());
                }
                // A connection that is closing sends no more pings.
                let _closing = self.connection.ping(b"");
                Ok(())
            }
            Some(Beat::Dead) => {
                self.link.end(Closed::Silent);
                Err(io::ErrorKind::TimedOut.into())
            }
            None => Ok(()),
        }
    }

    /// Takes what the client has sent.
    pub(super) fn receive(&mut self, bytes: &mut [u8]) {
        let now = self.now();
        self.heartbeat.on_received(now);
        let mut texts = Vec::new();
        let mut refused = None;
        let mut events = self.connection.push(bytes, now);
        while let Some(event) = events.next() {
            match event {
                Ok(Event::Data(chunk)) => match self.assembler.push(chunk) {
                    Ok(Some(Message::Text(text))) => texts.push(text),
                    Ok(Some(Message::Binary(_))) => {
                        refused = Some((CloseCode::UNSUPPORTED, "send text messages"));
                        break;
                    }
                    Ok(None) => {}
                    Err(violation) => {
                        refused = Some((violation.code, "message refused"));
                        break;
                    }
                },
                // The connection answers pings and closes, and has queued the close frame for a
                // violation.
                Ok(_) => {}
                Err(violation) => {
                    self.link.end(Closed::Protocol);
                    tracing::debug!(%violation, "the client broke the protocol");
                }
            }
        }
        for text in texts {
            self.handle(&text);
        }
        if let Some((code, reason)) = refused {
            self.link.end(Closed::Protocol);
            self.close(code, reason);
        }
    }

    fn go_away(&mut self) {
        if self.connection.is_closing() {
            return;
        }
        self.link.end(self.link.reason_of_end());
        let retry_ms = self.link.hub().retry_ms();
        frame(&ServerMessage::Drain { retry_ms }, &mut self.out);
        self.close(CloseCode::SERVICE_RESTART, &retry_ms.to_string());
    }

    fn close(&mut self, code: CloseCode, reason: &str) {
        let now = self.now();
        // A connection that is closing already keeps its first close.
        let _closing = self.connection.close(code, reason, now);
    }
}

fn closes(hub: &Hub) -> BoxFuture<'static, ()> {
    let mut closing = hub.closing();
    Box::pin(async move {
        // The sender lives as long as the hub, which the session holds.
        let _ = closing.wait_for(|closed| *closed).await;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_takes_640_bytes_with_its_socket_and_its_subscription() {
        let bytes = size_of::<Session<Socket>>();
        assert!(bytes <= 640, "{bytes}");
    }
}
