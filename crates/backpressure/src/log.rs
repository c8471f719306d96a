//! The log.

use crate::Reader;

/// Bounds of a log's tail in memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogConfig {
    max_bytes: usize,
    max_events: usize,
}

impl LogConfig {
    /// How many bytes of memory the tail may take (default 8 MiB).
    pub const fn max_bytes(&mut self, bytes: usize) -> &mut Self {
        self.max_bytes = bytes;
        self
    }

    /// How many events the tail may hold (default 100,000).
    pub const fn max_events(&mut self, events: usize) -> &mut Self {
        self.max_events = events;
        self
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            max_bytes: 8 << 20,
            max_events: 100_000,
        }
    }
}

/// An append-only log of encoded events. A clone is the same log.
#[derive(Clone, Debug)]
pub struct Log {}

impl Log {
    /// A log that holds nothing at or below seq `start`.
    #[must_use]
    pub fn new(_config: LogConfig, _start: u64) -> Self {
        unimplemented!()
    }
    /// Appends one event. Wakes nobody.
    pub fn append(&self, _seq: u64, _encoded: &[u8]) {
        unimplemented!()
    }
    /// Wakes every reader that waits. Call it after the watermark was published.
    pub fn wake(&self) {
        unimplemented!()
    }
    /// A reader at the head.
    #[must_use]
    pub fn subscribe(&self) -> Reader {
        unimplemented!()
    }
    /// Number of live readers.
    #[must_use]
    pub fn readers(&self) -> usize {
        unimplemented!()
    }
    /// The last seq appended, or the one the log was created with.
    #[must_use]
    pub fn head(&self) -> u64 {
        unimplemented!()
    }
    /// Bytes of memory that the tail takes now.
    #[must_use]
    pub fn memory(&self) -> usize {
        unimplemented!()
    }
    /// Evicts the oldest segments until the tail takes at most `max_bytes` of memory.
    pub fn evict_to(&self, _max_bytes: usize) {
        unimplemented!()
    }
    /// Closes the log: every reader sees [`ReadError::Closed`](crate::ReadError::Closed) at once.
    pub fn close(&self) {
        unimplemented!()
    }
}
