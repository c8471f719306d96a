//! Subjects of the benchmarks of stores: publishers that wait for each acknowledgement, readers,
//! and the floor below a durable store.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use replay_nats::{NatsConfig, NatsStore};
use replay_redis::{RedisConfig, RedisStore};
use replay_sqlite::{Check, SqliteConfig, SqliteStore};
use replay_store::{
    After, Append, Clock, Epoch, Limit, MemoryConfig, MemoryStore, ReplayStore, Retention,
    Selector, Topic,
};
use testkit::{NatsServer, RedisServer};
use tokio::runtime::Runtime;

/// How many publishers there are at once.
pub const PUBLISHERS: [u64; 4] = [1, 16, 64, 256];

/// How long a server may take: the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(60);

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
    SqliteStore::open(path, config, seed, clock()).expect("the file opens")
}

/// A memory store with `retention`.
#[must_use]
pub fn memory(retention: Retention) -> MemoryStore {
    let config = MemoryConfig {
        retention,
        ..MemoryConfig::default()
    };
    MemoryStore::new(config, Epoch(1), clock())
}

/// A store on a Redis, with `retention`.
///
/// # Panics
/// Redis cannot be used.
#[must_use]
pub fn redis(runtime: &Runtime, server: &RedisServer, retention: Retention) -> RedisStore {
    let config = RedisConfig {
        retention,
        timeout: TIMEOUT,
        ..RedisConfig::new(server.url())
    };
    let connected = runtime.block_on(RedisStore::connect(config, seed, clock()));
    connected.expect("Redis can be used")
}

/// A store on a NATS server, which keeps everything.
///
/// # Panics
/// JetStream cannot be used.
#[must_use]
pub fn nats(runtime: &Runtime, server: &NatsServer) -> NatsStore {
    let config = NatsConfig {
        servers: server.url(),
        max_age: Duration::ZERO,
        max_bytes: 0,
        timeout: TIMEOUT,
        ..NatsConfig::default()
    };
    let opened = runtime.block_on(NatsStore::open(config, seed));
    opened.expect("JetStream can be used")
}

/// What an epoch is made of: another each time.
fn seed() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    since.as_nanos() as u64
}

/// The runtime that publishers run on: tasks, as in the hub.
///
/// # Panics
/// The system gives no thread.
#[must_use]
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
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

/// Acknowledged appends per second of so many publishers, measured for about that long.
///
/// # Panics
/// An append fails.
pub fn rate<S>(runtime: &Runtime, store: &S, publishers: u64, lasting: Duration) -> f64
where
    S: ReplayStore + Clone,
{
    // Some beforehand, which tell how many there is time for.
    let mut events = 4 * publishers;
    loop {
        let took = publish(runtime, store, publishers, events);
        let rate = events as f64 / took.as_secs_f64();
        if took * 2 > lasting {
            return rate;
        }
        events = ((rate * lasting.as_secs_f64()) as u64).clamp(events, 20 * events);
    }
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

/// Reads `events` of a selector from its beginning, page by page; returns how many there were, which
/// may be somewhat more.
///
/// # Panics
/// A read fails.
pub fn read<S: ReplayStore>(
    runtime: &Runtime,
    store: &S,
    selector: &Selector,
    events: usize,
) -> usize {
    let mut after = After::Earliest;
    let mut seen = 0;
    loop {
        let page = runtime
            .block_on(store.read(selector, after, Limit::default()))
            .expect("the store reads");
        seen += page.events.len();
        if page.is_last() || seen >= events {
            return seen;
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
