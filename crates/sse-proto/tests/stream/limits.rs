//! Limits: exact, independent of how the stream is cut, never exceeded.

use proptest::prelude::*;
use sse_proto::{Decoder, EventId, EventName, Excess, Frame, Incomplete, Limits, Part};
use testkit::chunkings;

use crate::oracle::stream;
use crate::{Seen, event, id, message, read};

fn small(on_excess: Excess) -> Limits {
    *Limits::new()
        .max_line(13)
        .max_event(6)
        .max_id(3)
        .on_excess(on_excess)
}

#[track_caller]
fn check(stream: &str, expected: &[Seen]) {
    for chunks in chunkings(stream.as_bytes()) {
        let mut decoder = Decoder::with_limits(small(Excess::SkipEvent));
        assert_eq!(read(&mut decoder, &chunks).0, expected, "from {chunks:?}");
    }
}

#[test]
fn an_event_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
    check("data: 123456\n\n", &[message("123456")]);
    check("data:1234567\n\n", &[Seen::TooLarge(Part::Event)]);
    check("event: abc\ndata: 123\n\n", &[event("abc", "123", "")]);
    check("event: abc\ndata: 1234\n\n", &[Seen::TooLarge(Part::Event)]);
    check("data: 1234\nevent: abc\n\n", &[Seen::TooLarge(Part::Event)]);
    check("data: 123\nevent: abc\n\n", &[event("abc", "123", "")]);
    check("data: 123\ndata: 56\n\n", &[message("123\n56")]);
    check("data: 123\ndata: 567\n\n", &[Seen::TooLarge(Part::Event)]);
    check("event:1234567\ndata\n\n", &[Seen::TooLarge(Part::Event)]);
}

#[test]
fn empty_data_lines_count_as_their_line_feeds() {
    check(&("data\n".repeat(7) + "\n"), &[message("\n\n\n\n\n\n")]);
    check(&("data\n".repeat(8) + "\n"), &[Seen::TooLarge(Part::Event)]);
}

#[test]
fn data_counts_as_received_and_what_replaces_invalid_bytes_may_be_three_times_as_long() {
    for chunks in chunkings(b"data:\xff\xff\xff\xff\xff\xff\n\ndata:1234567\n\n") {
        let mut decoder = Decoder::with_limits(small(Excess::SkipEvent));
        let expected = [message(&"\u{fffd}".repeat(6)), Seen::TooLarge(Part::Event)];
        assert_eq!(read(&mut decoder, &chunks).0, expected, "from {chunks:?}");
    }
}

#[test]
fn a_skipped_event_is_announced_once_its_id_counts_and_the_next_event_passes() {
    let stream = "id: 1\ndata:1234567\ndata: x\ndata:1234567\nretry: 9\n\ndata: y\n\n";
    let expected = [
        Seen::TooLarge(Part::Event),
        Seen::Retry(9),
        id("1"),
        event("message", "y", "1"),
    ];
    check(stream, &expected);
}

#[test]
fn a_line_of_exactly_the_limit_passes_and_one_byte_more_takes_its_event_along() {
    check("ignored-name_\ndata: x\n\n", &[message("x")]);
    let too_long = [Seen::TooLarge(Part::Line), message("y")];
    check("ignored-names_\nignored-names_\n\ndata: y\n\n", &too_long);
    check("ignored-names_\ndata: x\n\ndata: y\n\n", &too_long);
    check(
        "ignored-names_\r\ndata: x\r\n\r\ndata: y\r\n\r\n",
        &too_long,
    );
}

#[test]
fn a_line_is_measured_by_itself_however_the_stream_is_cut() {
    check("event:\ndata: 12\n\n", &[message("12")]);
    check("event:\nevent:\ndata: 12\n\n", &[message("12")]);
    check(
        "id:1\nevent:\r\ndata:12\n\n",
        &[event("message", "12", "1")],
    );
}

#[test]
fn lines_are_held_to_a_limit_below_the_length_of_a_name_too() {
    let mut limits = small(Excess::SkipEvent);
    for (max_line, stream, fits) in [
        (0, ":\n\n", false),
        (1, ":\n\n", true),
        (4, "data:\n\n", false),
        (5, "data:\n\n", true),
        (5, "data:\ndata: \ndata:\n\n", false),
        (6, "data:\ndata: \ndata:\n\n", true),
        (5, "event:\ndata:\n\n", false),
        (6, "event:\ndata:\n\n", true),
        (5, "data:\nevent:\n\n", false),
    ] {
        limits.max_line(max_line);
        for chunks in chunkings(stream.as_bytes()) {
            let (seen, _) = read(&mut Decoder::with_limits(limits), &chunks);
            let is_over = seen.contains(&Seen::TooLarge(Part::Line));
            assert_eq!(is_over, !fits, "{max_line} bytes, from {chunks:?}");
        }
    }
}

#[test]
fn an_id_over_the_limit_takes_its_event_along_and_leaves_the_id_before() {
    let stream = "id: 123\ndata: x\n\nid: 1234\ndata: y\n\ndata: z\n\n";
    let expected = [
        event("message", "x", "123"),
        Seen::TooLarge(Part::Id),
        event("message", "z", "123"),
    ];
    check(stream, &expected);
}

#[test]
fn a_field_over_its_limit_is_not_saved_by_a_second_one_within() {
    let id_then = [Seen::TooLarge(Part::Id), id("1")];
    check("id: 1234\nid: 1\ndata: x\n\n", &id_then);
    let too_large = [Seen::TooLarge(Part::Event)];
    check("event:1234567\nevent: a\ndata: x\n\n", &too_large);
}

#[test]
fn an_end_within_a_skipped_event_or_a_long_line_cuts_it_off() {
    for stream in ["data:1234567\n", "ignored-names_", "id: 1234\n"] {
        let mut decoder = Decoder::with_limits(small(Excess::SkipEvent));
        let (seen, incomplete) = read(&mut decoder, &[stream.as_bytes()]);
        assert!(matches!(seen[..], [Seen::TooLarge(_)]), "{stream:?}");
        assert_eq!(incomplete, Incomplete::Yes, "{stream:?}");
    }
}

#[test]
fn stop_reads_nothing_more_until_the_next_connection() {
    for chunks in chunkings(b"data: a\n\ndata:1234567\ndata: b\n\ndata: c\n\n") {
        let mut decoder = Decoder::with_limits(small(Excess::Stop));
        let mut seen = Vec::new();
        for chunk in chunks {
            let mut items = decoder.push(chunk);
            while let Some(item) = items.next() {
                seen.push(format!("{item:?}"));
            }
        }
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert!(seen[1].contains("TooLarge"), "{seen:?}");
        assert_eq!(decoder.finish(), Incomplete::Yes);
        assert_eq!(read(&mut decoder, &[b"data: d\n\n"]).0, [message("d")]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn limits_act_alike_however_the_stream_is_cut_and_are_never_exceeded(
        stream in stream(),
        (max_line, max_event, max_id) in (0..24_usize, 0..24_usize, 0..4_usize),
        stop in any::<bool>(),
    ) {
        let mut limits = small(if stop { Excess::Stop } else { Excess::SkipEvent });
        limits.max_line(max_line).max_event(max_event).max_id(max_id);
        let seen = |chunks: &[&[u8]]| {
            let mut decoder = Decoder::with_limits(limits);
            let mut seen = Vec::new();
            for chunk in chunks {
                let mut items = decoder.push(chunk);
                while let Some(item) = items.next() {
                    seen.push(format!("{item:?}"));
                    if let sse_proto::Item::Event(event) = item {
                        let kind = if event.event == "message" { "" } else { event.event };
                        // A U+FFFD of 3 bytes may stand for 1 byte received.
                        let data = event.data.replace('\u{fffd}', "?");
                        assert!(kind.len() + data.len() <= max_event, "{event:?}");
                        assert!(event.id.len() <= max_id, "{event:?}");
                    }
                }
            }
            seen
        };
        let whole = seen(&[&stream]);
        for chunks in chunkings(&stream) {
            prop_assert_eq!(seen(&chunks), whole.clone(), "from {:?}", chunks);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn exactly_the_events_within_the_limits_are_delivered(
        events in prop::collection::vec(("[a-z]{0,4}", "[0-9]{0,4}", "[x\n]{0,9}"), 0..8),
    ) {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for (name, number, data) in &events {
            Frame::new()
                .event(EventName::new(name).unwrap())
                .id(EventId::new(number).unwrap())
                .data(data)
                .encode_to(&mut stream);
            let fits_line = data.split('\n').all(|line| line.len() + "data: ".len() <= 13);
            if name.len() + data.len() <= 6 && number.len() <= 3 && fits_line {
                let name = if name.is_empty() { "message" } else { name };
                expected.push(event(name, data, number));
            }
        }
        let mut decoder = Decoder::with_limits(small(Excess::SkipEvent));
        let (mut seen, _) = read(&mut decoder, &[&stream]);
        let skipped = seen.iter().filter(|item| matches!(item, Seen::TooLarge(_))).count();
        seen.retain(|item| matches!(item, Seen::Event(_)));
        prop_assert_eq!(skipped, events.len() - expected.len());
        prop_assert_eq!(seen, expected);
    }
}
