//! What hostile peers send: each row is refused with its close code, and what it makes this end hold
//! on the heap stays within a bound. A binary of its own, since it counts what a thread allocates.
//! That each is refused at the earliest byte, however it is cut, is in `connection/hostile.rs`.

#![cfg(feature = "alloc")]

mod counting;

use std::time::Duration;

use counting::{held, measure};
use ws_proto::{Assembler, Config, Connection, Event, Header, OpCode, Role, Rule};
#[cfg(feature = "deflate")]
use ws_proto::{Inflater, handshake::DeflateSide};

const MIB: usize = 1 << 20;

/// What a peer sends, and what must come of it.
struct Row {
    what: &'static str,
    wire: Vec<u8>,
    rule: Rule,
    code: u16,
    /// The bytes come from a server.
    at_client: bool,
    /// permessage-deflate was agreed on.
    deflate: bool,
    /// Bytes of one message.
    limit: usize,
    /// What the messages may inflate to before the peer is stopped.
    inflated: usize,
    /// The peer then withholds the rest until this time.
    until: Duration,
}

/// A client's bytes that break a rule.
fn row(code: u16, rule: Rule, what: &'static str, wire: impl Into<Vec<u8>>) -> Row {
    Row {
        what,
        wire: wire.into(),
        rule,
        code,
        at_client: false,
        deflate: false,
        limit: MIB,
        inflated: 0,
        until: Duration::ZERO,
    }
}

impl Row {
    fn at_client(mut self) -> Self {
        self.at_client = true;
        self
    }

    fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    fn withheld(mut self) -> Self {
        self.until = Duration::from_secs(60);
        self
    }

    #[cfg(feature = "deflate")]
    fn deflate(mut self, inflated: usize) -> Self {
        self.deflate = true;
        self.inflated = inflated;
        self
    }
}

/// A frame whose mask changes nothing, so that rows can be read.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&head(first, payload.len() as u64)[..], payload].concat()
}

/// The header of such a frame, which announces this length.
fn head(first: u8, len: u64) -> Vec<u8> {
    let mut header = Header::new(OpCode::Binary, len);
    header.mask = Some([0; 4]);
    let mut bytes = header.encode().to_vec();
    bytes[0] = first;
    bytes
}

fn check(row: &Row) {
    for size in [usize::MAX, 1400, 1] {
        if size == 1 && row.wire.len() > 4 * MIB {
            continue;
        }
        let mut config = Config::default();
        config
            .max_frame(row.limit)
            .max_message(row.limit)
            .compressed(row.deflate);
        if row.at_client {
            run(row, size, Connection::client(config, || [0; 4]));
        } else {
            run(row, size, Connection::server(config));
        }
    }
}

fn run<R: Role>(row: &Row, size: usize, mut connection: Connection<R>) {
    let what = row.what;
    // The bytes are in a buffer of the reader, which is none of the connection's.
    let mut buffer = vec![0; row.wire.len().min(size).max(14)];
    let mut assembler = assembler(row);
    if row.deflate {
        // From the first compressed message on there is a window, which is not counted.
        let mut hello = frame(0xc2, b"\xf2\x48\xcd\xc9\xc9\x07\x00");
        read(&mut connection, &mut assembler, &mut hello).expect("it is a message");
    }

    let before = held();
    let (mut received, mut broken) = (0, Ok(()));
    for piece in row.wire.chunks(size) {
        let bytes = &mut buffer[..piece.len()];
        bytes.copy_from_slice(piece);
        received += piece.len();
        // Negative while there is no window, between a last block and the next one.
        let start = held().wrapping_sub(before).cast_signed();
        let (most, ..) = measure(|| broken = read(&mut connection, &mut assembler, bytes));
        let payload = received.max(row.inflated);
        let now = held().saturating_sub(before);
        let bound = payload + payload / 4 + 4096;
        assert!(now <= bound, "{what}: {now} bytes held for {received}");
        // While what it has grows, the old and the new block may both be there.
        let bound = bound + payload;
        let most = start + most.cast_signed();
        assert!(
            most <= bound.cast_signed(),
            "{what}: {most} bytes once for {received}"
        );
        if broken.is_err() {
            break;
        }
    }
    if row.until > Duration::ZERO {
        assert_eq!(broken, Ok(()), "{what}");
        connection.handle_timeout(row.until - Duration::from_nanos(1));
        assert!(!connection.is_closing(), "{what}");
        connection.handle_timeout(row.until);
    } else {
        assert_eq!(broken, Err(row.rule), "{what}");
    }
    let mut sent = Vec::new();
    connection.poll_transmit(&mut sent);
    assert_eq!(
        last_close(&sent),
        Some((row.code, row.rule.as_str().into()))
    );
}

fn assembler(row: &Row) -> Assembler {
    let assembler = Assembler::new(row.limit);
    #[cfg(feature = "deflate")]
    if row.deflate {
        return assembler.inflating(Inflater::new(DeflateSide::default()));
    }
    assembler
}

/// Takes all events, puts messages together and drops them. Sends nothing, like an end whose peer
/// does not read.
fn read<R: Role>(
    connection: &mut Connection<R>,
    assembler: &mut Assembler,
    bytes: &mut [u8],
) -> Result<(), Rule> {
    let mut refused = Ok(());
    let mut events = connection.push(bytes, Duration::ZERO);
    while let Some(event) = events.next() {
        match event {
            Ok(Event::Data(chunk)) => refused = assembler.push(chunk).map(drop),
            Ok(_) => {}
            Err(violation) => return Err(violation.rule),
        }
        if refused.is_err() {
            break;
        }
    }
    refused.map_err(|violation| {
        let reason = violation.rule.as_str();
        let closed = connection.close(violation.code, reason, Duration::ZERO);
        closed.expect("a violation has a code to be sent");
        violation.rule
    })
}

/// The code and the reason of the Close frame that is the last of these frames.
fn last_close(mut frames: &[u8]) -> Option<(u16, String)> {
    let mut last = None;
    while !frames.is_empty() {
        let Ok(ws_proto::Parsed::Done { header, used }) = Header::parse(frames) else {
            return None;
        };
        let (payload, rest) = frames[used..].split_at(usize::try_from(header.len).ok()?);
        if header.opcode == OpCode::Close {
            let (code, reason) = payload.split_first_chunk::<2>()?;
            let reason = String::from_utf8(reason.to_vec()).ok()?;
            last = Some((u16::from_be_bytes(*code), reason));
        }
        frames = rest;
    }
    last
}

#[test]
fn frames_that_break_the_protocol() {
    use Rule::{
        CloseTooShort, ControlTooLong, FragmentedControl, InterleavedMessage, InvalidCloseCode,
        LengthOverflow, MissingMask, NonMinimalLength, ReservedBits, ReservedOpCode,
        UnexpectedContinuation, UnexpectedMask,
    };
    let refuse = |rule, what, wire: Vec<u8>| check(&row(1002, rule, what, wire));
    refuse(
        MissingMask,
        "a client that does not mask",
        b"\x81\x01a".to_vec(),
    );
    check(
        &row(
            1002,
            UnexpectedMask,
            "a server that masks",
            frame(0x81, b"a"),
        )
        .at_client(),
    );
    refuse(ReservedBits, "RSV1", vec![0xc1]);
    refuse(ReservedBits, "RSV2", vec![0xa1]);
    refuse(ReservedBits, "RSV3", vec![0x91]);
    refuse(ReservedBits, "RSV1 and 16 MiB", head(0xc2, 16 << 20));
    refuse(ReservedOpCode, "an opcode of nobody", vec![0x83]);
    refuse(ReservedOpCode, "a control opcode of nobody", vec![0x8b]);
    refuse(
        NonMinimalLength,
        "126 for one byte",
        b"\x82\xfe\x00\x01".to_vec(),
    );
    let long = b"\x82\xff\0\0\0\0\0\0\xff\xff".to_vec();
    refuse(NonMinimalLength, "127 for 65535", long);
    refuse(
        LengthOverflow,
        "a length of 64 bits",
        vec![0x82, 0xff, 0x80],
    );
    refuse(
        LengthOverflow,
        "a length that wraps",
        vec![0x82, 0xff, 0xff],
    );
    refuse(ControlTooLong, "a Close of 200 bytes", head(0x88, 200));
    refuse(ControlTooLong, "a Ping of 200 bytes", head(0x89, 200));
    refuse(ControlTooLong, "a Pong of 200 bytes", head(0x8a, 200));
    refuse(ControlTooLong, "a Ping of 16 MiB", head(0x89, 16 << 20));
    refuse(FragmentedControl, "a Ping in fragments", vec![0x09]);
    refuse(FragmentedControl, "a Close in fragments", vec![0x08]);
    refuse(
        UnexpectedContinuation,
        "a continuation of nothing",
        vec![0x80],
    );
    let both = [frame(0x01, b"a"), frame(0x01, b"bc")].concat();
    refuse(InterleavedMessage, "a message in a message", both);
    let both = [frame(0x01, b"a"), frame(0x82, b"bc")].concat();
    refuse(InterleavedMessage, "a whole message in a message", both);
    refuse(CloseTooShort, "a Close of one byte", frame(0x88, b"\x03"));
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
        let close = frame(0x88, &u16::to_be_bytes(code));
        refuse(InvalidCloseCode, "a code that is not sent", close);
    }
    let close = frame(0x88, b"\x03\xe8\xff");
    check(&row(
        1007,
        Rule::InvalidCloseReason,
        "a reason that is no text",
        close,
    ));
}

#[test]
fn text_that_is_none() {
    let refuse = |what, wire: Vec<u8>| check(&row(1007, Rule::InvalidUtf8, what, wire));
    refuse("in one frame", frame(0x81, b"ok \xff"));
    refuse("in the first fragment", frame(0x01, b"\xff"));
    let withheld = [&head(0x81, 1000)[..], b"a\xff"].concat();
    refuse("in two bytes of 1000, the rest withheld", withheld);
    refuse("that ends within a character", frame(0x81, b"\xe2\x82"));
    refuse("a surrogate", frame(0x81, b"\xed\xa0\x80"));
    refuse("an overlong form", frame(0x81, b"\xc0\xaf"));
}

#[test]
fn sizes_that_are_announced_hold_nothing_and_those_that_come_are_stopped_at_the_limit() {
    let most = (1 << 63) - 1;
    let refuse = |code, rule, what, wire: Vec<u8>| check(&row(code, rule, what, wire));
    refuse(
        1009,
        Rule::FrameTooBig,
        "16 MiB announced",
        head(0x82, 16 << 20),
    );
    refuse(1009, Rule::FrameTooBig, "2^63 announced", head(0x82, most));
    let many = |payload: &[u8], count: usize| {
        let more = frame(0x00, payload).repeat(count - 1);
        [frame(0x02, payload), more].concat()
    };
    let fragments = many(&vec![7; MIB], 64);
    let fragments = row(
        1009,
        Rule::MessageTooBig,
        "64 fragments of 1 MiB",
        fragments,
    );
    check(&fragments.limit(MIB + 1));
    let tiny = many(b"x", 4097);
    refuse(1008, Rule::TooManyFragments, "fragments of one byte", tiny);
    let empty = many(b"", 4097);
    refuse(1008, Rule::TooManyFragments, "fragments of nothing", empty);

    // Within the limit: what is announced and withheld is nothing, what came is there.
    let withheld = |what, wire: Vec<u8>| row(1008, Rule::MessageTimeout, what, wire).withheld();
    let announced = withheld("16 MiB announced", head(0x82, 16 << 20));
    check(&announced.limit(64 * MIB));
    let some = [&head(0x82, most)[..], &[7; 100_000]].concat();
    check(&withheld("2^63 announced, of which some come", some).limit(usize::MAX));
}

#[test]
fn peers_that_are_slow_or_in_a_hurry() {
    let refuse = |what, wire: Vec<u8>| check(&row(1008, Rule::TooManyPings, what, wire));
    let pings = frame(0x89, &[7; 119]).repeat(200_000);
    refuse("200,000 pings, and none of the pongs read", pings);
    let pongs = frame(0x8a, b"").repeat(200_000);
    refuse("200,000 pongs that nobody asked for", pongs);

    let withheld = |what, wire: Vec<u8>| {
        check(&row(1008, Rule::MessageTimeout, what, wire).withheld());
    };
    withheld("a header that is never whole", vec![0x82]);
    withheld("a frame that is never whole", head(0x81, 9));
    withheld("a ping that is never whole", head(0x89, 9));
    let between = [frame(0x01, b"a"), frame(0x89, b"p").repeat(100)].concat();
    withheld("pings in a message without end", between);
}

#[cfg(feature = "deflate")]
#[test]
fn compression_that_breaks_the_protocol() {
    let refuse =
        |code, rule, what, wire: Vec<u8>| check(&row(code, rule, what, wire).deflate(1024));
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let again = frame(0xc2, b"\xf2\x00\x11\x00\x00");
    let last = frame(0xc2, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00");

    let nobody = "RSV1 that nobody agreed on";
    check(&row(1002, Rule::ReservedBits, nobody, frame(0xc2, hello)));
    let bits = |what, wire| refuse(1002, Rule::ReservedBits, what, wire);
    let fragment = frame(0x41, &hello[..3]);
    bits("RSV1 on a continuation", [fragment, vec![0xc0]].concat());
    bits("RSV1 on a Ping", vec![0xc9]);
    bits("RSV1 on a Close", vec![0xc8]);
    bits("RSV2 though RSV1 is agreed on", vec![0xe1]);

    let deflate = |what, wire| refuse(1007, Rule::InvalidDeflate, what, wire);
    deflate("a block of a type that is none", frame(0xc2, b"\x06"));
    let stored = frame(0xc2, b"\x00\x05\x00\x05\x00");
    deflate("a length that is not its complement's", stored);
    let far = frame(0xc2, b"\xf2\x48\x05\xfe\xff\xff\xff");
    deflate("a distance before the first byte", far);
    deflate("a window from before a last block", [last, again].concat());
    deflate("a message that is cut short", frame(0xc2, &hello[..5]));
    deflate("a message of no bytes", frame(0xc2, b""));

    let utf8 = |what, wire| refuse(1007, Rule::InvalidUtf8, what, wire);
    let withheld = frame(0x41, b"\x00\x01\x00\xfe\xff\xff");
    utf8("text that is none, the rest withheld", withheld);
    let cut = frame(0xc1, b"\x00\x01\x00\xfe\xff\xe2\x00");
    utf8("text that ends within a character", cut);

    let size = |rule, what, wire| refuse(1009, rule, what, wire);
    let big = head(0xc2, 16 << 20);
    size(Rule::FrameTooBig, "a compressed frame of 16 MiB", big);
    let nothing = &b"\x00\x00\x00\xff\xff".repeat(MIB / 5 + 1)[..MIB];
    let endless = [head(0x42, MIB as u64), nothing.to_vec(), head(0x00, 1)].concat();
    size(Rule::MessageTooBig, "blocks of nothing for ever", endless);
}

/// The beginning of a block in which each byte that follows makes 1032 zeros.
#[cfg(feature = "deflate")]
const BOMB: [u8; 15] = *b"\xec\xc1\x01\x0d\x00\x00\x00\xc2\xa0\xf7\x4f\x6d\x0f\x07\x14";

#[cfg(feature = "deflate")]
#[test]
fn bombs_are_stopped_at_the_limit_of_the_message_or_at_the_ratio() {
    let bomb = |zeros| frame(0xc2, &[&BOMB[..], &vec![0; zeros]].concat());
    let refuse = |rule, what, wire: Vec<u8>| row(1009, rule, what, wire);
    let over = refuse(Rule::RatioTooHigh, "a bomb over the ratio", bomb(1 << 10));
    // It is judged every 256 bytes.
    let judged = 258 << 10;
    check(&over.deflate(judged + (64 << 10)));
    // Below 64 KiB nobody asks for the ratio.
    let over = refuse(Rule::MessageTooBig, "a bomb over the limit", bomb(8 << 10));
    check(&over.limit(50_000).deflate(50_000));
    let over = refuse(Rule::FrameTooBig, "a bomb over the frame", bomb(5));
    check(&over.limit(10).deflate(0));
    let more = frame(0x00, &[0; 16]).repeat(4000);
    let fragments = [frame(0x42, &BOMB), more].concat();
    let fragments = refuse(Rule::RatioTooHigh, "a bomb in fragments", fragments);
    check(&fragments.deflate((64 << 10) + judged));
}
