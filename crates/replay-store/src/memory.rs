//! The memory store.

use crate::{
    After, Append, Appended, Capabilities, Clock, Epoch, KeyWindow, Limit, Page, ReplayStore,
    Retention, Selector, StoreError,
};

/// How a [`MemoryStore`] is set up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MemoryConfig {
    retention: Retention,
    keys: KeyWindow,
    max_event_bytes: usize,
}

impl Default for MemoryConfig {
    /// The defaults of [`Retention`] and [`KeyWindow`], and events of up to 1 MiB.
    fn default() -> Self {
        Self {
            retention: Retention::default(),
            keys: KeyWindow::default(),
            max_event_bytes: 1 << 20,
        }
    }
}

impl MemoryConfig {
    /// How much of the log is kept.
    pub fn retention(&mut self, retention: Retention) -> &mut Self {
        self.retention = retention;
        self
    }

    /// How long idempotency keys are remembered.
    pub fn keys(&mut self, keys: KeyWindow) -> &mut Self {
        self.keys = keys;
        self
    }

    /// The largest data of one event, in bytes.
    pub fn max_event_bytes(&mut self, bytes: usize) -> &mut Self {
        self.max_event_bytes = bytes;
        self
    }
}

/// A store in the memory of this process; it ends with it. Clones are the same store.
#[derive(Clone, Debug)]
pub struct MemoryStore;

impl MemoryStore {
    /// An empty log in the epoch `seed`: 64 bits that no other log of yours has, so at random.
    #[must_use]
    pub fn new(config: MemoryConfig, seed: Epoch, clock: Clock) -> Self {
        let _ = (config, seed, clock);
        Self
    }
}

impl ReplayStore for MemoryStore {
    fn capabilities(&self) -> Capabilities {
        unimplemented!()
    }

    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        let _ = batch;
        unimplemented!()
    }

    async fn read(
        &self,
        selector: &Selector,
        after: After,
        limit: Limit,
    ) -> Result<Page, StoreError> {
        let _ = (selector, after, limit);
        unimplemented!()
    }
}
