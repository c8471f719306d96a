//! Decoding into grown buffers allocates nothing. A binary of its own, since it counts every
//! allocation of the process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use sse_proto::{Decoder, Item};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to `System` unchanged; the counter is a plain thread-local without a
// destructor and allocates nothing itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn decoding_allocates_nothing_once_the_buffers_have_grown() {
    let block = b": c\nevent: token\nid: 0123456789abcdef-42\ndata: one\ndata: two\nretry: 5\n\n";
    let stream = block.repeat(50);
    let mut decoder = Decoder::new().with_comments(true);
    for size in [stream.len(), 7, 1] {
        let mut events = 0;
        let mut run = |decoder: &mut Decoder| {
            for chunk in stream.chunks(size) {
                let mut items = decoder.push(chunk);
                while let Some(item) = items.next() {
                    events += usize::from(matches!(item, Item::Event(_)));
                }
            }
        };
        run(&mut decoder);
        let before = ALLOCATIONS.get();
        run(&mut decoder);
        assert_eq!(ALLOCATIONS.get() - before, 0, "in chunks of {size} bytes");
        assert_eq!(events, 100);
    }
}
