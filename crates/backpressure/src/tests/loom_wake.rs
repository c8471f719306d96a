//! A reader that goes to sleep, and a writer that appends, publishes its watermark and wakes.

use core::future::poll_fn;

use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use crate::{Log, LogConfig};

/// Whoever waits for an event gets it: no wake is lost between looking and going to sleep.
///
/// Red (loom: deadlock) when `Reader::poll_ready_through` returns `Pending` after arming instead of
/// looking again: the writer may publish and wake between the look and the arming.
#[test]
fn loom_a_reader_is_woken_for_what_it_has_not_seen() {
    loom::model(|| {
        let log = Log::new(LogConfig::default(), 0);
        let watermark = Arc::new(AtomicU64::new(0));
        let mut reader = log.subscribe();

        let writer = {
            let watermark = Arc::clone(&watermark);
            thread::spawn(move || {
                log.append(1, b"one");
                watermark.store(1, Ordering::Release);
                log.wake();
                // The end of the log would wake the reader too.
                log
            })
        };

        let readable =
            poll_fn(|cx| reader.poll_ready_through(cx, || watermark.load(Ordering::Acquire)));
        let through = block_on(readable).expect("nothing is evicted or closed");
        let chunk = reader.read_through(through, usize::MAX).expect("as above");
        assert_eq!(chunk.map(|chunk| chunk.last), Some(1));
        writer.join().expect("the writer does not panic");
    });
}

/// Two readers of one log are both woken by one wake, whichever of them armed before it and
/// whichever looked after it.
///
/// Red (loom: deadlock) when `Waiters::take_group` gives only the first waker.
#[test]
fn loom_one_wake_reaches_every_reader() {
    loom::model(|| {
        let log = Log::new(LogConfig::default(), 0);
        let sleepers: Vec<_> = (0..2)
            .map(|_| {
                let mut reader = log.subscribe();
                thread::spawn(move || {
                    block_on(poll_fn(|cx| reader.poll_ready(cx))).expect("the log stays open");
                    reader
                        .read(usize::MAX)
                        .expect("nothing is evicted")
                        .map(|chunk| chunk.last)
                })
            })
            .collect();
        log.append(1, b"one");
        log.wake();
        for sleeper in sleepers {
            assert_eq!(sleeper.join().expect("a reader does not panic"), Some(1));
        }
    });
}
