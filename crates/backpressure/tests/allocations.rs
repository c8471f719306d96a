//! What fan-out costs in memory: allocations an event, and bytes an idle log and a reader.
//!
//! Counted is the thread that a test runs on, and nothing that the test harness does beside it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Waker};

use backpressure::{Log, LogConfig, Reader};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static HELD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

fn count(allocations: u64, more: usize, less: usize) {
    if COUNTED.get() {
        ALLOCATIONS.fetch_add(allocations, Ordering::Relaxed);
        HELD.fetch_add(more, Ordering::Relaxed);
        HELD.fetch_sub(less, Ordering::Relaxed);
    }
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

/// Allocations of 100 rounds of appending an event, waking all readers, and all of them reading it
/// and going back to sleep. With `laggard` one more reader never reads, so events stay in the log.
fn allocations(readers: usize, laggard: bool) -> u64 {
    let log = Log::new(LogConfig::default(), 0);
    let _laggard = laggard.then(|| log.subscribe());
    let mut readers: Vec<_> = (0..readers).map(|_| log.subscribe()).collect();
    let round = |seq: u64, readers: &mut [Reader]| {
        log.append(seq, &[b'x'; 100]);
        log.wake();
        // Twice more, when nobody waits.
        log.wake();
        log.wake();
        for reader in readers {
            let chunk = reader.read(usize::MAX).expect("nothing is evicted");
            assert_eq!(
                chunk.map(|chunk| (chunk.last, chunk.events)),
                Some((seq, 1))
            );
            assert!(
                reader
                    .poll_ready(&mut Context::from_waker(Waker::noop()))
                    .is_pending()
            );
        }
    };
    // The vectors of the waiters grow to their size.
    (1..=3).for_each(|seq| round(seq, &mut readers));
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (4..=103).for_each(|seq| round(seq, &mut readers));
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

/// What is allocated by `make` and still there after it.
fn held<T>(make: impl FnOnce() -> T) -> (usize, T) {
    let before = HELD.load(Ordering::Relaxed);
    let made = make();
    (HELD.load(Ordering::Relaxed) - before, made)
}

#[test]
fn memory_follows_the_events_and_not_the_readers() {
    COUNTED.set(true);
    for laggard in [false, true] {
        let of_one = allocations(1, laggard);
        assert!(of_one <= 500, "{of_one} allocations in 100 rounds");
        for readers in [2, 10, 1000] {
            assert!(
                allocations(readers, laggard) <= of_one + 100,
                "allocations grow with readers (laggard: {laggard})"
            );
        }
        assert_eq!(allocations(10, laggard), allocations(1000, laggard));
    }

    let (idle, log) = held(|| Log::new(LogConfig::default(), 0));
    assert!(idle <= 256, "an idle log takes {idle} bytes");

    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (1..=100).for_each(|seq| log.append(seq, &[0; 1000]));
    let unread = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert_eq!(unread, 0, "a log without readers allocates");

    const READERS: usize = 1024;
    let mut readers = Vec::with_capacity(READERS);
    let (busy, ()) = held(|| {
        readers.extend((0..READERS).map(|_| log.subscribe()));
        for seq in 101..=110 {
            log.append(seq, &[0; 1000]);
            log.wake();
            for reader in &mut readers {
                while reader
                    .read(usize::MAX)
                    .expect("nothing is evicted")
                    .is_some()
                {}
                assert!(
                    reader
                        .poll_ready(&mut Context::from_waker(Waker::noop()))
                        .is_pending()
                );
            }
        }
    });
    assert!(busy <= 64 * READERS, "{} bytes a reader", busy / READERS);

    drop(readers);
    let (left, log) = held(|| log);
    assert_eq!(left, 0);
    let before = HELD.load(Ordering::Relaxed);
    drop(log);
    assert_eq!(
        before - HELD.load(Ordering::Relaxed),
        idle,
        "readers left memory behind"
    );
}
