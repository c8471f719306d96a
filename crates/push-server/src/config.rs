//! What a hub allows, and what each allowance costs.

use std::ops::RangeInclusive;
use std::time::Duration;

use backpressure::{Lag, LogConfig, Policy};
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
    pub(crate) offered: Vec<Policy>,
    pub(crate) tail: LogConfig,
    pub(crate) tails_bytes: usize,
    pub(crate) batch: Option<Batch>,
    pub(crate) block: Option<Block>,
    pub(crate) max_event_bytes: usize,
    pub(crate) max_message_bytes: usize,
    pub(crate) max_batch: Limit,
    pub(crate) drain: Duration,
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
            offered: vec![
                Policy::disconnect(),
                Policy::drop_oldest(),
                Policy::conflate(),
            ],
            tail: LogConfig::default(),
            tails_bytes: 256 << 20,
            batch: None,
            block: None,
            max_event_bytes: 1024 * 1024,
            max_message_bytes: 1024 * 1024,
            max_batch: Limit {
                events: 1_000,
                bytes: 4 * 1024 * 1024,
            },
            page: Limit {
                events: 256,
                bytes: 256 * 1024,
            },
            drain: Duration::from_secs(30),
            poll: Duration::from_secs(5),
            access: Access::default(),
            compression: Compression::default(),
        }
    }
}

impl HubConfig {
    /// The defaults: heartbeat 15 s, `retry:` 2 to 5 s, policy `replay`, events and WebSocket
    /// messages up to 1 MiB, an 8 MiB tail for each pattern and wire form, 256 MiB for all tails.
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

    /// What happens to a subscriber that is too slow, with its bound, unless it asks for one of
    /// the policies that are [offered](Self::offer).
    ///
    /// `conflate` holds a copy of up to twice its bound for each subscriber; the others hold
    /// nothing.
    pub fn policy(&mut self, policy: Policy) -> &mut Self {
        self.policy = policy;
        self
    }

    /// The other policies that subscribers may ask for, each with its bound. By default all, with
    /// their default bounds.
    pub fn offer(&mut self, policies: impl IntoIterator<Item = Policy>) -> &mut Self {
        self.offered = policies.into_iter().collect();
        self
    }

    /// The policy of that name, if subscribers may ask for it.
    pub(crate) fn offered(&self, name: &str) -> Option<Policy> {
        let mut policies = [self.policy]
            .into_iter()
            .chain(self.offered.iter().copied());
        policies.find(|policy| policy.as_str() == name)
    }

    /// How much of each pattern is kept encoded in memory, per wire form in use, for subscribers
    /// that are a little behind. Worst case: its bytes, plus one segment of 64 KiB, for every
    /// pattern and form that has a subscriber that is behind.
    pub fn tail(&mut self, tail: LogConfig) -> &mut Self {
        self.tail = tail;
        self
    }

    /// How many bytes all [tails](Self::tail) together may take. Beyond it, those that take the
    /// most lose the older half of what they hold, and their slow subscribers read it from the
    /// store.
    pub fn tails_bytes(&mut self, bytes: usize) -> &mut Self {
        self.tails_bytes = bytes;
        self
    }

    /// Writes to each subscriber less often: `max_delay` after the first event that is pending, or
    /// as soon as `max_bytes` are. Costs a timer for each subscriber, of about 200 bytes.
    pub fn batch(&mut self, max_delay: Duration, max_bytes: u64) -> &mut Self {
        self.batch = Some(Batch {
            max_delay,
            max_bytes,
        });
        self
    }

    /// Has publishers wait while a subscriber of their topic on this node is further behind than
    /// `max`, and refuses the event after `deadline`. The feed never waits: events that other nodes
    /// publish arrive as ever. Costs about 50 bytes for each subscriber.
    pub fn block(&mut self, max: Lag, deadline: Duration) -> &mut Self {
        self.block = Some(Block { max, deadline });
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

    /// How many events, and how many bytes of JSON, one `POST /batch` may have. While it is
    /// published the hub holds these bytes, as many again for the events, and about 200 bytes for
    /// each of them.
    pub fn max_batch(&mut self, batch: Limit) -> &mut Self {
        self.max_batch = batch;
        self
    }

    /// How many events, and how many bytes of them, one replay page holds. A replaying connection
    /// holds at most one page, encoded.
    pub fn page(&mut self, page: Limit) -> &mut Self {
        self.page = page;
        self
    }

    /// The window over which connections are told to go when the hub [drains](crate::Hub::drain), so
    /// that they do not come back to another node all at once. 30 seconds by default. No memory cost
    /// before, a timer of about 200 bytes for each subscription then.
    pub fn drain(&mut self, window: Duration) -> &mut Self {
        self.drain = window;
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

/// See [`HubConfig::batch`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    pub(crate) max_delay: Duration,
    pub(crate) max_bytes: u64,
}

/// See [`HubConfig::block`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub(crate) max: Lag,
    pub(crate) deadline: Duration,
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
    /// The range of reconnection times is empty.
    #[error("the range of reconnection times is empty: its start must not exceed its end")]
    EmptyRetryRange,
}
