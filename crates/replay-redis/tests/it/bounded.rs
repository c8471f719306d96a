//! No script call holds Redis up for long: what takes longer is spread over several.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::{append, config, connect, data, event, read, seeds};
use replay_redis::{RedisConfig, RedisStore};
use replay_store::{
    After, Append, Clock, Limit, Pattern, Position, ReplayStore as _, Retention, Selector, Topic,
};
use testkit::RedisServer;

const HOUR: Duration = Duration::from_secs(60 * 60);

#[tokio::test(flavor = "multi_thread")]
async fn many_events_that_grow_old_at_once_go_with_several_calls() {
    let server = RedisServer::start(&[]);
    let now = Arc::new(AtomicU64::new(1_790_000_000_000));
    let turned = Arc::clone(&now);
    let clock = Clock::new(move || turned.load(Ordering::Relaxed));
    let config = RedisConfig {
        retention: Retention {
            age: HOUR,
            ..Retention::UNBOUNDED
        },
        ..config(&server)
    };
    let store = RedisStore::connect(config, seeds(), clock).await;
    let store = store.expect("Redis can be used");
    for _ in 0..4 {
        let batch = vec![event("a", "x"); 1000];
        store.append(batch).await.expect("the store appends");
    }
    now.fetch_add(2 * 60 * 60 * 1000, Ordering::Relaxed);
    append(&store, event("a", "new")).await;
    let mut left = Vec::new();
    for _ in 0..6 {
        let page = read(&store, After::Earliest).await;
        left.push(4001 - page.bounds.floor);
    }
    assert!(left.is_sorted_by(|a, b| a >= b), "{left:?}");
    assert!(left[0] > 1000, "not all at once: {left:?}");
    assert_eq!(left[5], 1, "{left:?}");
    assert_eq!(data(&read(&store, After::Earliest).await.events), ["new"]);
}

/// More topics than one call looks at the floors of, and the one that matches is the last of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_is_judged_exactly_among_more_topics_than_a_call_looks_at() {
    const TOPICS: usize = 12_000;
    let server = RedisServer::start(&[]);
    let config = RedisConfig {
        retention: Retention {
            events: 1,
            ..Retention::UNBOUNDED
        },
        ..config(&server)
    };
    let store = connect(config).await;
    let rare = event("x/rare", "1");
    let first = append(&store, rare.clone()).await.position;
    let second = append(&store, rare).await.position;
    let many: Vec<_> = (0..TOPICS)
        .map(|number| Append::new(Topic::new(&format!("x/{number}")).expect("valid"), "x"))
        .collect();
    for _ in 0..2 {
        for batch in many.chunks(1000) {
            store
                .append(batch.to_vec())
                .await
                .expect("the store appends");
        }
    }
    let select = |pattern: &str| Selector::from(Pattern::new(pattern).expect("valid"));
    let page = async |pattern: &str, after: Position| {
        let pattern = select(pattern);
        let page = store.read(&pattern, after.into(), Limit::default()).await;
        page.expect("the store reads")
    };
    let rare = page("**/rare", first).await;
    assert_eq!((rare.bounds.floor, rare.gap), (first.seq, None));
    let before = Position::new(first.epoch, 0);
    assert!(
        page("**/rare", before).await.gap.is_some(),
        "the first one was trimmed"
    );
    let all = page("x/*", second).await;
    assert_eq!(
        all.bounds.floor,
        second.seq + TOPICS as u64,
        "the last one trimmed"
    );

    // The events are found piece by piece.
    let mut after = first;
    let mut found = Vec::new();
    let mut pages = 0;
    loop {
        let page = page("**/rare", after).await;
        assert!(page.is_last() || page.scanned_to > after.seq);
        after = page.next();
        pages += 1;
        found.extend(data(&page.events));
        if page.is_last() {
            break;
        }
    }
    assert_eq!(found, ["1"]);
    assert!(pages > 5, "{pages}");
}
