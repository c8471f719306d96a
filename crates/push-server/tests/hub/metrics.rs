//! What the hub counts is what happened, no more and no less.

use std::time::Duration;

use backpressure::Policy;
use http::Request;
use replay_store::{Append, Topic};
use serde_json::{Value, json};
use tokio::time::advance;

use crate::samples::Samples;
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn publishes_deliveries_and_refusals_are_counted_exactly() {
    let hub = hub().await;
    let mut live = Stream::live(&hub, "/events?topic=demo").await;
    let mut other = Stream::live(&hub, "/events?topic=other/**&topic=demo").await;
    for n in 0..10 {
        publish(&hub, "demo", &format!("{n:02}")).await;
        live.next_event().await;
        other.next_event().await;
    }
    // Two that only one has, and one that nobody has.
    for topic in ["other/a", "other/b", "unread"] {
        publish(&hub, topic, "x").await;
    }
    other.next_event().await;
    other.next_event().await;
    // Five are read again, out of the store.
    let mut late = Stream::open(&hub, "/events?topic=demo", Some(&cursor(5))).await;
    for _ in 0..5 {
        late.next_event().await;
    }
    for _ in 0..2 {
        let request = Request::post("/events?topic=demo")
            .header("idempotency-key", "k")
            .body("same")
            .unwrap();
        assert_eq!(send(&hub, request).await.status(), 200);
    }
    for data in ["{", "[{}]"] {
        assert_eq!(call(&hub, "POST", "/batch", data).await.0, 400);
    }
    assert_eq!(call(&hub, "POST", "/events", "x").await.0, 400);

    hub.ready().await.unwrap();
    let now = Samples::of(&hub);
    now.check(&[
        ("tidegate_published_events_total", 14.0),
        ("tidegate_published_bytes_total", 27.0),
        ("tidegate_published_duplicates_total", 1.0),
        ("tidegate_publish_duration_seconds_count", 15.0),
        (
            r#"tidegate_publish_duration_seconds_bucket{le="+Inf"}"#,
            15.0,
        ),
        (
            r#"tidegate_delivered_events_total{transport="sse",source="tail"}"#,
            22.0,
        ),
        (
            r#"tidegate_delivered_events_total{transport="sse",source="store"}"#,
            5.0,
        ),
        (r#"tidegate_refused_total{code="topic_missing"}"#, 1.0),
        (r#"tidegate_refused_total{code="batch_invalid"}"#, 2.0),
        (r#"tidegate_connections{transport="sse",via="http1"}"#, 3.0),
        ("tidegate_subscriptions", 3.0),
        (r#"tidegate_subscribed_patterns{kind="topic"}"#, 1.0),
        (r#"tidegate_subscribed_patterns{kind="wildcard"}"#, 1.0),
        ("tidegate_watermark_seq", 14.0),
        ("tidegate_store_tail_seq", 14.0),
        ("tidegate_store_up", 1.0),
        ("tidegate_draining", 0.0),
    ]);
    now.check_sum("tidegate_refused_total", 3.0);
    now.check_sum("tidegate_gaps_total", 0.0);
    drop((live, other, late));
    let now = Samples::of(&hub);
    now.check(&[
        (
            r#"tidegate_connections_closed_total{transport="sse",reason="client"}"#,
            3.0,
        ),
        ("tidegate_subscriptions", 0.0),
        (r#"tidegate_subscribed_patterns{kind="topic"}"#, 0.0),
    ]);
    now.check_sum("tidegate_connections", 0.0);
    now.check_sum("tidegate_connections_opened_total", 3.0);
    now.check_sum("tidegate_connections_closed_total", 3.0);
}

#[tokio::test(start_paused = true)]
async fn what_a_policy_drops_is_counted_as_the_gaps_say() {
    let config = configured(|config| {
        config.offer([
            Policy::drop_oldest().with_max(bound(100)),
            Policy::conflate().with_max(bound(10)),
            Policy::disconnect().with_max(bound(100)),
        ]);
    });
    let hub = hub_with(config, store(EPOCH, 10_000)).await;
    let open = async |policy| Stream::live(&hub, &format!("/events?topic=demo&{policy}")).await;
    let mut dropping = [
        open("policy=drop-oldest").await,
        open("policy=drop-oldest").await,
    ];
    let mut conflating = open("policy=conflate").await;
    let mut ended = open("policy=disconnect").await;
    let mut told = [0, 0];
    for round in 0..3 {
        for n in 0..200 + round {
            publish(&hub, "demo", &n.to_string()).await;
            tokio::task::yield_now().await;
        }
        for (index, stream) in [(0, &mut dropping[0]), (1, &mut conflating)] {
            let (event, gap) = stream.next_json().await;
            assert_eq!(event, "$gap");
            told[index] += gap["skipped"].as_u64().unwrap();
            let last = format!("{}", 199 + round);
            while stream.next_event().await.0 != last {}
        }
    }
    // This one was told once of all of it.
    let once = dropping[1].next_json().await.1["skipped"].as_u64().unwrap();
    assert_eq!(ended.next().await, Got::Retry);
    assert_eq!(ended.next().await, Got::End);
    drop(ended);
    let now = Samples::of(&hub);
    let dropped = told[0] + once;
    assert!(dropped > 0 && told[1] > 0);
    now.check(&[
        (
            r#"tidegate_skipped_events_total{policy="drop-oldest"}"#,
            dropped as f64,
        ),
        (
            r#"tidegate_skipped_events_total{policy="conflate"}"#,
            told[1] as f64,
        ),
        (r#"tidegate_gaps_total{reason="lagged"}"#, 7.0),
        (
            r#"tidegate_slow_disconnects_total{policy="disconnect"}"#,
            1.0,
        ),
        (
            r#"tidegate_connections_closed_total{transport="sse",reason="slow"}"#,
            1.0,
        ),
    ]);
}

#[tokio::test(start_paused = true)]
async fn what_conflation_leaves_out_and_what_a_tail_loses_is_counted() {
    let config = configured(|config| {
        config.tail(tail(4 * 1024));
    });
    let hub = hub_with(config, store(EPOCH, 10_000)).await;
    let mut replaying = Stream::live(&hub, "/events?topic=demo").await;
    let mut conflating = Stream::live(&hub, "/events?topic=keyed&policy=conflate").await;
    for n in 0..20 {
        let event = Append {
            conflate_key: Some("k".into()),
            ..Append::new(Topic::new("keyed").unwrap(), n.to_string())
        };
        hub.publish(event).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(conflating.next_event().await.0, "19");
    for _ in 0..200 {
        publish(&hub, "demo", &"x".repeat(100)).await;
        tokio::task::yield_now().await;
    }
    for _ in 0..200 {
        replaying.next_event().await;
    }
    let now = Samples::of(&hub);
    now.check(&[
        ("tidegate_conflated_events_total", 19.0),
        ("tidegate_tail_falls_total", 1.0),
        (
            r#"tidegate_delivered_events_total{transport="sse",source="store"}"#,
            200.0,
        ),
        (
            r#"tidegate_delivered_events_total{transport="sse",source="tail"}"#,
            1.0,
        ),
    ]);
    now.check_sum("tidegate_skipped_events_total", 0.0);
}

#[tokio::test(start_paused = true)]
async fn sessions_over_websocket_are_counted_by_how_they_end() {
    let hub = hub().await;
    let mut live = Socket::open(&hub);
    live.send(json!({ "type": "resume", "topics": ["demo"] }))
        .await;
    until(&mut live, "ready").await;
    live.send(json!({ "type": "publish", "topic": "demo", "data": "x" }))
        .await;
    until(&mut live, "event").await;
    live.send(json!({ "type": "publish", "topic": "a//b", "data": "x" }))
        .await;
    until(&mut live, "error").await;
    let mut wrong = Socket::open(&hub);
    wrong.send_raw(&[0xff; 8]).await;
    wrong.next().await;
    // It takes pings, and answers none.
    let silent = Socket::open(&hub);
    tokio::task::yield_now().await;
    for _ in 0..4 {
        advance(Duration::from_secs(10)).await;
        live.send(json!({ "type": "publish", "topic": "demo", "data": "y" }))
            .await;
        until(&mut live, "event").await;
    }
    let now = Samples::of(&hub);
    now.check(&[
        (
            r#"tidegate_connections{transport="websocket",via="other"}"#,
            1.0,
        ),
        (
            r#"tidegate_connections_closed_total{transport="websocket",reason="protocol"}"#,
            1.0,
        ),
        (
            r#"tidegate_connections_closed_total{transport="websocket",reason="silent"}"#,
            1.0,
        ),
        (r#"tidegate_refused_total{code="topic_invalid"}"#, 1.0),
        (
            r#"tidegate_delivered_events_total{transport="websocket",source="tail"}"#,
            5.0,
        ),
    ]);
    hub.close();
    until(&mut live, "drain").await;
    while live.next().await != Value::Null {}
    // It lingers until the client is gone, too.
    drop((live, silent));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let reason = r#"tidegate_connections_closed_total{transport="websocket",reason="shutdown"}"#;
    Samples::of(&hub).check(&[(reason, 1.0)]);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_are_counted() {
    let hub = hub().await;
    let mut stream = Stream::live(&hub, "/events?topic=demo").await;
    for _ in 0..3 {
        assert!(matches!(stream.next().await, Got::Comment(_)));
    }
    Samples::of(&hub).check(&[(r#"tidegate_heartbeats_total{transport="sse"}"#, 3.0)]);
}

async fn until(socket: &mut Socket, kind: &str) {
    loop {
        let message = socket.next().await;
        assert_ne!(message, Value::Null, "it ended before {kind}");
        if message["type"] == kind {
            return;
        }
    }
}
