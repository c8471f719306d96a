//! Segments that were read, kept for the next log that needs one.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Mutex;

use crate::segment::{FIRST_CAPACITY, LAST_CAPACITY, Segment};

/// How many bytes of buffers are kept of each size.
const KEPT: usize = 128 << 10;

/// One for each capacity from 1 KiB, doubling, to 64 KiB.
const CLASSES: usize = (LAST_CAPACITY / FIRST_CAPACITY).ilog2() as usize + 1;

/// Segments without events, oldest first: those were given out for reading the longest ago, so
/// their bytes are the likeliest to be free again.
static POOL: Mutex<[VecDeque<Box<Segment>>; CLASSES]> =
    Mutex::new([const { VecDeque::new() }; CLASSES]);

thread_local! {
    /// One segment of the first class, so that a thread that reads what it wrote needs no lock.
    static OWN: Cell<Option<Box<Segment>>> = const { Cell::new(None) };
}

/// The class of a capacity, if segments of it are kept.
fn class(capacity: usize) -> Option<usize> {
    let class = capacity.checked_div(FIRST_CAPACITY)?.checked_ilog2()? as usize;
    (class < CLASSES && capacity == FIRST_CAPACITY << class).then_some(class)
}

/// A segment without events whose buffer holds at least `capacity` bytes.
///
/// Never waits: if another thread is at the pool, a new one costs less than that.
pub(crate) fn take(capacity: usize) -> Box<Segment> {
    if capacity == FIRST_CAPACITY
        && let Ok(Some(mut own)) = OWN.try_with(Cell::take)
        && own.reclaim()
    {
        return own;
    }
    if let Some(class) = class(capacity)
        && let Ok(mut pool) = POOL.try_lock()
        && let Some(mut kept) = pool[class].pop_front()
    {
        if kept.reclaim() {
            return kept;
        }
        // A reader still sends from it.
        pool[class].push_back(kept);
    }
    Box::new(Segment::with_capacity(capacity))
}

/// Keeps a segment that no log needs any more, or frees it.
pub(crate) fn give(mut segment: Box<Segment>) {
    let Some(class) = class(segment.capacity()) else {
        return;
    };
    segment.clear();
    if class == 0 {
        // A thread that ends has none any more.
        let swapped = OWN.try_with(|own| own.replace(Some(segment)));
        let Ok(Some(before)) = swapped else { return };
        segment = before;
    }
    if let Ok(mut pool) = POOL.try_lock()
        && pool[class].len() < KEPT / segment.capacity()
    {
        pool[class].push_back(segment);
    }
}
