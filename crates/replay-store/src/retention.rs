//! What a store keeps, and for how long. Shared by the stores that apply retention themselves.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How much of the log is kept. The oldest events go first.
///
/// A topic is bounded by count, bytes and age, the whole log by bytes. Bytes are counted as
/// [`Event::cost`](crate::Event::cost) counts them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retention {
    pub(crate) events: usize,
    pub(crate) bytes: u64,
    pub(crate) age: Duration,
    pub(crate) log_bytes: u64,
    pub(crate) idle_topics: usize,
}

impl Default for Retention {
    /// 10,000 events, 64 MiB and 24 hours a topic, 1 GiB a log, 10,000 idle topics.
    fn default() -> Self {
        Self {
            events: 10_000,
            bytes: 64 << 20,
            age: Duration::from_secs(24 * 60 * 60),
            log_bytes: 1 << 30,
            idle_topics: 10_000,
        }
    }
}

impl Retention {
    /// Events kept per topic.
    pub fn events(&mut self, events: usize) -> &mut Self {
        self.events = events;
        self
    }

    /// Bytes kept per topic.
    pub fn bytes(&mut self, bytes: u64) -> &mut Self {
        self.bytes = bytes;
        self
    }

    /// How long an event is kept, in whole milliseconds.
    pub fn age(&mut self, age: Duration) -> &mut Self {
        self.age = age;
        self
    }

    /// Bytes kept over all topics. This bounds the memory of a memory store and, times about 1.3,
    /// the file of an embedded one.
    pub fn log_bytes(&mut self, bytes: u64) -> &mut Self {
        self.log_bytes = bytes;
        self
    }

    /// How many topics without any retained event are remembered, about 500 bytes each. Beyond,
    /// the longest idle one is forgotten, and cursors below its last event are answered with a
    /// gap on every topic that the store does not know.
    pub fn idle_topics(&mut self, topics: usize) -> &mut Self {
        self.idle_topics = topics;
        self
    }
}

/// How long idempotency keys are remembered: up to a number of keys over the whole log, and up to
/// an age. About 500 bytes a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyWindow {
    pub(crate) count: usize,
    pub(crate) age: Duration,
}

impl Default for KeyWindow {
    /// 100,000 keys, for one hour.
    fn default() -> Self {
        Self {
            count: 100_000,
            age: Duration::from_secs(60 * 60),
        }
    }
}

impl KeyWindow {
    /// Keys remembered over all topics; the oldest goes first. 0 remembers none.
    pub fn count(&mut self, keys: usize) -> &mut Self {
        self.count = keys;
        self
    }

    /// How long a key is remembered, in whole milliseconds.
    pub fn age(&mut self, age: Duration) -> &mut Self {
        self.age = age;
        self
    }
}

/// Tells a store the time: milliseconds since the Unix epoch. Stores read no clock of their own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// Wraps a function. It may go backwards; the timestamps of events do not.
    #[must_use]
    pub fn new(unix_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(unix_ms))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").finish_non_exhaustive()
    }
}
