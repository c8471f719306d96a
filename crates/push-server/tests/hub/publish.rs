//! `POST /events` and every request that is refused.

use std::convert::Infallible;

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use push_server::{Hub, HubConfig};

use crate::support::*;

async fn check(hub: &Hub, request: http::request::Builder, body: &[u8], status: u16, code: &str) {
    let request = request
        .body(Full::new(Bytes::copy_from_slice(body)))
        .unwrap();
    let what = format!("{} {}", request.method(), request.uri());
    let response = hub.handle(request).await;
    assert_eq!(response.status(), status, "{what}");
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json",
        "{what}"
    );
    let problem: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(problem["code"], code, "{what}");
    assert_eq!(problem["status"], status, "{what}");
    assert!(problem["detail"].as_str().unwrap().len() > 10, "{what}");
}

#[tokio::test(start_paused = true)]
async fn bad_input_is_refused_with_a_stable_code_and_the_hub_lives_on() {
    let config = configured(|config| {
        config.max_event_bytes(100);
    });
    let hub = hub_with(config, store(EPOCH, 10)).await;
    let post = |uri: &str| Request::post(uri);
    let get = |uri: &str| Request::get(uri);
    check(
        &hub,
        post("/events?topic=a"),
        &[b'x'; 101],
        413,
        "too_large",
    )
    .await;
    let declared = post("/events?topic=a").header("content-length", "101");
    check(&hub, declared, b"", 413, "too_large").await;
    check(&hub, post("/events?topic=a"), b"\xff\xfe", 415, "not_text").await;
    check(&hub, post("/events"), b"", 400, "topic_missing").await;
    check(
        &hub,
        post("/events?topic=a&topic=b"),
        b"",
        400,
        "too_many_topics",
    )
    .await;
    for topic in [
        "",
        "a//b",
        "/a",
        "a/",
        "a*",
        "a/***",
        "a%00b",
        "a%0Ab",
        &"x".repeat(256),
    ] {
        let uri = format!("/events?topic={topic}");
        check(&hub, post(&uri), b"", 400, "topic_invalid").await;
        check(&hub, get(&uri), b"", 400, "topic_invalid").await;
    }
    // Subscribed to, not published to.
    for pattern in ["*", "**", "a/*"] {
        let uri = format!("/events?topic={pattern}");
        check(&hub, post(&uri), b"", 400, "topic_invalid").await;
    }
    check(&hub, post("/events?topic=%FF"), b"", 400, "query_invalid").await;
    for (name, value, code) in [
        ("event-type", "$gap", "event_type_reserved"),
        ("event-type", "a\tb", "event_type_invalid"),
        ("idempotency-key", "", "key_invalid"),
        ("conflate-key", "\u{e9}", "key_invalid"),
    ] {
        check(
            &hub,
            post("/events?topic=a").header(name, value),
            b"",
            400,
            code,
        )
        .await;
    }
    check(&hub, get("/events"), b"", 400, "topic_missing").await;
    check(
        &hub,
        get("/events?topic=a&policy=x"),
        b"",
        400,
        "policy_invalid",
    )
    .await;
    check(
        &hub,
        get("/events?topic=a&format=x"),
        b"",
        400,
        "format_invalid",
    )
    .await;
    let many: String = (0..65).map(|n| format!("topic={n}&")).collect();
    check(
        &hub,
        get(&format!("/events?{many}")),
        b"",
        400,
        "topics_invalid",
    )
    .await;
    check(&hub, get("/nowhere"), b"", 404, "not_found").await;
    check(
        &hub,
        Request::put("/events?topic=a"),
        b"",
        405,
        "method_not_allowed",
    )
    .await;
    check(&hub, get("/ws"), b"", 426, "upgrade_required").await;
    let old = get("/ws")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-version", "8");
    check(&hub, old, b"", 426, "upgrade_required").await;
    for (key, protocol) in [("short", ""), ("dGhlIHNhbXBsZSBub25jZQ==", "other")] {
        let mut broken = get("/ws")
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", key);
        if !protocol.is_empty() {
            broken = broken.header("sec-websocket-protocol", protocol);
        }
        check(&hub, broken, b"", 400, "upgrade_invalid").await;
    }
    assert_eq!(publish(&hub, "a", "still alive").await, cursor(1));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_given_up() {
    let hub = hub().await;
    let never = futures::stream::pending::<Result<Frame<Bytes>, Infallible>>();
    let body = StreamBody::new(never);
    let request = Request::post("/events?topic=a").body(body).unwrap();
    let response = hub.handle(request).await;
    assert_eq!(response.status(), 408);
    assert!(text(response).await.contains("body_timeout"));
}

#[tokio::test(start_paused = true)]
async fn a_publish_answers_its_position_and_a_repeated_key_the_first_one() {
    let hub = hub().await;
    let publish = async |key: &'static str, body: &'static str| {
        let request = Request::post("/events?topic=a").header("idempotency-key", key);
        let response = send(&hub, request.body(body).unwrap()).await;
        (response.status().as_u16(), text(response).await)
    };
    let answer = |seq, duplicate| {
        let id = cursor(seq);
        (
            200,
            format!("{{\"duplicate\":{duplicate},\"id\":\"{id}\"}}\n"),
        )
    };
    assert_eq!(publish("k1", "one").await, answer(1, false));
    assert_eq!(publish("k2", "two").await, answer(2, false));
    assert_eq!(publish("k1", "one").await, answer(1, true));
    let (status, body) = publish("k1", "other").await;
    assert_eq!(status, 422);
    assert!(body.contains("key_reused"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn no_website_may_post_to_a_hub_on_loopback_nor_read_from_it() {
    let hub = Hub::start(HubConfig::new(), store(EPOCH, 10))
        .await
        .unwrap();
    let ours = "http://127.0.0.1:8080";
    for method in ["GET", "POST"] {
        let request = || Request::builder().method(method).uri("/events?topic=a");
        let rebound = request().header("host", "evil.example:8080");
        check(&hub, rebound, b"", 403, "host_forbidden").await;
        for origin in ["http://evil.example", "null", "http://127.0.0.1:3000"] {
            let foreign = request()
                .header("host", "127.0.0.1:8080")
                .header("origin", origin);
            check(&hub, foreign, b"", 403, "origin_forbidden").await;
        }
        let own = request()
            .header("host", "127.0.0.1:8080")
            .header("origin", ours);
        let response = send(&hub, own.body("x").unwrap()).await;
        assert_eq!(response.status(), 200);
    }
    let socket = Request::get("/ws")
        .header("host", "127.0.0.1:8080")
        .header("origin", "http://evil.example")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    check(&hub, socket, b"", 403, "origin_forbidden").await;
}

#[tokio::test(start_paused = true)]
async fn an_event_does_not_hold_the_buffer_it_was_received_in() {
    let hub = hub().await;
    let buffer = Bytes::from(vec![b'x'; 64 * 1024]);
    let body = Full::new(buffer.slice(100..110));
    let request = Request::post("/events?topic=a").body(body).unwrap();
    assert_eq!(hub.handle(request).await.status(), 200);
    assert!(buffer.is_unique());
}
