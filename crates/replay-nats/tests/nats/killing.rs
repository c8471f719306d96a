//! `nats-server` is killed while publishers publish.

use std::collections::HashMap;
use std::time::Duration;

use futures::future::join_all;
use replay_store::{After, ReplayStore as _, Selector};

use crate::log::{data, keyed, persist, read_on};
use crate::server::Server;

const ROUNDS: usize = 10;
const PUBLISHERS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_nothing_it_acknowledged_and_repeats_nothing() {
    let mut server = Server::start();
    let store = server.open().await;
    assert!(store.capabilities().survives_process);
    let first = persist(&store, keyed("t/0", "first", "first"))
        .await
        .position;
    let mut acknowledged = HashMap::new();
    for round in 0..ROUNDS {
        let publishers = (0..PUBLISHERS).map(|publisher| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut answered = Vec::new();
                for i in 0..60 {
                    let name = format!("{round} {publisher} {i}");
                    let topic = format!("t/{}", publisher % 3);
                    // As a publisher does that loses the answer: once more, with the same key.
                    let appended = persist(&store, keyed(&topic, &name, &name)).await;
                    answered.push((name, appended.position));
                }
                answered
            })
        });
        let publishers = publishers.collect::<Vec<_>>();
        tokio::time::sleep(Duration::from_millis(60 + 10 * round as u64)).await;
        server.restart();
        for answered in join_all(publishers).await {
            acknowledged.extend(answered.expect("it ran"));
        }
    }
    // A subscriber that was there from the beginning reads on across all of it without a gap.
    let (events, gaps) = read_on(&store, &Selector::all(), first).await;
    assert_eq!(gaps, []);
    let mut found = HashMap::new();
    for (name, event) in data(&events).into_iter().zip(&events) {
        let twice = found.insert(name.clone(), event.position);
        assert_eq!(twice, None, "{name} is there twice");
    }
    assert_eq!(acknowledged.len(), ROUNDS * PUBLISHERS * 60);
    assert!(
        found == acknowledged,
        "what was acknowledged is not what is there"
    );
    let anew = server.open().await;
    assert_eq!(
        read_on(&anew, &Selector::all(), After::Earliest)
            .await
            .0
            .len(),
        found.len() + 1
    );
}
