//! A publisher that waits for a blocking reader.

use core::future::poll_fn;
use core::time::Duration;

use loom::future::block_on;
use loom::thread;

use crate::{AdmitError, Lag, Log, LogConfig, Reader};

/// What ends the wait of a publisher.
fn check(
    release: impl Fn(&Log, Reader) -> Option<Reader> + Copy + Send + Sync + 'static,
    expected: Result<(), AdmitError>,
) {
    loom::model(move || {
        let log = Log::new(LogConfig::default(), 0);
        let mut reader = log.subscribe();
        reader.set_blocking(true);
        log.append(1, b"one");
        let other = log.clone();
        let releaser = thread::spawn(move || (release(&other, reader), other));
        let mut admission = log.admit(Lag::ZERO, Duration::MAX);
        let admitted = block_on(poll_fn(|cx| admission.poll_admit(cx, Duration::ZERO)));
        assert_eq!(admitted, expected);
        // Its end would release the publisher too.
        let _reader = releaser.join().expect("the reader does not panic");
    });
}

/// A publisher that waits goes on when the reader has read.
///
/// Red (loom: deadlock) when `Admission::poll_admit` looks at the readers under one lock and waits
/// under a later one, and when `Reader::advance` moves the reader without releasing anybody.
#[test]
fn loom_a_blocked_publisher_is_released_by_progress() {
    let read = |_log: &Log, mut reader: Reader| {
        assert!(reader.read(usize::MAX).is_ok_and(|chunk| chunk.is_some()));
        Some(reader)
    };
    check(read, Ok(()));
}

/// A publisher that waits goes on when the reader is dropped.
///
/// Red (loom: deadlock) when `Reader::drop` leaves its place among the blocking readers.
#[test]
fn loom_a_blocked_publisher_is_released_by_the_readers_death() {
    let end = |_log: &Log, reader: Reader| {
        drop(reader);
        None
    };
    check(end, Ok(()));
}

/// A publisher that waits is told that the log is closed.
///
/// Red (loom: deadlock) when `Shared::close` does not release publishers.
#[test]
fn loom_a_blocked_publisher_is_released_by_close() {
    let close = |log: &Log, reader: Reader| {
        log.close();
        Some(reader)
    };
    check(close, Err(AdmitError::Closed));
}
