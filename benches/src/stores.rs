//! Subjects of the benchmarks of stores: publishers that wait for each acknowledgement, readers,
//! and the floor below a durable store.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use replay_sqlite::{Check, SqliteConfig, SqliteStore};
use replay_store::{After, Append, Clock, Limit, ReplayStore, Retention, Selector, Topic};
use tokio::runtime::Runtime;

/// Data of one event, in bytes.
pub const EVENT_BYTES: usize = 256;

/// Topics that publishers spread their events over.
pub const TOPICS: u64 = 16;

/// Data that no file system compresses away, in the size of a small message.
#[must_use]
pub fn data(n: u64) -> Vec<u8> {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut data = format!("{{\"n\":{n},\"pad\":\"").into_bytes();
    while data.len() < EVENT_BYTES - 2 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data.push(b'0' + (state % 64) as u8);
    }
    data.extend_from_slice(b"\"}");
    data
}

/// The topic of the nth event.
///
/// # Panics
/// Never: the name is valid.
#[must_use]
pub fn topic(n: u64) -> Topic {
    Topic::new(&format!("bench/{}", n % TOPICS)).expect("a topic")
}

/// The clock of the machine.
#[must_use]
pub fn clock() -> Clock {
    Clock::new(|| {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        since.as_millis() as u64
    })
}

/// A SQLite store with `retention` and otherwise as `tidegate serve` opens it.
///
/// # Panics
/// The file cannot be opened.
#[must_use]
pub fn sqlite(path: &Path, retention: Retention) -> SqliteStore {
    sqlite_with(path, retention, Check::default())
}

/// The same, checked or not.
///
/// # Panics
/// The file cannot be opened.
#[must_use]
pub fn sqlite_with(path: &Path, retention: Retention, check: Check) -> SqliteStore {
    let config = SqliteConfig {
        retention,
        check,
        ..SqliteConfig::default()
    };
    let seeds = || u64::from(std::process::id());
    SqliteStore::open(path, config, seeds, clock()).expect("the file opens")
}

/// The runtime that publishers run on: tasks, as in the hub.
///
/// # Panics
/// The system gives no thread.
#[must_use]
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .expect("a runtime")
}

/// `publishers` tasks append `events` in all, one each at a time, and wait for the acknowledgement
/// of each before the next.
///
/// # Panics
/// An append fails.
pub fn publish<S>(runtime: &Runtime, store: &S, publishers: u64, events: u64) -> Duration
where
    S: ReplayStore + Clone,
{
    let next = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let tasks = (0..publishers).map(|_| {
        let (store, next) = (store.clone(), Arc::clone(&next));
        runtime.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= events {
                    return;
                }
                let batch = vec![Append::new(topic(n), data(n))];
                store.append(batch).await.expect("the store appends");
            }
        })
    });
    let tasks: Vec<_> = tasks.collect();
    for task in tasks {
        runtime.block_on(task).expect("the publisher ends");
    }
    start.elapsed()
}

/// Fills a store quickly, in batches.
///
/// # Panics
/// An append fails.
pub fn fill<S: ReplayStore>(runtime: &Runtime, store: &S, events: u64) {
    for first in (0..events).step_by(1000) {
        let batch = (first..events.min(first + 1000)).map(|n| Append::new(topic(n), data(n)));
        runtime
            .block_on(store.append(batch.collect()))
            .expect("the store appends");
    }
}

/// Reads a whole selector from its beginning, page by page; returns how many events there were.
///
/// # Panics
/// A read fails.
pub fn read_all<S: ReplayStore>(runtime: &Runtime, store: &S, selector: &Selector) -> usize {
    let mut after = After::Earliest;
    let mut events = 0;
    loop {
        let page = runtime
            .block_on(store.read(selector, after, Limit::default()))
            .expect("the store reads");
        events += page.events.len();
        if page.is_last() {
            return events;
        }
        after = page.next().into();
    }
}

/// The floor: the same batches, written to a growing file and synced, by one thread that does
/// nothing else.
///
/// # Errors
///
/// The file cannot be written.
pub fn raw(path: &Path, batch: u64, events: u64) -> io::Result<Duration> {
    let mut file = File::create(path)?;
    let mut bytes = Vec::new();
    for n in 0..batch {
        bytes.extend_from_slice(topic(n).as_str().as_bytes());
        bytes.extend_from_slice(&data(n));
    }
    let start = Instant::now();
    for _ in 0..events.div_ceil(batch) {
        file.write_all(&bytes)?;
        file.sync_data()?;
    }
    Ok(start.elapsed())
}
