//! `batch`: when a window is over, case by case, and any history against a model.
#![cfg(not(loom))]

use std::time::Duration;

use backpressure::{FlushWindow, Log, LogConfig};
use proptest::prelude::*;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_window_opens_with_the_first_event_and_is_over_by_time_or_bytes() {
    // Bytes pending (none: a timeout is handled) and the time, and whether that is a flush.
    type Case = &'static [(Option<u64>, u64, bool)];
    let cases: [Case; 6] = [
        &[
            (Some(1), 5, false),
            (Some(2), 14, false),
            (Some(3), 15, true),
        ],
        &[(Some(1), 5, false), (None, 14, false), (None, 15, true)],
        &[(Some(1), 5, false), (Some(100), 6, true)],
        &[(Some(100), 5, true)],
        &[(Some(100), 5, true), (Some(1), 5, true)],
        &[(None, 99, false), (Some(1), 100, false), (None, 110, true)],
    ];
    for case in cases {
        let mut window = FlushWindow::new(ms(10), 100);
        for (bytes, now, expected) in case {
            let flush = match bytes {
                Some(bytes) => window.handle_pending(*bytes, ms(*now)),
                None => window.handle_timeout(ms(*now)),
            };
            assert_eq!(flush, *expected, "{bytes:?} at {now} of {case:?}");
        }
        window.handle_flushed();
        assert_eq!(window.poll_timeout(), None);
        assert!(!window.handle_timeout(Duration::MAX));
    }
}

#[test]
fn an_event_waits_no_longer_than_the_delay_whatever_follows_it() {
    let mut window = FlushWindow::new(ms(10), 100);
    assert!(!window.handle_pending(1, ms(0)));
    for now in 1..10 {
        assert!(!window.handle_pending(1 + now, ms(now)));
        assert_eq!(window.poll_timeout(), Some(ms(10)));
    }
    assert!(window.handle_timeout(ms(10)));
    assert_eq!(window.poll_timeout(), None);
}

#[test]
fn without_a_delay_or_a_size_nothing_waits() {
    assert!(FlushWindow::new(ms(0), 100).handle_pending(1, ms(7)));
    assert!(FlushWindow::new(ms(10), 0).handle_pending(1, ms(7)));
    assert!(!FlushWindow::new(Duration::MAX, 100).handle_pending(1, ms(7)));
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Publish { len: usize },
    Wait { ms: u64 },
    Stall { ms: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (1..60_usize).prop_map(|len| Op::Publish { len }),
        5 => (0..8_u64).prop_map(|ms| Op::Wait { ms }),
        1 => (0..30_u64).prop_map(|ms| Op::Stall { ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Everything comes once and in order; nothing later than the delay, unless the connection itself
    /// was not writable; and nothing earlier than that, unless there was enough for a write.
    #[test]
    fn every_event_comes_within_the_delay_and_no_write_is_without_need(
        ops in prop::collection::vec(op(), 1..200),
        delay in 1..20_u64,
        max_bytes in 1..300_u64,
    ) {
        let log = Log::new(LogConfig::default(), 0);
        let mut reader = log.subscribe();
        let mut window = FlushWindow::new(ms(delay), max_bytes);
        let (mut now, mut writable_at) = (0, 0);
        // When each event was published, and how many of them were written.
        let mut published: Vec<(u64, u64)> = Vec::new();
        let mut written = 0;
        // Until all waiting is over.
        let end = [Op::Wait { ms: 100 }];
        for op in ops.iter().chain(&end) {
            let until = match *op {
                Op::Publish { len } => {
                    published.push((now, len as u64));
                    log.append(published.len() as u64, &vec![b'x'; len]);
                    now
                }
                Op::Wait { ms } => now + ms,
                Op::Stall { ms } => {
                    writable_at = now + ms;
                    now
                }
            };
            // Like a server: whenever there is something new, the timer fires or the socket is writable.
            loop {
                let pending = reader.lag().bytes;
                let over = pending > 0 && window.handle_pending(pending, ms(now));
                if over && now >= writable_at {
                    let oldest = published[written].0;
                    prop_assert!(pending >= max_bytes || now >= oldest + delay, "without need");
                    let due = (oldest + delay).max(writable_at);
                    prop_assert!(now <= due, "{now}, due {due}");
                    while let Some(chunk) = reader.read(usize::MAX).expect("nothing is evicted") {
                        written += chunk.events;
                        prop_assert_eq!(chunk.last, written as u64);
                    }
                    window.handle_flushed();
                } else if !over {
                    prop_assert!(pending < max_bytes, "{pending} bytes wait");
                }
                if now >= until {
                    break;
                }
                now += 1;
            }
        }
        prop_assert_eq!(written, published.len());
    }
}
