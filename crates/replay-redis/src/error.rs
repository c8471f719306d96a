//! What can go wrong, in the store's words.

use redis::RedisError;
use replay_store::StoreError;

/// Why a store could not be opened.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL cannot be used.
    #[error(
        "not a URL of Redis: {detail}; it looks like redis://127.0.0.1:6379, \
         and rediss:// needs a tunnel for now"
    )]
    Url {
        /// What is wrong with it.
        detail: String,
    },
    /// See [`RedisConfig::prefix`](crate::RedisConfig::prefix).
    #[error("the prefix of the keys has 1 to 64 ASCII letters, digits, or any of -_.:")]
    Prefix,
    /// No connection, or Redis refuses to serve it.
    #[error("cannot use Redis: {detail}")]
    Unreachable {
        /// What happened.
        detail: String,
    },
    /// Redis is too old.
    #[error("Redis {found} is too old: at least {least} is needed", least = crate::server::LEAST)]
    Version {
        /// The version found.
        found: String,
    },
    /// When its memory is full, Redis would remove parts of the log.
    #[error(
        "Redis is set to remove keys when its memory is full (maxmemory-policy {policy}), which \
         would tear holes into the log; run: redis-cli CONFIG SET maxmemory-policy noeviction"
    )]
    Eviction {
        /// The policy found.
        policy: String,
    },
    /// The server is a replica.
    #[error("this Redis is a replica of {primary}; connect to the primary")]
    Replica {
        /// The host and port of the primary.
        primary: String,
    },
    /// The server is part of a Redis Cluster.
    #[error(
        "this Redis is part of a cluster, and one log lives on one server; use a Redis without \
         cluster-enabled"
    )]
    Cluster,
}

/// How a call to Redis failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// Nothing was executed.
    Refused(String),
    /// What is stored contradicts itself.
    Corrupt(String),
    /// The connection was lost: it may have been executed or not.
    Lost(String),
    /// The same, but there was no answer in time, or a script failed on the way.
    Unknown(String),
}

impl Failure {
    pub(crate) fn of(error: &RedisError) -> Self {
        let detail = error.to_string();
        match error.code() {
            Some("CORRUPT") => Self::Corrupt(detail),
            Some("OOM") => Self::Refused(format!(
                "{detail}; raise maxmemory of Redis or keep less of the log"
            )),
            Some("READONLY") => Self::Refused(format!("{detail}; connect to the primary")),
            // Redis says these before it begins.
            Some(
                "MISCONF" | "NOREPLICAS" | "LOADING" | "BUSY" | "MASTERDOWN" | "NOAUTH" | "NOPERM"
                | "WRONGPASS" | "NOSCRIPT" | "CLUSTERDOWN" | "MOVED" | "ASK" | "TRYAGAIN",
            ) => Self::Refused(detail),
            None if error.is_io_error() && !error.is_timeout() => Self::Lost(detail),
            _ => Self::Unknown(detail),
        }
    }

    /// What this means for an append.
    pub(crate) fn of_append(self) -> StoreError {
        match self {
            Self::Refused(detail) => StoreError::Unavailable {
                detail: detail.into(),
            },
            Self::Corrupt(detail) => StoreError::Corrupt {
                detail: detail.into(),
            },
            Self::Lost(detail) | Self::Unknown(detail) => StoreError::OutcomeUnknown {
                detail: detail.into(),
            },
        }
    }

    /// What this means where trying again does no harm.
    pub(crate) fn of_read(self) -> StoreError {
        match self {
            Self::Lost(detail) | Self::Unknown(detail) => Self::Refused(detail).of_append(),
            Self::Refused(_) | Self::Corrupt(_) => self.of_append(),
        }
    }
}
