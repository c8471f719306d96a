//! Subscribing over WebSocket.

mod compression;
mod endings;
mod handshake;

use core::time::Duration;

use push_client::{Delivery, SubscribeOptions, Subscriber, Transport};
use tokio::time::timeout;

use crate::hub::{Hub, Session, text};
use crate::{check, event, event_line, events_until, options, play};

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
