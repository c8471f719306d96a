//! One WebSocket session of `tidegate.v1+json`, over any byte stream.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use backpressure::ShardHandle;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, StreamExt as _};
use replay_store::{After, Append, Pattern, Selector};
use session_proto::envelope::{ClientMessage, ServerMessage};
use session_proto::{Beat, Heartbeat};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use ws_proto::handshake::{DeflateParams, DeflateSide};
use ws_proto::{
    Assembler, CloseCode, Connection, Deflater, Eof, Event, Inflater, Kind, Message, Server,
};

use crate::form::{Form, frame};
use crate::http::events::{parse_policy, publish_text};
use crate::http::problem::Problem;
use crate::hub::Hub;
use crate::link::Link;
use crate::metrics::{Closed, Transport, Via};
use crate::subscriber::{Subscriber, SubscriberError};
use crate::turn;
use crate::ws::append;

const READ_BUFFER: usize = 16 * 1024;

/// How long a closed session still reads what the peer had sent before it knew.
const LINGER: Duration = Duration::from_secs(1);

/// The shortest answer that is worth compressing by itself.
const COMPRESS_FROM: usize = 1024;

/// How many publishes of one connection may wait for the store; beyond it nothing is read.
const MAX_PUBLISHES: usize = 64;

/// After so many things in a row others get their turn, or after [`turn::BYTES`].
const TURNS: u32 = 32;

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
    run(hub, link, io, deflate, None).await;
}

/// As [`websocket`], for a connection that is known, on the worker of a shard if there is one.
pub(crate) async fn run<IO>(
    hub: Hub,
    mut link: Link,
    mut io: IO,
    deflate: Option<DeflateParams>,
    shard: Option<ShardHandle>,
) where
    IO: AsyncRead + AsyncWrite + Send + Unpin,
{
    link.begin();
    let mut session = Session::new(hub, link, deflate, shard);
    if let Err(error) = session.run(&mut io).await {
        let connection = session.link.id();
        tracing::debug!(connection, %error, "a WebSocket session was cut");
    }
}

struct Session {
    hub: Hub,
    link: Link,
    connection: Connection<Server>,
    assembler: Assembler,
    /// What answers may be compressed with.
    deflate: Option<DeflateSide>,
    /// Not told of what is sent: a peer that only listens to a busy topic must be pinged too, or
    /// its silence could not be told from its death.
    heartbeat: Heartbeat,
    started: Instant,
    subscriber: Option<Subscriber>,
    publishes: FuturesOrdered<BoxFuture<'static, Vec<u8>>>,
    /// Whole frames that wait to be written: answers and control frames.
    out: Vec<u8>,
    closing: watch::Receiver<bool>,
    timer: Option<Pin<Box<Sleep>>>,
    /// What wakes the subscription.
    shard: Option<ShardHandle>,
}

enum Wake {
    Read(io::Result<Vec<u8>>),
    Published(Option<Vec<u8>>),
    Subscribed(Option<Result<Bytes, SubscriberError>>),
    Timeout,
    /// The hub closes; a subscription would say so too, but there may be none.
    Closing,
}

impl Session {
    fn new(
        hub: Hub,
        link: Link,
        deflate: Option<DeflateParams>,
        shard: Option<ShardHandle>,
    ) -> Self {
        let interval = hub.config().heartbeat;
        let limit = hub.config().max_message_bytes;
        let mut config = ws_proto::Config::default();
        config
            .max_frame(limit)
            .max_message(limit)
            .compressed(deflate.is_some());
        let mut assembler = Assembler::new(limit);
        if let Some(agreed) = deflate {
            assembler = assembler.inflating(Inflater::new(agreed.client));
        }
        Self {
            connection: Connection::server(config),
            assembler,
            deflate: deflate.map(|agreed| agreed.server),
            heartbeat: hub.heartbeat(Some(interval * 2)),
            started: Instant::now(),
            subscriber: None,
            publishes: FuturesOrdered::new(),
            out: Vec::new(),
            closing: hub.closing(),
            timer: None,
            shard,
            hub,
            link,
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    async fn run<IO>(&mut self, io: &mut IO) -> io::Result<()>
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let patience = self.hub.config().heartbeat * 2;
        let (mut turns, mut taken) = (0, 0);
        loop {
            turns += 1;
            if turns == TURNS || taken >= turn::BYTES {
                (turns, taken) = (0, 0);
                yield_now().await;
            }
            self.connection.poll_transmit(&mut self.out);
            if !self.out.is_empty() {
                let out = std::mem::take(&mut self.out);
                self.write(io, &out, patience).await?;
            }
            if self.connection.closed().is_some() {
                return linger(io).await;
            }
            match self.wake(io).await {
                Wake::Read(Ok(bytes)) if bytes.is_empty() => {
                    self.connection.handle_eof(Eof::Clean);
                    return Ok(());
                }
                Wake::Read(Ok(mut bytes)) => self.receive(&mut bytes),
                Wake::Read(Err(error)) => {
                    self.connection.handle_eof(Eof::Reset);
                    return Err(error);
                }
                // Nothing may follow a Close frame.
                Wake::Published(_) if self.connection.is_closing() => {}
                Wake::Published(answer) => self.out.extend(answer.unwrap_or_default()),
                Wake::Subscribed(Some(Ok(bytes))) => {
                    self.write(io, &bytes, patience).await?;
                    taken += bytes.len();
                }
                Wake::Subscribed(end) => {
                    self.subscriber = None;
                    if let Some(Err(error)) = &end {
                        self.link.end(Closed::from(error));
                    }
                    match end {
                        Some(Err(SubscriberError::Dropped)) => {
                            return Err(io::ErrorKind::ConnectionAborted.into());
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

    /// Waits for the next thing to do. Cancel safe, so it may be raced against itself.
    async fn wake(&mut self, reader: &mut (impl AsyncRead + Unpin)) -> Wake {
        let deadline = [
            self.heartbeat.poll_timeout(),
            self.connection.poll_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
        .map(|due| self.started + due);
        let room = self.publishes.len() < MAX_PUBLISHES;
        let closing = self.connection.is_closing();
        let Self {
            publishes,
            subscriber,
            closing: closed,
            timer,
            ..
        } = self;
        // A subscription that waits for events is told, too, and costs less to ask.
        let subscribed = subscriber.is_some();
        let told = subscriber.as_ref().is_some_and(Subscriber::is_live);
        tokio::select! {
            read = read(reader), if room => Wake::Read(read),
            answer = publishes.next(), if !publishes.is_empty() => Wake::Published(answer),
            item = next(subscriber), if subscribed && !closing => Wake::Subscribed(item),
            () = closes(closed), if !told && !closing => Wake::Closing,
            () = expires(timer, deadline), if deadline.is_some() => Wake::Timeout,
        }
    }

    async fn write(
        &mut self,
        writer: &mut (impl AsyncWrite + Unpin),
        bytes: &[u8],
        patience: Duration,
    ) -> io::Result<()> {
        let written = write(writer, bytes, patience).await;
        if let Err(error) = &written
            && error.kind() == io::ErrorKind::TimedOut
        {
            self.link.end(Closed::Stalled);
        }
        written
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

    fn receive(&mut self, bytes: &mut [u8]) {
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
        let retry_ms = self.hub.retry_ms();
        frame(&ServerMessage::Drain { retry_ms }, &mut self.out);
        self.close(CloseCode::SERVICE_RESTART, &retry_ms.to_string());
    }

    fn close(&mut self, code: CloseCode, reason: &str) {
        let now = self.now();
        // A connection that is closing already keeps its first close.
        let _closing = self.connection.close(code, reason, now);
    }

    fn handle(&mut self, text: &str) {
        let message = match ClientMessage::parse(text) {
            Ok(message) => message,
            Err(error) => return self.error(None, error.code(), &error.to_string()),
        };
        match message {
            ClientMessage::Resume {
                after,
                topics,
                policy,
            } => {
                if self.subscriber.is_some() {
                    let detail =
                        "resume opens a session and is sent once; use subscribe to add topics";
                    return self.error(None, "already_resumed", detail);
                }
                let result = select(&topics).and_then(|selector| {
                    let policy = match policy {
                        Some(name) => parse_policy(&self.hub, &name)?,
                        None => self.hub.config().policy,
                    };
                    let after = after.map_or(After::Latest, |id| After::parse(id.as_bytes()));
                    let form = Form::WebSocket;
                    let mut subscriber = self
                        .hub
                        .subscribe_for(&self.link, selector, form, policy, after);
                    if let Some(shard) = &self.shard {
                        subscriber.set_shard(shard.clone());
                    }
                    Ok(subscriber)
                });
                match result {
                    Ok(subscriber) => self.subscriber = Some(subscriber),
                    Err(problem) => self.problem(None, &problem),
                }
            }
            ClientMessage::Subscribe { topics } => self.change(&topics, |pattern, _| Some(pattern)),
            ClientMessage::Unsubscribe { topics } => {
                self.change(&topics, |pattern, gone| (!gone).then_some(pattern));
            }
            ClientMessage::Publish { ref reference, .. } => {
                let reference = reference.as_deref().map(Arc::from);
                self.publish(reference, append(message));
            }
            ClientMessage::Auth { .. } => {
                self.error(
                    None,
                    "auth_unused",
                    "this hub asks for no token; do not send one",
                );
            }
            _ => self.error(None, "unknown_type", "this hub does not know this message"),
        }
    }

    /// Adds or removes topics: the subscription goes on from where it stands.
    fn change<T: AsRef<str>>(
        &mut self,
        topics: &[T],
        keep: impl Fn(Pattern, bool) -> Option<Pattern>,
    ) {
        let Some(subscriber) = &mut self.subscriber else {
            let detail = "send resume first; it opens the session";
            return self.error(None, "not_resumed", detail);
        };
        let named = match patterns(topics) {
            Ok(named) => named,
            Err(problem) => return self.problem(None, &problem),
        };
        let had = subscriber.selector().to_patterns();
        let added = named.iter().filter(|it| !had.contains(it));
        let all = had.iter().chain(added).cloned();
        let kept = all.filter_map(|pattern| {
            let gone = named.contains(&pattern);
            keep(pattern, gone)
        });
        let selector = match Selector::new(kept.collect()) {
            Ok(selector) => selector,
            Err(error) => return self.problem(None, &error.into()),
        };
        if !subscriber.change_topics(selector) {
            let detail = "wait for the answer to resume before changing topics";
            return self.error(None, "not_resumed", detail);
        }
        let (at, selector) = (subscriber.position(), subscriber.selector().clone());
        self.answer(&ServerMessage::Subscribed {
            at: at.map(|at| at.to_string().into()),
            topics: selector.patterns().map(Into::into).collect(),
        });
    }

    fn publish(&mut self, reference: Option<Arc<str>>, append: Result<Append, Problem>) {
        let append = match append {
            Ok(append) => append,
            Err(problem) => return self.problem(reference.as_deref(), &problem),
        };
        let hub = self.hub.clone();
        self.publishes.push_back(Box::pin(async move {
            let reference = reference.as_deref().map(Into::into);
            let answer = match publish_text(&hub, append).await {
                Ok(appended) => ServerMessage::Published {
                    reference,
                    id: appended.position.to_string().into(),
                    duplicate: appended.duplicate,
                },
                Err(problem) => {
                    hub.registry().refused(&problem);
                    ServerMessage::Error {
                        reference,
                        code: problem.code().into(),
                        detail: problem.to_string().into(),
                    }
                }
            };
            let mut out = Vec::new();
            frame(&answer, &mut out);
            out
        }));
    }

    fn problem(&mut self, reference: Option<&str>, problem: &Problem) {
        self.hub.registry().refused(problem);
        self.error(reference, problem.code(), &problem.to_string());
    }

    fn error(&mut self, reference: Option<&str>, code: &str, detail: &str) {
        let message = ServerMessage::Error {
            reference: reference.map(Into::into),
            code: code.into(),
            detail: detail.into(),
        };
        self.answer(&message);
    }

    fn answer(&mut self, message: &ServerMessage<'_>) {
        let mut text = Vec::new();
        message.to_json(&mut text);
        let sent = match self.deflate {
            // By itself even where the client tolerates more: a compressor that is kept would be
            // the largest part of the connection by far.
            Some(side) if side.no_context_takeover && text.len() >= COMPRESS_FROM => self
                .connection
                .send_compressed(Kind::Text, &text, &mut Deflater::new(side), &mut self.out),
            _ => self.connection.send(Kind::Text, &text, &mut self.out),
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "an answer was not sent");
        }
    }
}

/// Reads what there is, nothing at the end of the stream. The buffer for it is the thread's, so that
/// a session holds none while it waits. Cancel safe.
async fn read(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    thread_local! {
        static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BUFFER].into());
    }
    poll_fn(|cx| {
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *reader).poll_read(cx, &mut buffer))?;
            Poll::Ready(Ok(buffer.filled().to_vec()))
        })
    })
    .await
}

/// Writes all of it, or fails when the peer takes nothing for `patience`.
async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    patience: Duration,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match timeout(patience, writer.write(bytes)).await {
            Ok(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(Ok(written)) => bytes = &bytes[written..],
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
    timeout(patience, writer.flush()).await?
}

/// Ends the stream in order. What the peer still sends is read and dropped for a moment: closing a
/// socket with unread bytes resets it, and the reset could overtake the close frame.
async fn linger(io: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    let rest = async {
        io.shutdown().await?;
        while !read(io).await?.is_empty() {}
        Ok(())
    };
    timeout(LINGER, rest).await.unwrap_or(Ok(()))
}

async fn closes(closing: &mut watch::Receiver<bool>) {
    // The sender lives as long as the hub, which this session holds.
    let _ = closing.wait_for(|closed| *closed).await;
}

/// Completes at the deadline. It may move with every event: a timer that is early is set again when
/// it fires, which costs less than to set it each time.
async fn expires(timer: &mut Option<Pin<Box<Sleep>>>, deadline: Option<Instant>) {
    let Some(deadline) = deadline else {
        return std::future::pending().await;
    };
    let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
    if timer.deadline() > deadline {
        timer.as_mut().reset(deadline);
    }
    loop {
        timer.as_mut().await;
        if Instant::now() >= deadline {
            return;
        }
        timer.as_mut().reset(deadline);
    }
}

async fn next(subscriber: &mut Option<Subscriber>) -> Option<Result<Bytes, SubscriberError>> {
    match subscriber {
        Some(subscriber) => poll_fn(|cx| subscriber.poll_next(cx)).await,
        None => std::future::pending().await,
    }
}

fn select<T: AsRef<str>>(topics: &[T]) -> Result<Selector, Problem> {
    Ok(Selector::new(patterns(topics)?)?)
}

fn patterns<T: AsRef<str>>(topics: &[T]) -> Result<Vec<Pattern>, Problem> {
    if topics.is_empty() {
        return Err(Problem::TopicMissing);
    }
    let patterns: Result<_, _> = topics.iter().map(|it| Pattern::new(it.as_ref())).collect();
    Ok(patterns?)
}
