//! How a store is set up.

use std::fmt;
use std::time::Duration;

use replay_store::{KeyWindow, Retention, RetentionRules};

/// How a [`RedisStore`](crate::RedisStore) is set up. Nodes that share a log use the same retention;
/// where they differ, each applies its own when it appends.
#[derive(Clone, Eq, PartialEq)]
pub struct RedisConfig {
    /// Where Redis is: `redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]`, or `unix:///PATH`. It must be
    /// the primary.
    pub url: String,
    /// Names the log: all its keys begin with `{PREFIX}:`. 1 to 64 ASCII letters, digits, `-`, `_`,
    /// `.` or `:`.
    pub prefix: String,
    /// How much of the log is kept; `log_bytes` bounds the memory of Redis, times about 2.
    pub retention: Retention,
    /// Topics that are bounded otherwise. A topic takes over a rule with its next event.
    pub rules: RetentionRules,
    /// How long idempotency keys are remembered.
    pub keys: KeyWindow,
    /// The largest data of one event, in bytes.
    pub max_event_bytes: usize,
    /// Reads under way at once, at least one. More clients than that may replay at once; they take
    /// turns, a page each, on one connection.
    pub readers: usize,
    /// How long Redis may take to accept a connection, and to answer. Then a read is
    /// [`Unavailable`](replay_store::StoreError::Unavailable) and the outcome of an append unknown.
    pub timeout: Duration,
}

impl RedisConfig {
    /// The defaults of [`Retention`] and [`KeyWindow`], the prefix `tidegate`, events of up to 1 MiB,
    /// two readers, five seconds.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "tidegate".to_owned(),
            retention: Retention::default(),
            rules: RetentionRules::default(),
            keys: KeyWindow::default(),
            max_event_bytes: 1 << 20,
            readers: 2,
            timeout: Duration::from_secs(5),
        }
    }

    pub(crate) fn has_valid_prefix(&self) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        (1..=64).contains(&self.prefix.len()) && self.prefix.bytes().all(allowed)
    }
}

/// Without the URL, which may hold a password.
impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("prefix", &self.prefix)
            .field("retention", &self.retention)
            .field("rules", &self.rules)
            .field("keys", &self.keys)
            .field("max_event_bytes", &self.max_event_bytes)
            .field("readers", &self.readers)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
