//! `batch`: when a window is over.

use std::time::Duration;

use backpressure::FlushWindow;

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
