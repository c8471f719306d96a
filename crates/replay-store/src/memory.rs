//! The memory store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;

use self::log::Log;
use crate::{
    After, Append, Appended, Capabilities, Clock, Epoch, Epochs, Hint, Hints, KeyWindow, Limit,
    Page, ReplayStore, Retention, RetentionRules, Selector, StoreError, Topic, TopicInfo,
};

mod keys;
mod log;

/// How a [`MemoryStore`] is set up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemoryConfig {
    /// How much of the log is kept; `log_bytes` bounds the store's memory.
    pub retention: Retention,
    /// Topics that are bounded otherwise.
    pub rules: RetentionRules,
    /// How long idempotency keys are remembered.
    pub keys: KeyWindow,
    /// The largest data of one event, in bytes.
    pub max_event_bytes: usize,
}

impl Default for MemoryConfig {
    /// The defaults of [`Retention`] and [`KeyWindow`], and events of up to 1 MiB.
    fn default() -> Self {
        Self {
            retention: Retention::default(),
            rules: RetentionRules::default(),
            keys: KeyWindow::default(),
            max_event_bytes: 1 << 20,
        }
    }
}

/// A store in the memory of this process, which ends with it. Clones are the same store.
///
/// A store made anew has another epoch, so that a subscriber of the one before is told that its
/// history is gone.
#[derive(Clone, Debug)]
pub struct MemoryStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    capabilities: Capabilities,
    clock: Clock,
    /// `None` once closed.
    log: Mutex<Option<Log>>,
    hints: Hints,
}

impl MemoryStore {
    /// An empty log. `seed` is 64 bits that no other log of yours has; take them at random.
    #[must_use]
    pub fn new(config: MemoryConfig, seed: Epoch, clock: Clock) -> Self {
        let MemoryConfig {
            retention,
            rules,
            keys,
            max_event_bytes,
        } = config;
        let capabilities = Capabilities {
            dense: true,
            exact_gaps: true,
            atomic_batch: true,
            per_topic_retention: true,
            survives_process: false,
            survives_power: false,
            survives_failover: false,
            dedup_window: if keys.count == 0 {
                Duration::ZERO
            } else {
                keys.age
            },
            max_event_bytes,
        };
        let log = Mutex::new(Some(Log::new(retention, rules, keys, Epochs::new(seed))));
        Self(Arc::new(Shared {
            capabilities,
            clock,
            log,
            hints: Hints::default(),
        }))
    }

    /// A panic while the log was locked may have left it inconsistent; then it is as good as
    /// closed.
    fn lock(&self) -> MutexGuard<'_, Option<Log>> {
        self.0
            .log
            .lock()
            .unwrap_or_else(|poisoned: PoisonError<_>| {
                let mut log = poisoned.into_inner();
                *log = None;
                log
            })
    }
}

impl ReplayStore for MemoryStore {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities
    }

    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        let now_ms = self.0.clock.now_ms();
        let (appended, wakers) = {
            let mut log = self.lock();
            let log = log.as_mut().ok_or(StoreError::Closed)?;
            let (appended, hint) = log.append(batch, &self.0.capabilities, now_ms)?;
            (appended, hint.map(|hint| self.0.hints.push(&hint)))
        };
        for waker in wakers.into_iter().flatten() {
            waker.wake();
        }
        Ok(appended)
    }

    async fn read(
        &self,
        selector: &Selector,
        after: After,
        limit: Limit,
    ) -> Result<Page, StoreError> {
        let now_ms = self.0.clock.now_ms();
        let mut log = self.lock();
        let log = log.as_mut().ok_or(StoreError::Closed)?;
        Ok(log.read(selector, after, limit, now_ms))
    }

    async fn trim(&self, selector: &Selector, through: u64) -> Result<(), StoreError> {
        self.lock()
            .as_mut()
            .ok_or(StoreError::Closed)?
            .trim(selector, through);
        Ok(())
    }

    async fn topics(
        &self,
        selector: &Selector,
        after: Option<&Topic>,
        limit: usize,
    ) -> Result<Vec<TopicInfo>, StoreError> {
        let now_ms = self.0.clock.now_ms();
        let mut log = self.lock();
        let log = log.as_mut().ok_or(StoreError::Closed)?;
        Ok(log.topics(selector, after, limit, now_ms))
    }

    fn hints(&self) -> Option<BoxStream<'static, Hint>> {
        Some(self.0.hints.subscribe().boxed())
    }

    async fn close(&self) -> Result<(), StoreError> {
        *self.lock() = None;
        self.0.hints.end();
        Ok(())
    }
}
