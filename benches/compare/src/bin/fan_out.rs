//! Fan-out in one thread, side by side: prints the tables of `docs/benchmarks.md`.
//!
//! Everybody publishes the same events to the same number of readers and then drains every reader;
//! what arrives is counted. All take turns, and the best time of each counts, so that a busy machine
//! disturbs all of them alike.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fan_out::{EVENT, FanOut, PEERS};

#[path = "../fan_out.rs"]
mod fan_out;

/// Takes turns for this long per row.
const BUDGET: Duration = Duration::from_secs(6);

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract, which is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `memory` came from `alloc` above with this layout.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    println!(
        "| readers | backlog | what |{}",
        PEERS.map(|(name, _)| format!(" {name} |")).concat()
    );
    println!("|---|---|---|{}", "---|".repeat(PEERS.len()));
    for (readers, backlog) in [(1, 1000), (1000, 1000), (100_000, 16)] {
        one_log(readers, backlog, || {});
    }
    // What draining 100,000 readers does to the caches, without them.
    let mut memory = vec![1_u8; 64 << 20];
    println!("\n1 reader, the caches emptied before:\n");
    one_log(1, 16, || {
        memory
            .iter_mut()
            .step_by(64)
            .for_each(|byte| *byte = black_box(*byte))
    });
    many_logs(100_000);
}

/// One publisher with so many readers. `before` is done before each takes its turn.
fn one_log(readers: usize, backlog: usize, mut before: impl FnMut()) {
    let event = Bytes::from_static(&EVENT);
    let mut peers = PEERS.map(|(_, make)| make(readers, backlog));
    let mut publish = [f64::INFINITY; PEERS.len()];
    let mut drain = [f64::INFINITY; PEERS.len()];
    turns(|| {
        for (at, peer) in peers.iter_mut().enumerate() {
            before();
            let start = Instant::now();
            for _ in 0..backlog {
                peer.publish(&event);
            }
            let published = Instant::now();
            let bytes = peer.drain();
            let drained = published.elapsed();
            assert_eq!(bytes, readers * backlog * EVENT.len(), "{}", PEERS[at].0);
            best(&mut publish[at], published - start, backlog);
            best(&mut drain[at], drained, readers * backlog);
        }
    });
    row(readers, backlog, "publish, ns an event", publish);
    row(readers, backlog, "drain, ns a delivery", drain);
}

/// So many publishers with one reader each.
fn many_logs(logs: usize) {
    let event = Bytes::from_static(&EVENT);
    let mut memory = [0.0; PEERS.len()];
    let mut time = [f64::INFINITY; PEERS.len()];
    for (at, (name, make)) in PEERS.iter().enumerate() {
        let before = HELD.load(Ordering::Relaxed);
        let mut peers: Vec<_> = (0..logs).map(|_| make(1, 16)).collect();
        let held = HELD.load(Ordering::Relaxed) - before - logs * size_of::<Box<dyn FanOut>>();
        memory[at] = held as f64 / logs as f64;
        for _ in 0..5 {
            let start = Instant::now();
            for peer in &mut peers {
                peer.publish(&event);
                assert_eq!(peer.drain(), EVENT.len(), "{name}");
            }
            best(&mut time[at], start.elapsed(), logs);
        }
    }
    println!("\n{logs} publishers with one reader each:\n");
    row(1, 16, "idle, bytes a publisher and reader", memory);
    row(1, 1, "publish and read, ns", time);
}

fn turns(mut turn: impl FnMut()) {
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < BUDGET || count < 3 {
        turn();
        count += 1;
    }
}

fn best(best: &mut f64, time: Duration, of: usize) {
    *best = best.min(time.as_secs_f64() * 1e9 / of as f64);
}

fn row(readers: usize, backlog: usize, what: &str, values: [f64; PEERS.len()]) {
    let cells = values.map(|value| format!(" {value:.1} ({:.2}) |", value / values[0]));
    println!("| {readers} | {backlog} | {what} |{}", cells.concat());
}
