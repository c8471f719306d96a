//! Redis is killed while publishers publish and a subscriber reads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{config, connect, data, eventually, keyed, read};
use replay_redis::RedisStore;
use replay_store::{After, Event, Limit, Position, ReplayStore as _, Selector, StoreError};
use testkit::{RedisServer, SYNCED};
use tokio::time::sleep;

/// How often Redis is killed; another number is taken from the environment.
const ROUNDS: usize = 10;
const PUBLISHERS: usize = 4;

fn rounds() -> usize {
    let set = std::env::var("TIDEGATE_TEST_KILL_ROUNDS");
    set.map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"))
}

#[derive(Default)]
struct Run {
    acknowledged: Mutex<HashMap<String, Position>>,
    count: AtomicUsize,
    over: AtomicBool,
}

/// Publishes until the run is over, each event until it is acknowledged.
async fn publish(store: RedisStore, run: Arc<Run>, publisher: usize) {
    for number in 0.. {
        if run.over.load(Ordering::SeqCst) {
            return;
        }
        let name = format!("{publisher}-{number}");
        let event = keyed(["a", "b"][number % 2], &name);
        let position = loop {
            match store.append(vec![event.clone()]).await {
                Ok(appended) => break appended[0].position,
                Err(StoreError::Unavailable { .. } | StoreError::OutcomeUnknown { .. }) => {
                    sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("{error}"),
            }
        };
        run.acknowledged.lock().unwrap().insert(name, position);
        run.count.fetch_add(1, Ordering::SeqCst);
    }
}

/// Reads until it has `end`. There is never a gap.
async fn subscribe(store: RedisStore) -> Vec<Event> {
    let mut after = After::Earliest;
    let mut events: Vec<Event> = Vec::new();
    loop {
        match store.read(&Selector::all(), after, Limit::default()).await {
            Ok(page) => {
                assert_eq!(page.gap, None, "nothing was lost");
                after = page.next().into();
                events.extend(page.events);
                if events.last().is_some_and(|event| event.data == "end") {
                    return events;
                }
            }
            Err(StoreError::Unavailable { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_or_doubled_when_redis_is_killed() {
    let mut server = RedisServer::start(&SYNCED);
    let store = connect(config(&server)).await;
    let run = Arc::new(Run::default());
    let subscriber = tokio::spawn(subscribe(store.clone()));
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| tokio::spawn(publish(store.clone(), Arc::clone(&run), publisher)))
        .collect();
    for round in 0..rounds() {
        // At another point of their work each time.
        let until = run.count.load(Ordering::SeqCst) + 20 + 7 * round;
        eventually("publishing", async || {
            run.count.load(Ordering::SeqCst) >= until
        })
        .await;
        server.kill();
        server.up();
    }
    run.over.store(true, Ordering::SeqCst);
    for publisher in publishers {
        publisher.await.expect("it publishes");
    }
    // After the last kill the connection may be made anew only now.
    eventually("an append", async || {
        store.append(vec![keyed("a", "end")]).await.is_ok()
    })
    .await;

    let seen = subscriber.await.expect("it reads");
    let mut stored = Vec::new();
    let mut after = After::Earliest;
    loop {
        let page = read(&store, after).await;
        after = page.next().into();
        let last = page.is_last();
        stored.extend(page.events);
        if last {
            break;
        }
    }
    assert_eq!(
        seen, stored,
        "the subscriber saw the log, once and in order"
    );
    let acknowledged = std::mem::take(&mut *run.acknowledged.lock().unwrap());
    assert_eq!(stored.len(), acknowledged.len() + 1, "none is there twice");
    for (event, name) in stored.iter().zip(data(&stored)) {
        let expected = acknowledged.get(&name).copied();
        assert_eq!(expected.unwrap_or(event.position), event.position, "{name}");
    }
    let began: std::collections::HashSet<_> = stored.iter().map(|it| it.position.epoch).collect();
    assert_eq!(began.len(), rounds() + 1, "each start begins an epoch");
}
