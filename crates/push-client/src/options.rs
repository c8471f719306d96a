//! What a subscriber and a publisher can be told.

use core::time::Duration;

use tokio::sync::Semaphore;

use crate::tls::Roots;

/// How events travel to this client.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Transport {
    /// Server-Sent Events: `GET /events`, one HTTP response that does not end.
    #[default]
    Sse,
    /// WebSocket: `GET /ws` with the subprotocol `tidegate.v1+json`.
    WebSocket,
}

/// What to subscribe to and how: the argument of [`Subscriber::new`](crate::Subscriber::new).
///
/// ```
/// use push_client::{SubscribeOptions, Transport};
///
/// let mut options = SubscribeOptions::new(["orders/eu", "orders/us"]);
/// options.after("earliest").transport(Transport::WebSocket);
/// ```
#[derive(Clone, Debug)]
pub struct SubscribeOptions {
    pub(crate) topics: Vec<String>,
    pub(crate) after: Option<String>,
    pub(crate) policy: Option<String>,
    pub(crate) transport: Transport,
    pub(crate) idle_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_event: usize,
    pub(crate) message_timeout: Duration,
    pub(crate) compression: bool,
    pub(crate) backoff_base: Duration,
    pub(crate) backoff_cap: Duration,
    pub(crate) roots: Option<Roots>,
}

impl SubscribeOptions {
    /// Subscribes to these topics over Server-Sent Events, from now on.
    pub fn new<T: Into<String>>(topics: impl IntoIterator<Item = T>) -> Self {
        Self {
            topics: topics.into_iter().map(Into::into).collect(),
            after: None,
            policy: None,
            transport: Transport::Sse,
            idle_timeout: Duration::from_secs(45),
            connect_timeout: Duration::from_secs(10),
            max_event: 16 * 1024 * 1024,
            message_timeout: Duration::from_secs(5 * 60),
            compression: true,
            backoff_base: Duration::from_millis(500),
            backoff_cap: Duration::from_secs(30),
            roots: None,
        }
    }

    /// Who may vouch for a hub at an `https` or `wss` address; [those of the system](Roots::system)
    /// unless told, which are read when the subscriber is made.
    pub fn roots(&mut self, roots: Roots) -> &mut Self {
        self.roots = Some(roots);
        self
    }

    /// Where to begin: a cursor that an earlier subscriber stored (an event's `id`), `earliest` or
    /// `latest`. Without it, and with an empty one, the subscription begins with the next event.
    pub fn after(&mut self, cursor: impl Into<String>) -> &mut Self {
        self.after = Some(cursor.into()).filter(|cursor| !cursor.is_empty());
        self
    }

    /// What the hub does when this subscriber is too slow, for example `drop-oldest`. Without it
    /// the hub's default holds, `replay`, which loses nothing.
    pub fn policy(&mut self, policy: impl Into<String>) -> &mut Self {
        self.policy = Some(policy.into());
        self
    }

    /// The transport; Server-Sent Events unless told.
    pub fn transport(&mut self, transport: Transport) -> &mut Self {
        self.transport = transport;
        self
    }

    /// A connection on which nothing at all arrived for this long is dead, and replaced. 45 s
    /// unless told: three of the hub's heartbeats. At most a day.
    pub fn idle_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.idle_timeout = timeout.min(Duration::from_secs(24 * 60 * 60));
        self
    }

    /// The longest to wait for the connection and the head of the hub's answer. 10 s unless told.
    pub fn connect_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.connect_timeout = timeout;
        self
    }

    /// The largest event, in bytes of its wire form, that is accepted. 16 MiB unless told. It also
    /// bounds this subscriber's memory: at most about four times this while such an event arrives,
    /// beside read buffers of 128 KiB.
    pub fn max_event(&mut self, bytes: usize) -> &mut Self {
        self.max_event = bytes;
        self
    }

    /// The longest that one WebSocket message may take from its first byte to its last, after which
    /// the connection is replaced. 5 minutes unless told; no memory cost, but what has arrived of the
    /// message is held so long.
    pub fn message_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.message_timeout = timeout;
        self
    }

    /// Whether to let a hub compress WebSocket messages (permessage-deflate, RFC 7692) if it wants to;
    /// true unless told. A window and tables of 47 KiB are then held while a compressed message
    /// arrives, or from the first one on if the hub keeps its context. [`max_event`](Self::max_event)
    /// bounds what a message inflates to.
    pub fn compression(&mut self, allowed: bool) -> &mut Self {
        self.compression = allowed;
        self
    }

    /// The wait before each attempt to reconnect is drawn evenly from zero to a bound, which is
    /// `base` at first and doubles with each attempt in a row, up to `cap`. 500 ms and 30 s unless
    /// told; `cap` may not be above 30 s. What the hub asks for (`retry:`, a drain's delay,
    /// `Retry-After`) comes on top, up to one hour.
    pub fn backoff(&mut self, base: Duration, cap: Duration) -> &mut Self {
        self.backoff_base = base;
        self.backoff_cap = cap;
        self
    }
}

/// How a [`Publisher`](crate::Publisher) behaves.
#[derive(Clone, Debug)]
pub struct PublishOptions {
    pub(crate) deadline: Option<Duration>,
    pub(crate) attempt_timeout: Duration,
    pub(crate) connections: usize,
    pub(crate) backoff_base: Duration,
    pub(crate) backoff_cap: Duration,
    pub(crate) roots: Option<Roots>,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self {
            deadline: None,
            attempt_timeout: Duration::from_secs(10),
            connections: 4,
            backoff_base: Duration::from_millis(500),
            backoff_cap: Duration::from_secs(30),
            roots: None,
        }
    }
}

impl PublishOptions {
    /// As [`SubscribeOptions::roots`].
    pub fn roots(&mut self, roots: Roots) -> &mut Self {
        self.roots = Some(roots);
        self
    }

    /// The longest that one publish may take with all its attempts. Without it (`None`, the
    /// default) a publish is retried until it succeeds or is refused.
    pub fn deadline(&mut self, deadline: impl Into<Option<Duration>>) -> &mut Self {
        self.deadline = deadline.into();
        self
    }

    /// The longest that one attempt may take before the connection counts as lost. 10 s unless
    /// told.
    pub fn attempt_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.attempt_timeout = timeout;
        self
    }

    /// How many publishes may be under way at once, each on a connection of its own; the others
    /// wait. 4 unless told, at least 1. Each connection costs a socket and at most 64 KiB.
    pub fn connections(&mut self, connections: usize) -> &mut Self {
        self.connections = connections.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// As [`SubscribeOptions::backoff`].
    pub fn backoff(&mut self, base: Duration, cap: Duration) -> &mut Self {
        self.backoff_base = base;
        self.backoff_cap = cap;
        self
    }
}
