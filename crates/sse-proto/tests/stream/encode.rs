//! The encoder: exact bytes, refusals, and hostile strings through encoder and decoder.

use std::time::Duration;

use proptest::prelude::*;
use sse_proto::{Decoder, EventId, EventName, FieldError, Frame, KEEP_ALIVE};

use crate::{Seen, event, id, read};

#[track_caller]
fn check(frame: Frame<'_>, expected: &str) {
    let mut out = b"before".to_vec();
    frame.encode_to(&mut out);
    assert_eq!(String::from_utf8(out).unwrap(), format!("before{expected}"));
    assert_eq!(frame.encoded_len(), expected.len());
    #[cfg(feature = "bytes")]
    {
        let mut out = bytes::BytesMut::from("before");
        frame.encode_to_buf(&mut out);
        assert_eq!(out, format!("before{expected}"));
        assert_eq!(frame.to_bytes(), expected);
    }
}

#[test]
fn each_field_is_written_as_the_standard_reads_it() {
    let frame = Frame::new();
    let name = |name| EventName::new(name).unwrap();
    let id = |id| EventId::new(id).unwrap();
    check(frame, "");
    check(frame.data(""), "data: \n\n");
    check(frame.data(" x"), "data:  x\n\n");
    check(
        frame.data("a\nb\rc\r\nd"),
        "data: a\ndata: b\ndata: c\ndata: d\n\n",
    );
    check(frame.data("a\n"), "data: a\ndata: \n\n");
    check(frame.data("\n\r"), "data: \ndata: \ndata: \n\n");
    check(frame.data("\u{2028}\0"), "data: \u{2028}\0\n\n");
    check(frame.comment("a\r\ndata: b"), ": a\n: data: b\n\n");
    check(frame.comment(""), ": \n\n");
    check(frame.id(id("7")), "id: 7\n\n");
    check(frame.id(id("")), "id: \n\n");
    check(frame.retry_ms(0), "retry: 0\n\n");
    check(frame.retry_ms(u64::MAX), "retry: 18446744073709551615\n\n");
    check(
        frame.retry(Duration::from_micros(1_234_567)),
        "retry: 1234\n\n",
    );
    check(
        frame.retry(Duration::MAX),
        "retry: 18446744073709551615\n\n",
    );
    let all = frame
        .data("d")
        .id(id("i"))
        .event(name("e"))
        .comment("c")
        .retry_ms(10);
    check(all, "retry: 10\n: c\nevent: e\nid: i\ndata: d\n\n");
}

#[test]
fn a_keep_alive_is_nothing_to_a_client() {
    let mut decoder = Decoder::new().with_comments(true);
    let (seen, _) = read(&mut decoder, &[KEEP_ALIVE]);
    assert_eq!(seen, [Seen::Comment(String::new())]);
}

#[test]
fn what_cannot_be_sent_or_sent_back_unchanged_is_refused() {
    let cases = [
        (
            "a\nb",
            Some(FieldError::LineBreak),
            Some(FieldError::LineBreak),
        ),
        (
            "a\r",
            Some(FieldError::LineBreak),
            Some(FieldError::LineBreak),
        ),
        ("\0", Some(FieldError::Nul), Some(FieldError::Nul)),
        (" a", None, Some(FieldError::OuterWhitespace)),
        ("a\t", None, Some(FieldError::OuterWhitespace)),
        ("a\u{1}", None, Some(FieldError::Control)),
        ("a\u{7f}", None, Some(FieldError::Control)),
        ("", None, None),
        ("a\tb c", None, None),
        ("\u{2026}", None, None),
        ("\u{2028}\u{85}", None, None),
    ];
    for (text, as_name, as_id) in cases {
        assert_eq!(EventName::new(text).err(), as_name, "{text:?} as a name");
        assert_eq!(EventId::new(text).err(), as_id, "{text:?} as an id");
    }
    const CONST: EventName<'_> = match EventName::new("checked while compiling") {
        Ok(name) => name,
        Err(_) => panic!(),
    };
    assert_eq!(CONST.as_str(), "checked while compiling");
}

#[test]
fn an_id_is_cors_safe_up_to_128_bytes_without_unsafe_ones() {
    let fits = "x".repeat(128);
    let too_long = "x".repeat(129);
    for id in ["", "0123456789abcdef-42", "a,b;c=d/e", "\u{2026}", &fits] {
        assert!(EventId::new(id).unwrap().is_cors_safe(), "{id:?}");
    }
    let unsafe_bytes = r#""():<>?@[\]{}"#.chars().map(String::from);
    for id in unsafe_bytes.chain([too_long]) {
        assert!(!EventId::new(&id).unwrap().is_cors_safe(), "{id:?}");
    }
}

/// Strings that a careless encoder would be injected with.
fn hostile() -> impl Strategy<Value = String> {
    let fragment = prop_oneof![
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\r\n".to_owned()),
        Just("data: pwn".to_owned()),
        Just("id: 0".to_owned()),
        Just(":".to_owned()),
        Just(" ".to_owned()),
        Just("\0".to_owned()),
        Just("\u{feff}".to_owned()),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(fragment, 0..6).prop_map(|fragments| fragments.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn frames_decode_to_what_they_were_made_of_and_nothing_else(
        frames in prop::collection::vec(
            (
                prop::option::of(hostile()),
                prop::option::of(hostile()),
                prop::option::of(hostile()),
                prop::option::of(hostile()),
                prop::option::of(any::<u64>()),
            ),
            0..4,
        ),
    ) {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        let mut last_id = String::new();
        for (name, number, data, comment, retry) in &frames {
            let mut frame = Frame::new();
            if let Some(ms) = retry {
                frame = frame.retry_ms(*ms);
                expected.push(Seen::Retry((*ms).into()));
            }
            if let Some(text) = comment {
                frame = frame.comment(text);
                let lines = unified(text);
                expected.extend(lines.split('\n').map(|line| Seen::Comment(format!(" {line}"))));
            }
            let name = name.as_deref().map(|name| (name, EventName::new(name)));
            if let Some((text, Err(_))) = name {
                prop_assert!(text.contains(['\r', '\n', '\0']));
            }
            let name = name.and_then(|(_, name)| name.ok());
            if let Some(name) = name {
                frame = frame.event(name);
            }
            let number = number.as_deref().and_then(|number| EventId::new(number).ok());
            if let Some(number) = number {
                frame = frame.id(number);
                last_id = number.as_str().into();
            }
            if let Some(text) = data {
                frame = frame.data(text);
                let name = name.map_or("", |name| name.as_str());
                let name = if name.is_empty() { "message" } else { name };
                expected.push(event(name, &unified(text), &last_id));
            } else if number.is_some() {
                expected.push(id(&last_id));
            }
            let before = stream.len();
            frame.encode_to(&mut stream);
            prop_assert_eq!(stream.len() - before, frame.encoded_len());
        }
        let mut decoder = Decoder::new().with_comments(true);
        prop_assert_eq!(read(&mut decoder, &[&stream]).0, expected);
    }
}

fn unified(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}
