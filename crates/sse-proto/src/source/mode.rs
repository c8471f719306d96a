//! How a source behaves when something is amiss.

use core::time::Duration;

/// What a [`Source`](super::Source) takes for success, and when it tries again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Mode {
    /// The HTML standard to the letter. The server's reconnection time is taken as it is, zero
    /// included, and every status but 200 is the end.
    Browser,
    /// For programs that must not lose their stream: as the standard, but bounded by
    /// [`Resilience`], and 429 and 5xx are tried again, not before `Retry-After`.
    Resilient(Resilience),
    /// One request, its method and body the caller's business, and no second try: what an LLM's API
    /// answers to a POST. The stream is complete with the sentinel, or, where the API has none, with
    /// an end between two events.
    SingleShot(Option<Sentinel>),
}

/// What ends a single-shot stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sentinel {
    /// An event with exactly this data, such as `[DONE]`. It is not given out.
    Data(&'static str),
    /// An event of this type, such as `message_stop`. It is given out, for it may carry data.
    Event(&'static str),
}

/// Bounds for [`Mode::Resilient`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Resilience {
    floor: Duration,
    max_hint: Duration,
    pub(super) stable: Duration,
}

impl Resilience {
    /// The defaults: floor 500 ms, longest hint 1 h, stable after 30 s.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            floor: Duration::from_millis(500),
            max_hint: Duration::from_secs(3600),
            stable: Duration::from_secs(30),
        }
    }

    /// The shortest delay between two tries, whatever the server and the policy say: `retry: 0`
    /// must not make a busy loop. Default: 500 ms.
    pub const fn floor(&mut self, delay: Duration) -> &mut Self {
        self.floor = delay;
        self
    }

    /// The longest delay that a server can ask for: a slip of its pen must not send a client away
    /// for good. Default: 1 h.
    pub const fn max_hint(&mut self, delay: Duration) -> &mut Self {
        self.max_hint = delay;
        self
    }

    /// How long a connection must last to count as a success although no event arrived. A server
    /// that accepts and hangs up at once is a failure. Default: 30 s.
    pub const fn stable(&mut self, time: Duration) -> &mut Self {
        self.stable = time;
        self
    }

    pub(super) fn bound(&self, hint: Duration) -> Duration {
        hint.min(self.max_hint).max(self.floor)
    }
}

impl Default for Resilience {
    fn default() -> Self {
        Self::new()
    }
}

/// What a delay policy is told before each further try.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// Connections in a row, at least 1, that failed or ended without success. Success is an event,
    /// or 30 s open ([`Resilience::stable`]).
    pub failures: u32,
    /// What the server asked for: the reconnection time or, in resilient mode, the longest of it,
    /// `Retry-After` and the floor. A server may tell all of its clients the same, so add to it
    /// rather than return it.
    pub at_least: Duration,
    /// The random bits that the caller passed in.
    pub entropy: u64,
}

/// The delay policy of the standard: the reconnection time, and never give up.
#[must_use]
pub const fn reconnection_time(attempt: Attempt) -> Option<Duration> {
    Some(attempt.at_least)
}

/// The reconnection time in browser mode until the server sets one: "a few seconds" in the standard,
/// this in Chromium.
pub const DEFAULT_RECONNECTION_TIME: Duration = Duration::from_secs(3);
