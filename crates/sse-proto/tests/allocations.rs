//! Decoding into grown buffers allocates nothing. A binary of its own, since it counts every
//! allocation of the process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use sse_proto::{Decoder, Event, EventRef, Item};

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

fn count(run: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    run();
    ALLOCATIONS.get() - before
}

/// Decodes `stream` in pieces of `size` bytes.
fn decode(decoder: &mut Decoder, stream: &[u8], size: usize, mut keep: impl FnMut(&EventRef<'_>)) {
    for chunk in stream.chunks(size) {
        let mut items = decoder.push(chunk);
        while let Some(item) = items.next() {
            if let Item::Event(event) = item {
                keep(&event);
            }
        }
    }
}

#[test]
fn decoding_allocates_nothing_once_the_buffers_have_grown() {
    let blocks = [
        &b": c\nevent: token\nid: 0123456789abcdef-42\ndata: one\ndata: two\nretry: 5\n\n"[..],
        b"data: one line\n\n:\n\nevent: token\nid: 7\ndata: \xe2\x80\xa6\n\n",
        b"data: one\r\ndata: two\r\r\n",
    ];
    for block in blocks {
        let stream = block.repeat(50);
        for (comments, size) in [false, true].into_iter().flat_map(|it| {
            let sizes = [stream.len(), 1460, 7, 1];
            sizes.map(|size| (it, size))
        }) {
            let mut decoder = Decoder::new().with_comments(comments);
            let mut events = 0;
            decode(&mut decoder, &stream, size, |_| events += 1);
            let allocations = count(|| decode(&mut decoder, &stream, size, |_| events += 1));
            assert_eq!(allocations, 0, "{comments} in chunks of {size} bytes");
            assert!(events >= 100, "{events}");
        }
    }
}

#[test]
fn an_event_in_one_piece_is_borrowed_from_it_even_by_a_new_decoder() {
    let large = "x".repeat(1 << 20);
    for stream in [
        format!("data: {large}\n\n"),
        format!("event: token\ndata:{large}\r\n\r\n"),
    ] {
        let chunk = stream.as_bytes();
        let mut decoder = Decoder::new();
        let allocations = count(|| {
            decode(&mut decoder, chunk, chunk.len(), |event| {
                assert!(chunk.as_ptr_range().contains(&event.data.as_ptr()));
            });
        });
        assert_eq!(allocations, 0);
    }
}

/// As [`decode`], with owned events.
fn take(decoder: &mut Decoder, stream: &[u8], size: usize, mut keep: impl FnMut(Event)) {
    for chunk in stream.chunks(size) {
        let mut items = decoder.push(chunk);
        while let Some(item) = items.next_owned() {
            if let Item::Event(event) = item {
                keep(event);
            }
        }
    }
}

#[test]
fn an_owned_event_takes_one_allocation_and_one_more_for_a_type_and_for_an_id() {
    for (stream, expected) in [
        ("data: x\n\n", 1),
        ("data: \n\n", 0),
        ("data\ndata: x\n\n", 1),
        ("event: t\ndata: x\n\n", 2),
        ("id: 7\nevent: t\ndata: x\n\n", 3),
    ] {
        for size in [stream.len(), 9, 1] {
            let mut decoder = Decoder::new();
            // Twice, for the buffers of ids take turns.
            decode(&mut decoder, stream.as_bytes(), size, |_| {});
            decode(&mut decoder, stream.as_bytes(), size, |_| {});
            let copying = count(|| {
                decode(&mut decoder, stream.as_bytes(), size, |event| {
                    drop(event.to_owned());
                });
            });
            assert_eq!(copying, expected, "{stream:?} in chunks of {size} bytes");
            let taking = count(|| take(&mut decoder, stream.as_bytes(), size, drop));
            assert_eq!(taking, expected, "{stream:?} in chunks of {size} bytes");
        }
    }
}

#[test]
fn an_owned_event_that_was_gathered_takes_the_buffer_along_unless_it_is_far_too_large() {
    let large = format!("data: {}\n\n", "x".repeat(1 << 20));
    let mut decoder = Decoder::new();
    let mut buffer = None;
    decode(&mut decoder, large.as_bytes(), 1000, |event| {
        buffer = Some(event.data.as_ptr());
    });
    // The same buffer is used again, and this time given away.
    let mut taken = None;
    let allocations = count(|| {
        take(&mut decoder, large.as_bytes(), 1000, |event| {
            taken = Some(event);
        });
    });
    assert_eq!(allocations, 1);
    assert_eq!(taken.map(|event| event.data.as_ptr()), buffer);

    take(&mut decoder, b"data: small\n\n", 7, |event| {
        assert_eq!(event.data, "small");
        assert!(event.data.capacity() < 100, "{}", event.data.capacity());
    });
}
