//! Slow subscribers: each policy does what it says, and the others do not notice.

use std::sync::atomic::{AtomicUsize, Ordering};

use backpressure::{Lag, Policy};

use crate::support::*;

const EVENTS: usize = 2_000;

static DATA: &str = "0123456789012345678901234567890123456789012345678901234567890123";

fn bound(events: u64) -> Lag {
    Lag {
        events,
        bytes: u64::MAX,
    }
}

async fn publish_all(hub: &push_server::Hub) {
    for n in 0..EVENTS {
        publish(hub, "demo", &format!("{n} {DATA}")).await;
        // The feed runs on this thread too.
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn under_replay_a_stalled_reader_reads_all_of_it_later_from_the_store() {
    let config = configured(|config| {
        config.tail(tail(4 * 1024));
    });
    let hub = hub_with(config, store(EPOCH, 10_000)).await;
    let mut stalled = Stream::live(&hub, "/events?topic=demo").await;
    publish_all(&hub).await;
    for n in 0..EVENTS {
        let (data, id) = stalled.next_event().await;
        assert_eq!(data, format!("{n} {DATA}"));
        assert_eq!(id, cursor(n as u64 + 1));
    }
}

#[tokio::test(start_paused = true)]
async fn under_replay_a_reader_beyond_the_bound_is_ended_and_resumes_by_its_id() {
    let config = configured(|config| {
        config
            .policy(Policy::replay().with_max(bound(100)))
            .unwrap();
    });
    let hub = hub_with(config, store(EPOCH, 10_000)).await;
    let mut stalled = Stream::live(&hub, "/events?topic=demo").await;
    publish_all(&hub).await;
    assert_eq!(stalled.next().await, Got::Retry);
    assert_eq!(stalled.next().await, Got::End);
    let id = stalled.last_event_id();
    let mut resumed = Stream::open(&hub, "/events?topic=demo", Some(&id)).await;
    for n in 0..EVENTS {
        assert_eq!(resumed.next_event().await.1, cursor(n as u64 + 1));
    }
}

#[tokio::test(start_paused = true)]
async fn under_disconnect_a_reader_beyond_memory_is_ended_and_resumes_by_its_id() {
    let config = configured(|config| {
        config.tail(tail(4 * 1024));
    });
    let hub = hub_with(config, store(EPOCH, 10_000)).await;
    let mut stalled = Stream::live(&hub, "/events?topic=demo&policy=disconnect").await;
    publish_all(&hub).await;
    assert_eq!(stalled.next().await, Got::Retry);
    assert_eq!(stalled.next().await, Got::End);
    let id = stalled.last_event_id();
    let mut resumed = Stream::open(&hub, "/events?topic=demo", Some(&id)).await;
    for n in 0..EVENTS {
        assert_eq!(resumed.next_event().await.1, cursor(n as u64 + 1));
    }
}

#[tokio::test(start_paused = true)]
async fn under_drop_oldest_every_event_is_delivered_or_part_of_one_announced_gap() {
    for tail_bytes in [4 * 1024, 8 << 20] {
        let config = configured(|config| {
            config
                .policy(Policy::replay().with_max(bound(100)))
                .unwrap()
                .tail(tail(tail_bytes));
        });
        let hub = hub_with(config, store(EPOCH, 10_000)).await;
        let uri = "/events?topic=demo&policy=drop-oldest";
        let mut stalled = Stream::live(&hub, uri).await;
        publish_all(&hub).await;
        let Got::Event { event, data, id } = stalled.next_block().await else {
            panic!("no gap");
        };
        assert_eq!(event, "$gap");
        let gap: serde_json::Value = serde_json::from_str(&data).unwrap();
        assert_eq!(gap["reason"], "lagged");
        assert_eq!(gap["after"], cursor(0));
        let skipped = gap["skipped"].as_u64().unwrap();
        assert_eq!(
            id,
            cursor(skipped),
            "the events above the jump were not skipped"
        );
        assert!(skipped >= EVENTS as u64 - 100, "{skipped}");
        if tail_bytes > EVENTS * 256 {
            let kept = EVENTS as u64 - skipped;
            assert_eq!(kept, 100, "the newest within the bound are kept");
        }
        for n in skipped..EVENTS as u64 {
            assert_eq!(stalled.next_event().await.1, cursor(n + 1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stalled_reader_does_not_hold_up_the_others() {
    let config = configured(|config| {
        config.tail(tail(4 * 1024));
    });
    let hub = hub_with(config, store(EPOCH, 10_000)).await;
    let _stalled = Stream::live(&hub, "/events?topic=demo").await;
    let delivered = std::sync::Arc::new(AtomicUsize::new(0));
    let mut readers = Vec::new();
    for _ in 0..2 {
        let mut stream = Stream::live(&hub, "/events?topic=demo").await;
        let delivered = delivered.clone();
        readers.push(tokio::spawn(async move {
            for n in 0..EVENTS as u64 {
                assert_eq!(stream.next_event().await.1, cursor(n + 1));
                delivered.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    publish_all(&hub).await;
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!(delivered.load(Ordering::Relaxed), 2 * EVENTS);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_the_hub_does_not_serve_is_refused_not_ignored() {
    let hub = hub().await;
    let policy = Policy::conflate();
    let uri = format!("/events?topic=demo&policy={policy}");
    assert_eq!(get(&hub, &uri, None).await.status(), 400);
    assert!(push_server::HubConfig::new().policy(policy).is_err());
}
