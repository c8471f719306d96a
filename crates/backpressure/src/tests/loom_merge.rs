//! Two logs read as one, while the writer appends to both.

use core::future::poll_fn;

use bytes::BytesMut;
use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use crate::{Log, LogConfig, Readers};

/// Events of two logs come in the order of their seqs and once each, since nothing above a watermark
/// is read, although the writer appends the later one first.
///
/// Red when `Readers::read_through` reads through `u64::MAX` instead of the watermark: the reader is
/// woken or looks when only event 2 is in its log.
#[test]
fn loom_two_logs_are_read_in_order_up_to_the_watermark() {
    loom::model(|| {
        let logs = [0, 1].map(|_| Log::new(LogConfig::default(), 0));
        let watermark = Arc::new(AtomicU64::new(0));
        let mut readers = Readers::new(logs.iter().map(Log::subscribe).collect());

        let writer = {
            let (logs, watermark) = (logs.clone(), Arc::clone(&watermark));
            thread::spawn(move || {
                let [first, second] = logs;
                second.append(2, b"2");
                first.append(1, b"1");
                first.append(2, b"2");
                watermark.store(2, Ordering::Release);
                first.wake();
                second.wake();
                (first, second)
            })
        };

        let mut read = Vec::new();
        let mut scratch = BytesMut::new();
        while read.len() < 2 {
            let through = block_on(poll_fn(|cx| {
                readers.poll_ready_through(cx, || watermark.load(Ordering::Acquire))
            }));
            let through = through.expect("nothing is evicted or closed");
            while let Ok(Some(chunk)) = readers.read_through(through, usize::MAX, &mut scratch) {
                read.extend_from_slice(&chunk.bytes);
            }
        }
        assert_eq!(read, b"12");
        writer.join().expect("the writer does not panic");
    });
}
