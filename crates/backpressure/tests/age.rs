//! The bound of a log by age.
#![cfg(not(loom))]

use std::time::Duration;

use backpressure::{Budget, Log, LogConfig, ReadError};
use proptest::prelude::*;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A log that keeps events for 800 ms, so 100 ms of them in a segment.
fn config() -> LogConfig {
    let mut config = LogConfig::default();
    config.max_age(ms(800));
    config
}

#[test]
fn events_of_the_maximal_age_are_evicted_and_no_others() {
    // When events are appended, when the log is told the time, and the first event then left.
    type Case = (&'static [u64], u64, Option<u64>);
    let cases: [Case; 9] = [
        (&[0], 799, Some(1)),
        (&[0], 800, None),
        (&[5], 804, Some(1)),
        (&[5], 805, None),
        // One segment: events go with the first of it.
        (&[0, 100], 800, None),
        (&[0, 101], 800, Some(2)),
        (&[0, 101], 900, Some(2)),
        (&[0, 101], 901, None),
        // Time does not go back.
        (&[300, 0], 1099, Some(1)),
    ];
    for (appended, now, first) in cases {
        let log = Log::new(config(), 0);
        // Each has one event as its oldest.
        let mut readers = Vec::new();
        for (seq, at) in (1..).zip(appended) {
            readers.push(log.subscribe());
            log.append_at(seq, b"event", ms(*at));
        }
        log.handle_timeout(ms(now));
        let left = readers.iter().position(backpressure::Reader::is_intact);
        assert_eq!(left.map(|at| at as u64 + 1), first, "{appended:?} at {now}");
        assert_eq!(log.memory() == 0, first.is_none(), "{appended:?} at {now}");
        let expected = match first {
            Some(1) => Ok(Some(1)),
            _ => Err(ReadError::Evicted),
        };
        assert_eq!(readers[0].peek(), expected, "{appended:?} at {now}");
    }
}

#[test]
fn an_append_evicts_what_is_too_old_by_then() {
    let log = Log::new(config(), 0);
    let mut reader = log.subscribe();
    log.append_at(1, b"old", ms(0));
    let other = log.subscribe();
    log.append_at(2, b"new", ms(800));
    assert_eq!(reader.read(99), Err(ReadError::Evicted));
    assert_eq!(reader.jump_to(1).events, 1);
    assert_eq!([reader.peek(), other.peek()], [Ok(Some(2)); 2]);
}

#[test]
fn the_timeout_is_when_the_oldest_event_goes() {
    let log = Log::new(config(), 0);
    assert_eq!(log.poll_timeout(), None);
    log.append_at(1, b"for nobody", ms(10));
    assert_eq!(log.poll_timeout(), None);
    let mut reader = log.subscribe();
    log.append_at(2, b"event", ms(20));
    let mut other = log.subscribe();
    log.append_at(3, b"event", ms(200));
    assert_eq!(log.poll_timeout(), Some(ms(820)));
    log.handle_timeout(ms(820));
    assert_eq!(log.poll_timeout(), Some(ms(1000)));
    assert_eq!([reader.jump_to_head(), other.jump_to_head()], [3, 3]);
    assert_eq!(log.poll_timeout(), None);

    let unbounded = Log::new(LogConfig::default(), 0);
    let reader = unbounded.subscribe();
    unbounded.append_at(1, b"event", ms(0));
    assert_eq!(unbounded.poll_timeout(), None);
    unbounded.handle_timeout(Duration::MAX);
    assert_eq!(reader.peek(), Ok(Some(1)));
}

#[test]
fn a_budget_tells_the_logs_that_hold_events_the_time() {
    let budget = Budget::new(1 << 20);
    let logs = [(); 3].map(|()| Log::with_budget(config(), 0, &budget));
    let readers = logs.each_ref().map(Log::subscribe);
    for (log, at) in logs.iter().zip([0, 500, 1_000]) {
        log.append_at(1, b"event", ms(at));
    }
    budget.handle_timeout(ms(1_300));
    assert_eq!(
        readers.each_ref().map(backpressure::Reader::is_intact),
        [false, false, true]
    );
    assert_eq!(budget.memory(), logs[2].memory());
    budget.handle_timeout(ms(1_800));
    assert_eq!(budget.memory(), 0);
    // A log that was forgotten while it was empty is known again.
    let _reader = logs[0].subscribe();
    logs[0].append_at(2, b"event", ms(2_000));
    assert!(budget.memory() > 0);
    budget.handle_timeout(ms(2_800));
    assert_eq!(budget.memory(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the times, no event is there at its maximal age, and each is for seven eighths of it.
    #[test]
    fn an_event_stays_for_seven_eighths_of_the_age_and_no_longer_than_it(
        steps in prop::collection::vec((0..300_u64, prop::bool::weighted(0.7)), 1..100),
    ) {
        let log = Log::new(config(), 0);
        // One reader for each event, which subscribes right before it.
        let mut readers = Vec::new();
        let (mut now, mut seq) = (0, 0);
        for (wait, append) in steps {
            now += wait;
            if append {
                seq += 1;
                readers.push((now, log.subscribe()));
                log.append_at(seq, b"event", ms(now));
            } else {
                log.handle_timeout(ms(now));
            }
            for (at, reader) in &readers {
                let age = now - at;
                prop_assert!(age >= 700 || reader.is_intact(), "evicted after {age} ms");
                prop_assert!(age < 800 || !reader.is_intact(), "kept for {age} ms");
            }
        }
    }
}
