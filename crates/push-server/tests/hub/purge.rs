//! What was purged is handed out to nobody.

use std::sync::Arc;

use push_server::HubConfig;
use replay_store::{AnyStore, Append, Position, ReplayStore as _, Selector, Topic};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::limited::Limited;
use crate::support::*;

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
async fn one_purge_is_one_gap_also_for_who_reads_the_store_between_its_steps() {
    let store = store(EPOCH, 10);
    let hub = hub_with(HubConfig::new(), AnyStore::new(store.clone())).await;
    for after in [cursor(0), "nonsense".to_owned()] {
        let seen = publish(&hub, "a", "purged too").await;
        let mut stream = Stream::open(&hub, "/events?topic=a", Some(&after)).await;
        // A purge trims the store first, and ends what the tail holds after that.
        let through = seen.parse::<Position>().unwrap().seq;
        store.trim(&Selector::all(), through).await.unwrap();
        let Got::Event { event, .. } = stream.next_block().await else {
            panic!("no gap");
        };
        assert_eq!(event, "$gap");
        purge(&hub, "topic=a").await;
        publish(&hub, "a", "after").await;
        assert_eq!(read_to(&mut stream, "after").await, [""; 0], "{after}");
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
async fn a_store_that_cannot_list_or_remove_is_said_so_and_serves_on() {
    let hub = hub_with(
        HubConfig::new(),
        AnyStore::new(Limited::new(store(EPOCH, 10))),
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

#[tokio::test(start_paused = true)]
async fn a_hint_that_comes_after_a_purge_brings_nothing_purged() {
    let store = store(EPOCH, 10_000);
    let hints = Arc::new(Semaphore::new(2));
    let late = Limited {
        trims: true,
        hints: Some(Arc::clone(&hints)),
        ..Limited::new(store.clone())
    };
    let hub = hub_with(HubConfig::new(), AnyStore::new(late)).await;
    // A page has one of the large events. Another node appends them.
    let large = |name: &str| format!("{name} {}", "x".repeat(200_000));
    let append = async |topic: &str, data: String| {
        let event = Append::new(Topic::new(topic).unwrap(), data);
        store.append(vec![event]).await.unwrap();
    };
    let mut live = Stream::live(&hub, "/events?topic=b").await;
    for name in ["first", "second"] {
        append("b", large(name)).await;
        assert!(live.next_event().await.0.starts_with(name));
    }
    append("a", "purged".to_owned()).await;
    append("b", large("last")).await;
    purge(&hub, "topic=a").await;

    let mut stream = Stream::open(&hub, "/events?topic=**&format=raw", Some(&cursor(0))).await;
    assert_eq!(read_to(&mut stream, "second").await, ["trimmed"]);
    hints.add_permits(2);
    assert_eq!(read_to(&mut stream, "last").await, [""; 0]);
}
