//! What reaches the log as a whole: batches, pages of it, the list of topics, the end of a topic,
//! purging.

use http::Request;
use push_server::{Hub, HubConfig};
use replay_store::{AnyStore, Append, Limit, Selector, Topic};
use serde_json::{Value, json};

use crate::support::*;

async fn call(hub: &Hub, method: &str, uri: &str, body: &str) -> (u16, Value) {
    let request = Request::builder().method(method).uri(uri);
    let request = request.body(bytes::Bytes::copy_from_slice(body.as_bytes()));
    let response = hub
        .handle(request.unwrap().map(http_body_util::Full::new))
        .await;
    let status = response.status().as_u16();
    let text = text(response).await;
    let value = serde_json::from_str(&text).unwrap_or(Value::Null);
    (status, value)
}

async fn history(hub: &Hub, query: &str) -> Value {
    let (status, page) = call(hub, "GET", &format!("/history?{query}"), "").await;
    assert_eq!(status, 200, "{query}: {page}");
    page
}

/// The data of the events of a page.
fn data(page: &Value) -> Vec<&str> {
    let events = page["events"].as_array().unwrap().iter();
    events
        .map(|event| event["data"].as_str().unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_appended_in_order_and_answers_a_position_for_each_event() {
    let hub = hub().await;
    let batch = json!([
        {"topic": "a", "data": "one", "event": "greeting", "idempotency_key": "k"},
        {"topic": "b/c", "data": "dHdv", "encoding": "base64", "conflate_key": "c"},
        {"topic": "a", "data": "one", "event": "greeting", "idempotency_key": "k"},
    ]);
    let answer = |id, duplicate| json!({"id": cursor(id), "duplicate": duplicate});
    let answers = |flags: [bool; 3]| {
        json!([
            answer(1, flags[0]),
            answer(2, flags[1]),
            answer(1, flags[2])
        ])
    };
    let (status, got) = call(&hub, "POST", "/batch", &batch.to_string()).await;
    assert_eq!((status, got), (200, answers([false, false, true])));
    let page = history(&hub, "topic=**").await;
    assert_eq!(data(&page), ["one", "two"]);
    assert_eq!(page["events"][0]["event"], "greeting");
    assert_eq!(page["events"][1]["topic"], "b/c");
    assert_eq!(call(&hub, "POST", "/batch", "[]").await, (200, json!([])));
}

#[tokio::test(start_paused = true)]
async fn one_bad_event_refuses_the_whole_batch_and_is_named_by_its_index() {
    let config = configured(|config| {
        config.max_event_bytes(100).max_batch(Limit {
            events: 3,
            bytes: 2_000,
        });
    });
    let hub = hub_with(config, store(EPOCH, 100)).await;
    let keyed = json!([{"topic": "a", "data": "x", "idempotency_key": "used"}]);
    assert_eq!(
        call(&hub, "POST", "/batch", &keyed.to_string()).await.0,
        200
    );
    hub.end(Topic::new("over").unwrap()).await.unwrap();

    let good = json!({"topic": "a", "data": "good"});
    let check = async |event: Value, status: u16, code: &str| {
        for (batch, index) in [
            (json!([event]), 0),
            (json!([good, good, event]), 2),
            (json!([good, event, good]), 1),
        ] {
            let (got, problem) = call(&hub, "POST", "/batch", &batch.to_string()).await;
            assert_eq!(
                (got, &problem["code"]),
                (status, &json!(code)),
                "{batch}: {problem}"
            );
            assert_eq!(problem["index"], index, "{batch}: {problem}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(&format!("event {index} ")), "{detail}");
        }
    };
    let base64 = |data: &str| json!({"topic": "a", "data": data, "encoding": "base64"});
    check(json!({"topic": "a//b", "data": ""}), 400, "topic_invalid").await;
    check(json!({"topic": "a/*", "data": ""}), 400, "topic_invalid").await;
    check(json!({"topic": "a"}), 400, "batch_invalid").await;
    check(json!({"data": ""}), 400, "batch_invalid").await;
    check(json!({"topic": "a", "data": 5}), 400, "batch_invalid").await;
    check(
        json!({"topic": "a", "data": "", "key": "x"}),
        400,
        "batch_invalid",
    )
    .await;
    check(
        json!({"topic": "a", "data": "", "encoding": "hex"}),
        400,
        "batch_invalid",
    )
    .await;
    check(json!("a"), 400, "batch_invalid").await;
    check(base64("!"), 400, "encoding_invalid").await;
    check(base64("//4="), 415, "not_text").await;
    check(
        json!({"topic": "a", "data": "", "event": "$end"}),
        400,
        "event_type_reserved",
    )
    .await;
    check(
        json!({"topic": "a", "data": "", "idempotency_key": ""}),
        400,
        "key_invalid",
    )
    .await;
    check(
        json!({"topic": "a", "data": "x".repeat(101)}),
        413,
        "too_large",
    )
    .await;
    check(
        json!({"topic": "a", "data": "y", "idempotency_key": "used"}),
        422,
        "key_reused",
    )
    .await;
    check(json!({"topic": "over", "data": "x"}), 409, "topic_ended").await;
    assert_eq!(
        publish(&hub, "a", "next").await,
        cursor(3),
        "nothing was appended"
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_bounded_in_bytes_and_in_events() {
    let config = configured(|config| {
        config.max_batch(Limit {
            events: 3,
            bytes: 200,
        });
    });
    let hub = hub_with(config, store(EPOCH, 100)).await;
    let check = async |body: &str, status: u16, code: &str| {
        let (got, problem) = call(&hub, "POST", "/batch", body).await;
        assert_eq!(
            (got, &problem["code"]),
            (status, &json!(code)),
            "{body}: {problem}"
        );
    };
    let event = r#"{"topic":"a","data":""}"#;
    let events = |count| format!("[{}]", vec![event; count].join(","));
    assert_eq!(call(&hub, "POST", "/batch", &events(3)).await.0, 200);
    check(&events(4), 413, "too_many_events").await;
    check(&" ".repeat(201), 413, "batch_too_large").await;
    for wrong in ["", "{}", "[", "[]x", "null", "[{}"] {
        check(wrong, 400, "batch_invalid").await;
    }
    let (status, problem) = call(&hub, "GET", "/batch", "").await;
    assert_eq!(
        (status, &problem["code"]),
        (405, &json!("method_not_allowed"))
    );
}

#[tokio::test(start_paused = true)]
async fn history_pages_through_a_pattern_and_its_cursors_resume_a_subscription() {
    let hub = hub().await;
    for number in 0..5 {
        publish(&hub, "a/x", &format!("x{number}")).await;
        publish(&hub, "b", "other").await;
        publish(&hub, "a/y", &format!("y{number}")).await;
    }
    let mut got = Vec::new();
    let mut after = "earliest".to_owned();
    loop {
        let page = history(&hub, &format!("topic=a/*&after={after}&limit=4")).await;
        got.extend(data(&page).into_iter().map(str::to_owned));
        assert!(data(&page).len() <= 4);
        assert_eq!(page.get("gap"), None);
        after = page["next"].as_str().unwrap().to_owned();
        if page["last"] == true {
            break;
        }
    }
    let expected: Vec<_> = (0..5)
        .flat_map(|n| [format!("x{n}"), format!("y{n}")])
        .collect();
    assert_eq!(got, expected);
    publish(&hub, "a/z", "news").await;
    let mut stream = Stream::open(&hub, "/events?topic=a/*&format=json", Some(&after)).await;
    assert!(stream.next_event().await.0.contains("news"));

    let page = history(&hub, "topic=a/x&topic=b&limit=2").await;
    assert_eq!(data(&page), ["x0", "other"]);
    assert_eq!(
        page["events"][0],
        json!({
            "type": "event", "id": cursor(1), "seq": 1, "prev": 0, "time": page["events"][0]["time"],
            "topic": "a/x", "data": "x0",
        })
    );
    let latest = history(&hub, "topic=**&after=latest").await;
    assert_eq!(
        latest,
        json!({"events": [], "next": cursor(16), "last": true})
    );
}

#[tokio::test(start_paused = true)]
async fn history_tells_of_gaps_and_refuses_what_it_cannot_answer() {
    let hub = hub_with(HubConfig::new(), store(EPOCH, 2)).await;
    for number in 0..5 {
        publish(&hub, "a", &number.to_string()).await;
    }
    let page = history(&hub, &format!("topic=a&after={}", cursor(1))).await;
    assert_eq!(page["gap"]["reason"], "trimmed");
    assert_eq!(data(&page), ["3", "4"]);
    assert_eq!(
        history(&hub, "topic=a&after=junk").await["gap"]["reason"],
        "unknown"
    );
    for (query, code) in [
        ("", "topic_missing"),
        ("topic=a//b", "topic_invalid"),
        ("topic=a&limit=0", "limit_invalid"),
        ("topic=a&limit=1001", "limit_invalid"),
        ("topic=a&limit=x", "limit_invalid"),
    ] {
        let (status, problem) = call(&hub, "GET", &format!("/history?{query}"), "").await;
        assert_eq!((status, &problem["code"]), (400, &json!(code)), "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn topics_are_listed_by_name_in_pages() {
    let hub = hub().await;
    for topic in ["b", "a/x", "a", "c/d/e"] {
        publish(&hub, topic, "data").await;
    }
    hub.end(Topic::new("a").unwrap()).await.unwrap();
    let names = async |query: &str| {
        let (status, page) = call(&hub, "GET", &format!("/topics?{query}"), "").await;
        assert_eq!(status, 200, "{page}");
        let topics = page["topics"].as_array().unwrap().iter();
        let names: Vec<_> = topics
            .map(|it| it["topic"].as_str().unwrap().to_owned())
            .collect();
        (
            names.join(" "),
            page["next"].clone(),
            page["topics"][0].clone(),
        )
    };
    let (all, next, first) = names("").await;
    assert_eq!((&*all, next), ("a a/x b c/d/e", Value::Null));
    assert_eq!(first["events"], 2);
    assert_eq!(
        (&first["ended"], &first["last_seq"]),
        (&json!(true), &json!(5))
    );
    let (some, next, _) = names("limit=2").await;
    assert_eq!((&*some, next), ("a a/x", json!("a/x")));
    let (rest, next, _) = names("limit=2&after=a/x").await;
    assert_eq!((&*rest, next), ("b c/d/e", Value::Null));
    assert_eq!(names("pattern=a/**&pattern=b").await.0, "a a/x b");
    let (status, problem) = call(&hub, "GET", "/topics?after=a//b", "").await;
    assert_eq!((status, &problem["code"]), (400, &json!("topic_invalid")));
}

/// The status that a subscription is answered with.
async fn status(hub: &Hub, query: &str, last_event_id: Option<&str>) -> u16 {
    let uri = format!("/events?{query}");
    get(hub, &uri, last_event_id).await.status().as_u16()
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_ended_takes_no_more_and_its_stream_ends_for_good() {
    let hub = hub().await;
    let mut raw = Stream::live(&hub, "/events?topic=a").await;
    let mut json = Stream::live(&hub, "/events?topic=a&format=json").await;
    let mut conflated = Stream::live(&hub, "/events?topic=a&policy=conflate").await;
    publish(&hub, "a", "one").await;
    let answer = |duplicate| (200, json!({"id": cursor(2), "duplicate": duplicate}));
    assert_eq!(call(&hub, "POST", "/end?topic=a", "").await, answer(false));
    assert_eq!(call(&hub, "POST", "/end?topic=a", "").await, answer(true));
    let (refused, problem) = call(&hub, "POST", "/events?topic=a", "two").await;
    assert_eq!((refused, &problem["code"]), (409, &json!("topic_ended")));

    let end = Got::Event {
        event: "$end".to_owned(),
        data: String::new(),
        id: cursor(2),
    };
    for stream in [&mut raw, &mut conflated] {
        assert_eq!(stream.next_event().await.0, "one");
        assert_eq!(stream.next_block().await, end);
        assert_eq!(stream.next().await, Got::Retry);
        assert_eq!(stream.next().await, Got::End);
    }
    json.next_event().await;
    let (data, id) = json.next_event().await;
    assert!(data.contains("\"event\":\"$end\""), "{data}");
    assert_eq!(id, cursor(2));
    assert_eq!(json.next_block().await, Got::End);

    // Who has the end gets nothing more; who has not gets it, and then the stream ends.
    assert_eq!(status(&hub, "topic=a", Some(&cursor(2))).await, 204);
    assert_eq!(status(&hub, "topic=a", None).await, 204);
    for (after, expected) in [(cursor(1), 1), ("earliest".to_owned(), 2), (cursor(0), 2)] {
        let mut stream = Stream::open(&hub, "/events?topic=a", Some(&after)).await;
        let mut blocks = Vec::new();
        loop {
            match stream.next_block().await {
                Got::Event { event, .. } if event == "$ready" => {}
                Got::Event { event, .. } => blocks.push(event),
                Got::End => break,
                _ => {}
            }
        }
        assert_eq!(blocks.len(), expected, "{after}");
        assert_eq!(blocks.last().unwrap(), "$end");
    }
}

#[tokio::test(start_paused = true)]
async fn no_content_is_answered_only_to_who_can_miss_nothing() {
    let hub = hub().await;
    for topic in ["a", "b"] {
        publish(&hub, topic, "data").await;
    }
    hub.end(Topic::new("a").unwrap()).await.unwrap();
    let at_end = cursor(3);
    let check = async |query: &str, id: &str, expected| {
        assert_eq!(
            status(&hub, query, Some(id)).await,
            expected,
            "{query} {id}"
        );
    };
    check("topic=a", &at_end, 204).await;
    check("topic=a", &cursor(2), 200).await;
    check("topic=a&topic=b", &at_end, 200).await;
    check("topic=a&topic=unknown", &at_end, 200).await;
    check("topic=a/**", &at_end, 200).await;
    check("topic=a", &cursor(99), 200).await;
    check("topic=a", "0000000000000bad-3", 200).await;
    check("topic=a", "junk", 200).await;
    hub.end(Topic::new("b").unwrap()).await.unwrap();
    check("topic=a&topic=b", &at_end, 200).await;
    check("topic=a&topic=b", &cursor(4), 204).await;
    check("topic=*", &cursor(4), 200).await;
    let head = Request::head("/events?topic=a").header("last-event-id", &at_end);
    assert_eq!(send(&hub, head.body("").unwrap()).await.status(), 204);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_several_topics_ends_after_the_last_end_whenever_the_others_came() {
    let hub = hub().await;
    publish(&hub, "early", "data").await;
    hub.end(Topic::new("early").unwrap()).await.unwrap();
    let mut replayed = Stream::live(&hub, "/events?topic=early&topic=a&topic=b").await;
    let earliest = "/events?topic=early&topic=a&topic=b&last_event_id=earliest";
    let mut from_start = Stream::live(&hub, earliest).await;
    let mut wildcard = Stream::live(&hub, "/events?topic=early&topic=a&topic=*").await;
    for topic in ["a", "b"] {
        hub.end(Topic::new(topic).unwrap()).await.unwrap();
    }
    for stream in [&mut replayed, &mut from_start] {
        for _ in 0..2 {
            assert!(stream.next_event().await.0.contains("$end"));
        }
        assert_eq!(stream.next_block().await, Got::End);
    }
    for _ in 0..2 {
        assert!(wildcard.next_event().await.0.contains("$end"));
    }
    publish(&hub, "c", "more").await;
    assert!(wildcard.next_event().await.0.contains("more"));
}

#[tokio::test(start_paused = true)]
async fn a_websocket_session_gets_the_end_and_stays() {
    let hub = hub().await;
    let mut socket = Socket::resume(&hub, &["a"], None).await;
    while socket.next().await["type"] != "ready" {}
    hub.end(Topic::new("a").unwrap()).await.unwrap();
    let end = socket.next().await;
    assert_eq!(
        (&end["type"], &end["event"]),
        (&json!("event"), &json!("$end"))
    );
    assert_eq!((&end["data"], &end["id"]), (&json!(""), &json!(cursor(1))));
    socket
        .send(json!({"type": "subscribe", "topics": ["b"]}))
        .await;
    assert_eq!(socket.next().await["type"], "subscribed");
    publish(&hub, "b", "still here").await;
    assert_eq!(socket.next().await["data"], "still here");
}

async fn purge(hub: &Hub, query: &str) -> Value {
    let (status, answer) = call(hub, "DELETE", &format!("/events?{query}"), "").await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Reads until the event with this data; nothing that contains `purged` may come before.
async fn read_to(stream: &mut Stream, last: &str) -> Vec<String> {
    let mut gaps = Vec::new();
    loop {
        match stream.next_block().await {
            Got::Event { event, data, .. } if event == "$gap" => {
                let gap: Value = serde_json::from_str(&data).unwrap();
                gaps.push(gap["reason"].as_str().unwrap().to_owned());
            }
            Got::Event { data, .. } => {
                assert!(!data.contains("purged"), "{data}");
                if data.contains(last) {
                    return gaps;
                }
            }
            Got::End | Got::Cut => panic!("the stream ended"),
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn purged_events_are_gone_from_the_store_and_from_memory() {
    let hub = hub().await;
    let mut streams = Vec::new();
    for topic in ["a/x", "a/*", "**", "a/x&policy=conflate", "a/x&topic=c"] {
        let uri = format!("/events?topic={topic}&format=json");
        // Each is behind by what is in memory, but for the one that reads everything at once.
        streams.push((Stream::live(&hub, &uri).await, vec!["trimmed"]));
    }
    let mut caught_up = Stream::live(&hub, "/events?topic=a/x").await;
    let mut elsewhere = Stream::live(&hub, "/events?topic=b").await;
    for number in 0..3 {
        publish(&hub, "a/x", &format!("purged {number}")).await;
        caught_up.next_event().await;
    }
    publish(&hub, "b", "kept").await;

    assert_eq!(
        purge(&hub, "topic=a/**").await,
        json!({"through": cursor(4)})
    );
    let page = history(&hub, "topic=**").await;
    assert_eq!(data(&page), ["kept"]);
    publish(&hub, "a/x", "after").await;
    for (stream, gaps) in &mut streams {
        assert_eq!(read_to(stream, "after").await, *gaps);
    }
    assert_eq!(
        read_to(&mut caught_up, "after").await,
        [""; 0],
        "it had everything"
    );
    assert_eq!(elsewhere.next_event().await.0, "kept");
    assert_eq!(elsewhere.last_event_id(), cursor(4));
}

#[tokio::test(start_paused = true)]
async fn a_page_that_was_read_before_a_purge_is_not_handed_out_after_it() {
    let hub = hub().await;
    for number in 0..3 {
        publish(&hub, "a", &format!("purged {number}")).await;
    }
    for after in [cursor(0), "earliest".to_owned()] {
        let mut stream = Stream::open(&hub, "/events?topic=a", Some(&after)).await;
        // The opening block is out, and the page behind it read.
        if after != "earliest" {
            assert_eq!(stream.next_block().await, Got::Id(after.clone()));
        }
        purge(&hub, "topic=a").await;
        let after_purge = publish(&hub, "a", "after").await;
        let gaps = read_to(&mut stream, "after").await;
        let expected: &[&str] = if after == "earliest" {
            &[]
        } else {
            &["trimmed"]
        };
        assert_eq!(gaps, expected, "{after}");
        assert_eq!(stream.last_event_id(), after_purge);
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_needs_topics_and_nothing_else() {
    let hub = hub().await;
    for (query, code) in [
        ("", "topic_missing"),
        ("topic=a//b", "topic_invalid"),
        ("topic=a&after=x", "parameter_unknown"),
    ] {
        let (status, problem) = call(&hub, "DELETE", &format!("/events?{query}"), "").await;
        assert_eq!((status, &problem["code"]), (400, &json!(code)), "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_ended_topic_that_was_purged_is_still_ended() {
    let hub = hub().await;
    let mut slow = Stream::live(&hub, "/events?topic=a").await;
    publish(&hub, "a", "purged").await;
    hub.end(Topic::new("a").unwrap()).await.unwrap();
    purge(&hub, "topic=a").await;
    let (refused, _) = call(&hub, "POST", "/events?topic=a", "two").await;
    assert_eq!(refused, 409);
    let Got::Event { event, .. } = slow.next_block().await else {
        panic!("no gap");
    };
    assert_eq!(event, "$gap");
    assert_eq!(slow.next_block().await, Got::End);
    assert_eq!(status(&hub, "topic=a", Some(&cursor(2))).await, 204);
    // It is told what it has missed, and the stream ends.
    let mut behind = Stream::open(&hub, "/events?topic=a", Some(&cursor(0))).await;
    assert!(matches!(behind.next_block().await, Got::Event { event, .. } if event == "$gap"));
    assert!(matches!(behind.next_block().await, Got::Event { event, .. } if event == "$ready"));
    assert_eq!(behind.next_block().await, Got::End);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_list_or_remove_is_said_so_and_serves_on() {
    let hub = hub_with(
        HubConfig::new(),
        AnyStore::new(AppendOnly(store(EPOCH, 10))),
    )
    .await;
    publish(&hub, "a", "data").await;
    for (method, uri) in [("GET", "/topics"), ("DELETE", "/events?topic=a")] {
        let (status, problem) = call(&hub, method, uri, "").await;
        assert_eq!(
            (status, &problem["code"]),
            (501, &json!("not_supported")),
            "{uri}"
        );
    }
    hub.publish(Append::end(Topic::new("a").unwrap()))
        .await
        .unwrap();
    // It cannot be asked what has ended, so nobody is turned away.
    assert_eq!(status(&hub, "topic=a", Some(&cursor(2))).await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_purge_by_the_library_answers_where_the_log_ended() {
    let hub = hub().await;
    assert_eq!(
        hub.purge(&Selector::all()).await.unwrap().to_string(),
        cursor(0)
    );
    publish(&hub, "a", "x").await;
    assert_eq!(
        hub.purge(&Selector::all()).await.unwrap().to_string(),
        cursor(1)
    );
    assert_eq!(
        publish(&hub, "a", "y").await,
        cursor(2),
        "no seq comes twice"
    );
}
