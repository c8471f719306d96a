//! The header helpers of both sides.

use sse_proto::{EventId, is_event_stream, last_event_id_value, read_last_event_id};

#[test]
fn only_the_essence_of_the_last_valid_media_type_counts() {
    for value in [
        "text/event-stream",
        "text/event-stream;",
        "text/event-stream; charset=windows-1252",
        " TEXT/Event-Stream ;x=y",
        "text/html, text/event-stream",
        "text/event-stream, */*",
        "text/event-stream, nonsense",
        "text/html;x=\",\", text/event-stream",
        "text/event-stream;x=\"a, text/html\"",
        "text/event-stream;x=\"\\\", text/html\"",
    ] {
        assert!(is_event_stream(value.as_bytes()), "{value}");
    }
    for value in [
        "",
        ";",
        "text/event-streamx",
        "text/event",
        "text/",
        "/event-stream",
        "x bogus",
        "text/ event-stream",
        "application/json",
        "text/event-stream, text/html",
        "text/html;x=\", text/event-stream",
    ] {
        assert!(!is_event_stream(value.as_bytes()), "{value}");
    }
    assert!(!is_event_stream(b"text/event-stream\xff"));
}

#[test]
fn every_id_that_can_be_sent_comes_back_from_the_header_unchanged() {
    for text in [
        "7",
        "a b",
        "0123456789abcdef-42",
        "\u{2026}",
        "a\tb",
        "\u{85}",
    ] {
        let id = EventId::new(text).unwrap();
        let value = last_event_id_value(id.as_str()).unwrap();
        assert_eq!(read_last_event_id(value), Some(text.as_bytes()));
    }
}

#[test]
fn an_empty_header_and_an_empty_id_are_none() {
    assert_eq!(read_last_event_id(b""), None);
    assert_eq!(read_last_event_id(b" \t"), None);
    assert_eq!(last_event_id_value(""), None);
    assert_eq!(read_last_event_id(b" \xff "), Some(&b"\xff"[..]));
}
