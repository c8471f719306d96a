//! Bad input is answered with what is wrong, and the hub lives on.

use serde_json::{Value, json};

use crate::hub::{Hub, MEMORY, curl};
use crate::program::run;
use crate::raw::{BINARY, Http, TEXT};
use crate::subscription::{Make, Subscription};

/// What curl is told, and the answer: status, stable code, a word that the detail must contain.
#[track_caller]
fn check(hub: &Hub, arguments: &[&str], status: u16, code: &str, detail: &str) {
    let (target, options) = arguments.split_last().expect("a target");
    let url = hub.url(target);
    let arguments = [&["-i", "--max-time", "60"], options, &[url.as_str()]].concat();
    let finished = run(curl(&arguments));
    let printed = finished.stdout.replace("HTTP/1.1 100 Continue\r\n\r\n", "");
    let (head, body) = printed
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{arguments:?}: {} {}", finished.stderr, finished.stdout));
    let started = format!("HTTP/1.1 {status} ");
    assert!(head.starts_with(&started), "{arguments:?}: {head}");
    assert!(
        head.to_ascii_lowercase()
            .contains("\r\ncontent-type: application/problem+json"),
        "{arguments:?}: {head}"
    );
    let problem: Value = serde_json::from_str(body).expect("a problem is JSON");
    assert_eq!(problem["status"], status, "{problem}");
    assert_eq!(problem["code"], code, "{problem}");
    for member in ["type", "title", "detail"] {
        assert!(problem[member].is_string(), "no {member} in {problem}");
    }
    let told = problem["detail"].as_str().unwrap();
    assert!(told.contains(detail), "`{told}` does not say `{detail}`");
}

#[track_caller]
fn check_alive(hub: &Hub) {
    let mut subscription = Subscription::start(Make::CurlRaw, hub, &["alive"], "");
    subscription.ready();
    hub.publish("alive", "yes");
    assert_eq!(subscription.event().data, "yes");
}

#[test]
fn topics_are_refused_with_the_rule_they_break() {
    let hub = Hub::start(MEMORY);
    let long = format!("/events?topic={}", "x".repeat(256));
    for method in [&["-X", "GET"][..], &["-d", "x"]] {
        let refused = |target: &str, code, detail| {
            check(&hub, &[method, &[target]].concat(), 400, code, detail);
        };
        refused("/events?topic=", "topic_invalid", "at least one byte");
        refused(&long, "topic_invalid", "255 bytes");
        refused("/events?topic=a%0Ab", "topic_invalid", "control characters");
        refused("/events?topic=a%00", "topic_invalid", "control characters");
        refused("/events?topic=/a", "topic_invalid", "empty segment");
        refused("/events?topic=a//b", "topic_invalid", "empty segment");
        refused("/events?topic=a*", "topic_invalid", "`*`");
        refused("/events?topic=%FF", "query_invalid", "UTF-8");
        refused("/events", "topic_missing", "?topic=");
    }
    check(
        &hub,
        &["-d", "x", "/events?topic=a&topic=b"],
        400,
        "too_many_topics",
        "exactly one",
    );
    check_alive(&hub);
}

#[test]
fn subscriptions_are_refused_with_what_there_is_to_choose_from() {
    let hub = Hub::start(MEMORY);
    check(
        &hub,
        &["/events?topic=a&format=xml"],
        400,
        "format_invalid",
        "raw or json",
    );
    check(
        &hub,
        &["/events?topic=a&policy=hope"],
        400,
        "policy_invalid",
        "replay",
    );
    check_alive(&hub);
}

#[test]
fn publishes_are_refused_for_size_text_type_and_keys() {
    let hub = Hub::start(MEMORY);
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        format!("@{}", path.display())
    };
    let exact = write("exact", &vec![b'x'; 1 << 20]);
    let large = write("large", &vec![b'x'; (1 << 20) + 1]);
    let binary = write("binary", b"\xff\xfe");
    let to = "/events?topic=a";

    let kept = run(curl(&["-f", "--data-binary", &exact, &hub.url(to)]));
    assert_eq!(
        kept.code,
        Some(0),
        "an event may have 1 MiB: {}",
        kept.stderr
    );
    check(
        &hub,
        &["--data-binary", &large, to],
        413,
        "too_large",
        "1048576",
    );
    let chunked = "transfer-encoding: chunked";
    check(
        &hub,
        &["-H", chunked, "--data-binary", &large, to],
        413,
        "too_large",
        "1048576",
    );
    check(
        &hub,
        &["--data-binary", &binary, to],
        415,
        "not_text",
        "UTF-8",
    );

    check(
        &hub,
        &["-H", "event-type: $gap", "-d", "x", to],
        400,
        "event_type_reserved",
        "$",
    );
    check(
        &hub,
        &["-H", "event-type: $mine", "-d", "x", to],
        400,
        "event_type_reserved",
        "$",
    );

    let key = "idempotency-key: 1";
    let first = run(curl(&["-f", "-H", key, "-d", "x", &hub.url(to)]));
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    check(
        &hub,
        &["-H", key, "-d", "y", to],
        422,
        "key_reused",
        "Idempotency-Key",
    );
    let long_key = format!("idempotency-key: {}", "k".repeat(256));
    check(
        &hub,
        &["-H", &long_key, "-d", "x", to],
        400,
        "key_invalid",
        "idempotency-key",
    );
    check_alive(&hub);
}

#[test]
fn unknown_paths_and_methods_are_refused() {
    let hub = Hub::start(MEMORY);
    check(&hub, &["/nothing-here"], 404, "not_found", "/events");
    check(
        &hub,
        &["-X", "DELETE", "/nothing-here"],
        404,
        "not_found",
        "/events",
    );
    for method in ["PUT", "PATCH", "OPTIONS"] {
        check(
            &hub,
            &["-X", method, "/events?topic=a"],
            405,
            "method_not_allowed",
            "GET, HEAD, POST",
        );
    }
    check(
        &hub,
        &["-X", "POST", "/ws"],
        405,
        "method_not_allowed",
        "GET",
    );
    let answer = hub.http().request("PUT", "/events?topic=a", &[], b"");
    assert_eq!(answer.header("allow"), Some("GET, HEAD, POST, DELETE"));
    check_alive(&hub);
}

#[test]
fn invalid_upgrades_are_refused() {
    const KEY: &str = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    const UPGRADE: [&str; 4] = ["-H", "connection: upgrade", "-H", "upgrade: websocket"];
    let hub = Hub::start(MEMORY);
    check(
        &hub,
        &["/ws"],
        426,
        "upgrade_required",
        "Sec-WebSocket-Version: 13",
    );
    let refused = |headers: &[&str], status, code| {
        let headers: Vec<_> = headers.iter().flat_map(|header| ["-H", header]).collect();
        check(
            &hub,
            &[&UPGRADE, &headers[..], &["/ws"]].concat(),
            status,
            code,
            "",
        );
    };
    refused(&["sec-websocket-version: 8", KEY], 426, "upgrade_required");
    refused(&["sec-websocket-version: 13"], 400, "upgrade_invalid");
    refused(
        &["sec-websocket-version: 13", "sec-websocket-key: short"],
        400,
        "upgrade_invalid",
    );
    let answer = hub.http().request("GET", "/ws", &[], b"");
    assert_eq!(answer.header("sec-websocket-version"), Some("13"));
    check_alive(&hub);
}

#[test]
fn no_website_may_use_a_hub_in_dev_mode() {
    let hub = Hub::start(MEMORY);
    let foreign = "origin: http://evil.example";
    let rebound = "host: evil.example";
    for target in ["/events?topic=a", "/ws", "/", "/dev/drop"] {
        for method in ["GET", "POST"] {
            check(
                &hub,
                &["-X", method, "-H", foreign, target],
                403,
                "origin_forbidden",
                "Origin",
            );
            check(
                &hub,
                &["-X", method, "-H", rebound, target],
                403,
                "host_forbidden",
                "Host",
            );
        }
    }
    let own = format!("origin: {}", hub.url(""));
    let allowed = run(curl(&[
        "-f",
        "-H",
        &own,
        "-d",
        "x",
        &hub.url("/events?topic=a"),
    ]));
    assert_eq!(allowed.code, Some(0), "{}", allowed.stderr);
    check_alive(&hub);
}

#[test]
fn bytes_that_are_not_http_do_no_harm() {
    let hub = Hub::start(MEMORY);
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"hello\r\n\r\n",
        &[0; 4096],
    ] {
        let mut http = hub.http();
        http.send(garbage);
        let answer = String::from_utf8_lossy(&http.read()).into_owned();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
            "{answer}"
        );
    }
    // A body that ends early.
    let mut cut = hub.http();
    cut.send(b"POST /events?topic=a HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 10\r\n\r\nabc");
    drop(cut);
    check_alive(&hub);
}

#[test]
fn websocket_messages_that_are_wrong_are_answered_with_an_error_or_a_close_code() {
    let hub = Hub::start(MEMORY);
    let socket = || hub.http().websocket();

    let mut first = socket();
    first.send(TEXT, b"not JSON");
    assert_eq!(first.message()["type"], "error");

    let mut bad_topic = socket();
    bad_topic.send(
        TEXT,
        json!({ "type": "resume", "topics": ["a//b"] })
            .to_string()
            .as_bytes(),
    );
    let error = bad_topic.message();
    assert_eq!(
        (&error["type"], &error["code"]),
        (&json!("error"), &json!("topic_invalid"))
    );

    let mut reserved = socket();
    reserved.send(
        TEXT,
        json!({ "type": "resume", "topics": ["a"] })
            .to_string()
            .as_bytes(),
    );
    assert_eq!(reserved.message()["type"], "subscribed");
    assert_eq!(reserved.message()["type"], "ready");
    let publish = json!({
        "type": "publish", "ref": "7", "topic": "a", "event": "$gap", "data": "x",
    });
    reserved.send(TEXT, publish.to_string().as_bytes());
    let error = reserved.message();
    assert_eq!(
        (&error["type"], &error["code"], &error["ref"]),
        (&json!("error"), &json!("event_type_reserved"), &json!("7")),
    );
    // A refused publish does not end the session.
    let publish = json!({ "type": "publish", "ref": "8", "topic": "a", "data": "x" });
    reserved.send(TEXT, publish.to_string().as_bytes());
    let answers = [reserved.message(), reserved.message()];
    assert!(
        answers
            .iter()
            .any(|it| it["type"] == "published" && it["ref"] == "8"),
        "{answers:?}"
    );
    assert!(
        answers
            .iter()
            .any(|it| it["type"] == "event" && it["data"] == "x"),
        "{answers:?}"
    );

    let close_code = |send: &dyn Fn(&mut crate::raw::WebSocket)| {
        let mut socket = socket();
        send(&mut socket);
        socket.close_code()
    };
    assert_eq!(
        close_code(&|it| it.send_bytes(&[0x81, 0x01, b'x'])),
        1002,
        "an unmasked frame"
    );
    assert_eq!(
        close_code(&|it| it.send(0x3, b"")),
        1002,
        "a reserved opcode"
    );
    assert_eq!(
        close_code(&|it| it.send(TEXT, b"\xff")),
        1007,
        "text that is not UTF-8"
    );
    assert_eq!(
        close_code(&|it| it.send(BINARY, b"x")),
        1003,
        "binary has no meaning here"
    );
    // Its head is enough; sent whole, it would run into the end of a connection that is closed.
    let large = [&[0x81, 0xff][..], &(3_u64 << 20).to_be_bytes(), &[0; 4]].concat();
    assert_eq!(
        close_code(&|it| it.send_bytes(&large)),
        1009,
        "a large message"
    );
    check_alive(&hub);
}

#[test]
fn a_request_head_without_end_is_cut_off() {
    let hub = Hub::start(MEMORY);
    let mut http = Http::connect(hub.address());
    http.send(
        format!(
            "GET /events?topic=a HTTP/1.1\r\nhost: {}\r\n",
            hub.address()
        )
        .as_bytes(),
    );
    // Far more than any head needs; the hub must stop reading it.
    let line = format!("x: {}\r\n", "y".repeat(8000));
    let mut answer = Vec::new();
    for _ in 0..64 {
        if http.try_send(line.as_bytes()).is_err() {
            break;
        }
    }
    answer.extend(http.read());
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
        "{answer}"
    );
    check_alive(&hub);
}
