//! The rules of the format, one table each, cut in every way and against the oracle.

use sse_proto::{Decoder, Incomplete, Item};
use testkit::chunkings;

use crate::oracle::interpret;
use crate::{Seen, event, id, message, read};

/// Every way of cutting `stream` gives `expected`, and so does the oracle. Comments included.
#[track_caller]
fn check(stream: impl AsRef<[u8]>, expected: &[Seen]) {
    let stream = stream.as_ref();
    assert_eq!(interpret(stream), expected, "the oracle");
    for chunks in chunkings(stream) {
        let mut decoder = Decoder::new().with_comments(true);
        assert_eq!(read(&mut decoder, &chunks).0, expected, "from {chunks:?}");
    }
}

#[track_caller]
fn check_end(stream: &str, expected: Incomplete) {
    for chunks in chunkings(stream.as_bytes()) {
        let (_, incomplete) = read(&mut Decoder::new(), &chunks);
        assert_eq!(incomplete, expected, "after {chunks:?}");
    }
}

#[test]
fn cr_completes_a_line_and_swallows_one_lf_even_from_the_next_chunk() {
    check("data: a\r\r", &[message("a")]);
    check("data: a\r\n\r\n", &[message("a")]);
    check("data: a\r\r\ndata: b\r\n\r", &[message("a"), message("b")]);
    check("data: a\r\n\ndata: b\n\r", &[message("a"), message("b")]);
}

#[test]
fn an_event_is_dispatched_on_cr_without_waiting_for_what_follows() {
    let mut decoder = Decoder::new();
    let mut items = decoder.push(b"data: a\r\r");
    assert!(matches!(items.next(), Some(Item::Event(_))));
}

#[test]
fn one_byte_order_mark_is_dropped_and_only_at_the_start() {
    check("\u{feff}data: x\n\n", &[message("x")]);
    check("\u{feff}\ndata: x\n\n", &[message("x")]);
    check("\u{feff}\u{feff}data: x\n\n", &[]);
    check("data: 1\n\n\u{feff}data: 2\n\n", &[message("1")]);
    check("data:\u{feff}x\n\n", &[message("\u{feff}x")]);
}

#[test]
fn one_space_after_the_colon_is_dropped_and_nothing_else() {
    check("data:x\n\n", &[message("x")]);
    check("data:  x \n\n", &[message(" x ")]);
    check("data:\tx\n\n", &[message("\tx")]);
    check(" data: x\n\n", &[]);
}

#[test]
fn data_without_a_value_is_an_empty_event_and_no_data_is_none() {
    check("data\n\n", &[message("")]);
    check("data:\n\n", &[message("")]);
    check("data\ndata\n\n", &[message("\n")]);
    check("event: x\n\n", &[]);
}

#[test]
fn names_are_compared_exactly_and_unknown_ones_ignored() {
    check(
        "Data: x\ndata : y\ndat: z\n\0data: n\ndata: ok\n\n",
        &[message("ok")],
    );
}

#[test]
fn the_last_type_counts_and_an_empty_one_is_message() {
    check("event: a\nevent: b\ndata: x\n\n", &[event("b", "x", "")]);
    check("event: a\nevent\ndata: x\n\n", &[message("x")]);
    check("event: a\n\ndata: x\n\n", &[message("x")]);
}

#[test]
fn an_id_outlives_its_event_counts_without_data_and_is_reset_by_an_empty_one() {
    let stream = "id: 1\ndata: a\n\ndata: b\n\nid: 2\n\ndata: c\n\nid\ndata: d\n\n";
    let expected = [
        event("message", "a", "1"),
        event("message", "b", "1"),
        id("2"),
        event("message", "c", "2"),
        message("d"),
    ];
    check(stream, &expected);
}

#[test]
fn an_id_with_nul_is_ignored() {
    check("id: 1\nid: 2\0\ndata: x\n\n", &[event("message", "x", "1")]);
}

#[test]
fn retry_takes_effect_with_its_line_and_takes_digits_only() {
    check("retry: 3000\n", &[Seen::Retry(3000)]);
    check("retry: 007\n", &[Seen::Retry(7)]);
    for bogus in [
        "+5",
        "-1",
        "1e3",
        "10 ",
        " 10",
        "",
        "0x10",
        "\u{ff11}",
        "18446744073709551616",
    ] {
        check(format!("retry: {bogus}\n\n"), &[]);
    }
    check(
        "retry: 18446744073709551615\n",
        &[Seen::Retry(u64::MAX.into())],
    );
}

#[test]
fn invalid_utf8_is_replaced_per_maximal_subpart_and_never_an_error() {
    check(b"data: a\xffb\n\n", &[message("a\u{fffd}b")]);
    check(b"data: \xe2\x80\ndata: b\n\n", &[message("\u{fffd}\nb")]);
    check(
        b"data: \xc0\x80\xed\xa0\x80\n\n",
        &[message(&"\u{fffd}".repeat(5))],
    );
    check(
        b"id: \xf0\x9f\x91\ndata: x\n\n",
        &[event("message", "x", "\u{fffd}")],
    );
    check(b"da\xffta: x\n:\xff\n", &[Seen::Comment("\u{fffd}".into())]);
}

#[test]
fn comments_are_given_out_on_request_only() {
    check(
        ": a\n:\ndata: x\n\n",
        &[
            Seen::Comment(" a".into()),
            Seen::Comment(String::new()),
            message("x"),
        ],
    );
    let (seen, _) = read(&mut Decoder::new(), &[b": a\n:\ndata: x\n\n"]);
    assert_eq!(seen, [message("x")]);
}

#[test]
fn the_end_drops_an_unfinished_event_and_its_id_and_says_so() {
    check(
        "id: 1\ndata: a\n\nid: 2\ndata: b\n",
        &[event("message", "a", "1")],
    );
    let mut decoder = Decoder::new();
    let (_, incomplete) = read(&mut decoder, &[b"id: 1\ndata: a\n\nid: 2\ndata: b\n"]);
    assert_eq!(incomplete, Incomplete::Yes);
    assert_eq!(decoder.last_event_id(), "1");
    for complete in [
        "",
        "\n",
        "data: a\n\n",
        "data: a\r\r",
        "id: 1\n\n",
        ": c\n",
        "retry: 1\n",
    ] {
        check_end(complete, Incomplete::No);
    }
    for cut in [
        "d",
        "data: a",
        "data: a\n",
        "id: 1\n",
        "event: a\n",
        "data: a\n\ndata",
    ] {
        check_end(cut, Incomplete::Yes);
    }
}

#[test]
fn the_next_connection_starts_afresh_but_keeps_id_and_retry() {
    let mut decoder = Decoder::new();
    read(
        &mut decoder,
        &[b"id: 1\nretry: 5\ndata: a\n\nevent: e\nid: 2\ndata: lost\r"],
    );
    let (seen, _) = read(&mut decoder, &["\u{feff}\ndata: b\n\n".as_bytes()]);
    assert_eq!(seen, [event("message", "b", "1")]);
    assert_eq!(decoder.retry().map(|delay| delay.as_millis()), Some(5));
}

#[test]
fn a_seeded_id_is_carried_by_events_until_the_stream_sets_another() {
    let mut decoder = Decoder::new();
    decoder.seed_last_event_id("42");
    let (seen, _) = read(&mut decoder, &[b"data: a\n\nid\n\ndata: b\n\n"]);
    assert_eq!(seen, [event("message", "a", "42"), id(""), message("b")]);
}

#[test]
fn items_dropped_early_leave_the_remainder_to_be_pushed_again() {
    let mut decoder = Decoder::new();
    let mut items = decoder.push(b"data: a\n\ndata: b\n\ndata: c");
    assert!(items.next().is_some());
    let remaining = items.remaining();
    let (seen, incomplete) = read(&mut decoder, &[remaining]);
    assert_eq!(seen, [message("b")]);
    assert_eq!(incomplete, Incomplete::Yes);
}
