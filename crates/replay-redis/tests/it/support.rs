//! What the tests share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use replay_redis::{RedisConfig, RedisStore};
use replay_store::{
    After, Append, Appended, Clock, Event, Limit, Page, Position, ReplayStore as _, Selector, Topic,
};
use testkit::RedisServer;

/// A store that has the log of `server` for itself. The machine may be busy.
pub(crate) fn config(server: &RedisServer) -> RedisConfig {
    RedisConfig {
        timeout: Duration::from_secs(30),
        ..RedisConfig::new(server.url())
    }
}

/// Epochs that no other store of this process begins.
pub(crate) fn seeds() -> impl FnMut() -> u64 + Send + 'static {
    static SEED: AtomicU64 = AtomicU64::new(1);
    || SEED.fetch_add(1, Ordering::Relaxed)
}

/// A clock that stands still.
pub(crate) fn noon() -> Clock {
    Clock::new(|| 1_790_000_000_000)
}

pub(crate) async fn connect(config: RedisConfig) -> RedisStore {
    let connected = RedisStore::connect(config, seeds(), noon()).await;
    connected.expect("Redis can be used")
}

pub(crate) fn event(topic: &str, data: &str) -> Append {
    let topic = Topic::new(topic).expect("valid");
    Append::new(topic, data.to_owned())
}

/// An event whose data is its idempotency key.
pub(crate) fn keyed(topic: &str, data: &str) -> Append {
    Append {
        idempotency_key: Some(data.into()),
        ..event(topic, data)
    }
}

pub(crate) async fn append(store: &RedisStore, append: Append) -> Appended {
    let appended = store.append(vec![append]).await;
    appended.expect("the store appends")[0]
}

pub(crate) async fn read(store: &RedisStore, after: impl Into<After>) -> Page {
    let all = Selector::all();
    let page = store.read(&all, after.into(), Limit::default()).await;
    page.expect("the store reads")
}

pub(crate) fn data(events: &[Event]) -> Vec<String> {
    let text = |event: &Event| String::from_utf8(event.data.to_vec()).expect("text");
    events.iter().map(text).collect()
}

/// Asks until the answer is yes, for up to a minute.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until a replica has everything up to a position.
pub(crate) async fn replicated(replica: &RedisServer, to: Position) {
    eventually("replication", async || {
        let tail = replica.command("HGET {tidegate}:meta tail");
        tail.ends_with(&format!("\n{}", to.seq))
    })
    .await;
}
