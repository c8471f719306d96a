//! What the status and the content type of an answer mean to a subscriber.

use push_client::Subscriber;

use crate::hub::Hub;
use crate::{block, check, event_line, options, play};

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
