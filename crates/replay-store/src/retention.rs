//! What a store keeps, and for how long. Shared by the stores that apply retention themselves.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{Pattern, Topic};

/// How much of the log is kept. The oldest events go first.
///
/// A topic is bounded by count, bytes and age, the whole log by bytes. Bytes are counted as
/// [`Event::cost`](crate::Event::cost) counts them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retention {
    /// Events kept per topic.
    pub events: usize,
    /// Bytes kept per topic.
    pub bytes: u64,
    /// How long an event is kept, in whole milliseconds.
    pub age: Duration,
    /// Bytes kept over all topics. This bounds the memory of a memory store, and about the file of
    /// an embedded one.
    pub log_bytes: u64,
    /// How many topics without any retained event are remembered, about 500 bytes each. Beyond
    /// that, the longest idle one is forgotten, and cursors below its last event are answered with
    /// a gap on every topic that the store does not know.
    pub idle_topics: usize,
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
    /// Keeps everything.
    pub const UNBOUNDED: Self = Self {
        events: usize::MAX,
        bytes: u64::MAX,
        age: Duration::MAX,
        log_bytes: u64::MAX,
        idle_topics: usize::MAX,
    };

    /// The bounds of one topic that no [rule](RetentionRules) says otherwise of.
    #[must_use]
    pub const fn of_topic(&self) -> TopicRetention {
        TopicRetention {
            events: self.events,
            bytes: self.bytes,
            age: self.age,
        }
    }

    /// The timestamp below which an event is too old at `now_ms`.
    #[must_use]
    pub fn oldest_ms(&self, now_ms: u64) -> u64 {
        oldest_ms(now_ms, self.age)
    }
}

/// How much of one topic is kept; see [`Retention`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TopicRetention {
    /// Events kept.
    pub events: usize,
    /// Bytes kept.
    pub bytes: u64,
    /// How long an event is kept, in whole milliseconds.
    pub age: Duration,
}

impl TopicRetention {
    /// When an event is too old: the first millisecond at which it is no longer kept, `u64::MAX`
    /// for never.
    #[must_use]
    pub fn expires_ms(&self, timestamp_ms: u64) -> u64 {
        let age = u64::try_from(self.age.as_millis()).unwrap_or(u64::MAX);
        timestamp_ms.saturating_add(age).saturating_add(1)
    }
}

/// Bounds of their own for topics that a pattern matches. The first pattern that matches counts;
/// what matches none is bounded by [`Retention`]. Cloning is cheap.
///
/// A topic is looked up once in the time that a store knows it, in proportion to the rules.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RetentionRules(Option<Arc<[(Pattern, TopicRetention)]>>);

impl RetentionRules {
    /// These rules, the more particular ones first.
    #[must_use]
    pub fn new(rules: Vec<(Pattern, TopicRetention)>) -> Self {
        Self((!rules.is_empty()).then(|| rules.into()))
    }

    /// The bounds of a topic.
    #[must_use]
    pub fn of(&self, topic: &Topic, retention: &Retention) -> TopicRetention {
        let mut rules = self.0.iter().flat_map(|rules| rules.iter());
        rules
            .find(|(pattern, _)| pattern.matches(topic))
            .map_or_else(|| retention.of_topic(), |(_, bounds)| *bounds)
    }
}

/// How long idempotency keys are remembered: up to a number of keys over the whole log, and up to
/// an age. About 500 bytes a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyWindow {
    /// Keys remembered over all topics; the oldest goes first. 0 remembers none.
    pub count: usize,
    /// How long a key is remembered, in whole milliseconds.
    pub age: Duration,
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
    /// The timestamp below which a key is too old at `now_ms`.
    #[must_use]
    pub fn oldest_ms(&self, now_ms: u64) -> u64 {
        oldest_ms(now_ms, self.age)
    }
}

/// Saturates: an age beyond the clock's range keeps everything.
fn oldest_ms(now_ms: u64, age: Duration) -> u64 {
    now_ms.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
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
