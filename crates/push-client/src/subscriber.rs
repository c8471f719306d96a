//! The subscriber: one subscription over however many connections it takes.

use core::fmt;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use futures_core::Stream;
use session_proto::{BackoffConfig, HeartbeatConfig};
use tokio::time::{Sleep, sleep, timeout};

use crate::cursor::Cursor;
use crate::delivery::Delivery;
use crate::error::{ClientError, ConfigError, ConnectionError};
use crate::http::Endpoint;
use crate::options::{SubscribeOptions, Transport};
use crate::pulse;
use crate::reconnect::Reconnect;
use crate::signal::{Failure, Signal};
use crate::sse::SseStream;
use crate::ws::WsStream;

/// A subscription that survives its connections: it reconnects and resumes by itself, so that
/// every event is delivered exactly once and in order, or a [gap](Delivery::Gap) says otherwise.
///
/// There is no task behind it. It connects, reads and answers pings only while
/// [`next`](Self::next) is awaited; an application that stops calling it stops the hub, which then
/// applies the subscription's policy. Dropping it closes the connection.
pub struct Subscriber {
    endpoint: Endpoint,
    options: SubscribeOptions,
    pulse: HeartbeatConfig,
    cursor: Cursor,
    reconnect: Reconnect,
    state: State,
}

enum State {
    /// Nothing was tried yet.
    Start,
    Connecting(Pin<Box<dyn Future<Output = Result<Link, Failure>> + Send>>),
    Open(Link),
    /// The application was told what the hub did wrong, but not yet what follows.
    Violated,
    Waiting(Pin<Box<Sleep>>),
    Over,
}

enum Link {
    Sse(Box<SseStream>),
    WebSocket(Box<WsStream>),
}

impl Link {
    async fn open(
        endpoint: Endpoint,
        options: SubscribeOptions,
        pulse: HeartbeatConfig,
        after: Option<String>,
    ) -> Result<Self, Failure> {
        let after = after.as_deref();
        Ok(match options.transport {
            Transport::Sse => Self::Sse(Box::new(
                SseStream::open(&endpoint, &options, pulse, after).await?,
            )),
            Transport::WebSocket => Self::WebSocket(Box::new(
                WsStream::open(&endpoint, &options, pulse, after).await?,
            )),
        })
    }

    fn poll_signal(&mut self, cx: &mut Context<'_>) -> Poll<Result<Signal, Failure>> {
        match self {
            Self::Sse(stream) => stream.poll_signal(cx),
            Self::WebSocket(stream) => stream.poll_signal(cx),
        }
    }
}

impl Subscriber {
    /// A subscriber to the hub at `base_url`, like `http://127.0.0.1:8080` or
    /// `https://hub.example`. It connects when [`next`](Self::next) is first awaited.
    ///
    /// # Errors
    /// If the URL is not one of a hub, there is no topic, or nobody to
    /// [vouch](SubscribeOptions::roots) for a hub that speaks TLS.
    pub fn new(base_url: &str, options: SubscribeOptions) -> Result<Self, ConfigError> {
        if options.topics.is_empty() {
            return Err(ConfigError::NoTopics);
        }
        let backoff = BackoffConfig::new(options.backoff_base, options.backoff_cap)?;
        let pulse = match options.transport {
            Transport::Sse => pulse::listening(options.idle_timeout),
            Transport::WebSocket => pulse::asking(options.idle_timeout),
        };
        Ok(Self {
            endpoint: Endpoint::parse(base_url, options.roots.as_ref())?,
            pulse: pulse.map_err(|_| ConfigError::IdleTimeout)?,
            cursor: Cursor::new(options.after.clone()),
            reconnect: Reconnect::new(backoff),
            options,
            state: State::Start,
        })
    }

    /// The cursor to store: a subscriber that begins [after](SubscribeOptions::after) it is handed
    /// what comes after everything that this one handed out.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_str()
    }

    /// Waits for the next thing that happens. `None` means that the subscription is over: the hub
    /// ended it, or the item before was a [final](ClientError::is_final) error.
    ///
    /// # Errors
    /// The error inside is something that reconnecting could not hide; see [`ClientError`].
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped: whatever arrived is kept for the next call, and
    /// an attempt to connect goes on there.
    pub async fn next(&mut self) -> Option<Result<Delivery, ClientError>> {
        poll_fn(|cx| self.poll_step(cx)).await
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Delivery, ClientError>>> {
        loop {
            match &mut self.state {
                State::Start => self.state = self.connecting(),
                State::Waiting(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    self.state = self.connecting();
                }
                State::Connecting(attempt) => match ready!(attempt.as_mut().poll(cx)) {
                    Ok(link) => {
                        self.state = State::Open(link);
                        return Poll::Ready(Some(Ok(Delivery::Connected)));
                    }
                    Err(failure) => return Poll::Ready(self.lose(failure)),
                },
                State::Open(link) => {
                    let step = ready!(link.poll_signal(cx)).and_then(|signal| self.take(signal));
                    match step {
                        Ok(Some(delivery)) => return Poll::Ready(Some(Ok(delivery))),
                        Ok(None) => {}
                        Err(failure) => return Poll::Ready(self.lose(failure)),
                    }
                }
                State::Violated => {
                    return Poll::Ready(self.lose(ConnectionError::Violation.into()));
                }
                State::Over => return Poll::Ready(None),
            }
        }
    }

    fn connecting(&self) -> State {
        let after = self.cursor.as_str().map(str::to_owned);
        let link = Link::open(
            self.endpoint.clone(),
            self.options.clone(),
            self.pulse,
            after,
        );
        let limit = self.options.connect_timeout;
        State::Connecting(Box::pin(async move {
            match timeout(limit, link).await {
                Ok(outcome) => outcome,
                Err(_) => Err(ConnectionError::Timeout { after: limit }.into()),
            }
        }))
    }

    /// Takes note of what arrived, and turns it into what the application is handed, if anything.
    fn take(&mut self, signal: Signal) -> Result<Option<Delivery>, Failure> {
        let delivery = match signal {
            Signal::Event(event) => {
                self.cursor.pass(&event.id).map_err(Failure::Violation)?;
                self.reconnect.succeeded();
                Delivery::Event(event)
            }
            Signal::Gap(gap) => {
                self.cursor.jump(&gap.id).map_err(Failure::Violation)?;
                Delivery::Gap(gap)
            }
            Signal::Ready { id } => {
                self.cursor.reach(&id).map_err(Failure::Violation)?;
                self.reconnect.succeeded();
                Delivery::Ready { id }
            }
            Signal::Id(id) => {
                self.cursor.reach(&id).map_err(Failure::Violation)?;
                return Ok(None);
            }
            Signal::Retry(delay) => {
                self.reconnect.set_retry(delay);
                return Ok(None);
            }
            Signal::Drain(delay) => {
                self.reconnect.ask(delay);
                return Ok(None);
            }
        };
        Ok(Some(delivery))
    }

    /// Decides what follows the loss of a connection.
    fn lose(&mut self, failure: Failure) -> Option<Result<Delivery, ClientError>> {
        let left = core::mem::replace(&mut self.state, State::Over);
        match failure {
            Failure::Ended => None,
            Failure::Stop(error) => Some(Err(error)),
            Failure::Violation(error) => {
                if let State::Open(Link::WebSocket(mut stream)) = left {
                    stream.refuse();
                }
                self.state = State::Violated;
                Some(Err(error))
            }
            Failure::Retry { why, after } => {
                if let Some(delay) = after {
                    self.reconnect.ask(delay);
                }
                let retry_in = self.reconnect.next_delay();
                tracing::debug!(%why, ?retry_in, "subscription lost its connection");
                self.state = State::Waiting(Box::pin(sleep(retry_in)));
                Some(Ok(Delivery::Disconnected { retry_in, why }))
            }
        }
    }
}

impl Stream for Subscriber {
    type Item = Result<Delivery, ClientError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_step(cx)
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("endpoint", &self.endpoint)
            .field("options", &self.options)
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
    }
}
