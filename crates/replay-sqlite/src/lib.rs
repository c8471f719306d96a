//! A durable replay store on SQLite.
#![forbid(unsafe_code)]

use std::path::Path;

use replay_store::{
    After, Append, Appended, Capabilities, Clock, KeyWindow, Limit, Page, ReplayStore, Retention,
    Selector, StoreError,
};

/// How a [`SqliteStore`] is set up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SqliteConfig {
    retention: Retention,
    keys: KeyWindow,
    max_event_bytes: usize,
    readers: usize,
}

impl Default for SqliteConfig {
    /// The defaults of [`Retention`] and [`KeyWindow`], events of up to 1 MiB, two readers.
    fn default() -> Self {
        Self {
            retention: Retention::default(),
            keys: KeyWindow::default(),
            max_event_bytes: 1 << 20,
            readers: 2,
        }
    }
}

impl SqliteConfig {
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

    /// Reading connections, each with a thread and a cache of about 2 MiB. At least one.
    pub fn readers(&mut self, readers: usize) -> &mut Self {
        self.readers = readers;
        self
    }
}

/// A store in one SQLite file. Clones are the same store.
#[derive(Clone, Debug)]
pub struct SqliteStore;

impl SqliteStore {
    /// Opens the file at `path`, or makes it. `seeds` gives 64 random bits each time an epoch
    /// begins.
    ///
    /// # Errors
    /// Another process has it open, it is no such store, or it cannot be read or written.
    pub fn open(
        path: &Path,
        config: SqliteConfig,
        seeds: impl FnMut() -> u64 + Send + 'static,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let _ = (path, config, seeds, clock);
        unimplemented!()
    }
}

/// Why a file could not be opened as a store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {}

impl ReplayStore for SqliteStore {
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
