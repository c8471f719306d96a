//! Subscribing over Server-Sent Events.

use core::time::Duration;

use push_client::{Delivery, Subscriber};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use crate::hub::{Exchange, Hub, STREAM_HEAD};
use crate::{check, event, event_line, events_until, next_line, options, play};

/// An event as a block of the stream.
fn block(seq: u64) -> String {
    format!("id: aa-{seq}\ndata: {}\n\n", event(seq))
}

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

/// Answers once and expects the subscription to be over after these lines.
async fn check_answer(status: &str, headers: &str, body: &str, expected: &[&str]) {
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, options("demo")).unwrap();
    let script = async {
        hub.accept().await.answer(status, headers, body).await;
        hub.stays_alone().await;
    };
    let client = async {
        check(&mut subscriber, expected).await;
        check(&mut subscriber, &["over", "over"]).await;
    };
    play(script, client).await;
}

#[tokio::test]
async fn status_204_ends_the_subscription() {
    check_answer("204 No Content", "", "", &[]).await;
}

#[tokio::test]
async fn a_refusal_is_final_and_shows_the_code_and_detail() {
    let problem = r#"{"type":"about:blank","title":"Forbidden","status":403,
        "code":"topic_forbidden","detail":"no grant for demo: ask for one"}"#;
    check_answer(
        "403 Forbidden",
        "content-type: application/problem+json\r\n",
        problem,
        &["final: the hub answered 403 (topic_forbidden): no grant for demo: ask for one"],
    )
    .await;
    check_answer(
        "404 Not Found",
        "",
        "<html>",
        &["final: the hub answered 404"],
    )
    .await;
}

#[tokio::test]
async fn any_answer_that_is_no_event_stream_is_final() {
    let no_stream = "is this the address of a hub?";
    for (status, headers, expected) in [
        (
            "200 OK",
            "content-type: text/html; charset=utf-8\r\n",
            "final: the answer is text/html; charset=utf-8, not text/event-stream: ",
        ),
        (
            "200 OK",
            "content-type: text/event-streamx\r\n",
            "final: the answer is text/event-streamx, not text/event-stream: ",
        ),
        (
            "200 OK",
            "",
            "final: the answer is of no content type, not text/event-stream: ",
        ),
        (
            "201 Created",
            "content-type: text/event-stream\r\n",
            "final: unexpected answer 201: ",
        ),
        ("205 Reset Content", "", "final: unexpected answer 205: "),
        (
            "302 Found",
            "location: http://example.org/\r\n",
            "final: unexpected answer 302 (redirect to http://example.org/): ",
        ),
    ] {
        check_answer(status, headers, "", &[&format!("{expected}{no_stream}")]).await;
    }
}

#[tokio::test]
async fn a_hub_that_cannot_serve_now_is_asked_again() {
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, options("demo")).unwrap();
    let statuses = [
        "408 Request Timeout",
        "425 Too Early",
        "429 Too Many Requests",
        "500 Internal Server Error",
        "503 Service Unavailable",
    ];
    let script = async {
        for status in statuses {
            hub.accept()
                .await
                .answer(status, "", r#"{"code":"busy"}"#)
                .await;
        }
        let mut exchange = hub.accept().await;
        exchange.open_stream().await;
        exchange.write(block(1)).await;
    };
    let client = async {
        for status in statuses {
            let expected = format!("lost: the hub answered {} (busy)", &status[..3]);
            check(&mut subscriber, &[&expected]).await;
        }
        check(&mut subscriber, &["connected", &event_line(1)]).await;
    };
    play(script, client).await;
}

#[tokio::test]
async fn retry_after_is_a_lower_bound() {
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, options("demo")).unwrap();
    let script = async {
        hub.accept()
            .await
            .answer("503 Service Unavailable", "retry-after: 7\r\n", "")
            .await;
    };
    let delivery = play(script, subscriber.next()).await;
    let Some(Ok(Delivery::Disconnected { retry_in, .. })) = delivery else {
        panic!("{delivery:?}");
    };
    assert!(retry_in >= Duration::from_secs(7), "{retry_in:?}");
}

#[tokio::test]
async fn the_reconnection_time_is_waited_for_every_time() {
    const RETRY: Duration = Duration::from_millis(120);
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, options("demo")).unwrap();
    let script = async {
        let mut first = hub.accept().await;
        first.open_stream().await;
        first.write("retry: 120\n").await;
        drop(first);
        for _ in 0..2 {
            let lost = Instant::now();
            let mut next = hub.accept().await;
            assert!(lost.elapsed() >= RETRY, "{:?}", lost.elapsed());
            next.open_stream().await;
        }
    };
    let client = async {
        for _ in 0..3 {
            check(&mut subscriber, &["connected"]).await;
            let Some(Ok(Delivery::Disconnected { retry_in, .. })) = subscriber.next().await else {
                panic!("no end");
            };
            assert!(retry_in >= RETRY, "{retry_in:?}");
        }
    };
    play(script, client).await;
}

#[tokio::test]
async fn delays_grow_over_failures_in_a_row_but_not_over_the_cap() {
    let hub = Hub::bind().await;
    let url = hub.url.clone();
    drop(hub);
    let mut options = options("demo");
    options.backoff(Duration::from_millis(1), Duration::from_millis(16));
    let mut subscriber = Subscriber::new(&url, options).unwrap();
    let mut delays = Vec::new();
    while delays.len() < 60 {
        let delivery = subscriber.next().await;
        let Some(Ok(Delivery::Disconnected { retry_in, why })) = delivery else {
            panic!("{delivery:?}");
        };
        assert!(
            why.to_string().starts_with("cannot connect to 127.0.0.1:"),
            "{why}"
        );
        delays.push(retry_in);
    }
    let longest = delays.iter().max().unwrap();
    // Of 55 draws from 0 to 16 ms none above 4 ms: once in 10^31 runs.
    assert!((Duration::from_millis(4)..=Duration::from_millis(16)).contains(longest));
    assert!(delays[0] <= Duration::from_millis(1));
}

#[tokio::test]
async fn only_something_delivered_begins_the_backoff_anew() {
    const BASE: Duration = Duration::from_micros(1);
    let ready = "event: $ready\nid: aa-1\ndata: {\"id\":\"aa-1\"}\n\n";
    let gap = "event: $gap\nid: aa-1\ndata: {\"reason\":\"unknown\",\"id\":\"aa-1\"}\n\n";
    for (stream, anew) in [
        ("", false),
        (":\nid: aa-1\n\n", false),
        (gap, false),
        (ready, true),
        (&block(1), true),
    ] {
        let hub = Hub::bind().await;
        let mut options = options("demo");
        options.backoff(BASE, Duration::from_secs(30));
        let mut subscriber = Subscriber::new(&hub.url, options).unwrap();
        let script = async {
            for _ in 0..20 {
                hub.accept().await;
            }
            let mut exchange = hub.accept().await;
            exchange.open_stream().await;
            exchange.write(stream).await;
        };
        let client = async {
            let mut connected = false;
            loop {
                match subscriber.next().await {
                    Some(Ok(Delivery::Disconnected { retry_in, .. })) if connected => {
                        return retry_in;
                    }
                    Some(Ok(delivery)) => connected |= matches!(delivery, Delivery::Connected),
                    other => panic!("{other:?}"),
                }
            }
        };
        let retry_in = play(script, client).await;
        // A draw from 2^20 microseconds is this low once in a million.
        assert_eq!(retry_in <= BASE, anew, "{retry_in:?} after {stream:?}");
    }
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
            assert!(first.is_closed_within(Duration::from_secs(5)).await);
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
async fn a_silent_connection_is_replaced_and_a_comment_is_not_silence() {
    const IDLE: Duration = Duration::from_millis(300);
    let hub = Hub::bind().await;
    let mut options = options("demo");
    options.idle_timeout(IDLE);
    let mut subscriber = Subscriber::new(&hub.url, options).unwrap();
    let began = Instant::now();
    let script = async {
        let mut first = hub.accept().await;
        first.open_stream().await;
        for _ in 0..4 {
            tokio::time::sleep(IDLE / 2).await;
            first.write(":\n\n").await;
        }
        assert!(first.is_closed_within(IDLE * 10).await);
        hub.accept().await;
    };
    let client = async {
        check(
            &mut subscriber,
            &["connected", "lost: nothing received for 300ms"],
        )
        .await;
        assert!(began.elapsed() >= IDLE * 3, "{:?}", began.elapsed());
        next_line(&mut subscriber).await;
    };
    play(script, client).await;
}

#[tokio::test]
async fn a_hub_that_does_not_answer_in_time_is_left() {
    let hub = Hub::bind().await;
    let mut options = options("demo");
    options.connect_timeout(Duration::from_millis(100));
    let mut subscriber = Subscriber::new(&hub.url, options).unwrap();
    let script = async {
        let mut silent = hub.accept().await;
        assert!(silent.is_closed_within(Duration::from_secs(5)).await);
        // The head of a refusal without the body that it announces.
        let mut endless = hub.accept().await;
        endless
            .write("HTTP/1.1 403 Forbidden\r\ncontent-length: 9\r\n\r\n")
            .await;
        assert!(endless.is_closed_within(Duration::from_secs(5)).await);
    };
    let expected = ["lost: no answer within 100ms"; 2];
    play(script, check(&mut subscriber, &expected)).await;
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
