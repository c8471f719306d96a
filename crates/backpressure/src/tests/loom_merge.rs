//! Two logs read as one, while the writer appends to both.

use core::future::poll_fn;

use bytes::BytesMut;
use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use crate::{Log, LogConfig, ReadError, Readers};

/// Events of two logs come in the order of their seqs and once each, since nothing above the
/// watermark is read.
///
/// Red when `Readers::read_through` reads through `u64::MAX` instead of what it was given: it may
/// look into the first log before event 2 is there and into the second when event 3 is.
#[test]
fn loom_two_logs_are_read_in_order_up_to_the_watermark() {
    loom::model(|| {
        let logs = [0, 1].map(|_| Log::new(LogConfig::default(), 0));
        let watermark = Arc::new(AtomicU64::new(0));
        let mut readers = Readers::new(logs.iter().map(Log::subscribe).collect());

        let writer = {
            let watermark = Arc::clone(&watermark);
            thread::spawn(move || {
                let publish = |seq| {
                    watermark.store(seq, Ordering::Release);
                    logs.iter().for_each(Log::wake);
                };
                let [first, second] = &logs;
                first.append(1, b"1");
                second.append(1, b"1");
                publish(1);
                first.append(2, b"2");
                second.append(3, b"3");
                publish(3);
                // The end of the logs would be seen instead of what is unread.
                logs
            })
        };

        let mut read = Vec::new();
        let mut scratch = BytesMut::new();
        while read.len() < 3 {
            let readable =
                poll_fn(|cx| readers.poll_ready_through(cx, || watermark.load(Ordering::Acquire)));
            let through = block_on(readable).expect("nothing is evicted or closed");
            while let Ok(Some(chunk)) = readers.read_through(through, usize::MAX, &mut scratch) {
                read.extend_from_slice(&chunk.bytes);
            }
        }
        assert_eq!(read, b"123");
        writer.join().expect("the writer does not panic");
    });
}

/// What was copied from one log before another turned out to be evicted is delivered, and what is
/// lost is reported: together they are what was published.
///
/// Red when `Readers::merge_through` returns the error of a log whatever it has taken before.
#[test]
fn loom_an_eviction_amid_a_merge_loses_nothing_that_was_taken() {
    loom::model(|| {
        let logs = [0, 1].map(|_| Log::new(LogConfig::default(), 0));
        let mut readers = Readers::new(logs.iter().map(Log::subscribe).collect());
        for seq in 1..=4_u64 {
            logs[seq as usize % 2].append(seq, b"event");
        }
        let evictor = {
            let log = logs[0].clone();
            thread::spawn(move || log.evict_to(0))
        };

        let mut delivered = 0;
        let mut scratch = BytesMut::new();
        let reported = loop {
            match readers.read_through(4, usize::MAX, &mut scratch) {
                Ok(Some(chunk)) => delivered += chunk.events as u64,
                Ok(None) => break 0,
                Err(error) => {
                    assert_eq!(error, ReadError::Evicted);
                    break readers.jump_to(4).events;
                }
            }
        };
        assert_eq!(delivered + reported, 4);
        evictor.join().expect("evicting does not panic");
    });
}
