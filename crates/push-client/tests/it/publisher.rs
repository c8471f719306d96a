//! Publishing.

use core::time::Duration;

use push_client::{ClientError, Message, PublishOptions, Publisher};
use tokio::time::Instant;

use crate::hub::{Exchange, Hub};
use crate::{PATIENCE, play};

/// A publisher whose delays a test can wait for.
fn publisher(hub: &Hub, change: impl FnOnce(&mut PublishOptions)) -> Publisher {
    let mut options = PublishOptions::default();
    options.backoff(Duration::from_millis(1), Duration::from_millis(2));
    change(&mut options);
    Publisher::with_options(&hub.url, options).unwrap()
}

fn key(exchange: &Exchange) -> String {
    exchange
        .request
        .header("idempotency-key")
        .expect("a key")
        .to_owned()
}

async fn stored(exchange: &mut Exchange) {
    exchange
        .answer("200 OK", "", r#"{"id":"aa-1","duplicate":false}"#)
        .await;
}

#[tokio::test]
async fn the_request_carries_all_of_the_message() {
    let hub = Hub::bind().await;
    let publisher = Publisher::new(&hub.url).unwrap();
    let script = async {
        let mut exchange = hub.accept().await;
        let request = &exchange.request;
        assert_eq!(request.line, "POST /events?topic=a/b%20c HTTP/1.1");
        assert_eq!(request.header("event-type"), Some("order.created"));
        assert_eq!(request.header("conflate-key"), Some("eu"));
        assert_eq!(request.header("idempotency-key"), Some("k-1"));
        assert_eq!(request.body, b"\x00data\xff");
        exchange
            .answer("200 OK", "", r#"{"id":"aa-7","duplicate":true}"#)
            .await;
    };
    let message = Message {
        event: Some("order.created".to_owned()),
        conflate_key: Some("eu".to_owned()),
        idempotency_key: Some("k-1".to_owned()),
        ..Message::new(&b"\x00data\xff"[..])
    };
    let published = play(script, publisher.publish("a/b c", message))
        .await
        .unwrap();
    assert_eq!((published.id.as_str(), published.duplicate), ("aa-7", true));
}

#[tokio::test]
async fn a_reset_in_the_middle_of_the_answer_is_retried_under_the_same_key() {
    let hub = Hub::bind().await;
    let publisher = publisher(&hub, |_| {});
    let script = async {
        let mut first = hub.accept().await;
        let first_key = key(&first);
        assert_eq!(first_key.len(), 32, "{first_key}");
        assert_eq!(first.request.header("event-type"), None);
        first
            .write("HTTP/1.1 200 OK\r\ncontent-length: 31\r\n\r\n{\"id\":\"aa")
            .await;
        first.reset();
        let mut second = hub.accept().await;
        assert_eq!(key(&second), first_key);
        assert_eq!(second.request.body, b"x");
        stored(&mut second).await;
    };
    let published = play(script, publisher.publish("demo", Message::new("x")))
        .await
        .unwrap();
    assert_eq!(published.id, "aa-1");
}

#[tokio::test]
async fn a_hub_that_cannot_serve_now_is_asked_again_under_the_same_key() {
    let hub = Hub::bind().await;
    let publisher = publisher(&hub, |_| {});
    let script = async {
        let mut exchange = hub.accept().await;
        let first_key = key(&exchange);
        for status in [
            "500 Internal Server Error",
            "503 Service Unavailable",
            "429 Too Many Requests",
            "408 Request Timeout",
        ] {
            exchange
                .answer(status, "", r#"{"code":"outcome_unknown"}"#)
                .await;
            exchange.read_request().await;
            assert_eq!(key(&exchange), first_key);
        }
        stored(&mut exchange).await;
    };
    play(script, publisher.publish("demo", Message::new("x")))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_refusal_is_final_and_shows_the_code_and_detail() {
    let problem = r#"{"code":"topic_invalid","detail":"an empty segment"}"#;
    for (status, body, expected) in [
        (
            "400 Bad Request",
            problem,
            "the hub answered 400 (topic_invalid): an empty segment",
        ),
        ("413 Content Too Large", "", "the hub answered 413"),
        (
            "204 No Content",
            "",
            "unexpected answer 204: is this the address of a hub?",
        ),
        (
            "301 Moved Permanently",
            "",
            "unexpected answer 301: is this the address of a hub?",
        ),
        (
            "200 OK",
            "{}",
            "malformed answer to a publish from the hub: missing field `id` at",
        ),
    ] {
        let hub = Hub::bind().await;
        let publisher = publisher(&hub, |_| {});
        let script = async {
            let mut exchange = hub.accept().await;
            exchange.answer(status, "", body).await;
            // Nor is it sent again on the same connection.
            assert!(!exchange.is_closed_within(Duration::from_millis(50)).await);
            hub.stays_alone().await;
        };
        let error = play(script, publisher.publish("demo", Message::new("x")))
            .await
            .unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn a_connection_is_kept_and_a_new_key_made_for_each_event() {
    let hub = Hub::bind().await;
    let publisher = publisher(&hub, |_| {});
    let script = async {
        let mut exchange = hub.accept().await;
        let first_key = key(&exchange);
        stored(&mut exchange).await;
        exchange.read_request().await;
        assert_ne!(key(&exchange), first_key);
        stored(&mut exchange).await;
    };
    let client = async {
        for _ in 0..2 {
            publisher.publish("demo", Message::new("x")).await.unwrap();
        }
    };
    play(script, client).await;
}

#[tokio::test]
async fn a_kept_connection_that_the_hub_closed_is_replaced_at_once() {
    let hub = Hub::bind().await;
    let longest = Duration::from_secs(30);
    let publisher = publisher(&hub, |options| {
        options.backoff(longest, longest);
    });
    let began = Instant::now();
    // The hub closes while the connection is idle, or only once the next request is there. So often
    // that backoffs, of 15 s in the mean, would outlast the test's patience together.
    for late in [false, true].repeat(10) {
        let script = async {
            let mut first = hub.accept().await;
            stored(&mut first).await;
            if late {
                first.read_request().await;
            }
            first.reset();
            stored(&mut hub.accept().await).await;
        };
        let client = async {
            for _ in 0..2 {
                publisher.publish("demo", Message::new("x")).await.unwrap();
            }
        };
        play(script, client).await;
        assert!(began.elapsed() < PATIENCE, "it waits before it connects");
    }
}

#[tokio::test]
async fn the_deadline_ends_the_attempts_and_names_the_key() {
    const DEADLINE: Duration = Duration::from_secs(6);
    let hub = Hub::bind().await;
    let publisher = publisher(&hub, |options| {
        options
            .deadline(DEADLINE)
            .attempt_timeout(Duration::from_millis(1500));
    });
    let began = Instant::now();
    let script = async {
        let silent = hub.accept().await;
        let again = hub.accept().await;
        assert_eq!(key(&silent), key(&again));
    };
    let error = play(script, publisher.publish("demo", Message::new("x")))
        .await
        .unwrap_err();
    let took = began.elapsed();
    let ClientError::Deadline {
        after,
        attempts,
        idempotency_key,
        ..
    } = error
    else {
        panic!("{error}");
    };
    let key = idempotency_key.expect("the one it made up");
    assert_eq!((after, key.len()), (DEADLINE, 32));
    assert!(attempts >= 2, "{attempts}");
    assert!((DEADLINE / 2..DEADLINE * 4).contains(&took), "{took:?}");
}

#[tokio::test]
async fn no_more_publishes_run_at_once_than_there_may_be_connections() {
    let hub = Hub::bind().await;
    let publisher = publisher(&hub, |options| {
        options.connections(2);
    });
    let script = async {
        let mut first = hub.accept().await;
        let mut second = hub.accept().await;
        hub.stays_alone().await;
        stored(&mut second).await;
        // The third takes over the connection that has become free.
        second.read_request().await;
        stored(&mut second).await;
        stored(&mut first).await;
    };
    let publish = || publisher.publish("demo", Message::new("x"));
    let client = async { tokio::join!(publish(), publish(), publish()) };
    let (first, second, third) = play(script, client).await;
    assert!(first.is_ok() && second.is_ok() && third.is_ok());
}

#[tokio::test]
async fn a_value_that_no_header_can_carry_is_refused_before_anything_is_sent() {
    let hub = Hub::bind().await;
    let publisher = publisher(&hub, |_| {});
    let message = Message {
        event: Some("a\r\nb: c".to_owned()),
        ..Message::default()
    };
    let error = play(hub.stays_alone(), publisher.publish("demo", message))
        .await
        .unwrap_err();
    assert!(error.is_final());
    assert!(
        error
            .to_string()
            .starts_with("the event-type header cannot carry"),
        "{error}"
    );
}

#[tokio::test]
async fn an_end_and_a_purge_are_asked_for_until_they_are_answered() {
    let hub = Hub::bind().await;
    let publisher = publisher(&hub, |_| {});
    let script = async {
        let mut exchange = hub.accept().await;
        assert_eq!(exchange.request.line, "POST /end?topic=a/b HTTP/1.1");
        exchange.answer("503 Service Unavailable", "", "").await;
        let mut again = hub.accept().await;
        assert_eq!(again.request.line, "POST /end?topic=a/b HTTP/1.1");
        stored(&mut again).await;
    };
    let ended = play(script, publisher.end("a/b")).await.unwrap();
    assert_eq!((&*ended.id, ended.duplicate), ("aa-1", false));
    let publisher = self::publisher(&hub, |_| {});
    let script = async {
        let mut exchange = hub.accept().await;
        let line = "DELETE /events?topic=a/%2A%2A&topic=b HTTP/1.1";
        assert_eq!(exchange.request.line, line);
        exchange.answer("200 OK", "", r#"{"through":"aa-9"}"#).await;
    };
    let through = play(script, publisher.purge(&["a/**", "b"])).await.unwrap();
    assert_eq!(through, "aa-9");
}

#[tokio::test]
async fn what_the_hub_cannot_do_at_all_is_final() {
    let hub = Hub::bind().await;
    let publisher = publisher(&hub, |_| {});
    let script = async {
        let mut exchange = hub.accept().await;
        let problem = r#"{"code":"not_supported","detail":"the store cannot"}"#;
        exchange.answer("501 Not Implemented", "", problem).await;
    };
    let refused = play(script, publisher.purge(&["a"])).await.unwrap_err();
    assert!(refused.is_final(), "{refused}");
}
