//! What is asked of the log as a whole: batches, pages of it, the list of topics.

use push_server::HubConfig;
use replay_store::{Limit, Topic};
use serde_json::{Value, json};

use crate::support::*;

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
