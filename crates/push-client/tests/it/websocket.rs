//! Subscribing over WebSocket.

use core::time::Duration;

use push_client::{Delivery, SubscribeOptions, Subscriber, Transport};
use tokio::time::{Instant, timeout};
use ws_proto::handshake::accept_key;

use crate::hub::{Hub, Session, switching, text};
use crate::{check, event, event_line, events_until, next_line, options, play};

const LOST: &str = "lost: the hub ended the stream";
const VIOLATION: &str = "lost: closed because of the error before this";

fn websocket() -> SubscribeOptions {
    let mut options = options("demo");
    options.transport(Transport::WebSocket);
    options
}

fn subscribed(at: &str) -> String {
    format!(r#"{{"type":"subscribed","at":{at},"topics":["demo"]}}"#)
}

fn resume(after: &str) -> String {
    format!(r#"{{"type":"resume",{after}"topics":["demo"]}}"#)
}

/// Accepts, and expects `resume` with this cursor before anything else.
async fn session(hub: &Hub, after: Option<&str>) -> Session {
    let mut session = hub.accept().await.upgrade().await;
    let after = after.map_or_else(String::new, |after| format!(r#""after":"{after}","#));
    assert_eq!(session.receive().await, resume(&after));
    session
}

#[tokio::test]
async fn resume_comes_first_and_everything_about_it_is_said() {
    let hub = Hub::bind().await;
    let mut options = SubscribeOptions::new(["a", "é/\"b\""]);
    options
        .transport(Transport::WebSocket)
        .after("aa-1")
        .policy("drop-oldest");
    let mut subscriber = Subscriber::new(&hub.url.replace("http:", "ws:"), options).unwrap();
    let script = async {
        let exchange = hub.accept().await;
        assert_eq!(
            exchange.request.header("sec-websocket-protocol"),
            Some("tidegate.v1+json")
        );
        assert_eq!(exchange.request.header("last-event-id"), None);
        let mut session = exchange.upgrade().await;
        assert_eq!(
            session.receive().await,
            r#"{"type":"resume","after":"aa-1","topics":["a","é/\"b\""],"policy":"drop-oldest"}"#
        );
    };
    play(script, check(&mut subscriber, &["connected", LOST])).await;
}

#[tokio::test]
async fn it_resumes_from_the_newest_of_all_cursors() {
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, websocket()).unwrap();
    let gap = r#"{"type":"gap","reason":"lagged","after":"aa-4","id":"aa-8","skipped":4}"#;
    let ready = r#"{"type":"ready","id":"aa-9","policy":"replay"}"#;
    let script = async {
        let mut after = None;
        for (message, next) in [
            (subscribed("null"), None),
            (subscribed(r#""aa-3""#), Some("aa-3")),
            (event(4), Some("aa-4")),
            (gap.to_owned(), Some("aa-8")),
            (ready.to_owned(), Some("aa-9")),
        ] {
            session(&hub, after).await.send(&message).await;
            after = next;
        }
        session(&hub, after).await;
    };
    let event = event_line(4);
    let lines = ["gap lagged after aa-4 to aa-8", "ready aa-9"];
    let expected: Vec<_> = [
        None,
        None,
        Some(&*event),
        Some(lines[0]),
        Some(lines[1]),
        None,
    ]
    .into_iter()
    .flat_map(|line| ["connected"].into_iter().chain(line).chain([LOST]))
    .collect();
    play(script, check(&mut subscriber, &expected)).await;
}

#[tokio::test]
async fn a_cut_at_any_byte_neither_loses_nor_repeats_an_event() {
    const LAST: u64 = 4;
    let opening = text(&subscribed(r#""aa-1""#));
    let stream: Vec<u8> = (2..=LAST).fold(opening, |mut stream, seq| {
        stream.extend(text(&event(seq)));
        stream
    });
    for cut in 0..=stream.len() {
        let hub = Hub::bind().await;
        let mut subscriber = Subscriber::new(&hub.url, websocket()).unwrap();
        let script = async {
            let first = hub.accept().await.upgrade_with(&stream[..cut]).await;
            drop(first);
            let mut second = hub.accept().await.upgrade().await;
            let resume = second.receive().await;
            // Nothing was published before the first connection.
            let after = resume.split_once("aa-").map_or(1, |(_, rest)| {
                rest.split('"').next().unwrap().parse().unwrap()
            });
            for seq in after + 1..=LAST + 1 {
                second.send(&event(seq)).await;
            }
        };
        let lines = play(script, events_until(&mut subscriber, LAST + 1)).await;
        let expected: Vec<_> = (2..=LAST + 1).map(event_line).collect();
        assert_eq!(lines, expected, "cut after {cut} bytes");
    }
}

#[tokio::test]
async fn messages_may_come_with_the_handshake_byte_by_byte_and_in_fragments() {
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, websocket()).unwrap();
    let script = async {
        let mut session = hub.accept().await.upgrade_with(&text(&event(1))).await;
        for byte in text(&event(2)) {
            session.write(&[byte]).await;
        }
        let json = event(3);
        let (head, tail) = json.split_at(20);
        let mut frames = vec![0x01, 20];
        frames.extend(head.bytes());
        frames.extend([0x89, 1, b'p', 0x80, u8::try_from(tail.len()).unwrap()]);
        frames.extend(tail.bytes());
        session.write(&frames).await;
        assert_eq!(session.receive().await, resume(""));
        assert_eq!(session.receive().await, "pong p");
    };
    let expected = [
        "connected",
        &event_line(1),
        &event_line(2),
        &event_line(3),
        LOST,
    ];
    play(script, check(&mut subscriber, &expected)).await;
}

#[tokio::test]
async fn a_wrong_handshake_is_refused_for_good() {
    const PROTOCOL: &str = "sec-websocket-protocol: tidegate.v1+json\r\n";
    let wrong = String::from_utf8(accept_key(b"another key").to_vec()).unwrap();
    for (accept, more, expected) in [
        (
            Some(&*wrong),
            PROTOCOL,
            "final: the WebSocket handshake failed: the answer's `Sec-WebSocket-Accept` does not \
             match the key sent",
        ),
        (
            None,
            "sec-websocket-protocol: other\r\n",
            "final: the WebSocket handshake failed: the server chose a subprotocol that was not \
             offered",
        ),
        (
            None,
            "",
            "final: the answer does not choose tidegate.v1+json: is this the address of a hub?",
        ),
    ] {
        let hub = Hub::bind().await;
        let mut subscriber = Subscriber::new(&hub.url, websocket()).unwrap();
        let script = async {
            let mut exchange = hub.accept().await;
            let key = exchange.request.header("sec-websocket-key").unwrap();
            let right = String::from_utf8(accept_key(key.as_bytes()).to_vec()).unwrap();
            exchange
                .write(switching(accept.unwrap_or(&right), more))
                .await;
            hub.stays_alone().await;
        };
        play(script, check(&mut subscriber, &[expected, "over"])).await;
    }
}

#[tokio::test]
async fn the_handshake_key_is_new_for_every_connection() {
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, websocket()).unwrap();
    let script = async {
        let mut keys = Vec::new();
        for _ in 0..2 {
            let exchange = hub.accept().await;
            keys.push(
                exchange
                    .request
                    .header("sec-websocket-key")
                    .unwrap()
                    .to_owned(),
            );
        }
        assert_ne!(keys[0], keys[1]);
    };
    let client = async {
        next_line(&mut subscriber).await;
        next_line(&mut subscriber).await;
    };
    play(script, client).await;
}

#[tokio::test]
async fn a_refused_handshake_shows_the_problem_and_one_that_may_pass_later_is_tried_again() {
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, websocket()).unwrap();
    let script = async {
        hub.accept()
            .await
            .answer("503 Service Unavailable", "", r#"{"code":"draining"}"#)
            .await;
        let problem = r#"{"code":"origin_forbidden","detail":"not from here"}"#;
        hub.accept()
            .await
            .answer("403 Forbidden", "", problem)
            .await;
        hub.stays_alone().await;
    };
    let expected = [
        "lost: the hub answered 503 (draining)",
        "final: the hub answered 403 (origin_forbidden): not from here",
        "over",
    ];
    play(script, check(&mut subscriber, &expected)).await;
}

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
    const IDLE: Duration = Duration::from_millis(1500);
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
            &["connected", "lost: nothing received for 1.5s"],
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
async fn ready_is_handed_on_once_and_then_only_moves_the_cursor() {
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, websocket()).unwrap();
    let ready = |seq| format!(r#"{{"type":"ready","id":"aa-{seq}","policy":"replay"}}"#);
    let gap = r#"{"type":"gap","reason":"trimmed","after":"aa-9","id":"aa-9"}"#;
    let script = async {
        let mut first = session(&hub, None).await;
        for message in [
            ready(1),
            ready(5),
            event(6),
            ready(9),
            gap.to_owned(),
            ready(9),
            ready(10),
        ] {
            first.send(&message).await;
        }
        drop(first);
        session(&hub, Some("aa-10")).await;
    };
    let expected = [
        "connected",
        "ready aa-1",
        &event_line(6),
        "gap trimmed after aa-9 to aa-9",
        "ready aa-9",
        LOST,
        "connected",
        LOST,
    ];
    play(script, check(&mut subscriber, &expected)).await;
}

#[tokio::test]
async fn messages_of_a_newer_hub_are_passed_over() {
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, websocket()).unwrap();
    let script = async {
        let mut session = session(&hub, None).await;
        for message in [r#"{"type":"weather"}"#, r#"{"type":"reauth"}"#, &event(1)] {
            session.send(message).await;
        }
    };
    play(
        script,
        check(&mut subscriber, &["connected", &event_line(1), LOST]),
    )
    .await;
}

#[tokio::test]
async fn nothing_is_lost_when_next_is_cancelled_at_any_point() {
    const LAST: u64 = 8;
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, websocket()).unwrap();
    let script = async {
        let mut after = None;
        for seq in 1..=LAST {
            let mut session = session(&hub, after.as_deref()).await;
            for byte in text(&event(seq)) {
                session.write(&[byte]).await;
                tokio::task::yield_now().await;
            }
            after = Some(format!("aa-{seq}"));
        }
    };
    let client = async {
        let mut seen = Vec::new();
        while seen.len() < LAST as usize {
            // A zero timeout polls once and drops the future.
            match timeout(Duration::ZERO, subscriber.next()).await {
                Ok(Some(Ok(Delivery::Event(event)))) => seen.push(event.seq),
                Ok(Some(Ok(_))) => {}
                Ok(other) => panic!("{other:?}"),
                Err(_) => tokio::task::yield_now().await,
            }
        }
        seen
    };
    assert_eq!(play(script, client).await, (1..=LAST).collect::<Vec<_>>());
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

#[tokio::test]
async fn compressed_messages_are_read_like_others_if_that_was_agreed_on() {
    let line = |answer: &str| format!("sec-websocket-extensions: {answer}\r\n");
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, websocket()).unwrap();
    let script = async {
        let exchange = hub.accept().await;
        assert_eq!(
            exchange.request.header("sec-websocket-extensions"),
            Some("permessage-deflate; client_no_context_takeover; client_max_window_bits")
        );
        let mut session = exchange.upgrade_to(&line("permessage-deflate"), b"").await;
        assert_eq!(session.receive().await, resume(""));
        // The second refers to the first, across one that is not compressed.
        session.send_compressed(&event(1)).await;
        session.send(&event(2)).await;
        session.send_compressed(&event(3)).await;
    };
    let expected = [
        "connected",
        &event_line(1),
        &event_line(2),
        &event_line(3),
        LOST,
    ];
    play(script, check(&mut subscriber, &expected)).await;
}

#[tokio::test]
async fn what_inflates_beyond_the_limit_is_refused() {
    let hub = Hub::bind().await;
    let mut options = websocket();
    options.max_event(1000);
    let mut subscriber = Subscriber::new(&hub.url, options).unwrap();
    let script = async {
        let exchange = hub.accept().await;
        let line = "sec-websocket-extensions: permessage-deflate\r\n";
        let mut session = exchange.upgrade_to(line, b"").await;
        assert_eq!(session.receive().await, resume(""));
        session.send_compressed(&" ".repeat(1001)).await;
        assert_eq!(session.receive().await, "close 1009");
    };
    let expected = [
        "connected",
        "error: an event is larger than the limit of 1000 bytes: raise max_event",
        VIOLATION,
    ];
    play(script, check(&mut subscriber, &expected)).await;
}

#[tokio::test]
async fn without_compression_none_is_offered_nor_accepted() {
    let hub = Hub::bind().await;
    let mut options = websocket();
    options.compression(false);
    let mut subscriber = Subscriber::new(&hub.url, options).unwrap();
    let script = async {
        let exchange = hub.accept().await;
        assert_eq!(exchange.request.header("sec-websocket-extensions"), None);
        let line = "sec-websocket-extensions: permessage-deflate\r\n";
        exchange.upgrade_to(line, b"").await;
        hub.stays_alone().await;
    };
    let expected = [
        "final: the WebSocket handshake failed: the server uses an extension in a way that was not \
         offered",
        "over",
    ];
    play(script, check(&mut subscriber, &expected)).await;
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
