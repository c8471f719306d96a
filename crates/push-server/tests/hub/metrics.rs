//! What the hub counts is what happened, no more and no less.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backpressure::Policy;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::Full;
use push_server::{Access, Admin, Hub};
use replay_store::{
    After, AnyStore, Append, Appended, Capabilities, Limit, Page, ReplayStore, Selector,
    StoreError, Topic,
};
use serde_json::{Value, json};
use tokio::time::advance;

use crate::support::*;

/// The samples of a page, each by its name with labels.
struct Samples(BTreeMap<String, f64>);

impl Samples {
    fn of(hub: &Hub) -> Self {
        Self::read(&hub.metrics().to_prometheus())
    }

    fn read(page: &str) -> Self {
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        });
        Self(samples.collect())
    }

    #[track_caller]
    fn check(&self, expected: &[(&str, f64)]) {
        for (name, value) in expected {
            let found = self.0.get(*name).copied();
            assert_eq!(found, Some(*value), "{name} in {:#?}", self.0);
        }
    }

    /// All samples of a family add up to this.
    #[track_caller]
    fn check_sum(&self, family: &str, expected: f64) {
        let samples = self.0.iter();
        let of_family = samples.filter(|(name, _)| name.split('{').next() == Some(family));
        let sum: f64 = of_family.map(|(_, value)| value).sum();
        assert_eq!(sum, expected, "{family} in {:#?}", self.0);
    }
}

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
            let (event, gap) = gap(stream).await;
            assert_eq!(event, "$gap");
            told[index] += gap["skipped"].as_u64().unwrap();
            let last = format!("{}", 199 + round);
            while stream.next_event().await.0 != last {}
        }
    }
    // This one was told once of all of it.
    let once = gap(&mut dropping[1]).await.1["skipped"].as_u64().unwrap();
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

/// A store that can be told to fail.
struct Failing(AnyStore, Arc<AtomicBool>);

impl Failing {
    fn check(&self) -> Result<(), StoreError> {
        if self.1.load(Ordering::Relaxed) {
            let detail = "unplugged".into();
            return Err(StoreError::Unavailable { detail });
        }
        Ok(())
    }
}

impl ReplayStore for Failing {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        self.check()?;
        self.0.append(batch).await
    }

    async fn read(
        &self,
        selector: &Selector,
        after: After,
        limit: Limit,
    ) -> Result<Page, StoreError> {
        self.check()?;
        self.0.read(selector, after, limit).await
    }
}

async fn ask(
    admin: &Admin,
    path: &str,
    headers: &[(&'static str, &str)],
) -> (u16, HeaderMap, String) {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::new())).unwrap();
    let response = admin.handle(&request).await;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, headers, text(response).await)
}

#[tokio::test(start_paused = true)]
async fn a_node_is_ready_from_its_start_until_it_drains_but_for_outages_of_its_store() {
    let admin = Admin::new("1.2.3", Access::Open);
    let ready = async || {
        let (status, _, text) = ask(&admin, "/readyz", &[]).await;
        (status, text)
    };
    let (status, said) = ready().await;
    assert_eq!(status, 503);
    assert!(said.contains("starting"), "{said}");
    assert_eq!(ask(&admin, "/livez", &[]).await.0, 200);
    let (_, _, page) = ask(&admin, "/metrics", &[]).await;
    Samples::read(&page).check(&[(r#"tidegate_build_info{version="1.2.3"}"#, 1.0)]);

    let unplugged = Arc::new(AtomicBool::new(false));
    let failing = AnyStore::new(Failing(store(EPOCH, 100), unplugged.clone()));
    let hub = hub_with(configured(|_| {}), failing).await;
    admin.set_hub(hub.clone(), "failing");
    assert_eq!(ready().await, (200, "ready\n".to_owned()));
    unplugged.store(true, Ordering::Relaxed);
    let (status, said) = ready().await;
    assert_eq!(status, 503);
    assert!(said.contains("unplugged"), "{said}");
    let event = Append::new(Topic::new("demo").unwrap(), "x");
    hub.publish(event).await.unwrap_err();
    let (_, _, page) = ask(&admin, "/metrics", &[]).await;
    let outage = Samples::read(&page);
    outage.check(&[
        ("tidegate_store_up", 0.0),
        (
            r#"tidegate_store_errors_total{operation="append",error="unavailable"}"#,
            1.0,
        ),
        // Asked for readiness, and for this page.
        (
            r#"tidegate_store_errors_total{operation="read",error="unavailable"}"#,
            2.0,
        ),
    ]);
    unplugged.store(false, Ordering::Relaxed);
    assert_eq!(ready().await.0, 200);

    let mut stream = Stream::live(&hub, "/events?topic=demo").await;
    let draining = tokio::spawn({
        let hub = hub.clone();
        async move { hub.drain().await }
    });
    tokio::task::yield_now().await;
    let (status, said) = ready().await;
    assert_eq!(status, 503);
    assert!(said.contains("draining"), "{said}");
    let (_, _, page) = ask(&admin, "/metrics", &[]).await;
    let draining_now = Samples::read(&page);
    draining_now.check(&[("tidegate_draining", 1.0), ("tidegate_subscriptions", 1.0)]);
    assert_eq!(ask(&admin, "/livez", &[]).await.0, 200);
    while stream.next().await != Got::End {}
    drop(stream);
    draining.await.unwrap();
    let reason = r#"tidegate_connections_closed_total{transport="sse",reason="drain"}"#;
    Samples::of(&hub).check(&[(reason, 1.0)]);
}

#[tokio::test(start_paused = true)]
async fn the_status_is_json_for_machines_and_text_for_people() {
    let admin = Admin::new("1.2.3", Access::Open);
    let config = configured(|config| {
        config.offer([Policy::drop_oldest().with_max(bound(10))]);
    });
    let hub = hub_with(config, store(EPOCH, 10_000)).await;
    admin.set_hub(hub.clone(), "memory");
    let mut streams = Vec::new();
    let once = (0..12).map(|n| format!("t{n}"));
    let more = ["b", "b", "c/**", "c/**", "c/**"].map(str::to_owned);
    for topic in once.chain(more) {
        streams.push(Stream::live(&hub, &format!("/events?topic={topic}")).await);
    }
    let mut slow = Stream::live(&hub, "/events?topic=d&policy=drop-oldest").await;
    for _ in 0..30 {
        publish(&hub, "d", "x").await;
        tokio::task::yield_now().await;
    }
    gap(&mut slow).await;
    let (status, headers, text) = ask(&admin, "/status", &[("accept", "*/*")]).await;
    assert_eq!(
        (status, headers["content-type"].to_str().unwrap()),
        (200, "application/json")
    );
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["version"], "1.2.3");
    assert_eq!(json["state"], "ready");
    assert_eq!(json["watermark"], 30);
    assert_eq!(json["epoch"], "0000000000000abc");
    assert_eq!(json["connections"], json!({ "sse/http1": 18 }));
    assert_eq!(json["store"]["name"], "memory");
    assert_eq!(json["store"]["survives_process"], false);
    let topics = &json["topics"];
    assert_eq!(
        (&topics["subscribed"], &topics["wildcards"]),
        (&json!(14), &json!(1))
    );
    let most = &topics["most_subscriptions"];
    assert_eq!(most[0], json!({ "topic": "c/**", "subscriptions": 3 }));
    assert_eq!(most[1], json!({ "topic": "b", "subscriptions": 2 }));
    assert_eq!(most.as_array().unwrap().len(), 10);
    let slow = &json["slow"][0];
    assert_eq!(
        (&slow["connection"], &slow["skipped"]),
        (&json!(18), &json!(20))
    );

    let browser = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
    let (_, headers, text) = ask(&admin, "/status", &browser).await;
    assert!(
        headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain")
    );
    for line in ["state: ready\n", "  sse/http1: 18\n", "  name: memory\n"] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn pages_for_operators_are_not_for_websites() {
    let admin = Admin::new("1.2.3", Access::Loopback);
    for (host, status) in [
        ("127.0.0.1:9090", 200),
        ("localhost", 200),
        ("evil.example:9090", 403),
    ] {
        for path in ["/livez", "/metrics", "/status"] {
            assert_eq!(
                ask(&admin, path, &[("host", host)]).await.0,
                status,
                "{host} {path}"
            );
        }
    }
    let foreign = [
        ("host", "localhost:9090"),
        ("origin", "https://evil.example"),
    ];
    assert_eq!(ask(&admin, "/status", &foreign).await.0, 403);
    assert_eq!(
        ask(&admin, "/nothing", &[("host", "localhost")]).await.0,
        404
    );
    let request = Request::post("/status")
        .header("host", "localhost")
        .body(Full::new(Bytes::new()));
    assert_eq!(admin.handle(&request.unwrap()).await.status(), 405);
}

async fn gap(stream: &mut Stream) -> (String, Value) {
    match stream.next_block().await {
        Got::Event { event, data, .. } => (event, serde_json::from_str(&data).unwrap()),
        other => panic!("{other:?}"),
    }
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

fn bound(events: u64) -> backpressure::Lag {
    backpressure::Lag {
        events,
        bytes: u64::MAX,
    }
}
