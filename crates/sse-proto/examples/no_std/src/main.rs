//! Encodes and decodes on the host without std: its exit code is 0 if that worked. Proves that the
//! crate needs an allocator and nothing else.
#![no_std]
#![no_main]

extern crate alloc;

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

use sse_proto::source::{Action, Mode, Response, Source, reconnection_time};
use sse_proto::{EventId, Frame, Item};

// Without std nobody else asks for the C library, which holds what runs before `main`.
#[link(name = "c")]
unsafe extern "C" {}

#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    match round_trip() {
        Some(()) => 0,
        None => 1,
    }
}

fn round_trip() -> Option<()> {
    let mut wire = alloc::vec::Vec::new();
    let id = EventId::new("7").ok()?;
    Frame::new().id(id).data("one\ntwo").encode_to(&mut wire);

    let mut source = Source::new("http://a.test/", Mode::Browser, reconnection_time);
    let head = Response::new(200).content_type(b"text/event-stream");
    let Action::Open = source.handle_response(head, Duration::ZERO, 0) else {
        return None;
    };
    let (head, tail) = wire.split_at(9);
    if source.push(head).next().is_some() {
        return None;
    }
    match source.push(tail).next()? {
        Item::Event(event) if event.data == "one\ntwo" && event.id == "7" => Some(()),
        _ => None,
    }
}

/// Hands out one static buffer from its front to its end and takes nothing back.
struct Bump {
    buffer: UnsafeCell<[u8; 64 * 1024]>,
    used: AtomicUsize,
}

// SAFETY: `used` gives each allocation a part of the buffer of its own.
unsafe impl Sync for Bump {}

// SAFETY: parts do not overlap, lie within the buffer, and are aligned as asked.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let room = layout.size() + layout.align();
        let from = self.used.fetch_add(room, Ordering::Relaxed);
        if from + room > 64 * 1024 {
            return core::ptr::null_mut();
        }
        // SAFETY: `from + room` is within the buffer.
        let pointer = unsafe { self.buffer.get().cast::<u8>().add(from) };
        pointer.wrapping_add(pointer.align_offset(layout.align()))
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static BUMP: Bump = Bump {
    buffer: UnsafeCell::new([0; 64 * 1024]),
    used: AtomicUsize::new(0),
};

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

// Nothing unwinds here, but the parts of `alloc` that come compiled refer to what std would have.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    loop {}
}
