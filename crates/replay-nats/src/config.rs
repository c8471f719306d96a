//! How a store is set up, and why it may not open.

use std::time::Duration;

/// How a [`NatsStore`](crate::NatsStore) is set up.
///
/// What is marked *when the stream is made* is written into a stream that is not there yet; one
/// that is there keeps its own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NatsConfig {
    /// One or more servers of one cluster, separated by commas:
    /// `nats://user:password@host:4222`. The name and password of the first one count for all.
    pub servers: String,
    /// The stream that keeps the log: 1 to 64 letters, digits, `-` or `_`. Hubs with the same
    /// stream serve the same log.
    pub stream: String,
    /// When the stream is made: how long an event is kept. Zero, and what is over
    /// 292 years: for ever.
    pub max_age: Duration,
    /// When the stream is made: bytes kept, as the server counts them. Zero, and what is over
    /// 2^63: no bound.
    pub max_bytes: u64,
    /// When the stream is made: events kept. Zero: no bound.
    pub max_events: u64,
    /// When the stream is made: how long an idempotency key is remembered; at most `max_age`. The
    /// server takes about 150 bytes of memory for each key in that time.
    pub dedup_window: Duration,
    /// When the stream is made: on how many servers of a cluster it is kept, 1 to 5.
    pub replicas: u8,
    /// The largest data of one event, in bytes. The server's `max_payload` less 2 KiB bounds it
    /// too.
    pub max_event_bytes: usize,
    /// How many reads are under way at a time, the others wait; at least 1. Each takes at most one
    /// consumer on the server, and a few pages of memory for each pattern read.
    pub readers: usize,
    /// How long the server may take to answer.
    pub timeout: Duration,
}

impl Default for NatsConfig {
    /// The stream `TIDEGATE` on a server on this machine; 24 hours and 1 GiB kept, keys for
    /// 2 minutes, one replica, events of up to 1 MiB, 4 reads at a time, 5 seconds to answer.
    fn default() -> Self {
        Self {
            servers: "nats://127.0.0.1:4222".to_owned(),
            stream: "TIDEGATE".to_owned(),
            max_age: Duration::from_secs(24 * 60 * 60),
            max_bytes: 1 << 30,
            max_events: 0,
            dedup_window: Duration::from_secs(120),
            replicas: 1,
            max_event_bytes: 1 << 20,
            readers: 4,
            timeout: Duration::from_secs(5),
        }
    }
}

impl NatsConfig {
    /// Reads `nats://[user:password@]host[:port][,host..][/STREAM]`; the rest is the default.
    ///
    /// # Errors
    /// [`OpenError::Address`] or [`OpenError::StreamName`].
    pub fn from_url(url: &str) -> Result<Self, OpenError> {
        let address = |detail: &str| OpenError::Address {
            detail: detail.to_owned(),
        };
        let rest = url
            .strip_prefix("nats://")
            .ok_or_else(|| address("it begins with nats://; TLS is not built in"))?;
        let (hosts, stream) = rest.split_once('/').unwrap_or((rest, ""));
        if hosts.is_empty() {
            return Err(address("a host is missing"));
        }
        let config = Self {
            servers: format!("nats://{hosts}"),
            stream: match stream {
                "" => Self::default().stream,
                stream => stream.to_owned(),
            },
            ..Self::default()
        };
        config.check()?;
        Ok(config)
    }

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !(1..=64).contains(&self.stream.len()) || !self.stream.bytes().all(letter) {
            return Err(OpenError::StreamName);
        }
        Ok(())
    }
}

/// Why a store could not be opened.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The address of the servers is not one.
    #[error("want nats://[user:password@]host[:port][,host..][/STREAM]: {detail}")]
    Address {
        /// What is wrong with it.
        detail: String,
    },
    /// The name of the stream is not one.
    #[error("a stream is named with 1 to 64 letters, digits, `-` or `_`")]
    StreamName,
    /// No server could be reached.
    #[error("cannot connect to NATS: {detail}; does it run, and is it reached from here?")]
    Connect {
        /// What the client says.
        detail: String,
    },
    /// The server does not know the name and the password.
    #[error("NATS lets nobody in with this name and password: {detail}")]
    Credentials {
        /// What the client says.
        detail: String,
    },
    /// The user may not do what a store needs.
    #[error(
        "NATS refuses its user: {detail}; it needs permission to publish to `$JS.API.>` and to the \
         stream's subjects, and to subscribe to `_INBOX.>`"
    )]
    NotPermitted {
        /// What the server says.
        detail: String,
    },
    /// The server has no JetStream, or the account has not, or no server of the cluster leads it.
    #[error(
        "JetStream is off: {detail}; start nats-server with -js, or with `jetstream {{}}` in its \
         configuration, and enable it for the account"
    )]
    JetStreamOff {
        /// What the server says.
        detail: String,
    },
    /// The server, or the account, has no room for `max_bytes`.
    #[error(
        "JetStream has no room for the stream: {detail}; raise `max_file_store` of nats-server or \
         `max_file` of the account, or keep less"
    )]
    NoRoom {
        /// What the server says.
        detail: String,
    },
    /// JetStream does not keep the stream for another reason.
    #[error("JetStream cannot keep the stream: {detail}")]
    JetStream {
        /// What the server says.
        detail: String,
    },
    /// The stream is there and set up in a way that would lose events without a trace.
    #[error("the stream {stream} cannot keep a log: {detail}")]
    Unsafe {
        /// Its name.
        stream: String,
        /// Which setting, and what to do.
        detail: String,
    },
}
