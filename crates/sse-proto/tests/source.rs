//! The client's state machine beyond the conformance vectors: each test is a transcript.

use std::time::Duration;

use sse_proto::source::{
    Action, Attempt, End, FailReason, Mode, Resilience, Response, Sentinel, Source, State,
    reconnection_time,
};
use sse_proto::{Decoder, Item};

type Policy = fn(Attempt) -> Option<Duration>;

const ORIGIN: &str = "https://a.test";
const OK: Response<'_> = Response::new(200).content_type(b"text/event-stream");

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn source(mode: Mode, policy: Policy) -> Source<Policy> {
    Source::new("https://a.test/stream", mode, policy)
}

fn resilient(policy: Policy) -> Source<Policy> {
    source(Mode::Resilient(Resilience::new()), policy)
}

/// Pushes `chunk` and gives the data of its events, which are the same if they are owned.
fn push(source: &mut Source<Policy>, chunk: &str) -> Vec<String> {
    let mut taker = source.clone();
    let mut taken = Vec::new();
    let mut items = taker.push(chunk.as_bytes());
    while let Some(item) = items.next_owned() {
        if let Item::Event(event) = item {
            taken.push(event.data);
        }
    }
    let mut events = Vec::new();
    let mut items = source.push(chunk.as_bytes());
    while let Some(item) = items.next() {
        if let Item::Event(event) = item {
            events.push(event.data.to_owned());
        }
    }
    assert_eq!(taken, events);
    assert_eq!(taker.action(), source.action());
    events
}

#[track_caller]
fn check_last_event_id(source: &Source<Policy>, expected: Option<&str>) {
    let Action::Connect(connect) = source.action() else {
        panic!("{:?}", source.action());
    };
    assert_eq!(connect.last_event_id, expected.map(str::as_bytes));
}

#[test]
fn resilient_tries_again_after_429_and_5xx_and_no_other_status() {
    for status in [
        100, 201, 301, 400, 401, 403, 404, 410, 418, 428, 430, 499, 600,
    ] {
        let mut source = resilient(reconnection_time);
        let answer = source.handle_response(Response::new(status), at(1), 0);
        assert_eq!(answer, Action::Fail(FailReason::Status(status)));
    }
    for status in [429, 500, 501, 502, 503, 504, 599] {
        let mut source = resilient(reconnection_time);
        let answer = source.handle_response(Response::new(status), at(1), 0);
        assert_eq!(
            answer,
            Action::WaitUntil(at(1) + Duration::from_millis(500))
        );
        let mut source = self::source(Mode::Browser, reconnection_time);
        let answer = source.handle_response(Response::new(status), at(1), 0);
        assert_eq!(answer, Action::Fail(FailReason::Status(status)));
    }
    let mut source = resilient(reconnection_time);
    let answer = source.handle_response(Response::new(204), at(1), 0);
    assert_eq!(answer, Action::Fail(FailReason::NoContent));
}

#[test]
fn retry_after_and_retry_are_waited_for_but_not_for_ever() {
    let busy = |value| Response::new(503).retry_after(value);
    for (value, seconds) in [
        (&b"7"[..], 7.0),
        (b" 120 ", 120.0),
        (b"99999999999999999999999", 3600.0),
        (b"-1", 0.5),
        (b"1.5", 0.5),
        (b"", 0.5),
        (b"Fri, 31 Dec 1999 23:59:59 GMT", 0.5),
    ] {
        let mut source = resilient(reconnection_time);
        let answer = source.handle_response(busy(value), Duration::ZERO, 0);
        let expected = Duration::from_secs_f64(seconds);
        assert_eq!(answer, Action::WaitUntil(expected), "{value:?}");
    }
    let mut source = resilient(reconnection_time);
    source.handle_response(OK, Duration::ZERO, 0);
    push(&mut source, "retry: 18446744073709551615\n");
    assert_eq!(
        source.handle_end(End::Eof, at(1), 0),
        Action::WaitUntil(at(3601))
    );
    source.handle_timeout(at(3601));
    let answer = source.handle_response(busy(b"1"), at(3601), 0);
    assert_eq!(answer, Action::WaitUntil(at(7201)), "the longer one holds");
}

#[test]
fn the_policy_is_told_failures_hint_and_entropy_and_may_add_or_give_up() {
    let policy: Policy = |attempt| {
        assert_eq!(attempt.entropy, 42);
        let more = Duration::from_secs(u64::from(attempt.failures));
        (attempt.failures < 3).then_some(attempt.at_least + more)
    };
    let mut source = source(Mode::Browser, policy);
    assert_eq!(
        source.handle_end(End::Network, at(0), 42),
        Action::WaitUntil(at(4))
    );
    source.handle_timeout(at(4));
    assert_eq!(
        source.handle_end(End::Network, at(4), 42),
        Action::WaitUntil(at(9))
    );
    source.handle_timeout(at(9));
    let answer = source.handle_end(End::Network, at(9), 42);
    assert_eq!(answer, Action::Fail(FailReason::GivenUp));
    assert_eq!(source.state(), State::Closed);
}

#[test]
fn a_delay_below_what_the_server_asked_for_is_raised_to_it() {
    let mut source = source(Mode::Browser, |_| Some(Duration::ZERO));
    assert_eq!(
        source.handle_end(End::Network, at(0), 0),
        Action::WaitUntil(at(3))
    );
}

#[test]
fn a_delay_that_overflows_the_clock_is_a_wait_for_ever() {
    let mut source = source(Mode::Browser, |_| Some(Duration::MAX));
    let answer = source.handle_end(End::Network, at(1), 0);
    assert_eq!(answer, Action::WaitUntil(Duration::MAX));
}

#[test]
fn calls_that_do_not_fit_change_nothing() {
    let mut source = source(Mode::Browser, reconnection_time);
    let connect = format!("{:?}", source.action());
    assert_eq!(push(&mut source, "data: too early\n\n"), [""; 0]);
    assert_eq!(format!("{:?}", source.handle_timeout(at(99))), connect);
    assert_eq!(source.handle_response(OK, at(0), 0), Action::Open);
    assert_eq!(
        source.handle_response(Response::new(404), at(0), 0),
        Action::Open
    );
    assert_eq!(source.handle_redirect(301, "https://b.test/"), Action::Open);
    assert_eq!(source.handle_timeout(at(99)), Action::Open);
    let wait = Action::WaitUntil(at(13));
    assert_eq!(source.handle_end(End::Eof, at(10), 0), wait);
    assert_eq!(source.handle_end(End::Aborted, at(11), 0), wait);
    assert_eq!(source.handle_response(OK, at(11), 0), wait);
    assert_eq!(source.handle_timeout(at(12)), wait);
    assert_eq!(push(&mut source, "data: too late\n\n"), [""; 0]);
    assert_eq!(source.close(), Action::Closed);
    assert_eq!(source.handle_timeout(at(13)), Action::Closed);
    assert_eq!(source.handle_end(End::Aborted, at(13), 0), Action::Closed);
    assert_eq!(source.handle_response(OK, at(13), 0), Action::Closed);
}

#[test]
fn a_failure_stays_a_failure_when_closed() {
    let mut source = source(Mode::Browser, reconnection_time);
    let failed = Action::Fail(FailReason::Status(404));
    assert_eq!(source.handle_response(Response::new(404), at(0), 0), failed);
    assert_eq!(source.close(), failed);
}

#[test]
fn redirects_lead_to_their_target_and_the_next_try_begins_anew() {
    let mut source = source(Mode::Browser, reconnection_time);
    for (status, url) in [(301, "https://b.test/x"), (307, "https://c.test:1/y?z#w")] {
        let Action::Connect(connect) = source.handle_redirect(status, url) else {
            panic!("{status}");
        };
        assert_eq!(connect.url, url);
    }
    assert_eq!(source.handle_response(OK, at(0), 0), Action::Open);
    assert_eq!(source.origin(), "https://c.test:1");
    source.handle_end(End::Eof, at(0), 0);
    let Action::Connect(connect) = source.handle_timeout(at(3)) else {
        panic!()
    };
    assert_eq!(connect.url, "https://a.test/stream");
    assert_eq!(source.origin(), ORIGIN);
    source.handle_response(OK.url("https://d.test"), at(3), 0);
    assert_eq!(source.origin(), "https://d.test");
}

#[test]
fn redirects_without_end_and_other_statuses_fail() {
    let mut source = source(Mode::Browser, reconnection_time);
    for _ in 0..20 {
        let answer = source.handle_redirect(302, "https://a.test/stream");
        assert!(matches!(answer, Action::Connect(_)));
    }
    let answer = source.handle_redirect(302, "https://a.test/stream");
    assert_eq!(answer, Action::Fail(FailReason::Redirects));
    for status in [300, 304, 305, 306, 309] {
        let mut source = self::source(Mode::Browser, reconnection_time);
        let answer = source.handle_redirect(status, "https://b.test/");
        assert_eq!(answer, Action::Fail(FailReason::Status(status)));
    }
}

#[test]
fn an_id_that_cannot_go_into_a_header_is_left_out() {
    for (id, expected) in [
        ("", None),
        ("7", Some("7")),
        ("\u{2026}", Some("\u{2026}")),
        ("a\tb", Some("a\tb")),
        ("a\u{1}b", None),
        ("a\u{7f}", None),
    ] {
        let mut decoder = Decoder::new();
        decoder.seed_last_event_id(id);
        let source = source(Mode::Browser, reconnection_time).with_decoder(decoder);
        check_last_event_id(&source, expected);
    }
}

#[test]
fn what_a_lost_connection_left_unfinished_does_not_reach_the_next() {
    let mut source = source(Mode::Browser, reconnection_time);
    source.handle_response(OK, at(0), 0);
    push(
        &mut source,
        "id: 1\ndata: a\n\nid: 2\nevent: x\ndata: b\ndata: c",
    );
    source.handle_end(End::Network, at(0), 0);
    source.handle_timeout(at(3));
    check_last_event_id(&source, Some("1"));
    source.handle_response(OK, at(3), 0);
    assert_eq!(push(&mut source, "\n\ndata: d\n\n"), ["d"]);
}

fn single_shot(sentinel: Option<Sentinel>) -> Source<Policy> {
    let mut source = source(Mode::SingleShot(sentinel), |_| {
        unreachable!("it never asks")
    });
    assert_eq!(source.handle_response(OK, at(0), 0), Action::Open);
    source
}

#[test]
fn a_single_shot_is_complete_with_its_sentinel_which_is_withheld_if_it_is_data() {
    let mut source = single_shot(Some(Sentinel::Data("[DONE]")));
    let chunk = "data: 1\n\ndata: [DONE]x\n\ndata: [DONE]\n\ndata: after\n\n";
    assert_eq!(push(&mut source, chunk), ["1", "[DONE]x"]);
    assert_eq!(source.state(), State::Closed);
    assert_eq!(push(&mut source, "data: after\n\n"), [""; 0]);
    assert_eq!(source.handle_end(End::Network, at(1), 0), Action::Closed);

    let mut source = single_shot(Some(Sentinel::Event("message_stop")));
    let chunk = "data: message_stop\n\nevent: message_stop\ndata: {}\n\ndata: after\n\n";
    assert_eq!(push(&mut source, chunk), ["message_stop", "{}"]);
    assert_eq!(source.action(), Action::Closed);
}

#[test]
fn a_single_shot_without_its_sentinel_or_cut_within_an_event_is_truncated() {
    let truncated = Action::Fail(FailReason::Truncated);
    for (sentinel, body, end, expected) in [
        (
            Some(Sentinel::Data("[DONE]")),
            "data: 1\n\n",
            End::Eof,
            truncated,
        ),
        (
            Some(Sentinel::Data("[DONE]")),
            "data: [DONE]\n",
            End::Eof,
            truncated,
        ),
        (None, "data: 1\n\n", End::Eof, Action::Closed),
        (None, "", End::Eof, Action::Closed),
        (None, "data: 1\n\ndata: 2\n", End::Eof, truncated),
        (None, "data: 1\n\n", End::Network, truncated),
        (
            None,
            "data: 1\n\n",
            End::Aborted,
            Action::Fail(FailReason::Aborted),
        ),
    ] {
        let mut source = single_shot(sentinel);
        push(&mut source, body);
        assert_eq!(
            source.handle_end(end, at(1), 0),
            expected,
            "{sentinel:?} {body:?}"
        );
    }
}

#[test]
fn a_single_shot_never_tries_twice_and_does_not_repeat_its_body_where_http_forbids() {
    let mode = Mode::SingleShot(None);
    let mut source = source(mode, |_| unreachable!("it never asks"));
    let answer = source.handle_end(End::Network, at(0), 0);
    assert_eq!(answer, Action::Fail(FailReason::Network));
    for status in [429, 503] {
        let mut source = self::source(mode, |_| unreachable!("it never asks"));
        let answer = source.handle_response(Response::new(status), at(0), 0);
        assert_eq!(answer, Action::Fail(FailReason::Status(status)));
    }
    for (status, follows) in [
        (301, false),
        (302, false),
        (303, false),
        (307, true),
        (308, true),
    ] {
        let mut source = self::source(mode, |_| unreachable!("it never asks"));
        let answer = source.handle_redirect(status, "https://b.test/");
        assert_eq!(matches!(answer, Action::Connect(_)), follows, "{status}");
    }
}
