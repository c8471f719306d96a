//! A thousand readers do not become a thousand consumers, and what is read does not depend on how.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt as _;
use futures::future::join_all;
use replay_nats::NatsConfig;
use replay_store::{After, Append, Limit, Pattern, ReplayStore as _, Selector};
use serde_json::Value;

use crate::log::topic;
use crate::server::{Server, open};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_replaying_readers_use_no_more_consumers_than_configured() {
    const READERS: usize = 3;
    let server = Server::start();
    let store = open(NatsConfig {
        readers: READERS,
        ..server.config()
    })
    .await;
    let mut hints = store.hints().expect("it gives hints");
    for chunk in 0..5 {
        let batch = (0..20).map(|i| Append::new(topic(&format!("t/{i}")), format!("{chunk}")));
        store.append(batch.collect()).await.expect("it appends");
    }
    // Once a hint has come, the consumer that they come from is there.
    hints.next().await.expect("a hint");
    let done = Arc::new(AtomicBool::new(false));
    let watch = {
        let done = Arc::clone(&done);
        let client = async_nats::connect(server.config().servers)
            .await
            .expect("it connects");
        tokio::spawn(async move {
            let mut most = 0;
            while !done.load(Ordering::Acquire) {
                let answer = client
                    .request("$JS.API.STREAM.INFO.TIDEGATE", "".into())
                    .await
                    .expect("JetStream answers");
                let info: Value = serde_json::from_slice(&answer.payload).expect("JSON");
                most = most.max(info["state"]["consumer_count"].as_u64().expect("a number"));
            }
            most
        })
    };
    let all: Selector = Pattern::new("t/*").expect("valid").into();
    let readers = (0..1000).map(|_| {
        let (store, all) = (store.clone(), all.clone());
        tokio::spawn(async move {
            let mut after = After::Earliest;
            let mut events = 0;
            loop {
                let limit = Limit {
                    events: 60,
                    ..Limit::default()
                };
                let page = store.read(&all, after, limit).await.expect("it reads");
                events += page.events.len();
                after = page.next().into();
                if page.is_last() {
                    return events;
                }
            }
        })
    });
    for events in join_all(readers).await {
        assert_eq!(events.expect("it ran"), 100);
    }
    done.store(true, Ordering::Release);
    let most = usize::try_from(watch.await.expect("it ran")).expect("few");
    assert!(
        (2..=READERS + 1).contains(&most),
        "{most} consumers at a time"
    );
}

/// Events that lie close together are found by reading the log, others by a filter.
#[tokio::test(flavor = "multi_thread")]
async fn selections_read_the_same_whether_dense_or_sparse() {
    const EVENTS: usize = 10_000;
    let server = Server::start();
    let store = server.open().await;
    let name = |i: usize| match i {
        9_500 => "x/rare".to_owned(),
        i if i % 500 == 7 => "sparse".to_owned(),
        // Dense at first, and then gone.
        i if i < 200 => "early".to_owned(),
        i => format!("dense/{}", i % 3),
    };
    let names: Vec<_> = (0..EVENTS).map(name).collect();
    for batch in names.chunks(1000) {
        let batch = batch
            .iter()
            .map(|name| Append::new(topic(name), name.clone()));
        let appended = store.append(batch.collect()).await.expect("it appends");
        assert_eq!(appended.len(), 1000);
    }
    for pattern in [
        "**", "dense/*", "dense/1", "sparse", "early", "**/rare", "x/rare",
    ] {
        let pattern = Pattern::new(pattern).expect("valid");
        let wanted = |name: &&String| pattern.matches(&topic(name));
        let expected: Vec<_> = names.iter().filter(wanted).cloned().collect();
        let selector = Selector::from(pattern.clone());
        let (mut after, mut found, mut seqs) = (After::Earliest, Vec::new(), Vec::new());
        loop {
            let page = store.read(&selector, after, Limit::default()).await;
            let page = page.expect("it reads");
            let start = match after {
                After::Position(position) => position.seq,
                _ => 0,
            };
            // What has many others between is not looked for without end.
            let few = page.events.len() < 512 && pattern.as_str() == "**/rare";
            assert!(!few || page.scanned_to - start < 9_000);
            seqs.extend(page.events.iter().map(|event| event.position.seq));
            found.extend(crate::log::data(&page.events));
            after = page.next().into();
            if page.is_last() {
                break;
            }
        }
        assert_eq!(found, expected, "{pattern:?}");
        assert!(seqs.is_sorted_by(|a, b| a < b));
    }
}
