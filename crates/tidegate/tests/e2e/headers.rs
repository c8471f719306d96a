//! What a proxy, a browser and a person with curl see of a stream before its events.

use std::collections::HashSet;

use crate::event_stream::blocks;
use crate::hub::{Hub, MEMORY, curl};
use crate::program::{Program, run};

const STREAM_HEADERS: [&str; 4] = [
    "HTTP/1.1 200 OK",
    "content-type: text/event-stream",
    "cache-control: no-cache, no-transform",
    "x-accel-buffering: no",
];

/// Head and body of what `curl -i` printed.
#[track_caller]
fn split(printed: &str) -> (Vec<&str>, &str) {
    let (head, body) = printed.split_once("\r\n\r\n").expect("a head");
    (head.split("\r\n").collect(), body)
}

#[track_caller]
fn check_stream_headers(head: &[&str]) {
    for wanted in STREAM_HEADERS {
        let found = head.iter().any(|line| line.eq_ignore_ascii_case(wanted));
        assert!(found, "no `{wanted}` in {head:#?}");
    }
    let encoded = head
        .iter()
        .any(|line| line.to_ascii_lowercase().starts_with("content-encoding"));
    assert!(!encoded, "{head:#?}");
}

#[test]
fn curl_i_shows_the_headers_and_the_opening_block_at_once() {
    let hub = Hub::start(MEMORY);
    let id = hub.publish("a", "before");
    let watcher = Program::start(curl(&["-i", "-N", &hub.url("/events?topic=a")]));
    let mut printed = String::new();
    while !printed.ends_with("\n\n") || !printed.contains("event: $ready\n") {
        printed.push_str(&watcher.line());
        printed.push('\n');
    }
    let (head, body) = split(&printed);
    check_stream_headers(&head);
    assert!(
        body.contains("\n:") || body.starts_with(':'),
        "no comment in {body:?}"
    );
    let (blocks, _) = blocks(body.as_bytes());
    let retry = blocks
        .iter()
        .find_map(|block| block.retry)
        .expect("a reconnection time");
    assert!((2000..=5000).contains(&retry), "{retry}");
    let first_id = blocks.iter().find_map(|block| block.id.clone());
    assert_eq!(
        first_id,
        Some(id),
        "the opening block carries the log's end"
    );
    let last = blocks.last().expect("there are blocks");
    assert_eq!(last.event.as_deref(), Some("$ready"));
    hub.publish("a", "after");
    while watcher.line() != "data: after" {}
}

#[test]
fn curl_head_shows_the_same_headers_and_ends() {
    let hub = Hub::start(MEMORY);
    let finished = run(curl(&["-I", &hub.url("/events?topic=a")]));
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let (head, body) = split(&finished.stdout);
    check_stream_headers(&head);
    assert_eq!(body, "");
}

#[test]
fn head_refuses_what_get_refuses() {
    let hub = Hub::start(MEMORY);
    let finished = run(curl(&["-I", &hub.url("/events?topic=a//b")]));
    let (head, _) = split(&finished.stdout);
    assert_eq!(head[0], "HTTP/1.1 400 Bad Request");
}

#[test]
fn every_connection_draws_its_own_reconnection_time() {
    let hub = Hub::start(MEMORY);
    let drawn: HashSet<_> = (0..6)
        .map(|_| {
            let mut http = hub.http();
            let head = format!(
                "GET /events?topic=a HTTP/1.1\r\nhost: {}\r\n\r\n",
                hub.address()
            );
            http.send(head.as_bytes());
            assert_eq!(http.head().status, 200);
            let text = String::from_utf8(http.read()).unwrap();
            let (_, rest) = text.split_once("retry: ").expect("it comes first");
            let (retry, _) = rest.split_once('\n').unwrap();
            retry.parse::<u64>().unwrap()
        })
        .collect();
    // Six equal draws of 3,000 possible values would be a fault.
    assert!(drawn.len() > 1, "{drawn:?}");
}

#[test]
fn the_page_and_the_browser_client_come_with_their_types_and_a_content_security_policy() {
    let hub = Hub::start(MEMORY);
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/client.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let answer = hub.http().request("GET", path, &[], b"");
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), Some(content_type), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-cache"), "{path}");
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(!answer.body.is_empty());
    }
}
