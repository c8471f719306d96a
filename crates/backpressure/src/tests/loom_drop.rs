//! A reader that is dropped while it waits.

use core::task::{Context, Waker};
use std::sync::Arc;
use std::task::Wake;

use loom::thread;

use crate::{Log, LogConfig};

struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

/// A reader that waits and is dropped leaves no waker behind and keeps no bytes in the log, whether
/// it was being woken or not.
///
/// Red when `Waiters::remove` leaves the entry of an armed slot where it is, and red when
/// `Reader::drop` does not leave its place in the tail.
#[test]
fn loom_a_dropped_reader_leaves_nothing_behind() {
    loom::model(|| {
        let log = Log::new(LogConfig::default(), 0);
        let mut other = log.subscribe();
        let mut reader = log.subscribe();
        let nobody = Arc::new(Nobody);

        let leaver = {
            let waker = Waker::from(Arc::clone(&nobody));
            thread::spawn(move || {
                let _ready = reader.poll_ready(&mut Context::from_waker(&waker));
            })
        };
        log.append(1, b"one");
        log.wake();
        leaver.join().expect("the reader does not panic");

        assert_eq!(Arc::strong_count(&nobody), 1, "a waker was left behind");
        assert_eq!(log.readers(), 1);
        assert_eq!(other.jump_to_head(), 1);
        assert_eq!(log.memory(), 0, "bytes are kept for nobody");
    });
}
