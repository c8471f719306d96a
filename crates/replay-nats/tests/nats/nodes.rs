//! Several stores on one stream, as the hubs of one log have them.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use replay_nats::{NatsConfig, NatsStore};
use replay_store::{After, Append, GapReason, Position, ReplayStore as _, Selector, StoreError};

use crate::log::{append, data, keyed, only, page, persist, read_on, topic};
use crate::server::{Server, open};

const TASKS: usize = 6;

/// Each task appends so many events to one topic, each with a key of its own.
async fn crowd(stores: &[NatsStore], name: &str, each: usize) -> Vec<Position> {
    let tasks = (0..TASKS).map(|task| {
        let store = stores[task % stores.len()].clone();
        let name = name.to_owned();
        tokio::spawn(async move {
            let mut positions = Vec::new();
            for i in 0..each {
                let key = format!("{task} {i}");
                positions.push(persist(&store, keyed(&name, &key, &key)).await.position);
            }
            positions
        })
    });
    let positions = join_all(tasks).await.into_iter();
    positions.flat_map(|it| it.expect("it ran")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_publish_to_one_topic_make_one_chain() {
    let server = Server::start();
    let stores = [
        server.open().await,
        server.open().await,
        server.open().await,
    ];
    let mut answered = crowd(&stores, "busy", 30).await;
    answered.sort_unstable_by_key(|position| position.seq);
    for store in &stores {
        let (events, gaps) = read_on(store, &only("busy"), After::Earliest).await;
        assert_eq!(gaps, []);
        let read: Vec<_> = events.iter().map(|event| event.position).collect();
        assert_eq!(read, answered);
        let mut prev = 0;
        for event in &events {
            assert_eq!(event.prev, Some(prev), "{event:?}");
            prev = event.position.seq;
        }
        for task in 0..TASKS {
            let prefix = format!("{task} ");
            let own = data(&events)
                .into_iter()
                .filter(|it| it.starts_with(&prefix));
            assert!(own.eq((0..30).map(|i| format!("{task} {i}"))));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_on_one_node_counts_on_all_at_once() {
    let server = Server::start();
    let (a, b) = (server.open().await, server.open().await);
    append(&a, "t", "1").await;
    append(&b, "t", "2").await;
    // What this node remembers of the topic is stale now.
    let end = b
        .append(vec![Append::end(topic("t"))])
        .await
        .expect("it ends")[0];
    let late = a.append(vec![Append::new(topic("t"), "late")]).await;
    assert_eq!(late, Err(StoreError::Ended { index: 0 }));
    let again = a
        .append(vec![Append::end(topic("t"))])
        .await
        .expect("a duplicate")[0];
    assert!(again.duplicate);
    assert_eq!(again.position, end.position);
    let (events, _) = read_on(&a, &only("t"), After::Earliest).await;
    assert_eq!(data(&events), ["1", "2", ""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_used_on_one_node_is_known_on_the_other() {
    let server = Server::start();
    let (a, b) = (server.open().await, server.open().await);
    let first = a.append(vec![keyed("t", "k", "x")]).await.expect("new")[0];
    let again = b.append(vec![keyed("t", "k", "x")]).await.expect("known")[0];
    assert_eq!((again.position, again.duplicate), (first.position, true));
    let other = b.append(vec![keyed("t", "k", "y")]).await;
    assert_eq!(other, Err(StoreError::KeyReused { index: 0 }));
    // In a batch nothing is appended then.
    let batch = vec![Append::new(topic("u"), ""), keyed("t", "k", "y")];
    assert_eq!(
        b.append(batch).await,
        Err(StoreError::KeyReused { index: 1 })
    );
    assert_eq!(read_on(&a, &only("u"), After::Earliest).await.0, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_forgotten_after_the_window_of_the_stream() {
    let server = Server::start();
    let store = open(NatsConfig {
        dedup_window: Duration::from_millis(300),
        ..server.config()
    })
    .await;
    assert_eq!(
        store.capabilities().dedup_window,
        Duration::from_millis(300)
    );
    let first = persist(&store, keyed("t", "k", "x")).await;
    assert!(!first.duplicate);
    // The machine may be busy, so nothing is said of how soon.
    loop {
        let again = persist(&store, keyed("t", "k", "x")).await;
        if !again.duplicate {
            assert!(again.position.seq > first.position.seq);
            return;
        }
        assert_eq!(again.position, first.position);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Nodes come and go, and each begins an epoch: nobody who lost nothing is told a gap.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_costs_nobody_a_gap() {
    let server = Server::start();
    let old = server.open().await;
    let mut cursors = vec![append(&old, "t", "0").await];
    for i in 1..6 {
        let new = server.open().await;
        cursors.push(append(&new, "t", &format!("new {i}")).await);
        cursors.push(append(&old, "t", &format!("old {i}")).await);
        let [.., of_new, of_old] = &cursors[..] else {
            unreachable!("two were pushed")
        };
        assert_eq!(
            of_new.epoch, of_old.epoch,
            "both know the epoch that one of them began"
        );
    }
    let epochs: BTreeSet<_> = cursors.iter().map(|position| position.epoch).collect();
    assert_eq!(epochs.len(), 6);
    for store in [&old, &server.open().await] {
        for (i, cursor) in cursors.iter().enumerate() {
            let (events, gaps) = read_on(store, &Selector::all(), *cursor).await;
            assert_eq!(
                (events.len(), gaps.len()),
                (cursors.len() - i - 1, 0),
                "after {cursor}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_made_anew_is_told_as_another_history() {
    let server = Server::start();
    let store = server.open().await;
    let mut cursor = append(&store, "t", "old").await;
    for i in 0..5 {
        cursor = append(&store, "t", &format!("{i}")).await;
    }
    let client = async_nats::connect(server.config().servers)
        .await
        .expect("it connects");
    client
        .request("$JS.API.STREAM.DELETE.TIDEGATE", "".into())
        .await
        .expect("it is deleted");
    // The store makes it again, as it does at the start.
    let gone = page(&store, &only("t"), cursor).await;
    assert_eq!(
        gone.gap.map(|gap| gap.reason),
        Some(GapReason::EpochChanged)
    );
    persist(&store, Append::new(topic("t"), "new")).await;
    let page = page(&store, &only("t"), cursor).await;
    let gap = page.gap.expect("told again");
    assert_eq!(gap.reason, GapReason::EpochChanged);
    assert_ne!(gap.continue_at.epoch, cursor.epoch);
    assert_eq!(data(&page.events), ["new"]);
}

/// A server whose files are put back to an earlier day, as after a loss of power without syncs.
#[tokio::test(flavor = "multi_thread")]
async fn events_that_the_server_lost_are_told_to_those_who_saw_them() {
    let mut server = Server::start();
    let store = server.open().await;
    let kept = append(&store, "t", "kept").await;
    server.kill();
    let backup = server.copy_files();
    server.start_again();
    let mut lost = Vec::new();
    for i in 0..4 {
        let event = Append::new(topic("t"), format!("lost {i}"));
        lost.push(persist(&store, event).await.position);
    }
    server.kill();
    server.put_back(&backup);
    server.start_again();

    let ahead = page(&store, &only("t"), lost[3])
        .await
        .gap
        .expect("the log is shorter");
    assert!(
        matches!(ahead.reason, GapReason::Ahead | GapReason::EpochChanged),
        "{ahead:?}"
    );
    // What comes now has numbers that were used, in another epoch.
    for i in 0..8 {
        persist(&store, Append::new(topic("t"), format!("new {i}"))).await;
    }
    let fresh = server.open().await;
    for store in [&store, &fresh] {
        for cursor in &lost {
            let page = page(store, &only("t"), *cursor).await;
            let gap = page
                .gap
                .unwrap_or_else(|| panic!("a silent hole after {cursor}"));
            assert_eq!(gap.reason, GapReason::EpochChanged);
            assert_eq!(page.events.len(), 8);
        }
        let (events, gaps) = read_on(store, &only("t"), kept).await;
        assert_eq!((events.len(), gaps.len()), (8, 0));
    }
}
