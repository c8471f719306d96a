//! What a hub allows, and what each allowance costs.

use std::ops::RangeInclusive;
use std::time::Duration;

use backpressure::{LogConfig, Policy};
use replay_store::Limit;
use ws_proto::handshake::{DeflateParams, DeflateSide};

use crate::access::Access;

/// The longest heartbeat interval that is accepted: proxies and load balancers drop connections
/// that are silent for 30 to 60 seconds.
pub const MAX_HEARTBEAT: Duration = Duration::from_secs(30);

/// Configuration of a [`Hub`](crate::Hub).
///
/// Every limit states the memory it can cost.
#[derive(Clone, Debug)]
pub struct HubConfig {
    pub(crate) heartbeat: Duration,
    pub(crate) retry_ms: RangeInclusive<u64>,
    pub(crate) policy: Policy,
    pub(crate) tail: LogConfig,
    pub(crate) max_event_bytes: usize,
    pub(crate) max_message_bytes: usize,
    pub(crate) page: Limit,
    pub(crate) poll: Duration,
    pub(crate) access: Access,
    pub(crate) compression: Compression,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(15),
            retry_ms: 2_000..=5_000,
            policy: Policy::default(),
            tail: LogConfig::default(),
            max_event_bytes: 1024 * 1024,
            max_message_bytes: 1024 * 1024,
            page: Limit {
                events: 256,
                bytes: 256 * 1024,
            },
            poll: Duration::from_secs(5),
            access: Access::default(),
            compression: Compression::default(),
        }
    }
}

impl HubConfig {
    /// The defaults: heartbeat 15 s, `retry:` 2 to 5 s, policy `replay`, events and WebSocket
    /// messages up to 1 MiB, an 8 MiB tail for each topic and wire form.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a connection may be silent before the hub sends a heartbeat. No memory cost.
    ///
    /// # Errors
    ///
    /// Zero, and anything over [`MAX_HEARTBEAT`], is refused.
    pub fn heartbeat(&mut self, interval: Duration) -> Result<&mut Self, ConfigError> {
        if interval.is_zero() || interval > MAX_HEARTBEAT {
            return Err(ConfigError::Heartbeat { interval });
        }
        self.heartbeat = interval;
        Ok(self)
    }

    /// The range, in milliseconds, from which every connection draws the reconnection time it is
    /// told with `retry:`. Spreading it keeps clients from coming back all at once.
    ///
    /// # Errors
    ///
    /// An empty range is refused.
    pub fn retry_ms(&mut self, range: RangeInclusive<u64>) -> Result<&mut Self, ConfigError> {
        if range.is_empty() {
            return Err(ConfigError::EmptyRetryRange);
        }
        self.retry_ms = range;
        Ok(self)
    }

    /// What happens to a subscriber that is too slow, unless it asks for another policy: `replay`,
    /// `disconnect` or `drop-oldest`, with a bound.
    ///
    /// # Errors
    ///
    /// Another policy is refused; the hub does not serve it yet.
    pub fn policy(&mut self, policy: Policy) -> Result<&mut Self, ConfigError> {
        if !is_supported(&policy) {
            return Err(ConfigError::Policy {
                name: policy.as_str(),
            });
        }
        self.policy = policy;
        Ok(self)
    }

    /// How much of each topic is kept encoded in memory, per wire form in use, for subscribers
    /// that are a little behind. Worst case: its bytes, plus one segment of 64 KiB, for every
    /// topic and form that has a subscriber that is behind.
    pub fn tail(&mut self, tail: LogConfig) -> &mut Self {
        self.tail = tail;
        self
    }

    /// The largest event data that may be published, in bytes. A publish holds this much while it
    /// is received.
    pub fn max_event_bytes(&mut self, bytes: usize) -> &mut Self {
        self.max_event_bytes = bytes;
        self
    }

    /// The largest WebSocket message a client may send, in bytes. A connection holds this much
    /// only while such a message arrives. It bounds what a compressed message inflates to as well as
    /// what it has on the wire.
    pub fn max_message_bytes(&mut self, bytes: usize) -> &mut Self {
        self.max_message_bytes = bytes;
        self
    }

    /// How many events, and how many bytes of them, one replay page holds. A replaying connection
    /// holds at most one page, encoded.
    pub fn page(&mut self, page: Limit) -> &mut Self {
        self.page = page;
        self
    }

    /// How often the feed asks the store for events that no hint announced. Only a backstop.
    pub fn poll(&mut self, interval: Duration) -> &mut Self {
        self.poll = interval;
        self
    }

    /// Which `Host` and `Origin` headers are let in.
    pub fn access(&mut self, access: Access) -> &mut Self {
        self.access = access;
        self
    }

    /// Whether the messages of a WebSocket client may be compressed, if it offers that; each by
    /// itself unless told. Its values say what they cost.
    pub fn compression(&mut self, compression: Compression) -> &mut Self {
        self.compression = compression;
        self
    }
}

/// How a WebSocket client may compress the messages that it sends (permessage-deflate, RFC 7692).
///
/// Events go out as they are whatever was agreed on, since all subscribers share their bytes, and a
/// receiver takes either form of each message. Of what the hub sends, answers of 1 KiB or more to one
/// client alone are compressed, each by itself, so a client needs no window for them between messages.
///
/// A compressed message must not inflate to more than
/// [`max_message_bytes`](HubConfig::max_message_bytes), nor, once over 64 KiB, to more than 256
/// times its size.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Compression {
    /// Offers are declined.
    Off,
    /// Each message by itself. A connection holds 47 KiB for the window and
    /// tables while a compressed message arrives, and nothing between messages.
    #[default]
    Messages,
    /// Messages may refer to the ones before, which makes many small ones alike several times
    /// smaller. A connection keeps those 47 KiB from its first compressed message on.
    Context,
}

impl Compression {
    /// What the hub wishes for in the opening handshake.
    pub(crate) fn wish(self) -> Option<DeflateParams> {
        let alone = DeflateSide {
            no_context_takeover: true,
            ..DeflateSide::default()
        };
        let client = match self {
            Self::Off => return None,
            Self::Messages => alone,
            Self::Context => DeflateSide::default(),
        };
        Some(DeflateParams {
            server: alone,
            client,
        })
    }
}

/// Whether subscriptions can have this policy.
pub(crate) const fn is_supported(policy: &Policy) -> bool {
    matches!(
        policy,
        Policy::Replay { .. } | Policy::Disconnect { .. } | Policy::DropOldest { .. }
    )
}

/// A configuration value that cannot work.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The heartbeat is zero or longer than [`MAX_HEARTBEAT`].
    #[error(
        "a heartbeat of {interval:?} is refused: choose more than 0 s and at most 30 s, \
         or proxies will cut idle connections"
    )]
    Heartbeat {
        /// What was asked for.
        interval: Duration,
    },
    /// The hub does not serve this policy yet.
    #[error("the policy {name} is not served yet; use replay, disconnect or drop-oldest")]
    Policy {
        /// What was asked for.
        name: &'static str,
    },
    /// The range of reconnection times is empty.
    #[error("the range of reconnection times is empty: its start must not exceed its end")]
    EmptyRetryRange,
}
