//! A log that is closed while somebody subscribes.

use core::future::poll_fn;

use loom::future::block_on;
use loom::thread;

use crate::{Log, LogConfig, ReadError};

/// A reader that subscribes while the log is closed sees it closed, and never waits for ever.
///
/// Red (loom: deadlock) when `Shared::close` takes the wakers under one lock and marks the log
/// closed under a later one: a reader that arms between the two is not woken. Red too when it leaves
/// the head as it was, which a reader there takes for an open log.
#[test]
fn loom_a_reader_that_subscribes_during_close_sees_it() {
    loom::model(|| {
        let log = Log::new(LogConfig::default(), 0);
        let closer = {
            let log = log.clone();
            thread::spawn(move || log.close())
        };
        let mut reader = log.subscribe();
        let ready = block_on(poll_fn(|cx| reader.poll_ready(cx)));
        assert_eq!(ready, Err(ReadError::Closed));
        closer.join().expect("closing does not panic");
        assert_eq!(log.memory(), 0);
    });
}

/// The end of the last writing end closes the log, also for a reader that is about to wait.
///
/// Red (loom: deadlock) when `Log::drop` counts by a load and a store: both ends take themselves for
/// the first of two.
#[test]
fn loom_a_reader_outlives_the_last_writing_end() {
    loom::model(|| {
        let log = Log::new(LogConfig::default(), 0);
        let mut reader = log.subscribe();
        let clone = log.clone();
        let writer = thread::spawn(move || drop(clone));
        drop(log);
        let ready = block_on(poll_fn(|cx| reader.poll_ready(cx)));
        assert_eq!(ready, Err(ReadError::Closed));
        writer.join().expect("dropping does not panic");
    });
}
