//! The end of a topic.

use http::Request;
use replay_store::Topic;
use serde_json::json;

use crate::support::*;

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
