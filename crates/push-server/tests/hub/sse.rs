//! `GET /events`: the opening block, replay, gaps, formats, the end.

use http::Request;
use push_server::HubConfig;

use crate::support::*;

fn event(data: &str, seq: u64) -> Got {
    Got::Event {
        event: "message".to_owned(),
        data: data.to_owned(),
        id: cursor(seq),
    }
}

fn ready(seq: u64) -> Got {
    let id = cursor(seq);
    Got::Event {
        event: "$ready".to_owned(),
        data: format!(r#"{{"type":"ready","id":"{id}","policy":"replay"}}"#),
        id,
    }
}

fn gap(reason: &str, after: Option<&str>, at: &str) -> Got {
    let after = after
        .map(|it| format!(r#""after":"{it}","#))
        .unwrap_or_default();
    Got::Event {
        event: "$gap".to_owned(),
        data: format!(r#"{{"type":"gap","reason":"{reason}",{after}"id":"{at}"}}"#),
        id: at.to_owned(),
    }
}

async fn check(stream: &mut Stream, expected: &[Got]) {
    for (index, want) in expected.iter().enumerate() {
        assert_eq!(&stream.next_block().await, want, "block {index}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_bytes_are_retry_a_comment_and_the_end_of_the_log_as_id() {
    let hub = hub().await;
    publish(&hub, "demo", "before").await;
    let mut stream = Stream::open(&hub, "/events?topic=demo", None).await;
    assert_eq!(stream.next().await, Got::Retry);
    assert!(matches!(stream.next().await, Got::Comment(_)));
    check(&mut stream, &[Got::Id(cursor(1)), ready(1)]).await;
    publish(&hub, "demo", "after").await;
    check(&mut stream, &[event("after", 2)]).await;
}

#[tokio::test(start_paused = true)]
async fn a_valid_cursor_is_repeated_then_exactly_the_missed_events_follow() {
    let hub = hub().await;
    for n in 1..=5 {
        publish(&hub, "demo", &n.to_string()).await;
    }
    for (uri, header) in [
        (
            format!("/events?topic=demo&last_event_id={}", cursor(3)),
            None,
        ),
        ("/events?topic=demo".to_owned(), Some(cursor(3))),
        // The header is the newer of the two.
        (
            format!("/events?topic=demo&last_event_id={}", cursor(1)),
            Some(cursor(3)),
        ),
    ] {
        let mut stream = Stream::open(&hub, &uri, header.as_deref()).await;
        check(
            &mut stream,
            &[Got::Id(cursor(3)), event("4", 4), event("5", 5), ready(5)],
        )
        .await;
    }
    let uri = format!("/events?topic=demo&last_event_id={}", cursor(5));
    // An empty header, as some clients send it, is no cursor.
    let mut stream = Stream::open(&hub, &uri, Some("")).await;
    check(&mut stream, &[Got::Id(cursor(5)), ready(5)]).await;
}

#[tokio::test(start_paused = true)]
async fn earliest_replays_all_and_opens_without_an_id() {
    let hub = hub().await;
    publish(&hub, "demo", "1").await;
    let mut stream = Stream::open(&hub, "/events?topic=demo&last_event_id=earliest", None).await;
    check(&mut stream, &[event("1", 1), ready(1)]).await;
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_gap_is_told_once_and_delivery_goes_on_where_it_says() {
    let foreign = "00000000000000ff-2";
    let (evicted, ahead) = (cursor(1), cursor(99));
    let retained = [event("4", 4), event("5", 5), event("6", 6), ready(6)];
    for (id, first, rest) in [
        (
            &*evicted,
            gap("trimmed", Some(&evicted), &evicted),
            &retained[..],
        ),
        (
            foreign,
            gap("epoch_changed", Some(foreign), &cursor(0)),
            &retained,
        ),
        ("garbage", gap("unknown", None, &cursor(3)), &retained),
        (&ahead, gap("ahead", Some(&ahead), &cursor(6)), &[ready(6)]),
    ] {
        let hub = hub_with(HubConfig::new(), store(EPOCH, 3)).await;
        for n in 1..=6 {
            publish(&hub, "demo", &n.to_string()).await;
        }
        let mut stream = Stream::open(&hub, "/events?topic=demo", Some(id)).await;
        check(&mut stream, &[first]).await;
        check(&mut stream, rest).await;
        publish(&hub, "demo", "live").await;
        check(&mut stream, &[event("live", 7)]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn several_topics_arrive_in_log_order_as_json() {
    let hub = hub().await;
    publish(&hub, "a", "1").await;
    publish(&hub, "c", "not asked for").await;
    publish(&hub, "b", "2").await;
    let uri = format!("/events?topic=b&topic=a&last_event_id={}", cursor(0));
    let mut stream = Stream::open(&hub, &uri, None).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.push(stream.next_event().await);
    }
    for n in 3..=20 {
        publish(&hub, if n % 3 == 0 { "a" } else { "b" }, &n.to_string()).await;
    }
    for _ in 3..=20 {
        seen.push(stream.next_event().await);
    }
    let topics_and_data: Vec<_> = seen
        .iter()
        .map(|(data, id)| {
            let object: serde_json::Value = serde_json::from_str(data).unwrap();
            assert_eq!(object["type"], "event");
            assert_eq!(object["id"], **id);
            let text = |name: &str| object[name].as_str().unwrap().to_owned();
            (text("topic"), text("data"))
        })
        .collect();
    let expected: Vec<_> = (1..=20)
        .map(|n| match n {
            1 => ("a".to_owned(), "1".to_owned()),
            2 => ("b".to_owned(), "2".to_owned()),
            n if n % 3 == 0 => ("a".to_owned(), n.to_string()),
            n => ("b".to_owned(), n.to_string()),
        })
        .collect();
    assert_eq!(topics_and_data, expected);
}

#[tokio::test(start_paused = true)]
async fn data_survives_whatever_it_contains() {
    let hub = hub().await;
    let mut raw = Stream::live(&hub, "/events?topic=demo").await;
    let mut json = Stream::live(&hub, "/events?topic=demo&format=json").await;
    for (data, as_lines) in [
        ("", ""),
        ("a\nb\n", "a\nb\n"),
        ("a\r\nb\rc", "a\nb\nc"),
        (" leading", " leading"),
        ("id: 1\n\nevent: x", "id: 1\n\nevent: x"),
        ("nul \0 \u{2028} \u{1f600}", "nul \0 \u{2028} \u{1f600}"),
    ] {
        publish(&hub, "demo", data).await;
        assert_eq!(raw.next_event().await.0, as_lines);
        let object: serde_json::Value = serde_json::from_str(&json.next_event().await.0).unwrap();
        assert_eq!(object["data"], *data);
    }
}

#[tokio::test(start_paused = true)]
async fn get_and_head_carry_the_headers_that_keep_proxies_from_buffering() {
    let hub = hub().await;
    for method in ["GET", "HEAD"] {
        let request = Request::builder().method(method).uri("/events?topic=demo");
        let response = send(&hub, request.body("").unwrap()).await;
        assert_eq!(response.status(), 200);
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "text/event-stream");
        assert_eq!(header("cache-control"), "no-cache, no-transform");
        assert_eq!(header("x-accel-buffering"), "no");
        if method == "HEAD" {
            assert_eq!(text(response).await, "");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn closing_the_hub_ends_streams_with_a_retry_and_dropping_cuts_them() {
    let hub = hub().await;
    let mut dropped = Stream::live(&hub, "/events?topic=demo").await;
    hub.drop_connections();
    assert_eq!(dropped.next().await, Got::Cut);
    let mut closed = Stream::live(&hub, "/events?topic=demo").await;
    hub.close();
    assert_eq!(closed.next().await, Got::Retry);
    let Got::Event { event, data, .. } = closed.next().await else {
        panic!("no farewell");
    };
    assert_eq!(event, "$drain");
    assert!(data.contains("\"retry_ms\":"), "{data}");
    assert_eq!(closed.next().await, Got::End);
}

#[tokio::test(start_paused = true)]
async fn a_pattern_is_json_and_an_event_that_two_patterns_match_comes_once() {
    let hub = hub().await;
    publish(&hub, "a/x", "missed").await;
    let uri = format!(
        "/events?topic=a/*&topic=**/x&topic=b&last_event_id={}",
        cursor(0)
    );
    let mut stream = Stream::open(&hub, &uri, None).await;
    let mut received = Vec::new();
    while received.is_empty() {
        if let Got::Event { event, data, .. } = stream.next_block().await
            && event == "message"
        {
            received.push(data);
        }
    }
    for topic in ["a", "a/x", "b", "a/b/c", "x"] {
        publish(&hub, topic, "live").await;
    }
    while received.len() < 4 {
        if let Got::Event { event, data, .. } = stream.next_block().await
            && event == "message"
        {
            received.push(data);
        }
    }
    let topics: Vec<_> = received
        .iter()
        .map(|data| serde_json::from_str::<serde_json::Value>(data).unwrap()["topic"].clone())
        .collect();
    assert_eq!(topics, ["a/x", "a/x", "b", "x"]);
}
