//! Input that breaks a rule or goes to a limit.

use std::time::Duration;

use testkit::chunkings;
use ws_proto::{Assembler, Chunk, Config, Connection, Kind, Message, OpCode, Role, Rule};

use crate::{ORIGIN, Seen, client, masked, read, server, transmit, unmasked};

/// `input` ends with the byte that breaks `rule`: that byte is enough, and each one before it
/// raises nothing. However it is cut.
#[track_caller]
fn check<R: Role>(new: impl Fn() -> Connection<R>, input: &[u8], rule: Rule) {
    let (_, before) = input.split_last().expect("there is a byte to be wrong");
    let seen = read(&mut new(), &[before]);
    assert!(
        !seen
            .iter()
            .any(|seen| matches!(seen, Seen::Broken(_) | Seen::Close(..))),
        "raised early: {seen:?}"
    );
    for chunks in chunkings(input) {
        let seen = read(&mut new(), &chunks);
        assert_eq!(seen.last(), Some(&Seen::Broken(rule)), "from {chunks:02x?}");
    }
}

#[track_caller]
fn check_server(input: &[u8], rule: Rule) {
    check(server, input, rule);
}

#[track_caller]
fn check_client(input: &[u8], rule: Rule) {
    check(client, input, rule);
}

#[test]
fn the_first_byte_is_judged_alone() {
    for reserved in [0x40, 0x20, 0x10, 0x70] {
        check_server(&[0x81 | reserved], Rule::ReservedBits);
        check_client(&[0x89 | reserved], Rule::ReservedBits);
    }
    for opcode in (0x3..=0x7).chain(0xb..=0xf) {
        check_server(&[0x80 | opcode], Rule::ReservedOpCode);
    }
    for control in [0x08, 0x09, 0x0a] {
        check_server(&[control], Rule::FragmentedControl);
    }
    check_server(&[0x80], Rule::UnexpectedContinuation);
    check_server(&[0x00], Rule::UnexpectedContinuation);
}

#[test]
fn a_message_within_a_message_is_judged_on_its_first_byte() {
    for opcode in [0x01, 0x81, 0x02, 0x82] {
        check_server(
            &[masked(false, OpCode::Text, b"a"), vec![opcode]].concat(),
            Rule::InterleavedMessage,
        );
    }
    let over = [
        masked(false, OpCode::Text, b"a"),
        masked(true, OpCode::Continuation, b"b"),
    ];
    check_server(
        &[over.concat(), vec![0x80]].concat(),
        Rule::UnexpectedContinuation,
    );
}

#[test]
fn the_second_byte_is_judged_alone() {
    check_server(&[0x81, 0x05], Rule::MissingMask);
    check_server(&[0x88, 0x00], Rule::MissingMask);
    check_client(&[0x81, 0x85], Rule::UnexpectedMask);
    for control in [0x88, 0x89, 0x8a] {
        check_server(&[control, 0xfe], Rule::ControlTooLong);
        check_server(&[control, 0xff], Rule::ControlTooLong);
        check_client(&[control, 0x7e], Rule::ControlTooLong);
    }
}

#[test]
fn lengths_are_minimal_and_of_63_bits() {
    check_server(&[0x82, 0xfe, 0, 1], Rule::NonMinimalLength);
    check_server(&[0x82, 0xfe, 0, 125], Rule::NonMinimalLength);
    check_client(
        &[0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0, 1],
        Rule::NonMinimalLength,
    );
    check_client(
        &[0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
        Rule::NonMinimalLength,
    );
    check_server(&[0x82, 0xff, 0x80], Rule::LengthOverflow);
    check_client(&[0x82, 0x7f, 0xff], Rule::LengthOverflow);
}

#[test]
fn limits_are_judged_on_the_length_before_the_mask_and_the_payload() {
    check_server(&[0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 0], Rule::FrameTooBig);
    check_server(
        &[0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255],
        Rule::FrameTooBig,
    );
    let half = [0x00, 0xff, 0, 0, 0, 0, 0, 0x08, 0, 0];
    let payload = masked(false, OpCode::Binary, &vec![0; 1 << 19]);
    let rest = masked(false, OpCode::Continuation, &vec![0; 1 << 19]);
    let mut connection = server();
    assert!(matches!(
        read(&mut connection, &[&payload, &rest])[..],
        [Seen::Unfinished(_)]
    ));
    assert_eq!(
        read_on(&mut connection, &half),
        [Seen::Broken(Rule::MessageTooBig)]
    );
}

/// Pushes bytes of which only violations are of interest.
fn read_on<R: Role>(connection: &mut Connection<R>, bytes: &[u8]) -> Vec<Seen> {
    let mut bytes = bytes.to_vec();
    let mut events = connection.push(&mut bytes, ORIGIN);
    let mut seen = Vec::new();
    while let Some(event) = events.next() {
        if let Err(violation) = event {
            seen.push(Seen::Broken(violation.rule));
        }
    }
    seen
}

#[test]
fn fragments_are_counted_even_if_they_are_empty() {
    let mut config = Config::default();
    config.max_fragments(3);
    let input = [
        masked(false, OpCode::Text, b""),
        masked(false, OpCode::Continuation, b""),
        masked(true, OpCode::Ping, b"not a fragment"),
        masked(false, OpCode::Continuation, b""),
        vec![0x80],
    ];
    check(
        || Connection::server(config),
        &input.concat(),
        Rule::TooManyFragments,
    );
    let mut endless = vec![masked(false, OpCode::Text, b"")];
    endless.extend((0..4095).map(|_| masked(false, OpCode::Continuation, b"")));
    let mut connection = server();
    assert_eq!(read(&mut connection, &[&endless.concat()]), []);
    assert_eq!(
        read_on(&mut connection, &[0x00]),
        [Seen::Broken(Rule::TooManyFragments)]
    );
}

#[test]
fn text_fails_at_its_first_bad_byte_while_the_rest_of_the_frame_is_withheld() {
    // A frame of 1000 bytes of which only the first ones come.
    let header = [0x81, 0x7e, 0x03, 0xe8];
    for bad in [
        &b"\xff"[..],
        b"\x80",
        b"a\xc0",
        b"a\xc1",
        b"\xe0\x80",
        b"\xe0\x9f",
        b"\xed\xa0",
        b"\xf0\x8f",
        b"\xf4\x90",
        b"\xf5",
        b"\xc3a",
        b"\xe2\x82a",
        b"\xf0\x9f\x8ca",
    ] {
        check_client(&[&header, bad].concat(), Rule::InvalidUtf8);
    }
}

#[test]
fn text_that_ends_within_a_character_fails_at_its_last_byte() {
    check_client(b"\x81\x01\xc3", Rule::InvalidUtf8);
    check_client(b"\x81\x04ab\xe2\x82", Rule::InvalidUtf8);
    // An empty last fragment has no payload to wait for: its header is enough.
    let cut = unmasked(false, OpCode::Text, b"\xf0\x9f\x8c");
    check_client(&[&cut[..], b"\x80\x00"].concat(), Rule::InvalidUtf8);
    // A new message has nothing to do with the last one's rest.
    check_client(
        &[
            unmasked(true, OpCode::Text, "\u{e9}".as_bytes()),
            b"\x81\x01\xa9".to_vec(),
        ]
        .concat(),
        Rule::InvalidUtf8,
    );
}

#[test]
fn text_is_validated_after_unmasking() {
    let frame = masked(true, OpCode::Text, b"ok \xff");
    check_server(&frame, Rule::InvalidUtf8);
}

#[test]
fn close_frames_are_judged_whole() {
    check_client(b"\x88\x01\x03", Rule::CloseTooShort);
    check_client(b"\x88\x02\x03\xed", Rule::InvalidCloseCode);
    check_client(b"\x88\x03\x03\xe8\xff", Rule::InvalidCloseReason);
    check_client(b"\x88\x04\x03\xe8a\xc3", Rule::InvalidCloseReason);
}

#[test]
fn every_violation_queues_a_close_frame_that_names_code_and_rule() {
    fn check<R: Role, P: Role>(
        mut broken: Connection<R>,
        mut peer: Connection<P>,
        input: &[u8],
        rule: Rule,
        code: u16,
    ) {
        assert_eq!(read_on(&mut broken, input), [Seen::Broken(rule)]);
        let sent = transmit(&mut broken);
        let expected = Seen::Close(code, rule.as_str().into());
        assert_eq!(read(&mut peer, &[&sent]), [expected]);
    }
    let mut config = Config::default();
    config.max_message(200).max_frame(300).max_fragments(1);
    for (input, rule, code) in [
        (&b"\xc1"[..], Rule::ReservedBits, 1002),
        (b"\x83", Rule::ReservedOpCode, 1002),
        (b"\x09", Rule::FragmentedControl, 1002),
        (b"\x89\x7e", Rule::ControlTooLong, 1002),
        (b"\x81\x80", Rule::UnexpectedMask, 1002),
        (b"\x81\x7e\0\x01", Rule::NonMinimalLength, 1002),
        (b"\x81\x7f\xff", Rule::LengthOverflow, 1002),
        (b"\x80", Rule::UnexpectedContinuation, 1002),
        (b"\x01\0\x01", Rule::InterleavedMessage, 1002),
        (b"\x81\x01\xff", Rule::InvalidUtf8, 1007),
        (b"\x88\x01\0", Rule::CloseTooShort, 1002),
        (b"\x88\x02\0\0", Rule::InvalidCloseCode, 1002),
        (b"\x88\x03\x03\xe8\xff", Rule::InvalidCloseReason, 1007),
        (b"\x81\x7e\x01\x2d", Rule::FrameTooBig, 1009),
        (b"\x81\x7e\x01\x2c", Rule::MessageTooBig, 1009),
        (b"\x01\0\x80", Rule::TooManyFragments, 1008),
    ] {
        check(
            Connection::client(config, || [0; 4]),
            server(),
            input,
            rule,
            code,
        );
    }
    check(server(), client(), b"\x81\0", Rule::MissingMask, 1002);
}

#[test]
fn every_rule_names_its_clause_and_its_code() {
    for (rule, code, text) in [
        (
            Rule::ReservedBits,
            1002,
            "reserved bit set (RFC 6455 section 5.2)",
        ),
        (
            Rule::ReservedOpCode,
            1002,
            "reserved opcode (RFC 6455 section 5.2)",
        ),
        (
            Rule::FragmentedControl,
            1002,
            "fragmented control frame (RFC 6455 section 5.5)",
        ),
        (
            Rule::ControlTooLong,
            1002,
            "control frame over 125 bytes (RFC 6455 section 5.5)",
        ),
        (
            Rule::MissingMask,
            1002,
            "client frame not masked (RFC 6455 section 5.1)",
        ),
        (
            Rule::UnexpectedMask,
            1002,
            "server frame masked (RFC 6455 section 5.1)",
        ),
        (
            Rule::NonMinimalLength,
            1002,
            "length not in its shortest form (RFC 6455 section 5.2)",
        ),
        (
            Rule::LengthOverflow,
            1002,
            "length over 63 bits (RFC 6455 section 5.2)",
        ),
        (
            Rule::UnexpectedContinuation,
            1002,
            "continuation without a message (RFC 6455 section 5.4)",
        ),
        (
            Rule::InterleavedMessage,
            1002,
            "message within another message (RFC 6455 section 5.4)",
        ),
        (
            Rule::InvalidUtf8,
            1007,
            "text is not UTF-8 (RFC 6455 section 8.1)",
        ),
        (
            Rule::CloseTooShort,
            1002,
            "close frame of one byte (RFC 6455 section 5.5.1)",
        ),
        (
            Rule::InvalidCloseCode,
            1002,
            "invalid close code (RFC 6455 section 7.4)",
        ),
        (
            Rule::InvalidCloseReason,
            1007,
            "close reason is not UTF-8 (RFC 6455 section 5.5.1)",
        ),
        (
            Rule::FrameTooBig,
            1009,
            "frame over the limit (RFC 6455 section 10.4)",
        ),
        (
            Rule::MessageTooBig,
            1009,
            "message over the limit (RFC 6455 section 10.4)",
        ),
        (
            Rule::TooManyFragments,
            1008,
            "message in more fragments than the limit (RFC 6455 section 10.4)",
        ),
        (
            Rule::TooManyPings,
            1008,
            "more pings than the limit (RFC 6455 section 10.4)",
        ),
        (
            Rule::MessageTimeout,
            1008,
            "message took too long (RFC 6455 section 10.4)",
        ),
        (
            Rule::InvalidDeflate,
            1007,
            "message cannot be inflated (RFC 7692 section 7.2.2)",
        ),
        (
            Rule::RatioTooHigh,
            1009,
            "message inflates beyond the limit (RFC 6455 section 10.4)",
        ),
    ] {
        assert_eq!(rule.to_string(), text);
        assert_eq!(u16::from(rule.close_code()), code, "{rule}");
        assert!(rule.close_code().is_sendable() && rule.as_str().len() <= 123);
    }
}

#[test]
fn after_a_violation_nothing_is_read() {
    let mut connection = client();
    assert_eq!(
        read_on(&mut connection, b"\xc1"),
        [Seen::Broken(Rule::ReservedBits)]
    );
    let good = unmasked(true, OpCode::Text, b"good");
    assert_eq!(read(&mut connection, &[&good, b"\xc1", b"\x88\0"]), []);
}

#[test]
fn a_flood_of_pings_leaves_one_pong() {
    let mut connection = server();
    let mut flood: Vec<u8> = (0..1000_u32)
        .flat_map(|n| masked(true, OpCode::Ping, &n.to_be_bytes()))
        .collect();
    let mut events = connection.push(&mut flood, Duration::ZERO);
    let mut pings = 0;
    while let Some(event) = events.next() {
        event.expect("pings are no violation");
        pings += 1;
    }
    assert_eq!(pings, 1000);
    assert_eq!(
        transmit(&mut connection),
        unmasked(true, OpCode::Pong, &999_u32.to_be_bytes())
    );
    assert_eq!(transmit(&mut connection), []);
}

#[test]
fn an_assembler_refuses_what_its_chunks_add_up_to() {
    let chunk = |payload, first, last| Chunk {
        compressed: false,
        kind: Kind::Text,
        payload,
        first,
        last,
    };
    let mut assembler = Assembler::new(4);
    let mut push = |chunk| assembler.push(chunk).map_err(|violation| violation.rule);
    assert_eq!(push(chunk(b"ab", true, false)), Ok(None));
    assert_eq!(push(chunk(b"cde", false, false)), Err(Rule::MessageTooBig));
    assert_eq!(
        push(chunk(b"", false, true)),
        Err(Rule::MessageTooBig),
        "no part of it is a whole"
    );
    // The next message is judged anew, also after one that broke off with its connection.
    assert_eq!(push(chunk(b"ab", true, false)), Ok(None));
    assert_eq!(
        push(chunk(b"abcd", true, true)),
        Ok(Some(Message::Text("abcd".into())))
    );
    assert_eq!(push(chunk(b"\xff", true, true)), Err(Rule::InvalidUtf8));
}
