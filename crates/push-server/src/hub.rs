//! The hub: one store, its feed, and what publishers and subscribers reach through it.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use backpressure::{AdmitError, Policy};
use replay_store::feed::{Feed, FeedConfig, FeedHandle};
use replay_store::{After, AnyStore, Append, Appended, ReplayStore, Selector, StoreError, Topic};
use session_proto::{Heartbeat, HeartbeatConfig};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::config::{Block, HubConfig};
use crate::fanout::Fanout;
use crate::form::Form;
use crate::subscriber::Subscriber;

/// A running hub. Clones are the same hub.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    config: HubConfig,
    store: AnyStore,
    feed: FeedHandle<Fanout>,
    fanout: Fanout,
    subscribers: AtomicU64,
    /// Subscriptions that are open.
    live: AtomicUsize,
    closed: watch::Sender<bool>,
    /// WebSocket sessions that run on tasks of their own.
    sessions: watch::Sender<usize>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("config", &self.inner.config)
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// Starts a hub on a store: reads the store's tail and spawns the feed on the current tokio
    /// runtime.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn start(config: HubConfig, store: AnyStore) -> Result<Self, StoreError> {
        let fanout = Fanout::new(&config);
        let feed_config = FeedConfig {
            poll: config.poll,
            page: config.page,
        };
        let (feed, task) = Feed::start(
            store.clone(),
            fanout.clone(),
            feed_config,
            tokio::time::sleep,
        )
        .await?;
        tokio::spawn(task);
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                store,
                feed,
                fanout,
                subscribers: AtomicU64::new(0),
                live: AtomicUsize::new(0),
                closed: watch::Sender::new(false),
                sessions: watch::Sender::new(0),
            }),
        })
    }

    /// Appends one event to the log; it is durable, as far as the store is, when this answers.
    ///
    /// # Errors
    ///
    /// As the store says; [`StoreError::TooLarge`] also beyond the hub's own limit;
    /// [`PublishError::Behind`] if publishers [wait](HubConfig::block) for subscribers.
    ///
    /// # Cancel safety
    ///
    /// The event may or may not have been appended: publish again with the same idempotency key.
    pub async fn publish(&self, event: Append) -> Result<Appended, PublishError> {
        let limit = self.inner.config.max_event_bytes;
        if event.data.len() > limit {
            return Err(StoreError::TooLarge {
                index: 0,
                bytes: event.data.len(),
                limit,
            }
            .into());
        }
        if let Some(block) = self.inner.config.block {
            self.admit(&event.topic, block).await?;
        }
        let mut appended = self.inner.store.append(vec![event]).await?;
        let answered = appended.pop().ok_or_else(|| StoreError::OutcomeUnknown {
            detail: "the store answered no position".into(),
        });
        Ok(answered?)
    }

    /// Waits until no subscriber of `topic` is too far behind.
    async fn admit(&self, topic: &Topic, block: Block) -> Result<(), PublishError> {
        let started = Instant::now();
        for log in self.inner.fanout.logs_of(topic) {
            let mut admission = log.admit(block.max, block.deadline);
            let admitted = poll_fn(|cx| admission.poll_admit(cx, started.elapsed()));
            match timeout_at(started + block.deadline, admitted).await {
                // The readers of a closed log join again, and hold up nobody meanwhile.
                Ok(Ok(()) | Err(AdmitError::Closed)) => {}
                Ok(Err(AdmitError::TimedOut)) | Err(_) => return Err(PublishError::Behind),
            }
        }
        Ok(())
    }

    /// Opens a subscription from a cursor on.
    #[must_use]
    pub fn subscribe(
        &self,
        selector: Selector,
        form: Form,
        policy: Policy,
        after: After,
    ) -> Subscriber {
        let id = self.inner.subscribers.fetch_add(1, Ordering::Relaxed);
        Subscriber::new(self.clone(), id, selector, form, policy, after)
    }

    /// Ends every subscription at once and without a farewell, as a network failure would, so
    /// that clients show how they resume.
    pub fn drop_connections(&self) {
        self.inner.fanout.drop_readers();
    }

    /// Closes the hub: every subscription ends in order, and no new one starts.
    pub fn close(&self) {
        self.inner.closed.send_replace(true);
        self.inner.fanout.wake_readers();
    }

    /// Whether [`close`](Self::close) was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        *self.inner.closed.borrow()
    }

    /// Completes when [`close`](Self::close) was called and every WebSocket session that
    /// [`handle`](Self::handle) started has ended.
    ///
    /// # Cancel safety
    ///
    /// Nothing happens.
    pub async fn ended(&self) {
        let mut closed = self.closing();
        let mut sessions = self.inner.sessions.subscribe();
        // The senders live as long as this hub, so neither wait can fail.
        let _ = closed.wait_for(|closed| *closed).await;
        let _ = sessions.wait_for(|running| *running == 0).await;
    }

    /// How many subscriptions there are now.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.inner.live.load(Ordering::Relaxed)
    }

    pub(crate) fn count_subscription(&self, change: isize) {
        self.inner
            .live
            .fetch_add(change.cast_unsigned(), Ordering::Relaxed);
    }

    /// Bytes that the [tails](HubConfig::tail) take now.
    #[must_use]
    pub fn tails_memory(&self) -> usize {
        self.inner.fanout.memory()
    }

    /// Tells when [`close`](Self::close) is called, or was.
    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.inner.closed.subscribe()
    }

    /// Counts one WebSocket session until the answer is dropped.
    pub(crate) fn session(&self) -> SessionGuard {
        self.inner.sessions.send_modify(|running| *running += 1);
        SessionGuard(self.clone())
    }

    /// The configuration that the hub was started with.
    #[must_use]
    pub fn config(&self) -> &HubConfig {
        &self.inner.config
    }

    pub(crate) fn store(&self) -> &AnyStore {
        &self.inner.store
    }

    pub(crate) fn feed(&self) -> &FeedHandle<Fanout> {
        &self.inner.feed
    }

    pub(crate) fn fanout(&self) -> &Fanout {
        &self.inner.fanout
    }

    /// The timer of a connection that opens now; with a `timeout`, it also judges a silent peer.
    pub(crate) fn heartbeat(&self, timeout: Option<Duration>) -> Heartbeat {
        let config = HeartbeatConfig::new(self.inner.config.heartbeat, timeout);
        // The interval was checked when it was configured, and timeouts are multiples of it.
        Heartbeat::new(config.expect("a valid heartbeat"), Duration::ZERO)
    }

    /// A reconnection time for one connection, drawn from the configured range.
    pub(crate) fn retry_ms(&self) -> u64 {
        let range = &self.inner.config.retry_ms;
        let width = range.end() - range.start();
        // Without entropy the delays are merely not spread.
        let entropy = getrandom::u64().unwrap_or_default();
        range.start()
            + width
                .checked_add(1)
                .map_or(entropy, |width| entropy % width)
    }
}

/// Why an event was not published.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The store did not take it, or may not have.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Subscribers of the topic were too far behind until the deadline; see [`HubConfig::block`].
    #[error("subscribers of the topic are too far behind")]
    Behind,
}

/// One running WebSocket session.
pub(crate) struct SessionGuard(Hub);

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.0.inner.sessions.send_modify(|running| *running -= 1);
    }
}
