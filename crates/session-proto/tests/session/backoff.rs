//! The delays: their bounds, their spread and hints from a server.

use std::time::Duration;

use proptest::prelude::*;
use session_proto::{Backoff, BackoffConfig, BackoffError};

/// Upper bounds of the delays of the default configuration, in milliseconds.
const BOUNDS: [u64; 10] = [
    500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000,
];

/// A backoff after `attempts` failures.
fn after(attempts: usize) -> Backoff {
    let mut backoff = Backoff::new(BackoffConfig::default());
    for _ in 0..attempts {
        let _ = backoff.next_delay(0);
    }
    backoff
}

#[test]
fn delays_reach_from_zero_to_a_bound_that_doubles_up_to_30_s() {
    for (attempt, bound) in BOUNDS.into_iter().enumerate() {
        let bound = Duration::from_millis(bound);
        assert_eq!(after(attempt).next_delay(0), Duration::ZERO);
        assert_eq!(after(attempt).next_delay(u64::MAX), bound);
    }
    assert_eq!(after(100).next_delay(u64::MAX), Duration::from_secs(30));
}

#[test]
fn delays_are_spread_evenly() {
    for (attempt, bound) in BOUNDS.into_iter().enumerate() {
        let backoff = after(attempt);
        let mut tenths = [0; 10];
        for i in 0..10_000 {
            let delay = backoff.clone().next_delay(u64::MAX / 10_000 * i);
            let tenth = delay.as_nanos() * 10 / (u128::from(bound) * 1_000_000);
            tenths[usize::try_from(tenth).unwrap().min(9)] += 1;
        }
        for count in tenths {
            assert!((990..=1010).contains(&count), "{tenths:?} of {bound} ms");
        }
    }
}

#[test]
fn success_begins_anew() {
    let mut backoff = after(5);
    assert_eq!(backoff.attempts(), 5);
    backoff.reset();
    assert_eq!(backoff.attempts(), 0);
    assert_eq!(backoff.next_delay(u64::MAX), Duration::from_millis(500));
}

#[test]
fn a_hint_comes_before_the_jitter_of_one_delay() {
    let mut backoff = Backoff::new(BackoffConfig::default());
    backoff.at_least(Duration::from_secs(5));
    backoff.at_least(Duration::from_secs(2));
    assert_eq!(backoff.clone().next_delay(0), Duration::from_secs(5));
    assert_eq!(backoff.next_delay(u64::MAX), Duration::from_millis(5_500));
    assert_eq!(backoff.next_delay(0), Duration::ZERO);
    backoff.at_least(Duration::MAX);
    assert_eq!(backoff.next_delay(0), Backoff::MAX_HINT);
}

#[test]
fn settings_that_reconnect_without_pause_or_too_late_are_refused() {
    let config = |base, cap| {
        BackoffConfig::new(Duration::from_millis(base), Duration::from_millis(cap)).err()
    };
    assert_eq!(config(500, 30_000), None);
    assert_eq!(config(1, 1), None);
    assert_eq!(config(0, 30_000), Some(BackoffError::Base));
    assert_eq!(config(500, 30_001), Some(BackoffError::Cap));
    assert_eq!(config(500, 499), Some(BackoffError::Cap));
}

proptest! {
    #[test]
    fn no_delay_exceeds_its_bound_or_the_cap(
        base in 1_u64..=30_000,
        longer in 0_u64..=30_000,
        entropies in prop::collection::vec(any::<u64>(), 1..60),
    ) {
        let cap = (base + longer).min(30_000);
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(BackoffConfig::new(ms(base), ms(cap)).unwrap());
        let mut bound = u128::from(base);
        for entropy in entropies {
            let delay = backoff.next_delay(entropy);
            prop_assert!(delay.as_nanos() <= bound.min(cap.into()) * 1_000_000);
            bound *= 2;
        }
    }
}
