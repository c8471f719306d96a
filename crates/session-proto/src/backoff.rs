//! How long to wait before connecting again.

use core::fmt;
use core::time::Duration;

/// How long to wait between attempts to connect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BackoffConfig {
    base: Duration,
    cap: Duration,
}

impl BackoffConfig {
    /// The longest cap allowed.
    pub const MAX_CAP: Duration = Duration::from_secs(30);

    /// The first delay is at most `base`, each further one at most twice the one before, none over
    /// `cap`.
    ///
    /// # Errors
    /// [`BackoffError::Base`] if `base` is zero; [`BackoffError::Cap`] unless
    /// `base <= cap <= 30 s`.
    pub const fn new(base: Duration, cap: Duration) -> Result<Self, BackoffError> {
        if base.is_zero() {
            return Err(BackoffError::Base);
        }
        if cap.as_nanos() < base.as_nanos() || cap.as_nanos() > Self::MAX_CAP.as_nanos() {
            return Err(BackoffError::Cap);
        }
        Ok(Self { base, cap })
    }
}

impl Default for BackoffConfig {
    /// Base 500 ms, cap 30 s.
    fn default() -> Self {
        Self {
            base: Duration::from_millis(500),
            cap: Self::MAX_CAP,
        }
    }
}

/// Why a [`BackoffConfig`] was refused. The configuration's author is at fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BackoffError {
    /// The base is zero: attempts would follow each other without pause.
    Base,
    /// The cap is below the base or over [`BackoffConfig::MAX_CAP`].
    Cap,
}

impl fmt::Display for BackoffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "the base delay must be more than 0 s: 500 ms is a good value",
            Self::Cap => "the longest delay must be at least the base delay and at most 30 s",
        })
    }
}

impl core::error::Error for BackoffError {}

/// Exponential backoff with full jitter: each delay is drawn evenly from zero to a bound that
/// doubles, which spreads the clients of a restarted server best.
///
/// ```
/// use session_proto::{Backoff, BackoffConfig};
/// # let random = || u64::MAX;
///
/// let mut backoff = Backoff::new(BackoffConfig::default());
/// let delay = backoff.next_delay(random());
/// assert!(delay.as_millis() <= 500);
/// backoff.reset(); // once the connection has delivered something
/// # assert_eq!(backoff.attempts(), 0);
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    config: BackoffConfig,
    attempts: u32,
    floor: Duration,
}

impl Backoff {
    /// The longest delay that [`at_least`](Self::at_least) takes from a server: a slip of its pen
    /// must not send a client away for good.
    pub const MAX_HINT: Duration = Duration::from_secs(3600);

    /// A backoff before its first attempt.
    #[must_use]
    pub const fn new(config: BackoffConfig) -> Self {
        Self {
            config,
            attempts: 0,
            floor: Duration::ZERO,
        }
    }

    /// The server asked for a delay: a `retry` field, the reason of a close, `Retry-After`. The
    /// next delay, and only that one, is the hint and the jitter on top, since a server may tell
    /// all of its clients the same. Of several hints the longest holds.
    pub fn at_least(&mut self, hint: Duration) {
        self.floor = self.floor.max(hint.min(Self::MAX_HINT));
    }

    /// How long to wait before the next attempt; counts it. `entropy` is 64 random bits, all of
    /// which are used.
    #[must_use]
    pub fn next_delay(&mut self, entropy: u64) -> Duration {
        let floor = core::mem::take(&mut self.floor);
        let bound = self.bound();
        self.attempts = self.attempts.saturating_add(1);
        floor + fraction(bound, entropy)
    }

    /// The connection works: begin anew. Call it when something was delivered rather than when the
    /// connection opened, or a server that accepts and drops is asked without pause.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Attempts counted since the last [`reset`](Self::reset).
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    fn bound(&self) -> Duration {
        let factor = 2_u32.saturating_pow(self.attempts);
        self.config.base.saturating_mul(factor).min(self.config.cap)
    }
}

/// Maps `entropy` evenly onto zero to `bound`, both included.
fn fraction(bound: Duration, entropy: u64) -> Duration {
    // At most 30 s, so the cast holds.
    let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
    let scaled = ((u128::from(nanos) + 1) * u128::from(entropy)) >> 64;
    Duration::from_nanos(u64::try_from(scaled).unwrap_or(nanos))
}
