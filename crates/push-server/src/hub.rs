//! The hub: one store, its feed, and what publishers and subscribers reach through it.

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use backpressure::{AdmitError, Policy};
use replay_store::feed::{Feed, FeedConfig, FeedHandle, JoinError};
use replay_store::{
    After, AnyStore, Append, Appended, Limit, Position, ReplayStore, Selector, StoreError, Topic,
};
use session_proto::{Heartbeat, HeartbeatConfig};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::{Block, HubConfig};
use crate::fanout::Fanout;
use crate::form::Form;
use crate::link::Link;
use crate::metered::Metered;
use crate::metrics::Registry;
use crate::subscriber::Subscriber;

/// How long a subscription may wait to be told which of its topics have ended. Without an answer it
/// goes on as if none had.
pub(crate) const ASKING: Duration = Duration::from_secs(1);

/// A running hub. Clones are the same hub.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    config: HubConfig,
    registry: Arc<Registry>,
    started: Instant,
    store: Metered,
    /// The same, for subscriptions.
    replay: AnyStore,
    feed: FeedHandle<Fanout>,
    fanout: Fanout,
    /// Connections, and subscriptions without one, that there were.
    connections: AtomicU64,
    /// Subscriptions that are open.
    live: AtomicUsize,
    /// When the last subscription ends, once the hub drains.
    drained_at: OnceLock<Instant>,
    /// Told when the last subscription has ended.
    idle: Notify,
    closed: watch::Sender<bool>,
    /// The same, for subscriptions, which look at it with every event.
    is_closed: AtomicBool,
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
        let registry = Arc::new(Registry::new());
        let store = Metered::new(store, Arc::clone(&registry));
        let (feed, task) = Feed::start(
            store.for_feed(),
            fanout.clone(),
            feed_config,
            tokio::time::sleep,
        )
        .await?;
        tokio::spawn(task);
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                registry,
                started: Instant::now(),
                replay: store.erased(),
                store,
                feed,
                fanout,
                connections: AtomicU64::new(0),
                live: AtomicUsize::new(0),
                drained_at: OnceLock::new(),
                idle: Notify::new(),
                closed: watch::Sender::new(false),
                is_closed: AtomicBool::new(false),
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
        let mut appended = self.publish_batch(vec![event]).await?;
        let answered = appended.pop().ok_or_else(|| StoreError::OutcomeUnknown {
            detail: "the store answered no position".into(),
        });
        Ok(answered?)
    }

    /// Appends several events to the log, in order, and answers as many positions. Where the store
    /// is capable of an [atomic batch](replay_store::Capabilities::atomic_batch), they are appended
    /// whole or not at all, with no other event between them.
    ///
    /// # Errors
    ///
    /// As for [`publish`](Self::publish). Nothing was appended, except after
    /// [`StoreError::OutcomeUnknown`].
    ///
    /// # Cancel safety
    ///
    /// The events may or may not have been appended: publish the batch again with the same
    /// idempotency keys.
    pub async fn publish_batch(&self, batch: Vec<Append>) -> Result<Vec<Appended>, PublishError> {
        let limit = self.inner.config.max_event_bytes;
        for (index, event) in batch.iter().enumerate() {
            let bytes = event.data.len();
            if bytes > limit {
                return Err(StoreError::TooLarge {
                    index,
                    bytes,
                    limit,
                }
                .into());
            }
        }
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(block) = self.inner.config.block {
            let started = Instant::now();
            let mut topics: Vec<_> = batch.iter().map(|event| &event.topic).collect();
            topics.sort_unstable();
            topics.dedup();
            for topic in topics {
                self.admit(topic, block, started).await?;
            }
        }
        Ok(self.inner.store.append(batch).await?)
    }

    /// Ends a topic: appends its last event, of type `$end`, after which it takes no more. A topic
    /// that has ended answers the position of its end as a duplicate.
    ///
    /// # Errors
    ///
    /// As for [`publish`](Self::publish).
    ///
    /// # Cancel safety
    ///
    /// The topic may or may not have ended: end it again.
    pub async fn end(&self, topic: Topic) -> Result<Appended, PublishError> {
        self.publish(Append::end(topic)).await
    }

    /// Removes the events of `selector` that are in the log now, from the store and from the tails
    /// of this node, and answers the end of the log up to which that was done. Subscribers that
    /// have not received them are told of a gap. Other nodes on the same store may still hand out
    /// what is in their tails.
    ///
    /// # Errors
    ///
    /// The store cannot remove events, or could not be reached. Some may have been removed.
    ///
    /// # Cancel safety
    ///
    /// Some may have been removed: purge again.
    pub async fn purge(&self, selector: &Selector) -> Result<Position, StoreError> {
        let (store, feed) = (&self.inner.store, &self.inner.feed);
        let one = Limit {
            events: 1,
            bytes: 1,
        };
        // The head of `replay_store::feed` says why in this order.
        let through = loop {
            let page = store.read(&Selector::all(), After::Latest, one).await?;
            let through = page.next();
            match feed.reach(through).await {
                Ok(at) if at.epoch == through.epoch && at.seq >= through.seq => break through,
                // The log lost its end meanwhile.
                Ok(_) => {}
                Err(JoinError::Store(error)) => return Err(error),
                Err(JoinError::Closed(_)) => return Err(StoreError::Closed),
            }
        };
        store.trim(selector, through.seq).await?;
        let purged = feed.purge(selector).await;
        purged.map_err(|_closed| StoreError::Closed)?;
        Ok(through)
    }

    /// The topics of an exact `selector` that have ended, if that can be found out at once.
    pub(crate) async fn ended_of(&self, selector: &Selector) -> Vec<Topic> {
        let topics = selector.topics();
        let asked = self.inner.store.topics(selector, None, topics.len());
        match timeout(ASKING, asked).await {
            Ok(Ok(infos)) => {
                let ended = infos.into_iter().filter(|info| info.ended);
                ended.map(|info| info.topic).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Waits until no subscriber of `topic` is too far behind.
    async fn admit(
        &self,
        topic: &Topic,
        block: Block,
        started: Instant,
    ) -> Result<(), PublishError> {
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
        let id = self.next_connection();
        Subscriber::new(self.clone(), id, selector, form, policy, after)
    }

    /// As [`subscribe`](Self::subscribe), for a connection.
    pub(crate) fn subscribe_for(
        &self,
        link: &Link,
        selector: Selector,
        form: Form,
        policy: Policy,
        after: After,
    ) -> Subscriber {
        Subscriber::new(self.clone(), link.id(), selector, form, policy, after)
    }

    /// A number that names a connection in the log.
    pub(crate) fn next_connection(&self) -> u64 {
        self.inner.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Ends every subscription at once and without a farewell, as a network failure would, so
    /// that clients show how they resume.
    pub fn drop_connections(&self) {
        self.inner.fanout.drop_readers();
    }

    /// Has every subscription end, each at a moment of its own within the configured
    /// [window](HubConfig::drain) and told when to come back, and begins no new one. Publishing goes
    /// on. Completes when the last subscription has ended, or the window is over.
    ///
    /// # Cancel safety
    ///
    /// The hub goes on draining.
    pub async fn drain(&self) {
        let window = self.inner.config.drain;
        let until = *self
            .inner
            .drained_at
            .get_or_init(|| Instant::now() + window);
        self.inner.fanout.rouse_readers();
        let ended = async {
            loop {
                let idle = self.inner.idle.notified();
                let mut idle = std::pin::pin!(idle);
                // Counted from before the look at the count.
                idle.as_mut().enable();
                if self.subscriptions() == 0 {
                    return;
                }
                idle.await;
            }
        };
        let _late = timeout_at(until, ended).await;
    }

    /// Whether [`drain`](Self::drain) was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.inner.drained_at.get().is_some()
    }

    /// A moment to end a subscription at, if the hub drains.
    pub(crate) fn leave_at(&self) -> Option<Instant> {
        let until = *self.inner.drained_at.get()?;
        let left = until.saturating_duration_since(Instant::now());
        // Without entropy they leave at once, as if the window were empty.
        let part = getrandom::u32().unwrap_or(u32::MAX);
        Some(until - left.mul_f64(f64::from(part) / f64::from(u32::MAX)))
    }

    /// Closes the hub: every subscription ends in order, and no new one starts.
    pub fn close(&self) {
        self.inner.is_closed.store(true, Ordering::Release);
        self.inner.closed.send_replace(true);
        self.inner.fanout.wake_readers();
    }

    /// Whether [`close`](Self::close) was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.is_closed.load(Ordering::Acquire)
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
        let before = self
            .inner
            .live
            .fetch_add(change.cast_unsigned(), Ordering::Relaxed);
        if before == 1 && change < 0 {
            self.inner.idle.notify_waiters();
        }
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

    /// There is one more connection, or one less, that [`ended`](Self::ended) waits for.
    pub(crate) fn count_session(&self, change: isize) {
        let sessions = &self.inner.sessions;
        sessions.send_modify(|running| *running = running.wrapping_add_signed(change));
    }

    /// The configuration that the hub was started with.
    #[must_use]
    pub fn config(&self) -> &HubConfig {
        &self.inner.config
    }

    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.inner.registry
    }

    pub(crate) fn store(&self) -> &Metered {
        &self.inner.store
    }

    pub(crate) fn replay(&self) -> &AnyStore {
        &self.inner.replay
    }

    pub(crate) fn feed(&self) -> &FeedHandle<Fanout> {
        &self.inner.feed
    }

    pub(crate) fn fanout(&self) -> &Fanout {
        &self.inner.fanout
    }

    /// Where the hub's time begins.
    pub(crate) fn started(&self) -> Instant {
        self.inner.started
    }

    /// The hub's time, in which each WebSocket session would else have a beginning of its own.
    pub(crate) fn now(&self) -> Duration {
        self.inner.started.elapsed()
    }

    /// The timer of a WebSocket session that opens now, whose peer is dead when silent for `timeout`.
    pub(crate) fn heartbeat(&self, timeout: Duration) -> Heartbeat {
        let config = HeartbeatConfig::new(self.inner.config.heartbeat, Some(timeout));
        // The interval was checked when it was configured, and timeouts are multiples of it.
        Heartbeat::new(config.expect("a valid heartbeat"), self.now())
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
