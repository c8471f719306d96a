//! Compressed messages (RFC 7692), against the RFC's examples, cut anywhere, and against bombs.

mod parts;

use core::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use testkit::chunkings;
use ws_proto::handshake::{DeflateSide, WindowBits};
use ws_proto::{
    Assembler, Client, CloseCode, Config, Connection, Deflater, Event, Inflater, Kind, Message,
    Prepared, Rule, SendError,
};

const NOW: Duration = Duration::ZERO;
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn side(no_context_takeover: bool, bits: u8) -> DeflateSide {
    DeflateSide {
        no_context_takeover,
        max_window_bits: WindowBits::new(bits).unwrap(),
    }
}

type Masks = fn() -> [u8; 4];

/// A client that receives, and its assembler.
struct Reader {
    connection: Connection<Client<Masks>>,
    assembler: Assembler,
}

impl Reader {
    fn new(side: DeflateSide, max_message: usize) -> Self {
        let mut config = Config::default();
        config.compressed(true);
        Self {
            connection: Connection::client(config, || KEY),
            assembler: Assembler::new(max_message).inflating(Inflater::new(side)),
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<Vec<Message>, Rule> {
        let mut bytes = bytes.to_vec();
        let mut messages = Vec::new();
        let mut events = self.connection.push(&mut bytes, NOW);
        while let Some(event) = events.next() {
            if let Event::Data(chunk) = event.map_err(|violation| violation.rule)? {
                let message = self.assembler.push(chunk);
                messages.extend(message.map_err(|violation| violation.rule)?);
            }
        }
        Ok(messages)
    }
}

/// The wire gives these messages, or ends with this rule, wherever it is cut, put together or piece
/// by piece.
#[track_caller]
fn check(side: DeflateSide, wire: &[u8], expected: Result<&[Message], Rule>) {
    for chunks in chunkings(wire) {
        let mut reader = Reader::new(side, 1 << 20);
        let mut messages = Vec::new();
        let outcome = chunks.iter().try_for_each(|chunk| {
            messages.extend(reader.read(chunk)?);
            Ok(())
        });
        assert_eq!(
            outcome.map(|()| &messages[..]),
            expected,
            "from {chunks:02x?}"
        );
        for size in [1, 2, 1000] {
            let mut reader = parts::Reader::new(side, size);
            let outcome = chunks.iter().try_for_each(|chunk| reader.read(chunk));
            assert_eq!(
                outcome.map(|()| &reader.messages[..]),
                expected,
                "{size} bytes at a time, from {chunks:02x?}"
            );
        }
    }
}

fn text(text: &str) -> Message {
    Message::Text(text.into())
}

#[test]
fn the_examples_of_the_rfc_are_inflated() {
    let hello = [text("Hello")];
    let twice = [text("Hello"), text("Hello")];
    let shared = side(false, 15);
    // 7.2.3.1, whole and in fragments.
    let one = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    check(shared, one, Ok(&hello));
    let fragments = b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00";
    check(shared, fragments, Ok(&hello));
    // 7.2.3.2, the window shared by two messages, and not.
    let again = b"\xc1\x05\xf2\x00\x11\x00\x00";
    check(shared, &[&one[..], again].concat(), Ok(&twice));
    check(side(true, 15), &[&one[..], one].concat(), Ok(&twice));
    let lost = [&one[..], again].concat();
    check(side(true, 15), &lost, Err(Rule::InvalidDeflate));
    // 7.2.3.3, a block without compression.
    let stored = b"\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00";
    check(shared, stored, Ok(&hello));
    // 7.2.3.5, two blocks.
    let blocks = b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00";
    check(shared, blocks, Ok(&hello));
    // 7.2.3.6, nothing.
    check(shared, b"\xc1\x01\x00", Ok(&[text("")]));
}

/// "Hello" in a block with BFINAL (RFC 7692 section 7.2.3.4).
const LAST: [u8; 10] = *b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00";

#[test]
fn behind_a_last_block_messages_go_on_with_an_empty_window() {
    let shared = side(false, 15);
    let one = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    let again = b"\xc1\x05\xf2\x00\x11\x00\x00";
    check(shared, &LAST, Ok(&[text("Hello")]));
    let hellos = [(); 4].map(|()| text("Hello"));
    // Of one whose compressor began anew, and then takes the context over.
    let all = [&LAST[..], one, again, again].concat();
    check(shared, &all, Ok(&hellos));
    let all = [&one[..], again, &LAST, &LAST].concat();
    check(shared, &all, Ok(&hellos));
    // Within a message: another block behind the last one.
    let both = b"\xc1\x0e\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x48\xcd\xc9\xc9\x07\x00";
    check(shared, both, Ok(&[text("HelloHello")]));
    // Who reaches back before it is refused, not misunderstood.
    let back = [&LAST[..], again].concat();
    check(shared, &back, Err(Rule::InvalidDeflate));
    let back = [&one[..], &LAST, again].concat();
    check(shared, &back, Err(Rule::InvalidDeflate));
}

#[test]
fn a_message_that_does_not_end_within_an_empty_block_is_refused() {
    // 7.2.3.1 and 7.2.3.3, cut short; nothing at all; and a last block alone.
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let stored = b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00";
    let cut_short = (0..hello.len()).map(|len| hello[..len].to_vec());
    let cut_short = cut_short.chain((1..stored.len()).map(|len| stored[..len].to_vec()));
    let kept_tail = [&hello[..], b"\x00\x00\xff\xff"].concat();
    let no_more = LAST[2..9].to_vec();
    let dynamic = {
        // A block with codes of its own, of which there are too few symbols.
        let mut deflater = Deflater::new(side(false, 15)).level(9);
        let noise: Vec<u8> = (0..4000_u32).map(|n| (n * n % 61) as u8).collect();
        let wire = write(&mut deflater, &[(&noise, true)]);
        [10, 40, 70].map(|len| wire[4..4 + len].to_vec())
    };
    let wrong = cut_short.chain([kept_tail, no_more]).chain(dynamic);
    for payload in wrong {
        // One byte is the empty block that a message ends with, and right.
        if payload == [0] {
            continue;
        }
        let len = u16::try_from(payload.len()).unwrap();
        let header = match u8::try_from(len) {
            Ok(len @ ..126) => vec![0xc2, len],
            _ => [&[0xc2, 126][..], &len.to_be_bytes()].concat(),
        };
        let mut reader = Reader::new(side(false, 15), 1 << 20);
        let outcome = reader.read(&[header, payload.clone()].concat());
        assert_eq!(outcome, Err(Rule::InvalidDeflate), "{payload:02x?}");
    }
}

#[test]
fn a_compressed_message_may_have_other_frames_between_and_an_uncompressed_one_behind_it() {
    let wire = b"\x41\x03\xf2\x48\xcd\x89\x00\x00\x00\x80\x04\xc9\xc9\x07\x00\x81\x02ok";
    check(side(false, 15), wire, Ok(&[text("Hello"), text("ok")]));
}

#[test]
fn rsv1_belongs_to_the_first_frame_of_a_message_and_to_nothing_else() {
    let wire = b"\x41\x03\xf2\x48\xcd\xc0\x04\xc9\xc9\x07\x00";
    check(side(false, 15), wire, Err(Rule::ReservedBits));
    for first in [0xc8, 0xc9, 0xca, 0xa1, 0x91, 0xe1, 0xf2] {
        check(side(false, 15), &[first, 0], Err(Rule::ReservedBits));
    }
    // Not agreed on: refused on its first byte.
    let mut connection = Connection::client(Config::default(), || KEY);
    let mut bytes = [0xc1];
    let violation = connection
        .push(&mut bytes, NOW)
        .next()
        .unwrap()
        .unwrap_err();
    assert_eq!(violation.rule, Rule::ReservedBits);
}

#[test]
fn what_is_not_deflate_or_not_text_is_refused() {
    check(
        side(false, 15),
        b"\xc1\x02\xff\xff",
        Err(Rule::InvalidDeflate),
    );
    check(
        side(false, 15),
        b"\xc2\x03\x00\x05\x00",
        Err(Rule::InvalidDeflate),
    );
    // A stored block with a bad byte, then the promise of more: refused before that comes.
    let stored = b"\x41\x07\x00\x01\x00\xfe\xff\xff\x00";
    check(side(false, 15), stored, Err(Rule::InvalidUtf8));
    assert_eq!(
        Rule::InvalidDeflate.close_code(),
        CloseCode::INVALID_PAYLOAD
    );
    assert_eq!(
        Rule::InvalidDeflate.to_string(),
        "message cannot be inflated (RFC 7692 section 7.2.2)"
    );
}

/// The frames of these messages, and what the deflater costs: `None` is sent uncompressed.
fn write(deflater: &mut Deflater, messages: &[(&[u8], bool)]) -> Vec<u8> {
    let mut connection = Connection::server(Config::default());
    let mut out = Vec::new();
    for (message, compressed) in messages {
        if *compressed {
            connection
                .send_compressed(Kind::Binary, message, deflater, &mut out)
                .unwrap();
        } else {
            connection.send(Kind::Binary, message, &mut out).unwrap();
        }
    }
    out
}

#[test]
fn a_bomb_is_stopped_at_the_limit_of_the_message_and_before_that_at_the_ratio() {
    let zeros = vec![0; 8 << 20];
    for level in [1, 9] {
        let mut deflater = Deflater::new(side(false, 15)).level(level);
        let wire = write(&mut deflater, &[(&zeros, true)]);
        assert!(
            wire.len() < zeros.len() / 100,
            "it is a bomb: {}",
            wire.len()
        );
        for (max_message, ratio, expected) in [
            (1 << 20, u32::MAX, Rule::MessageTooBig),
            ((8 << 20) - 1, u32::MAX, Rule::MessageTooBig),
            (8 << 20, 50, Rule::RatioTooHigh),
        ] {
            let mut reader = Reader::new(side(false, 15), max_message);
            let inflater = Inflater::new(side(false, 15)).max_ratio(ratio);
            reader.assembler = Assembler::new(max_message).inflating(inflater);
            assert_eq!(reader.read(&wire), Err(expected));
        }
        let mut reader = Reader::new(side(false, 15), 8 << 20);
        let inflater = Inflater::new(side(false, 15)).max_ratio(1100);
        reader.assembler = Assembler::new(8 << 20).inflating(inflater);
        assert_eq!(reader.read(&wire), Ok(vec![Message::Binary(zeros.clone())]));
    }
}

#[test]
fn the_context_of_earlier_messages_is_taken_over_unless_agreed_otherwise() {
    let message = br#"{"type":"event","topic":"orders/42","data":{"price":1724,"side":"buy"}}"#;
    let sizes = |side| {
        let mut deflater = Deflater::new(side);
        [0; 3].map(|_| write(&mut deflater, &[(message, true)]).len())
    };
    let [first, second, third] = sizes(side(false, 15));
    assert!(
        second * 3 < first && third == second,
        "{first} {second} {third}"
    );
    let [first, second, third] = sizes(side(true, 15));
    assert_eq!([first, first], [second, third]);
}

#[test]
fn a_message_that_is_refused_leaves_the_compressor_as_it_was() {
    let mut deflater = Deflater::new(side(false, 15));
    let mut connection = Connection::server(Config::default());
    let mut out = Vec::new();
    let mut send = |connection: &mut Connection<_>, kind, payload: &[u8]| {
        connection.send_compressed(kind, payload, &mut deflater, &mut out)
    };
    assert_eq!(send(&mut connection, Kind::Text, b"one"), Ok(()));
    let refused = send(&mut connection, Kind::Text, b"\xff and more");
    assert_eq!(refused, Err(SendError::InvalidUtf8));
    let mut other = Connection::server(Config::default());
    other.close(CloseCode::NORMAL, "", NOW).unwrap();
    let refused = send(&mut other, Kind::Text, b"too late to be sent");
    assert_eq!(refused, Err(SendError::Closing));
    assert_eq!(send(&mut connection, Kind::Text, b"one and more"), Ok(()));
    let mut reader = Reader::new(side(false, 15), 100);
    assert_eq!(
        reader.read(&out),
        Ok(vec![text("one"), text("one and more")])
    );
}

#[test]
fn a_prepared_message_is_compressed_only_for_those_who_can_inflate_it_by_itself() {
    let long = "a long message, a long message, a long message";
    let mut shared = Deflater::new(side(true, 12));
    let message = Prepared::text(long).with_deflate(&mut shared);
    for (agreed, compressed) in [
        (None, false),
        (Some(side(false, 15)), false),
        (Some(side(true, 11)), false),
        (Some(side(true, 12)), true),
        (Some(side(true, 15)), true),
    ] {
        let mut server = Connection::server(Config::default());
        let frame = server.send_prepared(&message, agreed).unwrap();
        assert_eq!(frame[0], if compressed { 0xc1 } else { 0x81 }, "{agreed:?}");
        assert_eq!(frame.as_ptr(), message.frame(agreed).as_ptr(), "not copied");
        let mut reader = Reader::new(agreed.unwrap_or_default(), 100);
        assert_eq!(reader.read(&frame), Ok(vec![text(long)]));
        assert_eq!(reader.read(&frame), Ok(vec![text(long)]));
    }
    // What does not get smaller stays as it is, and the compressor is none the worse for it.
    let short = Prepared::binary(b"x").with_deflate(&mut shared);
    assert_eq!(short.frame(Some(side(true, 15))), &b"\x82\x01x"[..]);
    let again = Prepared::text(long).with_deflate(&mut shared);
    let all = Some(side(true, 15));
    assert_eq!(again.frame(all), message.frame(all));
}

#[test]
#[should_panic(expected = "without context takeover")]
fn a_message_is_not_prepared_with_the_context_of_one_connection() {
    let _ = Prepared::text("x").with_deflate(&mut Deflater::new(side(false, 15)));
}

/// A message that resembles others, with noise, at times larger than any window.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => prop::sample::select(vec!["{\"seq\":", "\"topic\":\"a/b\"", "},", "0", "aaaaaaaa"])
            .prop_map(|word| word.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..300),
    ];
    (vec(word, 0..40), 1..60_usize).prop_map(|(words, times)| words.concat().repeat(times))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Messages sent uncompressed are in neither window. That the distances are within the window agreed
    /// on is for `cargo xtask conformance wsproto` to see: zlib-rs inflates any.
    #[test]
    fn what_one_end_compresses_the_other_inflates_with_every_window_and_level(
        messages in vec((payload(), prop::bool::weighted(0.8)), 1..6),
        bits in 8..=15_u8,
        level in 1..=9_u8,
        no_context_takeover: bool,
        cut in 1..5000_usize,
    ) {
        let side = side(no_context_takeover, bits);
        let mut deflater = Deflater::new(side).level(level);
        let parts: Vec<_> = messages.iter().map(|(bytes, how)| (&bytes[..], *how)).collect();
        let wire = write(&mut deflater, &parts);
        let mut reader = Reader::new(side, usize::MAX);
        reader.connection = {
            let mut config = Config::default();
            config.compressed(true).max_frame(usize::MAX).max_message(usize::MAX);
            Connection::client(config, || KEY)
        };
        reader.assembler =
            Assembler::new(usize::MAX).inflating(Inflater::new(side).max_ratio(u32::MAX));
        let mut read = Vec::new();
        for chunk in wire.chunks(cut) {
            read.extend(reader.read(chunk).unwrap());
        }
        let expected = messages.into_iter().map(|(bytes, _)| Message::Binary(bytes));
        prop_assert_eq!(read, expected.collect::<Vec<_>>());
    }

    #[test]
    fn bytes_that_nobody_compressed_do_no_harm(
        bytes in vec(any::<u8>(), 126..250),
        bits in 8..=15_u8,
    ) {
        let mut reader = Reader::new(side(false, bits), 4096);
        let wire = [&[0xc2, 126, 0, u8::try_from(bytes.len()).unwrap()][..], &bytes].concat();
        for message in reader.read(&wire).into_iter().flatten() {
            let Message::Binary(bytes) = message else { panic!("it was binary") };
            prop_assert!(bytes.len() <= 4096);
        }
    }
}
