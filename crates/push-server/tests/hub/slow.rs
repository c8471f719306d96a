//! Slow subscribers: each policy does what it says, and the others do not notice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backpressure::Policy;
use futures::FutureExt as _;
use http::Request;
use push_server::PublishError;
use replay_store::{Append, Topic};
use tokio::time::Instant;

use crate::support::*;

const EVENTS: usize = 2_000;

static DATA: &str = "0123456789012345678901234567890123456789012345678901234567890123";

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
        config.policy(Policy::replay().with_max(bound(100)));
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

/// Publishes all while a reader stalls under this policy, which is called `name`. The gap that it
/// is told of ends where what it still gets begins; how many events are in it.
async fn skipped_under(policy: Policy, name: &str, tail_bytes: usize) -> u64 {
    let config = configured(|config| {
        config.offer([policy]).tail(tail(tail_bytes));
    });
    let hub = hub_with(config, store(EPOCH, 10_000)).await;
    let mut stalled = Stream::live(&hub, &format!("/events?topic=demo&policy={name}")).await;
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
    for n in skipped..EVENTS as u64 {
        assert_eq!(stalled.next_event().await.1, cursor(n + 1));
    }
    skipped
}

#[tokio::test(start_paused = true)]
async fn under_drop_oldest_every_event_is_delivered_or_part_of_one_announced_gap() {
    for tail_bytes in [4 * 1024, 8 << 20] {
        let policy = Policy::drop_oldest().with_max(bound(100));
        let skipped = skipped_under(policy, "drop-oldest", tail_bytes).await;
        assert!(skipped >= EVENTS as u64 - 100, "{skipped}");
        if tail_bytes > EVENTS * 256 {
            let kept = EVENTS as u64 - skipped;
            assert_eq!(kept, 100, "the newest within the bound are kept");
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
async fn a_policy_that_the_hub_does_not_offer_is_refused_not_ignored() {
    let config = configured(|config| {
        config.offer([Policy::disconnect()]);
    });
    let hub = hub_with(config, store(EPOCH, 10)).await;
    for (policy, status) in [
        ("replay", 200),
        ("disconnect", 200),
        ("drop-oldest", 400),
        ("conflate", 400),
        ("block", 400),
    ] {
        let uri = format!("/events?topic=demo&policy={policy}");
        assert_eq!(get(&hub, &uri, None).await.status(), status, "{policy}");
    }
}

async fn publish_keyed(hub: &push_server::Hub, topic: &str, key: Option<&str>, data: &str) {
    let event = Append {
        conflate_key: key.map(Into::into),
        ..Append::new(Topic::new(topic).unwrap(), data.to_owned())
    };
    hub.publish(event).await.unwrap();
    tokio::task::yield_now().await;
}

#[tokio::test(start_paused = true)]
async fn under_conflate_a_stalled_reader_gets_the_latest_of_each_key_and_topic_in_order() {
    let hub = hub().await;
    let uri = "/events?topic=a&topic=b&format=raw&policy=conflate";
    let mut stalled = Stream::live(&hub, uri).await;
    for n in 0..500 {
        publish_keyed(&hub, "a", Some("x"), &format!("a x {n}")).await;
        publish_keyed(&hub, "b", Some("x"), &format!("b x {n}")).await;
        if n % 250 == 0 {
            publish_keyed(&hub, "a", None, &format!("no key {n}")).await;
        }
    }
    let mut seqs = Vec::new();
    for expected in ["no key 0", "no key 250", "a x 499", "b x 499"] {
        let (data, id) = stalled.next_event().await;
        assert_eq!(data, expected);
        seqs.push(id);
    }
    let numbers = seqs
        .iter()
        .map(|id| id.rsplit_once('-').unwrap().1.parse::<u64>().unwrap());
    assert!(numbers.is_sorted());
    // Once it keeps up, it gets everything, and it resumes like others do.
    publish_keyed(&hub, "a", Some("x"), "live").await;
    assert_eq!(stalled.next_event().await.0, "live");
    let mut resumed = Stream::open(&hub, uri, Some(&seqs[3])).await;
    assert_eq!(resumed.next_event().await.0, "live");
}

#[tokio::test(start_paused = true)]
async fn under_conflate_what_is_beyond_the_bound_is_an_announced_gap() {
    for tail_bytes in [4 * 1024, 8 << 20] {
        let policy = Policy::conflate().with_max(bound(10));
        let skipped = skipped_under(policy, "conflate", tail_bytes).await;
        if tail_bytes > EVENTS * 256 {
            assert_eq!(skipped, EVENTS as u64 - 10, "the newest are kept");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_written_at_its_end_or_when_it_is_large_enough() {
    let config = configured(|config| {
        config.batch(Duration::from_millis(100), 1000);
    });
    let hub = hub_with(config, store(EPOCH, 10_000)).await;
    let mut stream = Stream::live(&hub, "/events?topic=demo").await;
    let start = Instant::now();
    publish(&hub, "demo", "one").await;
    publish(&hub, "demo", "two").await;
    assert_eq!(stream.next_event().await.0, "one");
    assert_eq!(start.elapsed().as_millis(), 100);
    assert_eq!(stream.next_event().await.0, "two");
    assert_eq!(start.elapsed().as_millis(), 100);
    let reading = tokio::spawn(async move {
        let start = Instant::now();
        for _ in 0..8 {
            stream.next_event().await;
        }
        start.elapsed()
    });
    for _ in 0..12 {
        publish(&hub, "demo", DATA).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(
        reading.await.unwrap(),
        Duration::ZERO,
        "it was large enough"
    );
}

#[tokio::test(start_paused = true)]
async fn publishers_wait_for_a_slow_subscriber_up_to_the_deadline() {
    let config = configured(|config| {
        config.block(bound(2), Duration::from_secs(5));
    });
    let hub = hub_with(config, store(EPOCH, 10_000)).await;
    let mut slow = Stream::live(&hub, "/events?topic=demo").await;
    for n in 0..3 {
        publish(&hub, "demo", &n.to_string()).await;
        tokio::task::yield_now().await;
    }
    let start = Instant::now();
    let event = |data: &str| Append::new(Topic::new("demo").unwrap(), data.to_owned());
    assert_eq!(hub.publish(event("late")).await, Err(PublishError::Behind));
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    // Other topics have other subscribers.
    publish(&hub, "other", "x").await;
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    let request = Request::post("/events?topic=demo").body("late").unwrap();
    let refused = send(&hub, request).await;
    assert_eq!(refused.status(), 503);
    assert!(text(refused).await.contains("subscribers_behind"));
    let waiting = tokio::spawn({
        let hub = hub.clone();
        async move { hub.publish(event("in time")).await }
    });
    for n in 0..3 {
        assert_eq!(slow.next_event().await.0, n.to_string());
    }
    waiting.await.unwrap().unwrap();
    assert_eq!(slow.next_event().await.0, "in time");
    // A subscriber that is gone holds up nobody.
    for n in 0..3 {
        publish(&hub, "demo", &n.to_string()).await;
        tokio::task::yield_now().await;
    }
    drop(slow);
    hub.publish(event("free")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn all_tails_together_are_bounded_and_nothing_is_lost() {
    let config = configured(|config| {
        config.tails_bytes(64 * 1024);
    });
    let hub = hub_with(config, store(EPOCH, 10_000)).await;
    let mut streams = Vec::new();
    for n in 0..8 {
        streams.push(Stream::live(&hub, &format!("/events?topic=t{n}")).await);
    }
    let large = "x".repeat(4000);
    for _ in 0..20 {
        for n in 0..8 {
            publish(&hub, &format!("t{n}"), &large).await;
            tokio::task::yield_now().await;
        }
    }
    assert!(hub.tails_memory() <= 64 * 1024, "{}", hub.tails_memory());
    for stream in &mut streams {
        for _ in 0..20 {
            assert_eq!(stream.next_event().await.0, large);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_overtaken_while_it_joins_repeats_nothing_and_counts_right() {
    let config = configured(|config| {
        config
            .offer([Policy::drop_oldest().with_max(bound(100))])
            .tail(tail(4 * 1024));
    });
    let hub = hub_with(config, store(EPOCH, 10_000)).await;
    let uri = "/events?topic=demo&policy=drop-oldest";
    let mut stream = Stream::open(&hub, uri, Some(&cursor(0))).await;
    // Up to where the tail is attached, and no further.
    while stream.next().now_or_never().is_some() {}
    tokio::task::yield_now().await;
    // It reads the first events from the store, and waits for the feed to get there.
    for n in 0..3 {
        publish(&hub, "demo", &format!("{n} {DATA}")).await;
    }
    let mut next = 0;
    while let Some(got) = stream.next().now_or_never() {
        if let Got::Event { id, .. } = got {
            next += 1;
            assert_eq!(id, cursor(next));
        }
    }
    assert_eq!(next, 3, "this is about what follows");
    // Its client takes nothing meanwhile, and the tail goes on without it.
    for n in 3..EVENTS {
        publish(&hub, "demo", &format!("{n} {DATA}")).await;
        tokio::task::yield_now().await;
    }
    while next < EVENTS as u64 {
        if let Got::Event { event, data, id } = stream.next_block().await {
            match &*event {
                "$ready" => assert_eq!(id, cursor(next)),
                "$gap" => {
                    let gap: serde_json::Value = serde_json::from_str(&data).unwrap();
                    next += gap["skipped"].as_u64().unwrap();
                    assert_eq!(id, cursor(next));
                }
                _ => {
                    next += 1;
                    assert_eq!(id, cursor(next));
                }
            }
        }
    }
}
