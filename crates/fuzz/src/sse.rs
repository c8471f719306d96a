//! Event streams.

use std::time::Duration;

use sse_proto::source::{Action, End, Mode, Resilience, Response, Sentinel, Source, State};
use sse_proto::{Decoder, EventId, EventName, EventRef, Excess, Frame, Incomplete, Item, Limits};

/// Any bytes in any pieces: the items do not depend on the pieces, and no limit is exceeded. The
/// first byte says which limits and the second where the pieces end.
pub fn decode(input: &[u8]) {
    let [how, cut, stream @ ..] = input else {
        return;
    };
    let mut limits = Limits::new();
    let max_event = if how & 1 == 0 { 1 << 20 } else { 12 };
    limits.max_event(max_event);
    if how & 2 != 0 {
        limits.max_line(usize::from(how >> 3)).max_id(3);
    }
    if how & 4 != 0 {
        limits.on_excess(Excess::Stop);
    }
    let decoder = Decoder::with_limits(limits).with_comments(how & 8 != 0);
    let whole = read(decoder.clone(), [stream], max_event);
    let size = usize::from(cut % 32) + 1;
    assert_eq!(read(decoder.clone(), stream.chunks(size), max_event), whole);
    let (head, tail) = stream.split_at(stream.len() * usize::from(*cut) / 256);
    assert_eq!(read(decoder.clone(), [head, tail], max_event), whole);
    assert_eq!(read_owned(decoder, stream.chunks(size)), whole.0);
}

fn read_owned<'c>(mut decoder: Decoder, chunks: impl IntoIterator<Item = &'c [u8]>) -> Vec<String> {
    let mut seen = Vec::new();
    for chunk in chunks {
        let mut items = decoder.push(chunk);
        while let Some(item) = items.next_owned() {
            seen.push(match &item {
                Item::Event(event) => {
                    assert!(event.data.capacity() <= 2 * event.data.len() + 1);
                    let (event, data, id) = (&event.event, &event.data, &event.id);
                    format!("{:?}", Item::Event(EventRef { event, data, id }))
                }
                item => format!("{item:?}"),
            });
        }
    }
    seen
}

fn read<'c>(
    mut decoder: Decoder,
    chunks: impl IntoIterator<Item = &'c [u8]>,
    max_event: usize,
) -> (Vec<String>, Incomplete, String, Option<Duration>) {
    let mut seen = Vec::new();
    for chunk in chunks {
        let mut items = decoder.push(chunk);
        while let Some(item) = items.next() {
            if let Item::Event(event) = item {
                // Of each byte received, a U+FFFD of three may have been made.
                assert!(event.data.replace('\u{fffd}', "?").len() <= max_event);
                assert!(!event.event.is_empty() && !event.id.contains('\0'));
                assert!(!event.data.contains('\r') && !event.event.contains(['\r', '\n']));
            }
            seen.push(format!("{item:?}"));
        }
    }
    let incomplete = decoder.finish();
    let id = decoder.last_event_id().to_owned();
    (seen, incomplete, id, decoder.retry())
}

/// Any strings in a frame: what decodes is what was encoded and nothing else. The strings are split
/// at bytes FF, which are in no string.
pub fn encode(input: &[u8]) {
    let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
    let mut parts = input.split(|byte| *byte == 0xff).map(text);
    let mut part = || parts.next().filter(|text| text != "none");
    let (name, id, comment, data) = (part(), part(), part(), part());

    let mut frame = Frame::new();
    let mut expected = ["message".to_owned(), String::new(), "before".to_owned()];
    if let Some(Ok(name)) = name.as_deref().map(EventName::new) {
        frame = frame.event(name);
        if !name.as_str().is_empty() {
            expected[0] = name.as_str().to_owned();
        }
    }
    if let Some(Ok(id)) = id.as_deref().map(EventId::new) {
        frame = frame.id(id);
        expected[2] = id.as_str().to_owned();
    }
    if let Some(comment) = &comment {
        frame = frame.comment(comment);
    }
    if let Some(data) = &data {
        frame = frame.data(data);
        expected[1] = data.replace("\r\n", "\n").replace('\r', "\n");
    }
    let mut wire = Vec::new();
    frame.encode_to(&mut wire);
    assert_eq!(wire.len(), frame.encoded_len());

    let mut decoder = Decoder::new();
    decoder.seed_last_event_id("before");
    let mut events = Vec::new();
    let mut items = decoder.push(&wire);
    while let Some(item) = items.next() {
        match item {
            Item::Event(event) => {
                events.push([event.event, event.data, event.id].map(str::to_owned))
            }
            Item::Id(id) => assert_eq!(id, expected[2]),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(decoder.last_event_id(), expected[2]);
    assert_eq!(decoder.finish(), Incomplete::No);
    assert_eq!(
        events,
        if data.is_some() {
            vec![expected]
        } else {
            vec![]
        }
    );
}

/// Any calls in any order: the state and the action agree, the end is final, time is kept.
pub fn source(input: &[u8]) {
    let [mode, calls @ ..] = input else {
        return;
    };
    let mode = match mode % 4 {
        0 => Mode::Browser,
        1 => Mode::Resilient(Resilience::new()),
        2 => Mode::SingleShot(None),
        _ => Mode::SingleShot(Some(Sentinel::Data("x"))),
    };
    let mut source = Source::new("http://a.test/", mode, |attempt| {
        assert!(attempt.failures > 0);
        (attempt.entropy != 9).then(|| Duration::from_millis(attempt.entropy))
    });
    let mut now = Duration::ZERO;
    for pair in calls.chunks_exact(2) {
        let (call, value) = (pair[0], pair[1]);
        let closed = source.state() == State::Closed;
        let before = format!("{:?}", source.action());
        let entropy = u64::from(value);
        now += Duration::from_millis(entropy * 20);
        match call % 10 {
            0 => drop(source.handle_timeout(now)),
            1 => drop(source.handle_response(Response::new(u16::from(value) * 4), now, entropy)),
            2 => {
                let response = Response::new(200).content_type(b"text/event-stream");
                drop(source.handle_response(response, now, entropy));
            }
            3 => drop(source.handle_redirect(300 + u16::from(value % 10), "http://b.test/")),
            4 => drop(source.handle_end(End::Eof, now, entropy)),
            5 => drop(source.handle_end(End::Network, now, entropy)),
            6 if value == 0 => drop(source.handle_end(End::Aborted, now, entropy)),
            7 if value == 0 => drop(source.close()),
            _ => {
                let chunk: &[u8] = match value % 8 {
                    0 => b"data: x\n\n",
                    1 => b"id: 7\ndata",
                    2 => b": y\n",
                    3 => b"\n",
                    4 => b"retry: 0\n",
                    5 => b"retry: 99999999999999999\n",
                    6 => b"id: \x01\n\n",
                    _ => b"event: e\ndata\n\n",
                };
                let open = source.state() == State::Open;
                let mut items = source.push(chunk);
                while let Some(item) = items.next() {
                    assert!(open, "{item:?}");
                }
            }
        }
        if closed {
            assert_eq!(format!("{:?}", source.action()), before);
        }
        let state = match source.action() {
            Action::Connect(connect) => {
                assert!(
                    connect.last_event_id != Some(b"") && connect.last_event_id != Some(b"\x01")
                );
                State::Connecting
            }
            Action::WaitUntil(at) => {
                assert_eq!(source.poll_timeout(), Some(at));
                State::Connecting
            }
            Action::Open => State::Open,
            _ => State::Closed,
        };
        assert_eq!(source.state(), state);
        assert_eq!(
            source.poll_timeout().is_some(),
            matches!(source.action(), Action::WaitUntil(_))
        );
    }
}
