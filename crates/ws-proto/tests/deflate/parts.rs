//! Messages that are compressed, sent, inflated and handed on in parts.

use proptest::collection::vec;
use proptest::prelude::*;
use ws_proto::handshake::DeflateSide;
use ws_proto::{
    Chunk, Client, CloseCode, Config, Connection, Deflater, Event, Fragment, Inflater, Kind,
    Message, Rule, SendError, Server,
};

use crate::{KEY, Masks, NOW, side, text};

/// A client that inflates chunk by chunk, and writes down what comes of it.
pub(crate) struct Reader {
    connection: Connection<Client<Masks>>,
    pub(crate) inflater: Inflater,
    buffer: Vec<u8>,
    /// The message that is not over, if one is.
    open: Option<(Kind, Vec<u8>)>,
    pub(crate) messages: Vec<Message>,
}

impl Reader {
    /// Inflates so many bytes at a time.
    pub(crate) fn new(side: DeflateSide, size: usize) -> Self {
        let mut config = Config::default();
        Self {
            connection: Connection::client(*config.compressed(true), || KEY),
            inflater: Inflater::new(side),
            buffer: vec![0; size],
            open: None,
            messages: Vec::new(),
        }
    }

    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<(), Rule> {
        let mut bytes = bytes.to_vec();
        let mut events = self.connection.push(&mut bytes, NOW);
        while let Some(event) = events.next() {
            let Event::Data(chunk) = event.map_err(|violation| violation.rule)? else {
                continue;
            };
            let mut pieces = self.inflater.push(chunk, &mut self.buffer);
            while let Some(piece) = pieces.next() {
                let piece = piece.map_err(|violation| violation.rule)?;
                assert!(!piece.compressed && piece.first == self.open.is_none());
                let (kind, so_far) = self.open.get_or_insert((piece.kind, Vec::new()));
                assert_eq!(*kind, piece.kind);
                so_far.extend_from_slice(piece.payload);
                if piece.last {
                    self.messages.extend(self.open.take().map(message));
                }
            }
        }
        Ok(())
    }

    fn so_far(&self) -> &[u8] {
        self.open.as_ref().map_or(&[], |(_, so_far)| so_far)
    }
}

fn message((kind, bytes): (Kind, Vec<u8>)) -> Message {
    match kind {
        Kind::Text => Message::Text(String::from_utf8(bytes).expect("it was validated")),
        Kind::Binary => Message::Binary(bytes),
    }
}

#[test]
fn fragments_are_compressed_each_and_inflated_as_they_come() {
    for no_context_takeover in [false, true] {
        let side = side(no_context_takeover, 15);
        let mut server = Connection::server(Config::default());
        let mut deflater = Deflater::new(side);
        let mut reader = Reader::new(side, 16);
        let mut so_far = Vec::new();
        for round in 0..2 {
            for (index, part) in ["one part, ", "", "one part, \u{20ac}"].iter().enumerate() {
                let mut wire = Vec::new();
                server
                    .send_fragment_compressed(
                        Kind::Text,
                        Fragment::More,
                        part.as_bytes(),
                        &mut deflater,
                        &mut wire,
                    )
                    .unwrap();
                let first = if index == 0 { 0x41 } else { 0x00 };
                assert_eq!(wire[0], first, "RSV1 is on the first fragment alone");
                so_far.extend_from_slice(part.as_bytes());
                reader.read(&wire).unwrap();
                assert_eq!(reader.so_far(), so_far);
            }
            let mut wire = Vec::new();
            let last = ["", "the end"][round];
            server
                .send_fragment_compressed(
                    Kind::Text,
                    Fragment::Last,
                    last.as_bytes(),
                    &mut deflater,
                    &mut wire,
                )
                .unwrap();
            assert_eq!(wire[0], 0x80);
            reader.read(&wire).unwrap();
            so_far.extend_from_slice(last.as_bytes());
            let expected = String::from_utf8(core::mem::take(&mut so_far)).unwrap();
            assert_eq!(reader.messages, [text(&expected)]);
            reader.messages.clear();
        }
    }
}

#[test]
fn fragments_of_one_message_are_all_compressed_or_none_is() {
    let mut server = Connection::server(Config::default());
    let mut deflater = Deflater::new(side(false, 15));
    let mut out = Vec::new();
    let mut compressed = |server: &mut Connection<Server>, kind, fragment, part: &[u8]| {
        let len = out.len();
        let sent = server.send_fragment_compressed(kind, fragment, part, &mut deflater, &mut out);
        assert_eq!(
            sent.is_err(),
            out.len() == len,
            "what was refused wrote nothing"
        );
        sent
    };
    use Fragment::{Last, More};
    let changed = Err(SendError::KindChanged);
    assert_eq!(
        compressed(&mut server, Kind::Text, More, b"\xe2\x82"),
        Ok(())
    );
    let plain = server.send_fragment(Kind::Text, Last, b"\xac", &mut Vec::new());
    assert_eq!(plain, changed);
    assert_eq!(compressed(&mut server, Kind::Binary, Last, b""), changed);
    let cut = compressed(&mut server, Kind::Text, Last, b"");
    assert_eq!(cut, Err(SendError::InvalidUtf8));
    let whole = server.send_compressed(
        Kind::Text,
        b"whole",
        &mut Deflater::new(side(false, 15)),
        &mut Vec::new(),
    );
    assert_eq!(whole, Err(SendError::MessageUnfinished));
    assert_eq!(compressed(&mut server, Kind::Text, Last, b"\xac"), Ok(()));

    server
        .send_fragment(Kind::Binary, More, b"plain", &mut Vec::new())
        .unwrap();
    assert_eq!(compressed(&mut server, Kind::Binary, Last, b""), changed);
    server.close(CloseCode::NORMAL, "", NOW).unwrap();
    let late = compressed(&mut server, Kind::Binary, Last, b"");
    assert_eq!(late, Err(SendError::Closing));

    // None of what was refused is in the window of the one deflater.
    let mut reader = Reader::new(side(false, 15), 100);
    reader.read(&out).unwrap();
    assert_eq!(reader.messages, [text("\u{20ac}")]);
}

#[test]
fn what_is_not_compressed_comes_back_as_it_is() {
    let mut inflater = Inflater::new(side(false, 15));
    let chunk = Chunk {
        kind: Kind::Binary,
        payload: b"\xc1\xff",
        compressed: false,
        first: false,
        last: true,
    };
    let mut pieces = inflater.push(chunk, &mut []);
    assert_eq!(pieces.next(), Some(Ok(chunk)));
    assert_eq!(pieces.next(), None);
}

#[test]
#[should_panic(expected = "into a buffer")]
fn a_buffer_of_nothing_takes_no_pieces() {
    let chunk = Chunk {
        kind: Kind::Binary,
        payload: b"\0",
        compressed: true,
        first: true,
        last: true,
    };
    let _ = Inflater::new(side(false, 15)).push(chunk, &mut []);
}

#[test]
fn a_stream_of_pieces_has_the_limits_too_by_default_and_ends_with_its_violation() {
    // 2 MiB of zeros in one message.
    let wire = crate::write(
        &mut Deflater::new(side(false, 15)),
        &[(&vec![0; 2 << 20], true)],
    );
    for (max_message, max_ratio, expected) in [
        (None, Some(1100), Err(Rule::MessageTooBig)),
        (Some(4 << 20), Some(50), Err(Rule::RatioTooHigh)),
        (Some((2 << 20) - 1), Some(1100), Err(Rule::MessageTooBig)),
        (Some(2 << 20), Some(1100), Ok(())),
    ] {
        let mut reader = Reader::new(side(false, 15), 777);
        if let Some(bytes) = max_message {
            reader.inflater = reader.inflater.max_message(bytes);
        }
        if let Some(ratio) = max_ratio {
            reader.inflater = reader.inflater.max_ratio(ratio);
        }
        assert_eq!(
            reader.read(&wire),
            expected,
            "{max_message:?} {max_ratio:?}"
        );
        let most = max_message.unwrap_or(1 << 20);
        assert!(reader.so_far().len() <= most, "{}", reader.so_far().len());
        // Who reads on all the same is told the same.
        let more = Chunk {
            kind: Kind::Binary,
            payload: &[0; 100],
            compressed: true,
            first: false,
            last: false,
        };
        let mut buffer = [0; 100];
        let mut pieces = reader.inflater.push(more, &mut buffer);
        let again = pieces.next();
        if expected == Err(Rule::MessageTooBig) {
            let again = again.and_then(Result::err).map(|violation| violation.rule);
            assert_eq!(again, expected.err());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Whole and fragmented, compressed and not, from both ends, with every window; cut anywhere.
    #[test]
    fn messages_are_read_as_they_were_sent_in_any_parts(
        messages in vec((crate::payload(), any::<bool>(), 0..4_usize), 1..6),
        bits in 8..=15_u8,
        no_context_takeover: bool,
        from_client: bool,
        size in 1..3000_usize,
        cut in 1..5000_usize,
    ) {
        let side = side(no_context_takeover, bits);
        let mut deflater = Deflater::new(side);
        let wire = if from_client {
            let client = Connection::client(Config::default(), || KEY);
            unmasked(&send(client, &mut deflater, &messages))
        } else {
            send(Connection::server(Config::default()), &mut deflater, &messages)
        };
        let mut reader = Reader::new(side, size);
        let inflater = Inflater::new(side).max_ratio(u32::MAX).max_message(usize::MAX);
        reader.inflater = inflater;
        for chunk in wire.chunks(cut) {
            prop_assert_eq!(reader.read(chunk), Ok(()));
        }
        let expected = messages.into_iter().map(|(bytes, ..)| Message::Binary(bytes));
        prop_assert_eq!(reader.messages, expected.collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// The same messages before the same violation, whatever the size of what arrives and of the
    /// buffer, also of what nobody compressed and of what goes beyond a limit.
    #[test]
    fn a_compressed_stream_gives_the_same_in_any_pieces(
        messages in vec(crate::payload(), 1..4),
        spoilt in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        max_message in prop::sample::select(vec![100, 5000, 1 << 20]),
        max_ratio in prop::sample::select(vec![2, 30, 1100]),
        sizes in vec((1..300_usize, 1..3000_usize), 1..4),
    ) {
        let side = side(false, 15);
        let parts = messages.iter().map(|bytes| (&bytes[..], true)).collect::<Vec<_>>();
        let mut wire = crate::write(&mut Deflater::new(side), &parts);
        for (at, byte) in spoilt {
            let at = at.index(wire.len());
            wire[at] ^= byte;
        }
        let read = |piece, buffer| {
            let mut reader = Reader::new(side, buffer);
            let inflater = Inflater::new(side).max_ratio(max_ratio).max_message(max_message);
            reader.inflater = inflater;
            let outcome = wire.chunks(piece).try_for_each(|piece| reader.read(piece));
            (reader.messages, outcome)
        };
        let whole = read(usize::MAX, 1 << 16);
        for (piece, buffer) in sizes {
            prop_assert_eq!(&read(piece, buffer), &whole, "{} at a time", piece);
        }
        prop_assert_eq!(&read(1, 1), &whole);
    }
}

/// The frames of messages, each compressed or not and in so many fragments, or in one frame for 0.
fn send<R: ws_proto::Role>(
    mut connection: Connection<R>,
    deflater: &mut Deflater,
    messages: &[(Vec<u8>, bool, usize)],
) -> Vec<u8> {
    let mut out = Vec::new();
    for (bytes, compressed, fragments) in messages {
        let kind = Kind::Binary;
        let size = bytes.len().div_ceil((*fragments).max(1)).max(1);
        let mut parts = bytes.chunks(size).collect::<Vec<_>>();
        let last = parts.pop().unwrap_or_default();
        let sent = match (fragments, compressed) {
            (0, false) => connection.send(kind, bytes, &mut out),
            (0, true) => connection.send_compressed(kind, bytes, deflater, &mut out),
            (_, compressed) => {
                let parts = parts.into_iter().map(|part| (Fragment::More, part));
                let mut parts = parts.chain([(Fragment::Last, last)]);
                parts.try_for_each(|(fragment, part)| match compressed {
                    false => connection.send_fragment(kind, fragment, part, &mut out),
                    true => connection
                        .send_fragment_compressed(kind, fragment, part, deflater, &mut out),
                })
            }
        };
        sent.unwrap();
    }
    out
}

/// What a client sent, as if a server had: what a relay does.
fn unmasked(wire: &[u8]) -> Vec<u8> {
    use ws_proto::{Header, Parsed, apply_mask};
    let (mut rest, mut out) = (wire, Vec::new());
    while !rest.is_empty() {
        let Ok(Parsed::Done { mut header, used }) = Header::parse(rest) else {
            panic!("a client's frame has a header")
        };
        let (head, tail) = rest.split_at(used);
        assert_eq!(head.len(), header.encode().len());
        let (payload, tail) = tail.split_at(usize::try_from(header.len).unwrap());
        let mut payload = payload.to_vec();
        apply_mask(&mut payload, header.mask.take().expect("a mask"), 0);
        out.extend_from_slice(&header.encode());
        out.extend_from_slice(&payload);
        rest = tail;
    }
    out
}
