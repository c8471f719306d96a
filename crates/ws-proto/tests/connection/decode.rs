//! Valid input, as tables.

use ws_proto::{Config, Connection, OpCode, Rule};

use crate::{
    KEY, Seen, check, check_client, check_server, close, masked, ping, pong, raw, text, unmasked,
};

#[test]
fn the_frames_of_rfc_6455_section_5_7() {
    check_client(
        &[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f],
        &[text("Hello")],
    );
    check_server(
        &[
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ],
        &[text("Hello")],
    );
    check_client(
        &[0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f],
        &[text("Hello")],
    );
    check_client(
        &[0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f],
        &[ping(b"Hello")],
    );
    check_server(
        &[
            0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ],
        &[pong(b"Hello")],
    );
    let of_256 = [&[0x82, 0x7e, 0x01, 0x00][..], &[7; 256]].concat();
    check_client(&of_256, &[Seen::Binary(vec![7; 256])]);
}

#[test]
fn a_frame_of_64_kib_has_the_long_header_of_rfc_6455_section_5_7() {
    let frame = [&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0][..], &[7; 65536]].concat();
    // Every split of 64 KiB takes too long; the header and its surroundings do not.
    for at in (0..=12).chain([frame.len() - 1, frame.len()]) {
        let (head, tail) = frame.split_at(at);
        let seen = crate::read(&mut crate::client(), &[head, tail]);
        assert_eq!(seen, [Seen::Binary(vec![7; 65536])]);
    }
}

#[test]
fn every_length_around_a_change_of_header_is_read() {
    for len in [0, 1, 124, 125, 126, 127, 128, 200] {
        let payload = vec![b'x'; len];
        check_server(
            &masked(true, OpCode::Binary, &payload),
            &[Seen::Binary(payload.clone())],
        );
        check_client(
            &unmasked(true, OpCode::Binary, &payload),
            &[Seen::Binary(payload)],
        );
    }
    for len in [65534, 65535, 65536, 65537] {
        let frame = unmasked(true, OpCode::Binary, &vec![7; len]);
        let seen = crate::read(&mut crate::client(), &[&frame]);
        assert_eq!(seen, [Seen::Binary(vec![7; len])]);
    }
}

#[test]
fn empty_messages_and_empty_fragments_are_messages() {
    check_server(&masked(true, OpCode::Text, b""), &[text("")]);
    let fragments = [
        masked(false, OpCode::Text, b""),
        masked(false, OpCode::Continuation, b""),
        masked(true, OpCode::Continuation, b""),
        masked(true, OpCode::Text, b"next"),
    ];
    check_server(&fragments.concat(), &[text(""), text("next")]);
}

#[test]
fn control_frames_come_through_between_fragments() {
    let frames = [
        masked(false, OpCode::Binary, b"a"),
        masked(true, OpCode::Ping, b"p"),
        masked(false, OpCode::Continuation, b"b"),
        masked(true, OpCode::Pong, b""),
        masked(true, OpCode::Ping, b""),
        masked(true, OpCode::Continuation, b"c"),
    ];
    check_server(
        &frames.concat(),
        &[
            ping(b"p"),
            pong(b""),
            ping(b""),
            Seen::Binary(b"abc".to_vec()),
        ],
    );
}

#[test]
fn the_largest_control_frame_is_read() {
    check_server(
        &masked(true, OpCode::Ping, &[b'x'; 125]),
        &[ping(&[b'x'; 125])],
    );
    let reason = "r".repeat(123);
    let payload = [&1000_u16.to_be_bytes()[..], reason.as_bytes()].concat();
    check_server(
        &masked(true, OpCode::Close, &payload),
        &[close(1000, &reason)],
    );
}

#[test]
fn an_unfinished_message_is_delivered_as_far_as_it_came() {
    let frames = [
        masked(false, OpCode::Binary, b"ab"),
        masked(true, OpCode::Continuation, b"cd"),
    ];
    let input = frames.concat();
    check_server(
        &input[..input.len() - 1],
        &[Seen::Unfinished(b"abc".to_vec())],
    );
}

#[test]
fn characters_may_be_cut_between_fragments() {
    let frames = [
        masked(false, OpCode::Text, b"\xf0"),
        masked(false, OpCode::Continuation, b""),
        masked(false, OpCode::Continuation, b"\x9f\x8c"),
        masked(true, OpCode::Ping, b"\xff"),
        masked(true, OpCode::Continuation, b"\x8a\xc3\xa9"),
    ];
    check_server(&frames.concat(), &[ping(b"\xff"), text("\u{1f30a}\u{e9}")]);
}

#[test]
fn close_codes_are_those_that_may_be_on_the_wire() {
    for code in 0..=5001_u16 {
        let allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let expected = if allowed {
            close(code, "")
        } else {
            Seen::Broken(Rule::InvalidCloseCode)
        };
        check_client(
            &unmasked(true, OpCode::Close, &code.to_be_bytes()),
            &[expected],
        );
    }
    check_client(
        &unmasked(true, OpCode::Close, b"\xff\xff"),
        &[Seen::Broken(Rule::InvalidCloseCode)],
    );
}

#[test]
fn a_close_frame_without_a_code_is_1005() {
    check_client(&unmasked(true, OpCode::Close, b""), &[close(1005, "")]);
    check_client(
        &unmasked(true, OpCode::Close, b"\x03\xe8bye"),
        &[close(1000, "bye")],
    );
}

#[test]
fn nothing_behind_a_close_frame_is_delivered() {
    let frames = [
        masked(true, OpCode::Text, b"before"),
        masked(true, OpCode::Close, b"\x03\xe8"),
        masked(true, OpCode::Text, b"behind"),
        masked(true, OpCode::Close, b"\x03\xe9"),
        b"\xff\xff".to_vec(),
    ];
    check_server(&frames.concat(), &[text("before"), close(1000, "")]);
}

#[test]
fn the_masking_key_turns_with_every_cut() {
    let payload: Vec<u8> = (0..50).collect();
    let frames = [
        masked(false, OpCode::Binary, &payload),
        masked(true, OpCode::Continuation, b"x"),
    ];
    let expected = [payload, b"x".to_vec()].concat();
    check_server(&frames.concat(), &[Seen::Binary(expected)]);
    // A key of zeros is a mask like any other.
    check_server(
        &raw(true, OpCode::Text, Some([0; 4]), b"plain"),
        &[text("plain")],
    );
    assert_ne!(KEY, [0; 4]);
}

#[test]
fn limits_are_met_exactly() {
    let mut config = Config::default();
    config.max_frame(4).max_message(6).max_fragments(2);
    let server = || Connection::server(config);
    let fragments = |first: &[u8], second: &[u8]| {
        [
            masked(false, OpCode::Binary, first),
            masked(true, OpCode::Continuation, second),
        ]
        .concat()
    };
    check(
        server,
        &masked(true, OpCode::Binary, b"1234"),
        &[Seen::Binary(b"1234".to_vec())],
    );
    check(
        server,
        &fragments(b"1234", b"56"),
        &[Seen::Binary(b"123456".to_vec())],
    );
    check(
        server,
        &fragments(b"1234", b"567"),
        &[Seen::Broken(Rule::MessageTooBig)],
    );
    check(
        server,
        &masked(true, OpCode::Binary, b"12345"),
        &[Seen::Broken(Rule::FrameTooBig)],
    );
    // Control frames count for nothing.
    check(
        server,
        &masked(true, OpCode::Ping, b"12345678"),
        &[ping(b"12345678")],
    );
    // Each message has its own budget.
    let three = masked(true, OpCode::Binary, b"1234").repeat(3);
    check(
        server,
        &three,
        &[const { Seen::Binary(Vec::new()) }; 3].map(|_| Seen::Binary(b"1234".to_vec())),
    );
}
