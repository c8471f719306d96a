//! Another server takes over, or the same one with less than it had.

use crate::proxy::Proxy;
use crate::support::{
    append, config, connect, data, event, eventually, keyed, noon, read, replicated, seeds,
};
use replay_redis::{OpenError, RedisConfig, RedisStore};
use replay_store::{After, GapReason, Limit, Position, ReplayStore as _, Selector, StoreError};
use testkit::{RedisServer, SYNCED};

/// A primary, a replica that has caught up with ten events, and a store that is led to the primary.
struct Pair {
    primary: RedisServer,
    replica: RedisServer,
    proxy: Proxy,
    store: RedisStore,
    positions: Vec<Position>,
}

async fn pair() -> Pair {
    let primary = RedisServer::start(&SYNCED);
    let replica = RedisServer::start(&SYNCED);
    replica.command(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    let proxy = Proxy::start(primary.port()).await;
    let store = connect(RedisConfig {
        url: proxy.url(),
        ..config(&primary)
    })
    .await;
    let mut positions = Vec::new();
    for number in 1..=10 {
        positions.push(
            append(&store, event("a", &number.to_string()))
                .await
                .position,
        );
    }
    replicated(&replica, positions[9]).await;
    Pair {
        primary,
        replica,
        proxy,
        store,
        positions,
    }
}

impl Pair {
    /// The replica takes over; what the primary does from here on is lost.
    fn promote(&self) {
        self.replica.command("REPLICAOF NO ONE");
    }

    /// The primary dies, and the store finds its successor under the same name.
    fn fail_over(&mut self) {
        self.primary.kill();
        self.proxy.lead_to(self.replica.port());
    }
}

async fn gap(store: &RedisStore, after: Position) -> Option<(GapReason, Position)> {
    let page = read(store, after).await;
    page.gap.map(|gap| (gap.reason, gap.continue_at))
}

/// The first calls after a failover may find the connection gone.
async fn append_at_last(
    store: &RedisStore,
    append: replay_store::Append,
) -> replay_store::Appended {
    let mut appended = None;
    eventually("an append", async || {
        appended = store.append(vec![append.clone()]).await.ok();
        appended.is_some()
    })
    .await;
    appended.expect("just appended")[0]
}

async fn reads_again(store: &RedisStore) {
    eventually("a read", async || {
        let all = Selector::all();
        let page = store.read(&all, After::Latest, Limit::default()).await;
        page.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_that_lost_events_tells_only_those_who_saw_them() {
    let mut pair = pair().await;
    pair.promote();
    let kept = pair.positions[9];
    let mut lost = Vec::new();
    for number in 11..=13 {
        lost.push(
            append(&pair.store, keyed("a", &number.to_string()))
                .await
                .position,
        );
    }
    pair.fail_over();
    reads_again(&pair.store).await;
    assert_eq!(
        gap(&pair.store, lost[2]).await,
        Some((GapReason::Ahead, kept))
    );
    assert_eq!(gap(&pair.store, kept).await, None);

    // The retry of a lost event is an event again, under a seq that another one had.
    let again = append_at_last(&pair.store, keyed("a", "12")).await;
    assert!(!again.duplicate);
    assert_eq!(again.position.seq, lost[0].seq);
    assert_ne!(again.position.epoch, kept.epoch, "an epoch began");
    let parted = Position::new(again.position.epoch, kept.seq);
    for cursor in lost {
        let changed = Some((GapReason::EpochChanged, parted));
        assert_eq!(gap(&pair.store, cursor).await, changed, "{cursor}");
        assert_eq!(data(&read(&pair.store, cursor).await.events), ["12"]);
    }
    for (index, cursor) in pair.positions.iter().enumerate() {
        let page = read(&pair.store, *cursor).await;
        assert_eq!(
            (page.gap, page.events.len()),
            (None, 10 - index),
            "{cursor}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_that_lost_nothing_tells_nobody() {
    let mut pair = pair().await;
    pair.promote();
    pair.fail_over();
    let next = append_at_last(&pair.store, keyed("a", "11")).await.position;
    assert_eq!(next.seq, pair.positions[9].seq + 1);
    assert_ne!(next.epoch, pair.positions[9].epoch);
    for cursor in pair.positions.iter().chain([&next]) {
        assert_eq!(gap(&pair.store, *cursor).await, None, "{cursor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_serves_nobody() {
    let pair = pair().await;
    let refused = RedisStore::connect(config(&pair.replica), seeds(), noon()).await;
    let primary = format!("127.0.0.1:{}", pair.primary.port());
    assert_eq!(refused.err(), Some(OpenError::Replica { primary }));

    // It was the primary when the store connected.
    pair.promote();
    let store = connect(config(&pair.replica)).await;
    pair.replica
        .command(&format!("REPLICAOF 127.0.0.1 {}", pair.primary.port()));
    let appended = store.append(vec![event("a", "x")]).await;
    let Err(StoreError::Unavailable { detail }) = appended else {
        panic!("{appended:?}");
    };
    assert!(detail.contains("connect to the primary"), "{detail}");
    let page = store
        .read(&Selector::all(), After::Earliest, Limit::default())
        .await;
    assert!(
        matches!(page, Err(StoreError::Unavailable { .. })),
        "{page:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_redis_begins_anew() {
    let server = RedisServer::start(&SYNCED);
    let (store, other) = (
        connect(config(&server)).await,
        connect(config(&server)).await,
    );
    let mut cursor = append(&store, event("a", "1")).await.position;
    for _ in 0..4 {
        cursor = append(&other, event("a", "1")).await.position;
    }
    server.command("FLUSHALL");
    let page = read(&store, cursor).await;
    let told = page.gap.expect("everything is gone");
    assert_eq!(told.reason, GapReason::EpochChanged);
    assert_eq!(told.continue_at, Position::new(page.bounds.epoch, 0));
    assert_ne!(page.bounds.epoch, cursor.epoch);
    // The other node learns of it as it appends.
    let first = append(&other, event("a", "2")).await.position;
    assert_eq!(first, Position::new(page.bounds.epoch, 1));
    for store in [&store, &other] {
        let reason = gap(store, cursor).await.map(|(reason, _)| reason);
        assert_eq!(reason, Some(GapReason::EpochChanged));
        assert_eq!(data(&read(store, After::Earliest).await.events), ["2"]);
    }
}

/// As from a snapshot of the machine: the replication id is the same, the log is shorter.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_went_back_begins_an_epoch() {
    let server = RedisServer::start(&SYNCED);
    let store = connect(config(&server)).await;
    let kept = append(&store, event("a", "1")).await.position;
    let keys =
        ["meta", "log", "topics", "names", "expiry", "t:a"].map(|it| format!("{{tidegate}}:{it}"));
    for key in &keys {
        assert_eq!(
            server.command(&format!("COPY {key} saved:{key}")),
            ":1",
            "{key}"
        );
    }
    let lost = append(&store, event("a", "2")).await.position;
    for key in &keys {
        server.command(&format!("COPY saved:{key} {key} REPLACE"));
    }
    let next = append(&store, event("a", "3")).await.position;
    assert_eq!(next.seq, lost.seq);
    assert_ne!(next.epoch, lost.epoch);
    assert_eq!(gap(&store, kept).await, None);
    let parted = Position::new(next.epoch, kept.seq);
    assert_eq!(
        gap(&store, lost).await,
        Some((GapReason::EpochChanged, parted))
    );
}
