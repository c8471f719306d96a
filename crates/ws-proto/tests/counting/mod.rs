//! An allocator that counts what each thread holds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to `System` unchanged; the counters are plain thread-locals without a
// destructor and allocate nothing themselves. `realloc` is the default one, which has the old and the
// new block at once, so the most is never less than what a real allocator has.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.set(HELD.get().wrapping_add(layout.size()));
        MOST.set(MOST.get().max(HELD.get()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get().wrapping_sub(layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many bytes this thread holds.
pub(crate) fn held() -> usize {
    HELD.get()
}

/// How many bytes `run` holds at most beyond what was held before, and what it leaves.
pub(crate) fn measure<T>(run: impl FnOnce() -> T) -> (usize, usize, T) {
    let before = HELD.get();
    MOST.set(before);
    let out = run();
    (MOST.get() - before, HELD.get().wrapping_sub(before), out)
}
