//! When to connect again.

use core::time::Duration;

use session_proto::{Backoff, BackoffConfig};

/// The backoff of one subscription or publish, with what the hub asked for.
#[derive(Debug)]
pub(crate) struct Reconnect {
    backoff: Backoff,
    /// The reconnection time of the event stream, a lower bound until the hub names another.
    retry: Duration,
}

impl Reconnect {
    pub(crate) fn new(config: BackoffConfig) -> Self {
        Self {
            backoff: Backoff::new(config),
            retry: Duration::ZERO,
        }
    }

    /// The hub set the reconnection time, for this and all later attempts.
    pub(crate) fn set_retry(&mut self, retry: Duration) {
        self.retry = retry;
    }

    /// The hub asked for a delay before the next attempt alone.
    pub(crate) fn ask(&mut self, delay: Duration) {
        self.backoff.at_least(delay);
    }

    /// Something was delivered, so the hub works: the next failure is a first one. An accepted
    /// connection is no such proof, since a hub may accept and drop for ever.
    pub(crate) fn succeeded(&mut self) {
        self.backoff.reset();
    }

    pub(crate) fn next_delay(&mut self) -> Duration {
        // Without entropy the longest delay is the harmless one.
        self.delay_from(getrandom::u64().unwrap_or(u64::MAX))
    }

    fn delay_from(&mut self, entropy: u64) -> Duration {
        self.backoff.at_least(self.retry);
        self.backoff.next_delay(entropy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Runs `steps` and compares the delays of the failures among them, drawn with full entropy
    /// (the longest) and with none (the shortest).
    #[track_caller]
    fn check(steps: &[Step], longest: &[f64], shortest: &[f64]) {
        for (entropy, expected) in [(u64::MAX, longest), (0, shortest)] {
            let mut reconnect = Reconnect::new(BackoffConfig::default());
            let mut delays = Vec::new();
            for step in steps {
                match step {
                    Fail => delays.push(reconnect.delay_from(entropy).as_secs_f64()),
                    Succeed => reconnect.succeeded(),
                    Retry(seconds) => reconnect.set_retry(SECOND * *seconds),
                    Ask(seconds) => reconnect.ask(SECOND * *seconds),
                }
            }
            assert_eq!(delays, expected);
        }
    }

    enum Step {
        Fail,
        Succeed,
        Retry(u32),
        Ask(u32),
    }
    use Step::{Ask, Fail, Retry, Succeed};

    #[test]
    fn delays_double_up_to_30_seconds() {
        let fails = [const { Fail }; 9];
        check(
            &fails,
            &[0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0],
            &[0.0; 9],
        );
    }

    #[test]
    fn a_delivery_begins_the_backoff_anew() {
        check(&[Fail, Fail, Succeed, Fail], &[0.5, 1.0, 0.5], &[0.0; 3]);
    }

    #[test]
    fn the_reconnection_time_is_a_lower_bound_that_lasts() {
        check(&[Retry(3), Fail, Succeed, Fail], &[3.5, 3.5], &[3.0, 3.0]);
        check(&[Retry(3), Fail, Retry(1), Fail], &[3.5, 2.0], &[3.0, 1.0]);
    }

    #[test]
    fn a_delay_asked_for_holds_once() {
        check(&[Ask(7), Fail, Fail], &[7.5, 1.0], &[7.0, 0.0]);
        check(&[Retry(2), Ask(7), Fail, Fail], &[7.5, 3.0], &[7.0, 2.0]);
    }
}
