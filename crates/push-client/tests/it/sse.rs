//! Subscribing over Server-Sent Events.

use core::time::Duration;

use push_client::{Delivery, Subscriber};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::hub::{Exchange, Hub, STREAM_HEAD};
use crate::{PATIENCE, block, check, event, event_line, events_until, next_line, options, play};

fn last_event_id(exchange: &Exchange) -> Option<&str> {
    exchange.request.header("last-event-id")
}

const LOST: &str = "lost: the hub ended the stream";

#[tokio::test]
async fn the_request_asks_for_json_with_every_topic_and_no_empty_id() {
    let hub = Hub::bind().await;
    let url = format!("{}/push/", hub.url);
    let mut options = push_client::SubscribeOptions::new(["a/b", "c d+é&"]);
    options.policy("drop-oldest").after("");
    let mut subscriber = Subscriber::new(&url, options).unwrap();
    let script = async {
        let mut exchange = hub.accept().await;
        let request = &exchange.request;
        assert_eq!(
            request.line,
            "GET /push/events?topic=a/b&topic=c%20d%2B%C3%A9%26&format=json&policy=drop-oldest \
             HTTP/1.1"
        );
        assert_eq!(request.header("accept"), Some("text/event-stream"));
        assert_eq!(request.header("cache-control"), Some("no-cache"));
        assert_eq!(
            request.header("host"),
            Some(hub.url.trim_start_matches("http://"))
        );
        assert_eq!(last_event_id(&exchange), None);
        exchange.open_stream().await;
    };
    play(script, check(&mut subscriber, &["connected", LOST])).await;
}

#[tokio::test]
async fn a_drop_in_the_middle_of_an_event_resumes_after_the_one_before() {
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, options("demo")).unwrap();
    let script = async {
        let mut first = hub.accept().await;
        assert_eq!(last_event_id(&first), None);
        first.open_stream().await;
        first.write(block(2)).await;
        first.write(block(3).trim_end()).await;
        drop(first);
        let mut second = hub.accept().await;
        assert_eq!(last_event_id(&second), Some("aa-2"));
        second.open_stream().await;
        second.write(block(3)).await;
    };
    let expected = [
        "connected",
        &event_line(2),
        LOST,
        "connected",
        &event_line(3),
        LOST,
    ];
    play(script, check(&mut subscriber, &expected)).await;
    assert_eq!(subscriber.cursor(), Some("aa-3"));
}

#[tokio::test]
async fn a_drop_before_the_first_event_resumes_from_the_opening_id() {
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, options("demo")).unwrap();
    let script = async {
        let mut first = hub.accept().await;
        first.open_stream().await;
        first.write(": tidegate\nid: aa-7\n\n").await;
        drop(first);
        assert_eq!(last_event_id(&hub.accept().await), Some("aa-7"));
    };
    let client = async {
        check(&mut subscriber, &["connected", LOST]).await;
        assert_eq!(subscriber.cursor(), Some("aa-7"));
        next_line(&mut subscriber).await
    };
    play(script, client).await;
}

#[tokio::test]
async fn an_empty_last_event_id_is_never_sent() {
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, options("demo")).unwrap();
    let script = async {
        for stream in ["", "data", "id\n\n", "id:\n\n: x\n\n"] {
            let mut exchange = hub.accept().await;
            assert_eq!(last_event_id(&exchange), None);
            exchange.open_stream().await;
            exchange.write(stream).await;
        }
    };
    let expected = ["connected", LOST].repeat(4);
    play(script, check(&mut subscriber, &expected)).await;
}

#[tokio::test]
async fn earliest_is_asked_for_again_until_an_id_has_arrived() {
    let hub = Hub::bind().await;
    let mut options = options("demo");
    options.after("earliest");
    let mut subscriber = Subscriber::new(&hub.url, options).unwrap();
    let script = async {
        for (stream, expected) in [
            (String::new(), "earliest"),
            (block(1), "earliest"),
            (String::new(), "aa-1"),
        ] {
            let mut exchange = hub.accept().await;
            assert_eq!(last_event_id(&exchange), Some(expected));
            exchange.open_stream().await;
            exchange.write(stream).await;
        }
    };
    let expected = [
        "connected",
        LOST,
        "connected",
        &event_line(1),
        LOST,
        "connected",
        LOST,
    ];
    play(script, check(&mut subscriber, &expected)).await;
}

#[tokio::test]
async fn a_cursor_that_a_header_would_change_goes_into_the_query() {
    for (after, query) in [(" a", "%20a"), ("é", "%C3%A9"), ("a\nb", "a%0Ab")] {
        let hub = Hub::bind().await;
        let mut options = options("demo");
        options.after(after);
        let mut subscriber = Subscriber::new(&hub.url, options).unwrap();
        let script = async {
            let exchange = hub.accept().await;
            assert_eq!(last_event_id(&exchange), None);
            let line = format!("GET /events?topic=demo&format=json&last_event_id={query} HTTP/1.1");
            assert_eq!(exchange.request.line, line);
        };
        play(script, next_line(&mut subscriber)).await;
    }
}

#[tokio::test]
async fn a_cut_at_any_byte_neither_loses_nor_repeats_an_event() {
    const LAST: u64 = 4;
    let stream: String = [STREAM_HEAD, "retry: 1\nid: aa-1\n\n"]
        .into_iter()
        .map(str::to_owned)
        .chain((2..=LAST).map(block))
        .chain(["event: $ready\nid: aa-4\ndata: {\"id\":\"aa-4\"}\n\n".to_owned()])
        .collect();
    for cut in 0..=stream.len() {
        let hub = Hub::bind().await;
        let mut subscriber = Subscriber::new(&hub.url, options("demo")).unwrap();
        let script = async {
            let mut first = hub.accept().await;
            first.write(&stream[..cut]).await;
            drop(first);
            let mut second = hub.accept().await;
            // Nothing was published before the first connection.
            let after = last_event_id(&second).map_or(1, |id| id[3..].parse().unwrap());
            second.open_stream().await;
            let rest: String = (after + 1..=LAST + 1).map(block).collect();
            second.write(rest).await;
        };
        let lines = play(script, events_until(&mut subscriber, LAST + 1)).await;
        let events: Vec<_> = lines
            .iter()
            .filter(|line| !line.starts_with("ready"))
            .collect();
        let expected: Vec<_> = (2..=LAST + 1).map(event_line).collect();
        assert_eq!(
            events,
            expected.iter().collect::<Vec<_>>(),
            "cut after {cut} bytes"
        );
    }
}

#[tokio::test]
async fn the_stream_may_come_chunked_and_byte_by_byte() {
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, options("demo")).unwrap();
    let script = async {
        let mut exchange = hub.accept().await;
        let mut bytes = "HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n\
                         transfer-encoding: chunked\r\n\r\n"
            .to_owned();
        let stream = format!("{}{}", block(1), block(2));
        bytes.extend(stream.chars().map(|char| format!("1\r\n{char}\r\n")));
        bytes.push_str("0\r\n\r\n");
        for byte in bytes.bytes() {
            exchange.write([byte]).await;
        }
        exchange.closed().await;
    };
    let expected = ["connected", &event_line(1), &event_line(2), LOST];
    let client = async {
        check(&mut subscriber, &expected).await;
        drop(subscriber);
    };
    play(script, client).await;
}

#[tokio::test]
async fn data_is_decoded_to_what_was_published() {
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, options("demo")).unwrap();
    let script = async {
        let mut exchange = hub.accept().await;
        exchange.open_stream().await;
        for (seq, data) in [
            (1, r#""data":"AP+A","encoding":"base64""#),
            (2, r#""data":"","event":"empty","prev":1"#),
            (3, r#""data":"a\r\nb\u0000\ud83d\ude00","prev":2,"time":5"#),
        ] {
            exchange
                .write(format!(
                    "id: aa-{seq}\ndata: {{\"type\":\"event\",\"id\":\"aa-{seq}\",\"seq\":{seq},\
                     \"topic\":\"demo\",{data}}}\n\n"
                ))
                .await;
        }
    };
    let client = async {
        check(&mut subscriber, &["connected"]).await;
        let mut seen = Vec::new();
        while let Some(Ok(Delivery::Event(event))) = subscriber.next().await {
            seen.push((event.seq, event.prev, event.time, event.event, event.data));
        }
        seen
    };
    let seen = play(script, client).await;
    assert_eq!(
        seen,
        [
            (1, None, None, None, b"\x00\xff\x80".as_slice().into()),
            (2, Some(1), None, Some("empty".to_owned()), "".into()),
            (3, Some(2), Some(5), None, "a\r\nb\0😀".into()),
        ]
    );
}

#[tokio::test]
async fn a_gap_is_handed_on_and_resumed_from_even_where_it_goes_back() {
    let hub = Hub::bind().await;
    let mut options = options("demo");
    options.after("aa-9");
    let mut subscriber = Subscriber::new(&hub.url, options).unwrap();
    let script = async {
        let mut first = hub.accept().await;
        assert_eq!(last_event_id(&first), Some("aa-9"));
        first.open_stream().await;
        first
            .write(
                "event: $gap\nid: aa-3\n\
                 data: {\"reason\":\"ahead\",\"after\":\"aa-9\",\"id\":\"aa-3\"}\n\n",
            )
            .await;
        drop(first);
        let mut second = hub.accept().await;
        assert_eq!(last_event_id(&second), Some("aa-3"));
        second.open_stream().await;
        second.write(block(4)).await;
    };
    let expected = [
        "connected",
        "gap ahead after aa-9 to aa-3",
        LOST,
        "connected",
        &event_line(4),
    ];
    play(script, check(&mut subscriber, &expected)).await;
}

#[tokio::test]
async fn an_id_alone_and_a_control_event_of_a_newer_hub_move_the_cursor() {
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, options("demo")).unwrap();
    let script = async {
        for (stream, next) in [
            ("id: aa-5\n\n", "aa-5"),
            ("event: $new\nid: aa-6\ndata: x\n\n", "aa-6"),
        ] {
            let mut exchange = hub.accept().await;
            exchange.open_stream().await;
            exchange.write(stream).await;
            drop(exchange);
            let exchange = hub.accept().await;
            assert_eq!(last_event_id(&exchange), Some(next));
        }
    };
    let client = async {
        for _ in 0..2 {
            check(&mut subscriber, &["connected", LOST]).await;
            assert!(next_line(&mut subscriber).await.starts_with("lost: "));
        }
    };
    play(script, client).await;
}

#[tokio::test]
async fn an_event_out_of_order_is_reported_and_the_stream_resumed_before_it() {
    for bad in [1, 2] {
        let hub = Hub::bind().await;
        let mut subscriber = Subscriber::new(&hub.url, options("demo")).unwrap();
        let script = async {
            let mut first = hub.accept().await;
            first.open_stream().await;
            first.write(block(2) + &block(bad) + &block(3)).await;
            assert!(first.is_closed_within(PATIENCE).await);
            let mut second = hub.accept().await;
            assert_eq!(last_event_id(&second), Some("aa-2"));
            second.open_stream().await;
            second.write(block(3)).await;
        };
        let expected = [
            "connected",
            &event_line(2),
            &format!("error: the id aa-{bad} arrived after aa-2: events out of order or repeated"),
            "lost: closed because of the error before this",
            "connected",
            &event_line(3),
        ];
        play(script, check(&mut subscriber, &expected)).await;
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_reported_rather_than_passed_over() {
    let wrong_id = event(1).replace("aa-1", "bb-1");
    for (stream, expected) in [
        ("data: hello\n\n", "event from the hub: not a JSON object: "),
        (
            "data: {\"type\":\"ready\",\"id\":\"aa-1\",\"policy\":\"\"}\n\n",
            "event from the hub: not",
        ),
        (
            &format!("id: aa-1\ndata: {wrong_id}\n\n"),
            "event from the hub: its id is bb-1 but the stream's is aa-1",
        ),
        (
            "event: x\ndata: {}\n\n",
            "event from the hub: of type \"x\", though",
        ),
        (
            "event: $gap\ndata: {}\n\n",
            "$gap from the hub: missing field `reason`",
        ),
        (
            "event: $gap\ndata: {\"reason\":\"?\",\"id\":\"aa-1\"}\n\n",
            "$gap from the hub: reason \"?\"",
        ),
        ("event: $ready\ndata: []\n\n", "$ready from the hub: "),
        ("id: over there\n\n", "id from the hub: \"over there\""),
    ] {
        let hub = Hub::bind().await;
        let mut subscriber = Subscriber::new(&hub.url, options("demo")).unwrap();
        let script = async {
            let mut exchange = hub.accept().await;
            exchange.open_stream().await;
            exchange.write(stream).await;
            hub.accept().await;
        };
        let client = async {
            check(&mut subscriber, &["connected"]).await;
            let line = next_line(&mut subscriber).await;
            assert!(
                line.starts_with(&format!("error: malformed {expected}")),
                "{line}"
            );
            check(
                &mut subscriber,
                &["lost: closed because of the error before this"],
            )
            .await;
            next_line(&mut subscriber).await;
        };
        play(script, client).await;
    }
}

#[tokio::test]
async fn an_event_over_the_limit_is_reported_and_asked_for_again() {
    let hub = Hub::bind().await;
    let mut options = options("demo");
    options.max_event(200);
    let mut subscriber = Subscriber::new(&hub.url, options).unwrap();
    let script = async {
        let mut first = hub.accept().await;
        first.open_stream().await;
        first
            .write(block(1) + "id: aa-2\ndata: " + &"x".repeat(300) + "\n\n" + &block(3))
            .await;
        assert_eq!(last_event_id(&hub.accept().await), Some("aa-1"));
    };
    let client = async {
        let expected = [
            "connected",
            &event_line(1),
            "error: an event is larger than the limit of 200 bytes: raise max_event",
            "lost: closed because of the error before this",
        ];
        check(&mut subscriber, &expected).await;
        next_line(&mut subscriber).await;
    };
    play(script, client).await;
}

#[tokio::test]
async fn nothing_is_lost_when_next_is_cancelled_at_any_point() {
    const LAST: u64 = 8;
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, options("demo")).unwrap();
    let script = async {
        let mut after = 0;
        while after < LAST {
            let mut exchange = hub.accept().await;
            assert_eq!(
                last_event_id(&exchange).map_or(0, |id| id[3..].parse().unwrap()),
                after
            );
            exchange.open_stream().await;
            for byte in (block(after + 1) + &block(after + 2)).bytes() {
                exchange.write([byte]).await;
                tokio::task::yield_now().await;
            }
            after += 2;
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
async fn a_subscriber_that_does_not_ask_reads_nothing() {
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, options("demo")).unwrap();
    let script = async {
        let mut exchange = hub.accept().await;
        exchange.open_stream().await;
        exchange.write(block(1)).await;
        let comment = format!(":{}\n", "x".repeat(64 * 1024));
        let mut written = 0;
        // What the kernel's two socket buffers take, and no more.
        while let Ok(done) = timeout(
            Duration::from_millis(500),
            exchange.socket.write_all(comment.as_bytes()),
        )
        .await
        {
            done.unwrap();
            written += comment.len();
            assert!(written < 64 << 20, "somebody reads");
        }
    };
    let client = async {
        check(&mut subscriber, &["connected", &event_line(1)]).await;
        subscriber
    };
    play(script, client).await;
}
