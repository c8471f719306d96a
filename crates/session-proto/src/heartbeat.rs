//! When to show life, and when a silent peer is dead.

use core::fmt;
use core::num::NonZeroU64;
use core::time::Duration;

/// A time in nanoseconds, up to 584 years: half of what a [`Duration`] takes, since there are many
/// connections.
type Nanos = NonZeroU64;

const fn nanos(time: Duration) -> u64 {
    let seconds = time.as_secs().saturating_mul(1_000_000_000);
    seconds.saturating_add(time.subsec_nanos() as u64)
}

/// How often a connection must show life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HeartbeatConfig {
    interval: Option<Nanos>,
    timeout: Option<Nanos>,
}

impl HeartbeatConfig {
    /// The longest interval allowed: proxies and mobile networks commonly drop connections that are
    /// idle for 30 to 60 seconds.
    pub const MAX_INTERVAL: Duration = Duration::from_secs(30);

    /// Something is sent at least every `interval`, and the peer is dead once nothing was received
    /// for `timeout`. `None`: silence is fine, as on a stream in one direction.
    ///
    /// # Errors
    /// [`HeartbeatError::Interval`] unless `0 < interval <= 30 s`; [`HeartbeatError::Timeout`]
    /// unless `timeout > interval`.
    pub const fn new(
        interval: Duration,
        timeout: Option<Duration>,
    ) -> Result<Self, HeartbeatError> {
        if interval.is_zero() || interval.as_nanos() > Self::MAX_INTERVAL.as_nanos() {
            return Err(HeartbeatError::Interval);
        }
        if let Some(timeout) = timeout
            && timeout.as_nanos() <= interval.as_nanos()
        {
            return Err(HeartbeatError::Timeout);
        }
        Ok(Self {
            interval: NonZeroU64::new(nanos(interval)),
            timeout: match timeout {
                Some(timeout) => NonZeroU64::new(nanos(timeout)),
                None => None,
            },
        })
    }

    /// For an end that only listens: never [`Beat::Send`], and [`Beat::Dead`] once nothing was
    /// received for `timeout`, which should be at least twice the peer's interval.
    ///
    /// # Errors
    /// [`HeartbeatError::Timeout`] if `timeout` is zero.
    pub const fn listen_only(timeout: Duration) -> Result<Self, HeartbeatError> {
        if timeout.is_zero() {
            return Err(HeartbeatError::Timeout);
        }
        Ok(Self {
            interval: None,
            timeout: NonZeroU64::new(nanos(timeout)),
        })
    }
}

/// Why a [`HeartbeatConfig`] was refused. The configuration's author is at fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum HeartbeatError {
    /// The interval is zero or longer than [`HeartbeatConfig::MAX_INTERVAL`].
    Interval,
    /// The timeout is not longer than the interval, so that a healthy peer would be found dead.
    Timeout,
}

impl fmt::Display for HeartbeatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interval => {
                "the heartbeat interval must be more than 0 s and at most 30 s: 15 s is a good value"
            }
            Self::Timeout => {
                "the heartbeat timeout must be longer than the interval: twice as long is a good value"
            }
        })
    }
}

impl core::error::Error for HeartbeatError {}

/// The timer of one connection's signs of life.
///
/// Tell it of all traffic, ask [`poll_timeout`](Self::poll_timeout) when to wake, and do what
/// [`handle_timeout`](Self::handle_timeout) says. Time must not run backwards; where it does, the
/// later time is kept. It ends after 584 years. A heartbeat takes 40 bytes.
///
/// ```
/// use core::time::Duration;
/// use session_proto::{Beat, Heartbeat, HeartbeatConfig};
///
/// let seconds = Duration::from_secs;
/// let config = HeartbeatConfig::new(seconds(15), Some(seconds(30)))?;
/// let mut heartbeat = Heartbeat::new(config, seconds(0));
/// assert_eq!(heartbeat.poll_timeout(), Some(seconds(15)));
/// assert_eq!(heartbeat.handle_timeout(seconds(15)), Some(Beat::Send));
/// heartbeat.on_sent(seconds(20)); // an event went out, so no heartbeat is due before 35
/// assert_eq!(heartbeat.poll_timeout(), Some(seconds(30)));
/// assert_eq!(heartbeat.handle_timeout(seconds(30)), Some(Beat::Dead));
/// # Ok::<(), session_proto::HeartbeatError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Heartbeat {
    config: HeartbeatConfig,
    /// In nanoseconds.
    sent: u64,
    /// In nanoseconds.
    received: u64,
    dead: bool,
}

impl Heartbeat {
    /// The connection was opened at `now`, which counts as traffic both ways.
    #[must_use]
    pub const fn new(config: HeartbeatConfig, now: Duration) -> Self {
        Self {
            config,
            sent: nanos(now),
            received: nanos(now),
            dead: false,
        }
    }

    /// Something, anything, was sent to the peer.
    pub fn on_sent(&mut self, now: Duration) {
        self.sent = self.sent.max(nanos(now));
    }

    /// Something, anything, was received from the peer.
    pub fn on_received(&mut self, now: Duration) {
        self.received = self.received.max(nanos(now));
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); may change with every call that takes
    /// `now`. `None`: never, the peer is dead.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.dead {
            return None;
        }
        match (self.send_at(), self.dead_at()) {
            (Some(send), Some(dead)) => Some(send.min(dead)),
            (send, dead) => send.or(dead),
        }
    }

    /// What is due at `now`. [`Beat::Send`] counts as sent with this call; [`Beat::Dead`] is said
    /// once, and nothing after it.
    #[must_use]
    pub fn handle_timeout(&mut self, now: Duration) -> Option<Beat> {
        if self.dead {
            return None;
        }
        if self.dead_at().is_some_and(|at| now >= at) {
            self.dead = true;
            return Some(Beat::Dead);
        }
        if self.send_at().is_some_and(|at| now >= at) {
            self.sent = nanos(now);
            return Some(Beat::Send);
        }
        None
    }

    fn send_at(&self) -> Option<Duration> {
        let interval = self.config.interval?.get();
        Some(Duration::from_nanos(self.sent.saturating_add(interval)))
    }

    fn dead_at(&self) -> Option<Duration> {
        let timeout = self.config.timeout?.get();
        Some(Duration::from_nanos(self.received.saturating_add(timeout)))
    }
}

/// What a [`Heartbeat`] asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Beat {
    /// Send a heartbeat: a comment on SSE, a ping on WebSocket.
    Send,
    /// The peer has been silent for too long: close the connection.
    Dead,
}
