//! What readers of one log share, and how the log ends, case by case.
#![cfg(not(loom))]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use backpressure::{Chunk, Chunks, Log, LogConfig, ReadError, Reader, Readers};
use futures::executor::block_on;
use futures::stream::StreamExt;

const SEGMENT: usize = 64 << 10;

fn log() -> Log {
    Log::new(LogConfig::default(), 0)
}

#[track_caller]
fn read(reader: &mut Reader) -> Chunk {
    reader
        .read(usize::MAX)
        .expect("nothing is evicted")
        .expect("something is pending")
}

fn read_all(reader: &mut Reader) -> Vec<Chunk> {
    std::iter::from_fn(|| reader.read(usize::MAX).expect("nothing is evicted")).collect()
}

fn bytes(chunks: &[Chunk]) -> Vec<u8> {
    chunks
        .iter()
        .flat_map(|chunk| chunk.bytes.clone())
        .collect()
}

#[test]
fn everything_pending_comes_in_one_chunk() {
    let log = log();
    let mut reader = log.subscribe();
    for seq in 1..=600 {
        log.append(seq, &[b'a'; 100]);
    }
    let chunk = read(&mut reader);
    assert_eq!(
        (chunk.events, chunk.last, chunk.bytes.len()),
        (600, 600, 60_000)
    );
}

#[test]
fn a_batch_that_is_read_from_its_start_is_not_copied() {
    let log = log();
    let (mut one, _other) = (log.subscribe(), log.subscribe());
    for seq in 1..=600 {
        log.append(seq, &[b'a'; 100]);
    }
    let before = log.memory();
    assert_eq!(read(&mut one).events, 600);
    assert!(log.memory() <= before);
}

#[test]
fn a_slow_reader_gets_long_chunks_though_a_fast_one_reads_every_event() {
    let log = log();
    let (mut fast, mut slow) = (log.subscribe(), log.subscribe());
    for seq in 1..=2_000 {
        log.append(seq, &[b'a'; 100]);
        assert_eq!(read(&mut fast).events, 1);
    }
    let chunks = read_all(&mut slow);
    assert_eq!(bytes(&chunks).len(), 200_000);
    // The first event is a chunk of its own, since it was sealed when it was alone in the log.
    assert!(
        chunks.len() <= 2 + 200_000 / SEGMENT,
        "{} chunks",
        chunks.len()
    );
    assert_eq!(log.memory(), 0);
}

#[test]
fn readers_at_the_same_place_share_the_bytes() {
    for laggard in [false, true] {
        let log = log();
        let _laggard = laggard.then(|| log.subscribe());
        let (mut one, mut other) = (log.subscribe(), log.subscribe());
        for seq in 1..=3 {
            log.append(seq, b"event");
            assert_eq!(
                read(&mut one).bytes.as_ptr(),
                read(&mut other).bytes.as_ptr()
            );
        }
    }
}

#[test]
fn readers_at_different_places_share_the_bytes_too() {
    let log = log();
    let _laggard = log.subscribe();
    log.append(1, b"before");
    let mut readers = [log.subscribe(), log.subscribe(), log.subscribe()];
    for (seq, behind) in [(2, 0), (3, 1)] {
        log.append(seq, b"event");
        for reader in &mut readers[behind + 1..] {
            read(reader);
        }
    }
    // The furthest ahead is the first to read, so its copy begins too late for the others.
    log.append(4, b"event");
    let newest = read(&mut readers[2]).bytes;
    let rest = readers
        .each_mut()
        .map(|reader| reader.read(usize::MAX).expect("intact"));
    let [Some(first), Some(second), None] = rest else {
        panic!("other events than expected")
    };
    assert_eq!((first.events, second.events), (3, 2));
    assert_eq!(&newest[..], b"event");
    assert_eq!(
        first.bytes[5..].as_ptr(),
        second.bytes.as_ptr(),
        "a copy for each place"
    );
}

#[test]
fn readers_far_behind_share_every_segment() {
    let log = log();
    let mut readers = [log.subscribe(), log.subscribe()];
    for seq in 1..=100 {
        log.append(seq, &[b'a'; 10_000]);
    }
    let [one, other] = readers.each_mut().map(read_all);
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(&other) {
        assert_eq!(one.bytes.as_ptr(), other.bytes.as_ptr());
    }
}

#[test]
fn an_event_larger_than_a_segment_comes_alone_and_is_shared() {
    let log = log();
    let mut readers = [log.subscribe(), log.subscribe()];
    log.append(1, b"before");
    log.append(2, &[b'a'; 3 * SEGMENT]);
    log.append(3, b"after");
    let [one, other] = readers.each_mut().map(read_all);
    let lengths: Vec<_> = one.iter().map(|chunk| chunk.bytes.len()).collect();
    assert_eq!(lengths, [6, 3 * SEGMENT, 5]);
    assert_eq!(one[1].bytes.as_ptr(), other[1].bytes.as_ptr());
}

#[test]
fn a_chunk_outlives_what_becomes_of_the_log() {
    let log = log();
    let mut reader = log.subscribe();
    log.append(1, b"kept");
    let chunk = read(&mut reader);
    log.append(2, b"evicted");
    log.evict_to(0);
    log.close();
    drop((log, reader));
    assert_eq!(&chunk.bytes[..], b"kept");
}

#[test]
fn max_bytes_splits_between_events_and_never_within_one() {
    // Lengths of events, max_bytes, lengths of chunks.
    let cases: &[(&[usize], usize, &[usize])] = &[
        (&[5, 5, 5], 15, &[15]),
        (&[5, 5, 5], 14, &[10, 5]),
        (&[5, 5, 5], 9, &[5, 5, 5]),
        (&[5, 5, 5], 0, &[5, 5, 5]),
        (&[20, 5], 10, &[20, 5]),
        (&[0, 0, 5, 0], 0, &[0, 5, 0]),
        (&[0], usize::MAX, &[0]),
    ];
    for (events, max_bytes, expected) in cases {
        let log = log();
        let mut reader = log.subscribe();
        for (seq, len) in (1..).zip(*events) {
            log.append(seq, &vec![b'a'; *len]);
        }
        let chunks: Vec<_> = std::iter::from_fn(|| reader.read(*max_bytes).expect("intact"))
            .map(|chunk| chunk.bytes.len())
            .collect();
        assert_eq!(&chunks, expected, "{events:?} by {max_bytes}");
    }
}

#[test]
fn the_default_bounds_keep_8_mib_or_100_000_events() {
    for (len, kept) in [(1000, 8_000), (1, 90_000)] {
        let log = log();
        let mut reader = log.subscribe();
        let first = (1..=200_000).find(|seq| {
            log.append(*seq, &vec![b'a'; len]);
            !reader.is_intact()
        });
        let first = first.expect("something is evicted at last");
        assert!(
            (kept..=100_001).contains(&first),
            "evicted at event {first} of {len} bytes"
        );
        assert_eq!(reader.read(usize::MAX), Err(ReadError::Evicted));
        assert!(log.memory() <= 8 << 20);
    }
}

#[test]
fn a_seq_that_does_not_increase_is_refused_and_the_log_goes_on() {
    let log = Log::new(LogConfig::default(), 10);
    let mut reader = log.subscribe();
    log.append(11, b"eleven");
    for seq in [0, 10, 11] {
        let refused = catch_unwind(AssertUnwindSafe(|| log.append(seq, b"again")));
        assert!(refused.is_err(), "{seq} was appended after 11");
    }
    log.append(12, b"twelve");
    assert_eq!(&read(&mut reader).bytes[..], b"eleventwelve");
}

#[test]
fn the_log_is_closed_with_its_last_clone() {
    let log = log();
    let mut reader = log.subscribe();
    let clone = log.clone();
    drop(log);
    clone.append(1, b"one");
    assert_eq!(read(&mut reader).last, 1);
    clone.append(2, b"two");
    drop(clone);
    assert_eq!(reader.read(usize::MAX), Err(ReadError::Closed));
    assert_eq!(reader.lag().events, 1);
}

#[test]
fn a_closed_log_takes_nothing() {
    let log = log();
    log.append(1, b"one");
    log.close();
    log.append(2, b"two");
    assert_eq!((log.head(), log.memory()), (1, 0));
    let mut late = log.subscribe();
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(
        late.poll_ready(&mut cx),
        Poll::Ready(Err(ReadError::Closed))
    );
}

/// A task that owns a reader: it is gone when its last waker is.
struct Task {
    reader: Mutex<Option<Reader>>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.reader.lock().expect("nobody panicked").take();
    }
}

#[test]
fn a_waker_may_use_the_log_when_it_is_called_or_dropped() {
    let log = log();
    let task = |log: &Log| {
        let reader = Mutex::new(Some(log.subscribe()));
        Waker::from(Arc::new(Task { reader }))
    };
    let mut reader = log.subscribe();
    let arm = |reader: &mut Reader, waker: &Waker| {
        assert!(
            reader
                .poll_ready(&mut Context::from_waker(waker))
                .is_pending()
        );
    };
    arm(&mut reader, &task(&log));
    arm(&mut reader, &task(&log));
    assert_eq!(
        log.readers(),
        2,
        "the first task ended when its waker was replaced"
    );
    log.wake();
    assert_eq!(log.readers(), 1, "the second task ended when it was woken");
    arm(&mut reader, &task(&log));
    drop(reader);
    assert_eq!(
        log.readers(),
        0,
        "the third task ended with the reader that it waited for"
    );
    let mut reader = log.subscribe();
    arm(&mut reader, &task(&log));
    log.close();
    assert_eq!(
        log.readers(),
        1,
        "the last task ended when the log was closed"
    );
}

#[test]
fn both_ends_may_be_moved_to_and_shared_with_other_threads() {
    fn check<T: Send + Sync + Unpin + 'static>() {}
    check::<Log>();
    check::<Reader>();
    check::<Readers>();
    check::<Chunks>();
}

#[test]
fn a_stream_of_chunks_ends_with_the_error() {
    let log = log();
    let mut chunks = log.subscribe().into_chunks(4);
    log.append(1, b"one");
    log.append(2, b"two");
    let mut next = || block_on(chunks.next()).map(|read| read.map(|chunk| chunk.last));
    assert_eq!(next(), Some(Ok(1)));
    assert_eq!(next(), Some(Ok(2)));
    log.append(3, b"three");
    log.evict_to(0);
    assert_eq!(next(), Some(Err(ReadError::Evicted)));
    assert_eq!(next(), None);
    assert_eq!(chunks.into_reader().jump_to_head(), 3);
}
