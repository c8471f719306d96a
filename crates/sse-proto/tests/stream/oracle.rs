//! The standard's own algorithm, word by word and as slow as it pleases: the whole stream is
//! decoded as UTF-8, split into lines, and the lines are interpreted.

use proptest::prelude::*;
use sse_proto::Decoder;
use testkit::chunkings;

use crate::{Seen, event, read};

/// What a decoder with comments must give for a connection on which exactly `stream` arrives.
pub(crate) fn interpret(stream: &[u8]) -> Vec<Seen> {
    let text = String::from_utf8_lossy(stream).into_owned();
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut seen = Vec::new();
    let (mut data, mut kind) = (String::new(), String::new());
    let (mut id_buffer, mut last_event_id) = (String::new(), String::new());
    let mut id_set = false;
    for line in lines(text) {
        if line.is_empty() {
            last_event_id.clone_from(&id_buffer);
            if let Some(data) = data.strip_suffix('\n') {
                let kind = if kind.is_empty() { "message" } else { &kind };
                seen.push(event(kind, data, &last_event_id));
            } else if id_set {
                seen.push(Seen::Id(last_event_id.clone()));
            }
            data.clear();
            kind.clear();
            id_set = false;
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        if field.is_empty() {
            seen.push(Seen::Comment(value.into()));
            continue;
        }
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => kind = value.into(),
            "data" => data = data + value + "\n",
            "id" if !value.contains('\0') => {
                id_buffer = value.into();
                id_set = true;
            }
            "retry" if value.chars().all(|c| c.is_ascii_digit()) => {
                if let Ok(ms) = value.parse::<u64>() {
                    seen.push(Seen::Retry(ms.into()));
                }
            }
            _ => {}
        }
    }
    seen
}

/// The complete lines of a text: each ends in CRLF, LF or CR.
fn lines(text: &str) -> Vec<String> {
    let unified = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<String> = unified.split('\n').map(String::from).collect();
    lines.pop();
    lines
}

/// Bytes that are likely to mean something to a decoder, or lines that all do.
pub(crate) fn stream() -> impl Strategy<Value = Vec<u8>> {
    let fragments: &[&[u8]] = &[
        b"\n",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b":",
        b" ",
        b"\t",
        b"\0",
        b"data",
        b"data: x",
        b"data: x\n\n",
        b"event: e\n",
        b"id: 8\n",
        b":\n\n",
        b"event",
        b"event: e",
        b"id",
        b"id: 7",
        b"retry",
        b"retry: 10",
        b"retry: 99999999999999999999",
        b"Data",
        b"\xef\xbb\xbf",
        b"\xef\xbb",
        b"\xef",
        b"\xff",
        b"\xe2\x80\xa6",
        b"\xe2\x80",
        b"\xf0\x9f\x91\x8d",
        b"\xc0\x80",
        b"\xe2\x80\xa8",
        b"\xed\xa0\x80",
    ];
    let fragment = prop_oneof![
        8 => prop::sample::select(fragments).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    let line = "(data|data|event|id|):( ?[x7]{1,12})?(\n|\r\n|\n\n)".prop_map(String::into_bytes);
    prop_oneof![
        prop::collection::vec(fragment, 0..40),
        prop::collection::vec(line, 0..12),
    ]
    .prop_map(|parts| parts.concat())
}

/// `stream` cut at the given places, taken modulo its length; empty pieces included.
pub(crate) fn cut<'s>(stream: &'s [u8], places: &[usize]) -> Vec<&'s [u8]> {
    let mut places: Vec<usize> = places.iter().map(|at| at % (stream.len() + 1)).collect();
    places.sort_unstable();
    let mut pieces = Vec::new();
    let mut from = 0;
    for at in places {
        pieces.push(&stream[from..at]);
        from = at;
    }
    pieces.push(&stream[from..]);
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_in_any_pieces_mean_what_the_standard_says(
        stream in stream(),
        places in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let mut decoder = Decoder::new().with_comments(true);
        let (seen, _) = read(&mut decoder, &cut(&stream, &places));
        prop_assert_eq!(seen, interpret(&stream));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_single_split_of_any_bytes_gives_the_same_items(stream in stream()) {
        let expected = interpret(&stream);
        for chunks in chunkings(&stream) {
            let mut decoder = Decoder::new().with_comments(true);
            prop_assert_eq!(&read(&mut decoder, &chunks).0, &expected);
        }
    }

    #[test]
    fn an_item_is_given_out_with_the_byte_that_completes_it(stream in stream()) {
        let mut decoder = Decoder::new().with_comments(true);
        let mut seen = 0;
        for at in 0..stream.len() {
            let mut items = decoder.push(&stream[at..=at]);
            while items.next().is_some() {
                seen += 1;
            }
            prop_assert_eq!(seen, interpret(&stream[..=at]).len());
        }
    }
}
