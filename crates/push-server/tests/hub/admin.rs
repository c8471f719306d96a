//! The pages for operators: whether the hub is well, what it counts, and what it does.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use backpressure::Policy;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::Full;
use push_server::{Access, Admin};
use replay_store::{AnyStore, Append, Topic};
use serde_json::{Value, json};

use crate::limited::Limited;
use crate::samples::Samples;
use crate::support::*;

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

    let failing = Limited::new(store(EPOCH, 100));
    let unplugged = Arc::clone(&failing.unplugged);
    let hub = hub_with(configured(|_| {}), AnyStore::new(failing)).await;
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
    slow.next_json().await;
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
