//! WebSocket sessions: resume, gaps, publish, topics in mid-session, heartbeat, the end.

use std::time::Duration;

use push_server::HubConfig;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::*;

#[track_caller]
fn check(got: &Value, expected: &Value) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&got[name], value, "{name} of {got}");
    }
}

#[tokio::test(start_paused = true)]
async fn resume_is_answered_at_once_then_missed_events_then_ready_then_live() {
    let hub = hub().await;
    for n in 1..=3 {
        publish(&hub, "demo", &n.to_string()).await;
    }
    let mut socket = Socket::resume(&hub, &["demo"], Some(&cursor(1))).await;
    check(
        &socket.next().await,
        &json!({"type": "subscribed", "at": cursor(1), "topics": ["demo"]}),
    );
    let second = json!({
        "type": "event", "id": cursor(2), "seq": 2, "prev": 1, "topic": "demo", "data": "2",
    });
    check(&socket.next().await, &second);
    check(
        &socket.next().await,
        &json!({"type": "event", "id": cursor(3), "data": "3"}),
    );
    let ready = json!({"type": "ready", "id": cursor(3), "policy": "replay"});
    check(&socket.next().await, &ready);
    publish(&hub, "demo", "live").await;
    check(
        &socket.next().await,
        &json!({"type": "event", "id": cursor(4), "data": "live"}),
    );
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_gap_is_told_once_and_delivery_goes_on_where_it_says() {
    let foreign = "00000000000000ff-2";
    for (id, reason, at, first) in [
        (&*cursor(1), "trimmed", &*cursor(1), 4),
        (foreign, "epoch_changed", &cursor(0), 4),
        ("garbage", "unknown", &cursor(3), 4),
        (&cursor(99), "ahead", &cursor(6), 7),
    ] {
        let hub = hub_with(HubConfig::new(), store(EPOCH, 3)).await;
        for n in 1..=6 {
            publish(&hub, "demo", &n.to_string()).await;
        }
        let mut socket = Socket::resume(&hub, &["demo"], Some(id)).await;
        check(
            &socket.next().await,
            &json!({"type": "gap", "reason": reason, "id": at}),
        );
        for n in first..=6 {
            check(
                &socket.next().await,
                &json!({"type": "event", "id": cursor(n)}),
            );
        }
        check(
            &socket.next().await,
            &json!({"type": "ready", "id": cursor(6)}),
        );
        publish(&hub, "demo", "live").await;
        check(
            &socket.next().await,
            &json!({"type": "event", "id": cursor(7)}),
        );
    }
}

#[tokio::test(start_paused = true)]
async fn publishing_needs_no_resume_and_is_answered_in_order() {
    let hub = hub().await;
    let mut socket = Socket::open(&hub);
    for n in 0..100 {
        let message = json!({
            "type": "publish", "ref": n.to_string(), "topic": "demo", "data": "x",
            "idempotency_key": format!("k{}", n / 2),
        });
        socket.send(message).await;
    }
    for n in 0..100 {
        let expected = json!({
            "type": "published", "ref": n.to_string(), "duplicate": n % 2 == 1,
            "id": cursor(n / 2 + 1),
        });
        check(&socket.next().await, &expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_is_answered_with_a_code_and_the_session_goes_on() {
    let config = configured(|config| {
        config.max_event_bytes(10);
    });
    let hub = hub_with(config, store(EPOCH, 10)).await;
    let mut socket = Socket::open(&hub);
    let publish = |topic: &str, more: Value| {
        let mut message = json!({"type": "publish", "ref": "r", "topic": topic, "data": "x"});
        message
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        message
    };
    for (message, code) in [
        (json!("text"), "not_an_object"),
        (json!({"type": "nonsense"}), "unknown_type"),
        (json!({"type": "subscribe", "topics": ["a"]}), "not_resumed"),
        (json!({"type": "auth", "token": "t"}), "auth_unused"),
        (json!({"type": "resume", "topics": []}), "topic_missing"),
        (
            json!({"type": "resume", "topics": ["a//b"]}),
            "topic_invalid",
        ),
        (
            json!({"type": "resume", "topics": ["a"], "policy": "x"}),
            "policy_invalid",
        ),
        (publish("a//b", json!({})), "topic_invalid"),
        (publish("a", json!({"event": "$x"})), "event_type_reserved"),
        (publish("a", json!({"data": "12345678901"})), "too_large"),
        (
            publish("a", json!({"data": "?", "encoding": "base64"})),
            "encoding_invalid",
        ),
        (
            publish("a", json!({"data": "/w==", "encoding": "base64"})),
            "not_text",
        ),
        (publish("a", json!({"idempotency_key": ""})), "key_invalid"),
    ] {
        socket.send(message.clone()).await;
        let answer = socket.next().await;
        assert_eq!(answer["type"], "error", "{message} {answer}");
        assert_eq!(answer["code"], code, "{message} {answer}");
        assert_eq!(answer["ref"], message["ref"], "{message} {answer}");
        assert!(answer["detail"].as_str().unwrap().len() > 10, "{answer}");
    }
    socket
        .send(json!({"type": "resume", "topics": ["a"]}))
        .await;
    check(
        &socket.next().await,
        &json!({"type": "subscribed", "at": cursor(0)}),
    );
    check(&socket.next().await, &json!({"type": "ready"}));
    socket
        .send(json!({"type": "resume", "topics": ["a"]}))
        .await;
    check(
        &socket.next().await,
        &json!({"type": "error", "code": "already_resumed"}),
    );
}

#[tokio::test(start_paused = true)]
async fn topics_change_in_mid_session_without_loss_or_repetition() {
    let hub = hub().await;
    let mut socket = Socket::resume(&hub, &["a"], None).await;
    check(
        &socket.next().await,
        &json!({"type": "subscribed", "at": cursor(0)}),
    );
    check(&socket.next().await, &json!({"type": "ready"}));
    publish(&hub, "b", "before").await;
    publish(&hub, "a", "1").await;
    check(&socket.next().await, &json!({"id": cursor(2)}));
    socket
        .send(json!({"type": "subscribe", "topics": ["b"]}))
        .await;
    check(
        &socket.next().await,
        &json!({"type": "subscribed", "at": cursor(2), "topics": ["a", "b"]}),
    );
    publish(&hub, "a", "2").await;
    publish(&hub, "b", "3").await;
    check(
        &socket.next().await,
        &json!({"type": "event", "id": cursor(3), "topic": "a"}),
    );
    check(
        &socket.next().await,
        &json!({"type": "event", "id": cursor(4), "topic": "b"}),
    );
    socket
        .send(json!({"type": "unsubscribe", "topics": ["a"]}))
        .await;
    check(
        &socket.next().await,
        &json!({"type": "subscribed", "at": cursor(4), "topics": ["b"]}),
    );
    publish(&hub, "a", "not asked for").await;
    publish(&hub, "b", "4").await;
    check(
        &socket.next().await,
        &json!({"type": "event", "id": cursor(6), "topic": "b"}),
    );
    socket
        .send(json!({"type": "unsubscribe", "topics": ["b"]}))
        .await;
    check(
        &socket.next().await,
        &json!({"type": "error", "code": "topics_invalid"}),
    );
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_is_pinged_and_one_that_never_answers_is_cut() {
    let hub = hub().await;
    let mut socket = Socket::resume(&hub, &["quiet"], None).await;
    check(&socket.next().await, &json!({"type": "subscribed"}));
    check(&socket.next().await, &json!({"type": "ready"}));
    publish(&hub, "busy", "x").await;
    let begun = Instant::now();
    // The first heartbeat says that the log moved on; the session answers its pings.
    check(
        &socket.next().await,
        &json!({"type": "ready", "id": cursor(1)}),
    );
    assert!(begun.elapsed() <= Duration::from_secs(16));
    let quiet = tokio::time::timeout(Duration::from_secs(60), socket.next()).await;
    assert!(quiet.is_err());
    assert!((3..=5).contains(&socket.pings), "{}", socket.pings);
    // From here on the client reads nothing, so it answers nothing.
    tokio::time::sleep(Duration::from_secs(61)).await;
    let mut last = socket.next().await;
    while !last.is_null() {
        last = socket.next().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_only_listens_to_a_busy_topic_is_not_taken_for_dead() {
    let hub = hub().await;
    let mut socket = Socket::resume(&hub, &["busy"], None).await;
    check(&socket.next().await, &json!({"type": "subscribed"}));
    check(&socket.next().await, &json!({"type": "ready"}));
    for n in 1..=100 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        publish(&hub, "busy", "x").await;
        check(
            &socket.next().await,
            &json!({"type": "event", "id": cursor(n)}),
        );
    }
}

#[tokio::test(start_paused = true)]
async fn closing_the_hub_closes_with_1012_and_a_delay() {
    let hub = hub().await;
    let mut socket = Socket::resume(&hub, &["demo"], None).await;
    check(&socket.next().await, &json!({"type": "subscribed"}));
    check(&socket.next().await, &json!({"type": "ready"}));
    hub.close();
    let drain = socket.next().await;
    check(&drain, &json!({"type": "drain"}));
    assert!(socket.next().await.is_null());
    let (code, reason) = socket.closed.unwrap();
    assert_eq!(code, 1012);
    assert_eq!(drain["retry_ms"].to_string(), reason);
    assert!(
        (2_000..=5_000).contains(&reason.parse::<u64>().unwrap()),
        "{reason}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_violation_is_closed_with_its_code() {
    let hub = hub().await;
    for (bytes, expected) in [
        (&b"\x81\x01x"[..], 1002),
        (&b"\xf1\x80\0\0\0\0"[..], 1002),
        (&b"\x82\x80\0\0\0\0"[..], 1003),
        (&b"\x81\x81\0\0\0\0\xff"[..], 1007),
        (&b"\x81\xff\0\0\0\0\x7f\0\0\0\0\0\0\0"[..], 1009),
    ] {
        let mut socket = Socket::open(&hub);
        socket.send_raw(bytes).await;
        assert!(socket.next().await.is_null());
        assert_eq!(socket.closed.map(|it| it.0), Some(expected), "{bytes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn patterns_are_subscribed_to_and_left_in_mid_session() {
    let hub = hub().await;
    let mut socket = Socket::resume(&hub, &["a/*"], None).await;
    check(&socket.next().await, &json!({"topics": ["a/*"]}));
    check(&socket.next().await, &json!({"type": "ready"}));
    socket
        .send(json!({"type": "subscribe", "topics": ["**/z", "b"]}))
        .await;
    check(
        &socket.next().await,
        &json!({"topics": ["b", "**/z", "a/*"]}),
    );
    for topic in ["a/z", "b", "c", "c/z"] {
        publish(&hub, topic, "x").await;
    }
    for topic in ["a/z", "b", "c/z"] {
        check(&socket.next().await, &json!({"topic": topic}));
    }
    socket
        .send(json!({"type": "unsubscribe", "topics": ["**/z", "nothing"]}))
        .await;
    check(&socket.next().await, &json!({"topics": ["b", "a/*"]}));
    publish(&hub, "c/z", "x").await;
    publish(&hub, "a/z", "x").await;
    check(&socket.next().await, &json!({"topic": "a/z"}));
}
