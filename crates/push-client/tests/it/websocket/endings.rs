//! What ends a connection, and whether another one follows.

use core::time::Duration;

use push_client::{Delivery, Subscriber};
use tokio::time::Instant;

use super::{LOST, VIOLATION, session, subscribed, websocket};
use crate::hub::{Hub, text};
use crate::{check, event, event_line, next_line, play};

#[tokio::test]
async fn an_error_in_answer_to_resume_is_final_and_a_later_one_is_not() {
    let error = r#"{"type":"error","code":"topic_invalid","detail":"an empty segment"}"#;
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, websocket()).unwrap();
    let script = async {
        let mut first = session(&hub, None).await;
        for message in [&subscribed(r#""aa-1""#), error, &event(2)] {
            first.send(message).await;
        }
        drop(first);
        let mut second = session(&hub, Some("aa-2")).await;
        second.send(error).await;
        assert_eq!(second.receive().await, "close 1001");
        hub.stays_alone().await;
    };
    let expected = [
        "connected",
        &event_line(2),
        LOST,
        "connected",
        "final: the hub refused (topic_invalid): an empty segment",
        "over",
    ];
    play(script, check(&mut subscriber, &expected)).await;
}

#[tokio::test]
async fn pings_are_answered_and_a_silent_hub_is_asked_before_it_is_left() {
    // Long, since a machine that is busy falls silent by itself.
    const IDLE: Duration = Duration::from_secs(5);
    let hub = Hub::bind().await;
    let mut options = websocket();
    options.idle_timeout(IDLE);
    let mut subscriber = Subscriber::new(&hub.url, options).unwrap();
    let script = async {
        let mut session = session(&hub, None).await;
        session.ping(b"hello").await;
        assert_eq!(session.receive().await, "pong hello");
        let began = Instant::now();
        // The pong of the scripted hub keeps the connection alive beyond the idle timeout.
        while began.elapsed() < IDLE * 3 / 2 {
            assert_eq!(session.receive().await, "ping");
        }
        // From here on the hub is silent; bytes that it does not read make no difference.
        assert!(hub.accept().await.request.line.starts_with("GET /ws"));
    };
    let client = async {
        check(
            &mut subscriber,
            &["connected", "lost: nothing received for 5s"],
        )
        .await;
        next_line(&mut subscriber).await;
    };
    play(script, client).await;
}

#[tokio::test]
async fn the_close_code_decides_whether_to_come_back() {
    for (code, reason, expected) in [
        (
            1000,
            "",
            "final: the hub closed the connection for good (code 1000)",
        ),
        (
            1008,
            "no",
            "final: the hub closed the connection for good (code 1008: no)",
        ),
        (
            4401,
            "",
            "final: the hub closed the connection for good (code 4401)",
        ),
        (1001, "", "lost: the hub closed the connection (code 1001)"),
        (1011, "", "lost: the hub closed the connection (code 1011)"),
        (
            1013,
            "busy",
            "lost: the hub closed the connection (code 1013: busy)",
        ),
        (1005, "", "lost: the hub closed the connection (no code)"),
    ] {
        let hub = Hub::bind().await;
        let mut subscriber = Subscriber::new(&hub.url, websocket()).unwrap();
        let script = async {
            let mut session = session(&hub, None).await;
            session.close(code, reason).await;
            assert_eq!(session.receive().await, format!("close {code}"));
            if expected.starts_with("lost") {
                hub.accept().await;
            } else {
                hub.stays_alone().await;
            }
        };
        let client = async {
            check(&mut subscriber, &["connected", expected]).await;
            next_line(&mut subscriber).await;
        };
        play(script, client).await;
    }
}

#[tokio::test]
async fn the_delay_of_a_drain_is_a_lower_bound_once() {
    const DELAY: Duration = Duration::from_secs(5);
    for drained in [true, false] {
        let hub = Hub::bind().await;
        let mut subscriber = Subscriber::new(&hub.url, websocket()).unwrap();
        let script = async {
            let mut session = session(&hub, None).await;
            if drained {
                session.send(r#"{"type":"drain","retry_ms":5000}"#).await;
            } else {
                session.close(1012, "5000").await;
            }
        };
        let client = async {
            check(&mut subscriber, &["connected"]).await;
            subscriber.next().await
        };
        let delivery = play(script, client).await;
        let Some(Ok(Delivery::Disconnected { retry_in, .. })) = delivery else {
            panic!("{delivery:?}");
        };
        assert!((DELAY..DELAY * 2).contains(&retry_in), "{retry_in:?}");
    }
}

#[tokio::test]
async fn what_breaks_the_protocol_is_reported_and_closed_with_the_right_code() {
    let masked = [0x81, 0x82, 1, 2, 3, 4, 0, 0];
    let binary = [0x82, 0x01, 0];
    let huge = [0x81, 127, 0, 0, 0, 1, 0, 0, 0, 0];
    for (bytes, code, expected) in [
        (
            &masked[..],
            1002,
            "error: the hub broke the WebSocket protocol: server frame masked (RFC 6455 section \
             5.1)",
        ),
        (
            &binary,
            1002,
            "error: malformed message from the hub: binary, where the subprotocol has text alone",
        ),
        (
            &text("[]"),
            1002,
            "error: malformed message from the hub: not a JSON object: send one",
        ),
        (
            &huge,
            1009,
            "error: an event is larger than the limit of 1000 bytes: raise max_event",
        ),
        (
            &text(&event(1)),
            1002,
            "error: the id aa-1 arrived after aa-1: events out of order",
        ),
        (
            &text(&event(2).replace(r#""data":"2""#, r#""data":"?","encoding":"base64""#)),
            1002,
            "error: malformed event from the hub: Invalid",
        ),
    ] {
        let hub = Hub::bind().await;
        let mut options = websocket();
        options.max_event(1000);
        let mut subscriber = Subscriber::new(&hub.url, options).unwrap();
        let script = async {
            let mut first = session(&hub, None).await;
            first.send(&event(1)).await;
            first.write(bytes).await;
            assert_eq!(first.receive().await, format!("close {code}"));
            session(&hub, Some("aa-1")).await;
        };
        let client = async {
            check(&mut subscriber, &["connected", &event_line(1)]).await;
            let line = next_line(&mut subscriber).await;
            assert!(line.starts_with(expected), "{line}");
            check(&mut subscriber, &[VIOLATION, "connected", LOST]).await;
        };
        play(script, client).await;
    }
}

#[tokio::test]
async fn a_message_that_takes_too_long_replaces_the_connection() {
    let hub = Hub::bind().await;
    let mut options = websocket();
    options.message_timeout(Duration::from_millis(300));
    let mut subscriber = Subscriber::new(&hub.url, options).unwrap();
    let script = async {
        let mut first = session(&hub, None).await;
        first.send(&event(1)).await;
        // Signs of life do not help a message that does not end.
        first.write(&[0x01, 1, b'{']).await;
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            first.ping(b"").await;
        }
        let answer = loop {
            match first.receive().await {
                pong if pong.starts_with("pong") => {}
                other => break other,
            }
        };
        assert_eq!(answer, "close 1008");
        session(&hub, Some("aa-1")).await;
    };
    let expected = [
        "connected",
        &event_line(1),
        "error: the hub broke the WebSocket protocol: message took too long (RFC 6455 \
         section 10.4)",
        VIOLATION,
        "connected",
        LOST,
    ];
    play(script, check(&mut subscriber, &expected)).await;
}

#[tokio::test]
async fn a_dropped_subscriber_says_that_it_goes() {
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, websocket()).unwrap();
    let script = async {
        let mut session = session(&hub, None).await;
        session.send(&event(1)).await;
        assert_eq!(session.receive().await, "close 1001");
        assert_eq!(session.receive().await, "end");
    };
    let client = async {
        check(&mut subscriber, &["connected", &event_line(1)]).await;
        drop(subscriber);
    };
    play(script, client).await;
}
