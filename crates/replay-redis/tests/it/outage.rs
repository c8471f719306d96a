//! Redis does not answer, or says no.

use std::time::Duration;

use crate::proxy::Proxy;
use crate::support::{append, config, connect, data, event, eventually, keyed, noon, read, seeds};
use futures::StreamExt as _;
use replay_redis::{Advice, OpenError, RedisConfig, RedisStore};
use replay_store::{After, Limit, ReplayStore as _, Selector, StoreError};
use testkit::{RedisServer, SYNCED};

async fn refused(config: RedisConfig) -> OpenError {
    let opened = RedisStore::connect(config, seeds(), noon()).await;
    opened.expect_err("this cannot be used")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_out_leaves_the_outcome_open_and_the_retry_is_a_duplicate() {
    let server = RedisServer::start(&SYNCED);
    let proxy = Proxy::start(server.port()).await;
    let store = connect(RedisConfig {
        url: proxy.url(),
        timeout: Duration::from_secs(5),
        ..config(&server)
    })
    .await;
    let first = append(&store, keyed("a", "1")).await.position;

    proxy.hold(true);
    let unanswered = store.append(vec![keyed("a", "2")]).await;
    assert!(
        matches!(unanswered, Err(StoreError::OutcomeUnknown { .. })),
        "{unanswered:?}"
    );
    let unread = store
        .read(&Selector::all(), After::Earliest, Limit::default())
        .await;
    assert!(
        matches!(unread, Err(StoreError::Unavailable { .. })),
        "{unread:?}"
    );

    proxy.hold(false);
    let mut retried = None;
    eventually("the retry", async || {
        retried = store.append(vec![keyed("a", "2")]).await.ok();
        retried.is_some()
    })
    .await;
    let retried = retried.expect("just appended")[0];
    assert!(retried.duplicate);
    assert_eq!(retried.position.seq, first.seq + 1);
    // Time-outs are short here, and the machine may be busy.
    let mut found = Vec::new();
    eventually("a read", async || {
        let all = Selector::all();
        let page = store.read(&all, After::Earliest, Limit::default()).await;
        found = page.map_or_else(|_| Vec::new(), |page| data(&page.events));
        !found.is_empty()
    })
    .await;
    assert_eq!(found, ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_down_nothing_is_appended_and_hints_come_again_after() {
    let mut server = RedisServer::start(&SYNCED);
    let store = connect(config(&server)).await;
    append(&store, event("a", "1")).await;
    server.kill();
    eventually("the outage is noticed", async || {
        let appended = store.append(vec![event("a", "lost")]).await;
        matches!(appended, Err(StoreError::Unavailable { .. }))
    })
    .await;
    let mut hints = store.hints().expect("it gives hints");
    server.up();
    hints.next().await.expect("what was missed may be read");

    // From now on, another node's events are heard of.
    let other = connect(config(&server)).await;
    let heard = hints.next();
    append(&other, event("a", "2")).await;
    let heard = tokio::time::timeout(Duration::from_secs(60), heard).await;
    heard
        .expect("the event is heard of")
        .expect("the store is open");
    eventually("a read", async || {
        let page = store
            .read(&Selector::all(), After::Earliest, Limit::default())
            .await;
        page.is_ok_and(|page| data(&page.events).last().is_some_and(|it| it == "2"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_replaying_clients_take_three_connections_and_as_many_turns_as_configured() {
    const CLIENTS: usize = 1000;
    const READERS: usize = 3;
    let server = RedisServer::start(&SYNCED);
    let proxy = Proxy::start(server.port()).await;
    let store = connect(RedisConfig {
        url: proxy.url(),
        readers: READERS,
        ..config(&server)
    })
    .await;
    append(&store, event("a", "1")).await;
    read(&store, After::Earliest).await;
    eventually("listening", async || proxy.connections() == 3).await;

    proxy.hold(true);
    let before = proxy.calls();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { read(&store, After::Earliest).await })
        })
        .collect();
    eventually("reading", async || proxy.calls() - before >= READERS).await;
    // Whoever goes away does not make room for another one while Redis still works for it.
    for client in clients.iter().take(CLIENTS / 2) {
        client.abort();
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(proxy.calls() - before, READERS, "the others wait");
    assert_eq!(proxy.connections(), 3);
    proxy.hold(false);
    for client in clients.into_iter().skip(CLIENTS / 2) {
        let page = client.await.expect("it reads");
        assert_eq!(data(&page.events), ["1"]);
    }
    assert_eq!(proxy.connections(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_refuses_events_and_can_be_read() {
    let server = RedisServer::start(&SYNCED);
    let store = connect(config(&server)).await;
    append(&store, event("a", "1")).await;
    server.command("CONFIG SET maxmemory 1");
    let full = store.append(vec![event("a", "2")]).await;
    let Err(StoreError::Unavailable { detail }) = full else {
        panic!("{full:?}");
    };
    assert!(detail.contains("raise maxmemory"), "{detail}");
    assert_eq!(data(&read(&store, After::Earliest).await.events), ["1"]);
    server.command("CONFIG SET maxmemory 0");
    append(&store, event("a", "3")).await;
    assert_eq!(
        data(&read(&store, After::Earliest).await.events),
        ["1", "3"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_somebody_tore_is_corrupt_and_not_silently_shorter() {
    let server = RedisServer::start(&SYNCED);
    let store = connect(config(&server)).await;
    for number in 1..=5 {
        append(&store, event("a", &number.to_string())).await;
    }
    server.command("XDEL {tidegate}:log 3-0");
    let topic = event("a", "").topic;
    let read = |selector: Selector| {
        let store = store.clone();
        async move {
            store
                .read(&selector, After::Earliest, Limit::default())
                .await
        }
    };
    let torn = read(topic.clone().into()).await;
    assert!(matches!(torn, Err(StoreError::Corrupt { .. })), "{torn:?}");

    server.command("DEL {tidegate}:meta");
    for selector in [topic.into(), Selector::all()] {
        let torn = read(selector).await;
        assert!(matches!(torn, Err(StoreError::Corrupt { .. })), "{torn:?}");
    }
    let torn = store.append(vec![event("a", "6")]).await;
    assert!(matches!(torn, Err(StoreError::Corrupt { .. })), "{torn:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_would_evict_is_refused_with_advice() {
    let server = RedisServer::start(&["maxmemory-policy allkeys-lru"]);
    let error = refused(config(&server)).await;
    let policy = "allkeys-lru".to_owned();
    assert_eq!(error, OpenError::Eviction { policy });
    let advised = "redis-cli CONFIG SET maxmemory-policy noeviction";
    assert!(error.to_string().contains(advised), "{error}");

    // Following the advice helps; and a store looks again when it connects again.
    server.command("CONFIG SET maxmemory-policy noeviction");
    let store = connect(config(&server)).await;
    server.command("CONFIG SET maxmemory-policy allkeys-lfu");
    server.command("CLIENT KILL TYPE normal");
    eventually("the refusal", async || {
        let appended = store.append(vec![event("a", "x")]).await;
        matches!(appended, Err(StoreError::Unavailable { detail }) if detail.contains(advised))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_promises_follows_from_how_redis_is_set_up() {
    for (settings, synced, advice) in [
        (&SYNCED[..], true, &[][..]),
        (&["appendonly yes"], false, &[Advice::LosesSeconds]),
        (&[], false, &[Advice::NotPersistent]),
    ] {
        let server = RedisServer::start(settings);
        let store = connect(config(&server)).await;
        assert_eq!(store.advice(), advice);
        let promised = store.capabilities();
        assert_eq!(promised.survives_process, synced, "{settings:?}");
        assert_eq!(promised.survives_power, synced, "{settings:?}");
        assert!(!promised.survives_failover);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_refused_with_a_reason() {
    let mut server = RedisServer::start(&["requirepass secret"]);
    let good = config(&server);
    let with_url = |url: &str| RedisConfig {
        url: url.to_owned(),
        ..good.clone()
    };
    let error = refused(good.clone()).await;
    assert!(
        matches!(&error, OpenError::Unreachable { detail } if detail.contains("NOAUTH")),
        "{error}"
    );
    let url = format!("redis://:secret@127.0.0.1:{}", server.port());
    connect(with_url(&url)).await;
    assert!(!format!("{:?}", with_url(&url)).contains("secret"));

    for wrong in [
        "http://127.0.0.1",
        "127.0.0.1:6379",
        "redis://127.0.0.1/x",
        "rediss://127.0.0.1",
    ] {
        let error = refused(with_url(wrong)).await;
        assert!(matches!(error, OpenError::Url { .. }), "{wrong}: {error}");
    }
    for prefix in ["", "a{b}", "a b", &"x".repeat(65)] {
        let wrong = RedisConfig {
            prefix: prefix.to_owned(),
            ..good.clone()
        };
        assert_eq!(refused(wrong).await, OpenError::Prefix, "{prefix}");
    }
    server.kill();
    let error = refused(good.clone()).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
}
