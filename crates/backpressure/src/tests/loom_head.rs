//! The head, which readers look at without the lock.

use core::future::poll_fn;

use bytes::Buf;
use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use crate::{Log, LogConfig, ReadError};

/// Whoever has a watermark gets every event up to it, whole, without waiting.
///
/// Red when `Log::append` leaves it to `Log::wake` to store the head.
#[test]
fn loom_what_a_watermark_covers_is_there() {
    loom::model(|| {
        let log = Log::new(LogConfig::default(), 0);
        let watermark = Arc::new(AtomicU64::new(0));
        let mut reader = log.subscribe();
        let writer = {
            let watermark = Arc::clone(&watermark);
            thread::spawn(move || {
                for seq in 1..=2 {
                    log.append(seq, &[seq as u8]);
                    watermark.store(seq, Ordering::Release);
                }
                log
            })
        };
        let through = watermark.load(Ordering::Acquire);
        let mut read = Vec::new();
        while let Some(chunk) = reader
            .read_through(through, 99)
            .expect("nothing is evicted")
        {
            read.extend_from_slice(&chunk.bytes);
        }
        let expected: Vec<u8> = (1..=through as u8).collect();
        assert_eq!(read, expected);
        writer.join().expect("the writer does not panic");
    });
}

/// What is published at once wakes a reader that has not seen it.
///
/// Red (loom: deadlock) when `Log::publish` takes what is armed under one lock and appends under a
/// later one: a reader that looks and arms between the two waits for ever.
#[test]
fn loom_publish_wakes_whoever_has_not_seen_it() {
    loom::model(|| {
        let log = Log::new(LogConfig::default(), 0);
        let mut reader = log.subscribe();
        let writer = thread::spawn(move || {
            log.publish(1, b"one");
            log
        });
        block_on(poll_fn(|cx| reader.poll_ready(cx))).expect("nothing is evicted or closed");
        let chunk = reader.read(99).expect("nothing is evicted or closed");
        assert_eq!(chunk.map(|chunk| chunk.last), Some(1));
        writer.join().expect("the writer does not panic");
    });
}

/// An event that is written in part while it is evicted is finished, and every other is either
/// written whole or counted as not read.
///
/// Red when `ReaderBuf::follow` takes a segment that is gone for one that was written to its end, and
/// when `ReaderBuf::retract` gives everything back after an eviction.
#[test]
fn loom_an_eviction_amid_a_write_loses_count_of_nothing() {
    loom::model(|| {
        let log = Log::new(LogConfig::default(), 0);
        let mut buf = log.subscribe().into_buf();
        (1..=3).for_each(|seq| log.append(seq, b"event"));
        let evictor = thread::spawn(move || {
            log.evict_to(0);
            log
        });
        let (mut written, mut at) = (0, 0);
        while let Ok(true) = buf.fill(u64::MAX, usize::MAX) {
            buf.advance(3);
            written += 3;
            buf.retract();
            written += buf.remaining();
            buf.advance(buf.remaining());
            assert!(buf.at_boundary());
            assert_eq!(written % 5, 0);
            let lag = buf.get_ref().lag();
            assert_eq!(written as u64 + lag.bytes, 15);
            at = 3 - lag.events;
        }
        let told = buf.fill(u64::MAX, usize::MAX);
        assert!(at == 3 || told == Err(ReadError::Evicted));
        evictor.join().expect("evicting does not panic");
    });
}
