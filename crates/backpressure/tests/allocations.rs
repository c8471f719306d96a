//! What fan-out costs in memory: allocations an event, and bytes a log, a reader and one that stands
//! still.
//!
//! Counted is the thread that a test runs on, and nothing that the test harness does beside it.
#![cfg(not(loom))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Waker};

use backpressure::{Log, LogConfig, ReadError, Reader, ReaderBuf};
use bytes::Buf;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
}

fn count(allocations: u64, more: usize, less: usize) {
    ALLOCATIONS.set(ALLOCATIONS.get() + allocations);
    HELD.set(HELD.get() + more as isize - less as isize);
}

// SAFETY: every call is passed on to the system allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size(), 0);
        // SAFETY: the caller keeps `alloc`'s contract, which is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(0, 0, layout.size());
        // SAFETY: `memory` came from `alloc` above with this layout.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size, layout.size());
        // SAFETY: `memory` came from `alloc` above with this layout, and the caller vouches for `size`.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// All logs of a process share what they keep for later, so one test runs at a time.
fn alone() -> impl Drop {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many allocations `f` makes.
fn allocations(f: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    f();
    ALLOCATIONS.get() - before
}

/// What `make` allocates and leaves allocated.
fn held<T>(make: impl FnOnce() -> T) -> (isize, T) {
    let before = HELD.get();
    let made = make();
    (HELD.get() - before, made)
}

fn read(reader: &mut Reader) -> usize {
    let mut events = 0;
    while let Some(chunk) = reader.read(usize::MAX).expect("nothing is evicted") {
        events += chunk.events;
    }
    events
}

fn arm(reader: &mut Reader) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(reader.poll_ready(&mut cx).is_pending());
}

/// Allocations of 200 appends and of what readers do with them: all of them are woken, read the
/// event and go back to sleep. With a laggard, one more reader stays `behind` events behind.
fn steady(readers: usize, behind: usize, event: &[u8]) -> (u64, u64) {
    let log = Log::new(LogConfig::default(), 0);
    let mut laggard = log.subscribe();
    let mut readers: Vec<_> = (0..readers).map(|_| log.subscribe()).collect();
    let mut seq = 0;
    let mut turn = |events: usize| {
        let appending = allocations(|| {
            for _ in 0..events {
                seq += 1;
                log.append(seq, event);
            }
            log.wake();
            // Once more, when nobody waits.
            log.wake();
        });
        let reading = allocations(|| {
            for reader in &mut readers {
                assert_eq!(read(reader), events);
                arm(reader);
            }
            while laggard.lag().events > behind as u64 {
                let chunk = laggard.read(0).expect("nothing is evicted");
                assert_eq!(chunk.map(|chunk| chunk.events), Some(1));
            }
        });
        (appending, reading)
    };
    // Vectors grow to their size, and every segment is used once.
    for events in [100; 40].into_iter().chain([1; 40]) {
        turn(events);
    }
    (0..200).fold((0, 0), |(appends, reads), _| {
        let (appending, reading) = turn(1);
        (appends + appending, reads + reading)
    })
}

#[test]
fn an_append_allocates_nothing_in_the_steady_state() {
    let _alone = alone();
    for event in [&[b'x'; 100][..], &[b'x'; 1_000]] {
        for readers in [0, 1, 2, 10, 300] {
            assert_eq!(steady(readers, 0, event), (0, 0), "{readers} readers");
        }
        // A reader that is behind keeps segments open beside the others, who get copies of them.
        for behind in [10, 500] {
            let (appends, reads_of_one) = steady(1, behind, event);
            // A segment that is used for the first time may be among them.
            assert!(appends <= 3, "{appends} allocations, {behind} behind");
            assert!(
                reads_of_one <= 600,
                "{reads_of_one} with one {behind} behind"
            );
            for readers in [10, 300] {
                let (appends, reads) = steady(readers, behind, event);
                assert!(
                    appends <= 3,
                    "{appends}, {readers} readers, one {behind} behind"
                );
                assert!(
                    reads <= reads_of_one + 3,
                    "{reads}, {readers} readers, one {behind} behind"
                );
            }
        }
    }
}

#[test]
fn a_log_without_readers_allocates_nothing() {
    let _alone = alone();
    let log = Log::new(LogConfig::default(), 0);
    assert_eq!(
        allocations(|| (1..=100).for_each(|seq| log.append(seq, &[0; 1_000]))),
        0
    );
}

#[test]
fn an_idle_log_takes_184_bytes_its_only_reader_nothing_of_it_and_others_64() {
    let _alone = alone();
    let (idle, log) = held(|| Log::new(LogConfig::default(), 0));
    assert!(idle <= 184, "an idle log takes {idle} bytes");
    assert_eq!(size_of::<Log>(), size_of::<usize>());
    assert!(size_of::<Reader>() <= 64, "{}", size_of::<Reader>());
    assert!(size_of::<ReaderBuf>() <= 136, "{}", size_of::<ReaderBuf>());

    // One reader, which waits.
    let (only, mut reader) = held(|| {
        let mut reader = log.subscribe();
        arm(&mut reader);
        reader
    });
    assert_eq!(only, 0, "the only reader takes memory of the log");
    log.append(1, b"event");
    assert_eq!(read(&mut reader), 1);
    arm(&mut reader);
    drop(reader);

    const READERS: usize = 1024;
    let mut readers = Vec::with_capacity(READERS);
    let (busy, ()) = held(|| {
        readers.extend((0..READERS).map(|_| log.subscribe()));
        for seq in 101..=110 {
            log.append(seq, &[0; 1000]);
            log.wake();
            for reader in &mut readers {
                assert_eq!(read(reader), 1);
                arm(reader);
            }
        }
    });
    assert!(busy <= 64 * READERS as isize, "{busy} bytes");
    drop(readers);
    let (end, ()) = held(|| drop(log));
    assert_eq!(end, -idle, "readers left memory behind");
}

/// What all logs of a process together keep for later, at most.
const POOL: isize = 1_250_000;

#[test]
fn nothing_is_held_when_every_reader_is_at_the_head() {
    let _alone = alone();
    const LOGS: isize = 10_000;
    let mut logs: Vec<_> = (0..LOGS)
        .map(|_| {
            let log = Log::new(LogConfig::default(), 0);
            let reader = log.subscribe();
            (log, reader)
        })
        .collect();
    let mut seq = 0;
    let (left, ()) = held(|| {
        for event in [&[b'x'; 64][..], &[b'x'; 2_000], &[b'x'; 70_000]] {
            seq += 1;
            for (log, reader) in &mut logs {
                log.append(seq, event);
                assert!(log.memory() > event.len());
                assert_eq!(read(reader), 1);
                assert_eq!(log.memory(), 0);
            }
        }
    });
    assert!(left <= 70_000, "{left} bytes are left of one event a log");
    // All logs hold one event at the same time.
    let (pending, ()) = held(|| {
        seq += 1;
        logs.iter().for_each(|(log, _)| log.append(seq, b"event"));
    });
    assert!(pending <= LOGS * 1_600, "{} bytes a log", pending / LOGS);
    let (freed, ()) = held(|| {
        for (_, reader) in &mut logs {
            assert_eq!(read(reader), 1);
        }
    });
    assert!(
        pending + freed <= POOL,
        "{} bytes are left",
        pending + freed
    );
}

/// A reader in the middle of an event that is never written to its end, and others that read all.
struct Stalled {
    log: Log,
    fast: Reader,
    stalled: Vec<ReaderBuf>,
    seq: u64,
}

const EVENT: [u8; 1_000] = [b'x'; 1_000];
const MAX_BYTES: usize = 1 << 20;

impl Stalled {
    fn new(stalled: usize) -> Self {
        let mut config = LogConfig::default();
        config.max_bytes(MAX_BYTES);
        let log = Log::new(config, 0);
        let fast = log.subscribe();
        let mut stalled: Vec<_> = (0..stalled).map(|_| log.subscribe().into_buf()).collect();
        let mut seq = 0;
        while seq < 60 {
            seq += 1;
            log.append(seq, &EVENT);
        }
        for buf in &mut stalled {
            assert_eq!(buf.fill(u64::MAX, usize::MAX), Ok(true));
            buf.advance(1);
        }
        Self {
            log,
            fast,
            stalled,
            seq,
        }
    }

    /// Appends and reads so many events, and returns the most that was held meanwhile.
    fn run(&mut self, events: usize, before: isize) -> isize {
        let mut most = 0;
        for _ in 0..events {
            self.seq += 1;
            self.log.append(self.seq, &EVENT);
            most = most.max(HELD.get() - before);
            assert!(read(&mut self.fast) > 0);
        }
        most
    }
}

#[test]
fn a_stalled_reader_costs_the_bound_at_most_and_then_one_segment_for_any_time() {
    let _alone = alone();
    let segment = 64 << 10;
    let once = |stalled: usize| {
        let before = HELD.get();
        let mut it = Stalled::new(stalled);
        let most = it.run(20 * MAX_BYTES / EVENT.len(), before);
        let then = HELD.get() - before;
        assert!(it.stalled.iter().all(|buf| !buf.get_ref().is_intact()));
        let later = it.run(20 * MAX_BYTES / EVENT.len(), before);
        // It can finish what it has begun, and is told about the rest.
        for buf in &mut it.stalled {
            buf.advance(buf.remaining());
            assert_eq!(buf.fill(u64::MAX, usize::MAX), Err(ReadError::Evicted));
        }
        (most, then, later)
    };
    // The first time fills what the logs keep for later.
    once(1);
    let bound = MAX_BYTES as isize;
    for stalled in [1, 1_000] {
        let own = 300 + 250 * stalled as isize;
        let (most, then, later) = once(stalled);
        assert!(
            most <= bound + 3 * segment + own,
            "{most} bytes with {stalled} stalled"
        );
        assert!(
            then <= segment + own,
            "{then} bytes then, with {stalled} stalled"
        );
        assert!(
            later <= 2 * segment + own,
            "{later} bytes later, with {stalled} stalled"
        );
    }
}
