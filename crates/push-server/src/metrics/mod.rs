//! What a hub counts.
//!
//! Counters are kept in stripes, one for each thread that counts as long as there are no more threads
//! than processors, so that two processors do not take a cache line from each other for every event
//! that is delivered. Whoever asks for a number adds up the stripes.

mod labels;
mod render;
mod text;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use backpressure::Policy;
use replay_store::{Gap, StoreError};

pub(crate) use self::labels::{Closed, Operation, Reader, Source, Transport, Via};
use self::labels::{FAILURES, GAPS, POLICIES};
pub use self::render::Metrics;
pub(crate) use self::text::{Format, Kind, Text};
use crate::http::problem::Problem;

/// The upper bounds of the buckets of durations, in microseconds: from a write to memory to a store
/// that is about to be given up.
const BUCKETS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 5_000_000,
];

/// What was said of slow subscribers last; older ones are in the log.
const SLOW: usize = 32;

/// The counters of one hub.
#[derive(Debug)]
pub(crate) struct Registry {
    stripes: Box<[Stripe]>,
    /// The highest seq that the store was seen to have.
    store_tail: AtomicU64,
    /// The last read of the store succeeded.
    store_up: AtomicBool,
    slow: Mutex<VecDeque<Slow>>,
}

/// What one subscriber was too slow for.
#[derive(Clone, Debug)]
pub(crate) struct Slow {
    pub(crate) at: SystemTime,
    pub(crate) connection: u64,
    pub(crate) policy: &'static str,
    /// How many events it has lost; none if it was disconnected.
    pub(crate) skipped: u64,
}

// Two cache lines: processors fetch them in pairs.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Stripe {
    /// By source and transport.
    delivered_events: Counts<{ Source::COUNT * Transport::COUNT }>,
    delivered_bytes: Counts<{ Source::COUNT * Transport::COUNT }>,
    heartbeats: Counts<{ Transport::COUNT }>,
    gaps: Counts<{ GAPS.len() }>,
    skipped: Counts<{ POLICIES.len() }>,
    superseded: Counts<1>,
    slow: Counts<{ POLICIES.len() }>,
    tail_falls: Counts<1>,
    opened: Counts<LINKS>,
    /// By reason.
    closed: [Counts<LINKS>; Closed::COUNT],
    tcp_opened: Counts<1>,
    tcp_closed: Counts<1>,
    tls_failures: Counts<1>,
    accept_failures: Counts<1>,
    published: Counts<1>,
    published_bytes: Counts<1>,
    duplicates: Counts<1>,
    publishing: Histogram,
    reading: [Histogram; Reader::COUNT],
    /// By operation.
    store_failures: [Counts<{ FAILURES.len() }>; Operation::COUNT],
    refused: Counts<{ Problem::CODES.len() }>,
}

#[derive(Debug)]
struct Counts<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Counts<N> {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; N])
    }
}

impl<const N: usize> Counts<N> {
    fn add(&self, index: usize, count: u64) {
        self.0[index].fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self, index: usize) -> u64 {
        self.0[index].load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
struct Histogram {
    /// The last is of what is above all bounds.
    buckets: Counts<{ BUCKETS.len() + 1 }>,
    microseconds: AtomicU64,
}

impl Histogram {
    fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.buckets
            .add(BUCKETS.partition_point(|bound| *bound < micros), 1);
        self.microseconds.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Registry {
    pub(crate) fn new() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let stripes = threads.next_power_of_two().min(64);
        Self {
            stripes: (0..stripes).map(|_| Stripe::default()).collect(),
            store_tail: AtomicU64::new(0),
            store_up: AtomicBool::new(true),
            slow: Mutex::default(),
        }
    }

    fn stripe(&self) -> &Stripe {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
        }
        // There is a power of two of them.
        let index = THREAD.with(|thread| *thread) & (self.stripes.len() - 1);
        &self.stripes[index]
    }

    fn sum(&self, count: impl Fn(&Stripe) -> u64) -> u64 {
        self.stripes.iter().map(count).sum()
    }

    /// Events were handed to a transport.
    pub(crate) fn delivered(
        &self,
        transport: Transport,
        source: Source,
        events: usize,
        bytes: usize,
    ) {
        let index = delivery(transport, source);
        let stripe = self.stripe();
        stripe.delivered_events.add(index, events as u64);
        stripe.delivered_bytes.add(index, bytes as u64);
    }

    pub(crate) fn heartbeat(&self, transport: Transport) {
        self.stripe().heartbeats.add(transport as usize, 1);
    }

    pub(crate) fn gap(&self, gap: &Gap) {
        self.stripe().gaps.add(labels::of_gap(gap.reason), 1);
    }

    /// A policy dropped events, and a gap says so.
    pub(crate) fn skipped(&self, policy: &Policy, events: u64) {
        self.stripe().skipped.add(labels::of_policy(policy), events);
    }

    /// Events had a later one of their key.
    pub(crate) fn superseded(&self, events: u64) {
        self.stripe().superseded.add(0, events);
    }

    /// A policy ended a subscription.
    pub(crate) fn too_slow(&self, policy: &Policy) {
        self.stripe().slow.add(labels::of_policy(policy), 1);
    }

    /// A subscriber goes on with the store because the tail no longer reaches back to it.
    pub(crate) fn tail_fall(&self) {
        self.stripe().tail_falls.add(0, 1);
    }

    pub(crate) fn opened(&self, transport: Transport, via: Via) {
        self.stripe().opened.add(link(transport, via), 1);
    }

    pub(crate) fn closed(&self, transport: Transport, via: Via, reason: Closed) {
        self.stripe().closed[reason as usize].add(link(transport, via), 1);
    }

    pub(crate) fn tcp_opened(&self) {
        self.stripe().tcp_opened.add(0, 1);
    }

    pub(crate) fn tcp_closed(&self) {
        self.stripe().tcp_closed.add(0, 1);
    }

    pub(crate) fn tls_failure(&self) {
        self.stripe().tls_failures.add(0, 1);
    }

    pub(crate) fn accept_failure(&self) {
        self.stripe().accept_failures.add(0, 1);
    }

    /// The store took a batch: so many new events of so many bytes, so many it had already.
    pub(crate) fn published(&self, events: u64, bytes: u64, duplicates: u64) {
        let stripe = self.stripe();
        stripe.published.add(0, events);
        stripe.published_bytes.add(0, bytes);
        stripe.duplicates.add(0, duplicates);
    }

    /// The store answered a publish, with whatever.
    pub(crate) fn appended_in(&self, took: Duration) {
        self.stripe().publishing.observe(took);
    }

    pub(crate) fn read_in(&self, reader: Reader, took: Duration) {
        self.stripe().reading[reader as usize].observe(took);
    }

    /// Counts an error that the store is to blame for, and says whether it was one.
    pub(crate) fn store_failed(&self, operation: Operation, error: &StoreError) -> bool {
        let code = error.code();
        let index = FAILURES.iter().position(|it| *it == code);
        if let Some(index) = index {
            self.stripe().store_failures[operation as usize].add(index, 1);
        }
        index.is_some()
    }

    pub(crate) fn refused(&self, problem: &Problem) {
        let code = problem.code();
        if let Some(index) = Problem::CODES.iter().position(|it| *it == code) {
            self.stripe().refused.add(index, 1);
        }
    }

    /// The store said where its log ends.
    pub(crate) fn set_store_tail(&self, seq: u64) {
        self.store_tail.store(seq, Ordering::Relaxed);
    }

    /// The log ends at `seq` or later.
    pub(crate) fn raise_store_tail(&self, seq: u64) {
        self.store_tail.fetch_max(seq, Ordering::Relaxed);
    }

    /// Whether reading the store works; answers whether it did before.
    pub(crate) fn set_store_up(&self, up: bool) -> bool {
        // Hardly ever changes, and every read says so.
        if self.store_up.load(Ordering::Relaxed) == up {
            return up;
        }
        self.store_up.swap(up, Ordering::Relaxed)
    }

    pub(crate) fn store_tail(&self) -> u64 {
        self.store_tail.load(Ordering::Relaxed)
    }

    pub(crate) fn is_store_up(&self) -> bool {
        self.store_up.load(Ordering::Relaxed)
    }

    pub(crate) fn note_slow(&self, slow: Slow) {
        let mut notes = self.slow_notes();
        if notes.len() == SLOW {
            notes.pop_front();
        }
        notes.push_back(slow);
    }

    /// The newest last.
    pub(crate) fn slow(&self) -> Vec<Slow> {
        self.slow_notes().iter().cloned().collect()
    }

    fn slow_notes(&self) -> MutexGuard<'_, VecDeque<Slow>> {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many connections of a kind are open.
    pub(crate) fn open(&self, transport: Transport, via: Via) -> u64 {
        let index = link(transport, via);
        // In this order, so that what closes meanwhile is not counted as closed and never opened.
        let closed = self.sum(|stripe| stripe.closed.iter().map(|it| it.get(index)).sum());
        let opened = self.sum(|stripe| stripe.opened.get(index));
        opened.saturating_sub(closed)
    }

    fn tcp_open(&self) -> u64 {
        let closed = self.sum(|stripe| stripe.tcp_closed.get(0));
        self.sum(|stripe| stripe.tcp_opened.get(0))
            .saturating_sub(closed)
    }
}

const fn delivery(transport: Transport, source: Source) -> usize {
    source as usize * Transport::COUNT + transport as usize
}

const LINKS: usize = Transport::COUNT * Via::COUNT;

const fn link(transport: Transport, via: Via) -> usize {
    transport as usize * Via::COUNT + via as usize
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_many_threads_count_adds_up() {
        let registry = Arc::new(Registry::new());
        let threads: Vec<_> = (0..16)
            .map(|_| {
                let registry = Arc::clone(&registry);
                std::thread::spawn(move || {
                    for _ in 0..1_000 {
                        registry.delivered(Transport::WebSocket, Source::Tail, 3, 10);
                        registry.opened(Transport::Sse, Via::Http2);
                    }
                    for _ in 0..999 {
                        registry.closed(Transport::Sse, Via::Http2, Closed::Client);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let index = delivery(Transport::WebSocket, Source::Tail);
        assert_eq!(registry.sum(|it| it.delivered_events.get(index)), 48_000);
        assert_eq!(registry.sum(|it| it.delivered_bytes.get(index)), 160_000);
        assert_eq!(registry.open(Transport::Sse, Via::Http2), 16);
        assert_eq!(registry.open(Transport::Sse, Via::Http1), 0);
    }

    #[test]
    fn a_duration_is_in_the_first_bucket_that_is_not_below_it() {
        let histogram = Histogram::default();
        for (micros, bucket) in [(0, 0), (100, 0), (101, 1), (5_000_000, 13), (u64::MAX, 14)] {
            let before = histogram.buckets.get(bucket);
            histogram.observe(Duration::from_micros(micros));
            assert_eq!(histogram.buckets.get(bucket), before + 1, "{micros}");
        }
    }

    #[test]
    fn the_last_notes_on_slow_subscribers_are_kept() {
        let registry = Registry::new();
        for connection in 0..100 {
            registry.note_slow(Slow {
                at: SystemTime::UNIX_EPOCH,
                connection,
                policy: "drop-oldest",
                skipped: 1,
            });
        }
        let kept: Vec<_> = registry.slow().iter().map(|it| it.connection).collect();
        assert!(kept.into_iter().eq(68..100));
    }
}
