//! The log over HTTP as `curl` and a browser use it: batches, pages, ends, purging.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::hub::{Hub, MEMORY, curl, curl_json, tidegate};
use crate::program::{Program, run};

/// A hub on each store that needs nothing else to run.
fn on_each_store(test: impl Fn(&Hub)) {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = format!("sqlite:{}", folder.path().join("events.db").display());
    for store in [MEMORY, &sqlite] {
        test(&Hub::start(store));
    }
}

fn data(page: &Value) -> Vec<&str> {
    let events = page["events"].as_array().unwrap().iter();
    events
        .map(|event| event["data"].as_str().unwrap())
        .collect()
}

#[test]
fn curl_publishes_a_batch_and_reads_it_back() {
    on_each_store(|hub| {
        let batch = r#"[{"topic":"orders/1","data":"paid","idempotency_key":"k"},
                        {"topic":"stock","event":"moved","data":"aGk=","encoding":"base64"}]"#;
        let answers = curl_json(&["-f", "-d", batch, &hub.url("/batch")]);
        let ids: Vec<_> = answers
            .as_array()
            .unwrap()
            .iter()
            .map(|it| &it["id"])
            .collect();
        let again = curl_json(&["-f", "-d", batch, &hub.url("/batch")]);
        assert_eq!(again[0], json!({"id": ids[0], "duplicate": true}));
        assert_eq!(again[1]["duplicate"], false);
        let page = curl_json(&["-f", &hub.url("/history?topic=**")]);
        assert_eq!(data(&page), ["paid", "hi", "hi"]);
        assert_eq!(
            (&page["events"][0]["id"], &page["events"][1]["id"]),
            (ids[0], ids[1])
        );
        let bad = r#"[{"topic":"ok","data":"x"},{"topic":"not//ok","data":"x"}]"#;
        let refused = curl_json(&["-d", bad, &hub.url("/batch")]);
        assert_eq!(
            (&refused["index"], &refused["code"]),
            (&json!(1), &json!("topic_invalid"))
        );
        let topics = curl_json(&["-f", &hub.url("/topics")]);
        let names: Vec<_> = topics["topics"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| &it["topic"])
            .collect();
        assert_eq!(names, ["orders/1", "stock"]);
    });
}

#[test]
fn curl_pages_through_history_and_follows_from_there() {
    on_each_store(|hub| {
        for number in 0..25 {
            hub.publish(
                if number % 2 == 0 { "a/x" } else { "b" },
                &number.to_string(),
            );
        }
        let mut seen = Vec::new();
        let mut after = "earliest".to_owned();
        loop {
            let page = curl_json(&[
                "-f",
                &hub.url(&format!("/history?topic=a/*&after={after}&limit=4")),
            ]);
            seen.extend(data(&page).into_iter().map(str::to_owned));
            after = page["next"].as_str().unwrap().to_owned();
            if page["last"] == true {
                break;
            }
        }
        let expected: Vec<_> = (0..25).step_by(2).map(|it| it.to_string()).collect();
        assert_eq!(seen, expected);
        hub.publish("a/y", "news");
        let url = hub.url(&format!(
            "/events?topic=a/*&format=raw&last_event_id={after}"
        ));
        let follower = Program::start(curl(&["-N", &url]));
        while follower.line() != "data: news" {}
    });
}

/// What curl prints of the status, and nothing of the body.
#[track_caller]
fn status(arguments: &[&str]) -> String {
    let answered = run(curl(
        &[&["-o", "/dev/null", "-w", "%{http_code}"], arguments].concat(),
    ));
    assert_eq!(answered.code, Some(0), "{}", answered.stderr);
    answered.stdout
}

#[test]
fn a_stream_of_a_topic_that_ends_ends_for_curl_and_for_our_subscriber() {
    on_each_store(|hub| {
        let url = hub.url("/events?topic=job");
        let watcher = Program::start(curl(&["-N", &url]));
        while !watcher.line().starts_with("event: $ready") {}
        let mut subscriber =
            Program::start(hub.command(&["subscribe", "job", "--after", "earliest"]));
        hub.publish("job", "50 %");
        assert_eq!(subscriber.line(), "50 %");
        let end = curl_json(&["-f", "-X", "POST", &hub.url("/end?topic=job")]);
        assert_eq!(end["duplicate"], false);
        let mut lines = Vec::new();
        while let Some(line) = watcher.output() {
            lines.push(String::from_utf8(line).unwrap());
        }
        let id = end["id"].as_str().unwrap();
        let at = lines
            .iter()
            .position(|line| line == "event: $end")
            .expect("the end");
        assert_eq!(
            lines[at + 1..at + 3],
            [format!("id: {id}"), "data: ".to_owned()]
        );
        let (ended, _) = subscriber.wait();
        assert!(ended.success(), "{ended}: {}", subscriber.stderr());
        assert!(
            subscriber.stderr().contains("job has ended"),
            "{}",
            subscriber.stderr()
        );

        assert_eq!(status(&["-d", "more", &url]), "409");
        assert_eq!(
            status(&["-H", &format!("Last-Event-ID: {id}"), &url]),
            "204"
        );
        assert_eq!(status(&[&format!("{url}&last_event_id=earliest")]), "200");
    });
}

#[test]
fn chromiums_event_source_receives_the_end_and_does_not_come_back() {
    let hub = Hub::start(MEMORY);
    let mut browser = Browser::start();
    browser.open(&hub.url("/?topic=elsewhere"));
    browser.evaluate(
        "(() => {
            window.opened = 0
            window.seen = []
            window.source = new EventSource('/events?topic=job&topic=other&format=json')
            source.onopen = () => opened++
            source.onmessage = ({ data }) => seen.push(JSON.parse(data).event ?? 'data')
        })()",
    );
    browser.wait("source.readyState === EventSource.OPEN");
    hub.publish("job", "half done");
    for topic in ["job", "other"] {
        curl_json(&["-f", "-X", "POST", &hub.url(&format!("/end?topic={topic}"))]);
    }
    // It reconnects, with the id of the last end, and is told that there is nothing more.
    browser.wait("source.readyState === EventSource.CLOSED");
    assert_eq!(browser.evaluate("seen"), json!(["data", "$end", "$end"]));
    assert_eq!(browser.evaluate("opened"), 1);
}

#[test]
fn the_browser_client_closes_when_all_its_topics_have_ended() {
    let hub = Hub::start(MEMORY);
    let mut browser = Browser::start();
    browser.open(&hub.url("/?topic=elsewhere"));
    browser.evaluate(
        "import('/client.js').then(({ connect }) => {
            window.seen = []
            window.subscription = connect({
                topics: ['job'], after: 'earliest',
                onevent: ({ event, data }) => seen.push(event ?? data),
            })
        })",
    );
    hub.publish("job", "done");
    curl_json(&["-f", "-X", "POST", &hub.url("/end?topic=job")]);
    browser.wait("subscription.state === 'closed'");
    assert_eq!(browser.evaluate("seen"), json!(["done", "$end"]));
}

#[test]
fn purge_removes_the_topics_of_a_pattern_and_says_where_it_stopped() {
    on_each_store(|hub| {
        let id = hub.publish("secret/a", "first");
        hub.publish("secret/b", "second");
        hub.publish("kept", "third");
        let purged = run(hub.command(&["purge", "secret/**"]));
        assert_eq!(purged.code, Some(0), "{}", purged.stderr);
        assert!(
            purged.stderr.contains("removed what was published up to "),
            "{}",
            purged.stderr
        );
        let page = curl_json(&["-f", &hub.url("/history?topic=**")]);
        assert_eq!(data(&page), ["third"]);
        let after = hub.url(&format!("/history?topic=secret/*&after={id}"));
        assert_eq!(curl_json(&["-f", &after])["gap"]["reason"], "trimmed");
        let answer = curl_json(&["-f", "-X", "DELETE", &hub.url("/events?topic=kept")]);
        assert!(answer["through"].is_string(), "{answer}");
        assert_eq!(
            data(&curl_json(&["-f", &hub.url("/history?topic=**")])),
            [""; 0]
        );
    });
    let hub = Hub::start(MEMORY);
    let refused = run(tidegate(&["purge", "a//b", "--url", &hub.url("")]));
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("topic_invalid"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_subscriber_that_takes_nothing_gets_a_gap_and_not_what_was_purged() {
    const EVENTS: usize = 40;
    const END: &[u8] = b"data: after the purge\n\n";
    let hub = Hub::start(MEMORY);
    let mut stalled = hub.http();
    stalled.send(b"GET /events?topic=big HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut received = stalled.read();
    let filler = "x".repeat(512 * 1024);
    // More than the sockets' buffers hold, and as much as the tail of the topic does at least; soon
    // enough, for who takes nothing for long is cut off.
    let mut publisher = hub.http();
    for _ in 0..EVENTS {
        publisher.publish("big", &filler);
    }
    curl_json(&["-f", "-X", "DELETE", &hub.url("/events?topic=big")]);
    hub.publish("big", "after the purge");
    let mut looked = 0;
    while !received[looked..].windows(END.len()).any(|it| it == END) {
        looked = received.len().saturating_sub(END.len());
        let more = stalled.read();
        assert!(!more.is_empty(), "the stream ended");
        received.extend_from_slice(&more);
    }
    let text = String::from_utf8(received).unwrap();
    let events = text.matches("data: xxx").count();
    assert!(events < EVENTS, "all were sent after they were purged");
    assert_eq!(text.matches("event: $gap").count(), 1);
    assert!(text.contains("\"reason\":\"trimmed\""), "no gap was told");
}
