//! What goes out.

use std::time::Duration;

use ws_proto::{
    CloseCode, Config, Connection, ControlError, Fragment, Header, Kind, OpCode, Parsed, SendError,
    apply_mask, encode_server_frame,
};

use crate::{KEY, ORIGIN, Seen, client, masked, ping, read, server, text, transmit, unmasked};

#[test]
fn messages_are_the_frames_of_rfc_6455_section_5_7() {
    let mut out = Vec::new();
    server().send(Kind::Text, b"Hello", &mut out).unwrap();
    assert_eq!(out, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    out.clear();
    client().send(Kind::Text, b"Hello", &mut out).unwrap();
    assert_eq!(
        out,
        [
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58
        ]
    );
    out.clear();
    let mut fragmenting = server();
    fragmenting
        .send_fragment(Kind::Text, Fragment::More, b"Hel", &mut out)
        .unwrap();
    fragmenting
        .send_fragment(Kind::Text, Fragment::Last, b"lo", &mut out)
        .unwrap();
    assert_eq!(out, [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f]);
    out.clear();
    server().send(Kind::Binary, &[0; 256], &mut out).unwrap();
    assert_eq!(out[..4], [0x82, 0x7e, 0x01, 0x00]);
    out.clear();
    server().send(Kind::Binary, &[0; 65536], &mut out).unwrap();
    assert_eq!(out[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn each_frame_of_a_client_takes_a_mask_of_its_own() {
    let mut next = 0;
    let masks = move || {
        next += 1;
        [next; 4]
    };
    let mut client = Connection::client(Config::default(), masks);
    let mut out = Vec::new();
    client.ping(b"").unwrap();
    client.send(Kind::Binary, b"\0", &mut out).unwrap();
    client.send(Kind::Binary, b"\0", &mut out).unwrap();
    let frames: [&[u8]; 3] = [
        &[0x89, 0x80, 1, 1, 1, 1],
        &[0x82, 0x81, 2, 2, 2, 2, 2],
        &[0x82, 0x81, 3, 3, 3, 3, 3],
    ];
    assert_eq!(out.len(), frames.concat().len());
    assert_eq!(
        read(&mut server(), &[&out]),
        [ping(b""), Seen::Binary(vec![0]), Seen::Binary(vec![0])]
    );
}

#[test]
fn control_frames_that_are_due_go_before_data_and_keep_its_place() {
    let mut connection = server();
    let asked = masked(true, OpCode::Ping, b"are you there");
    assert_eq!(read(&mut connection, &[&asked]), [ping(b"are you there")]);
    let mut out = b"what was there".to_vec();
    connection.send(Kind::Text, b"data", &mut out).unwrap();
    let expected = [
        b"what was there".to_vec(),
        unmasked(true, OpCode::Pong, b"are you there"),
        unmasked(true, OpCode::Text, b"data"),
    ];
    assert_eq!(out, expected.concat());
    assert_eq!(transmit(&mut connection), []);
}

#[test]
fn a_ping_may_go_between_fragments_and_the_latest_counts() {
    let mut connection = server();
    let mut out = Vec::new();
    connection
        .send_fragment(Kind::Text, Fragment::More, b"a", &mut out)
        .unwrap();
    connection.ping(b"first").unwrap();
    connection.ping(b"second").unwrap();
    connection
        .send_fragment(Kind::Text, Fragment::Last, b"b", &mut out)
        .unwrap();
    assert_eq!(read(&mut client(), &[&out]), [ping(b"second"), text("ab")]);
    assert_eq!(connection.ping(&[0; 126]), Err(ControlError::TooLong));
    assert_eq!(transmit(&mut connection), []);
    connection.ping(&[0; 125]).unwrap();
    assert_eq!(
        read(&mut client(), &[&transmit(&mut connection)]),
        [ping(&[0; 125])]
    );
}

#[test]
fn what_would_break_the_protocol_is_refused_and_writes_nothing() {
    let mut out = Vec::new();
    let mut connection = server();
    let bad = connection.send(Kind::Text, b"\xff", &mut out);
    assert_eq!(bad, Err(SendError::InvalidUtf8));
    let bad = connection.send_fragment(Kind::Text, Fragment::Last, b"\xc3", &mut out);
    assert_eq!(bad, Err(SendError::InvalidUtf8));
    assert_eq!(out, []);

    connection
        .send_fragment(Kind::Text, Fragment::More, b"\xc3", &mut out)
        .unwrap();
    let before = out.clone();
    assert_eq!(
        connection.send(Kind::Text, b"", &mut out),
        Err(SendError::MessageUnfinished)
    );
    let other = connection.send_fragment(Kind::Binary, Fragment::Last, b"", &mut out);
    assert_eq!(other, Err(SendError::KindChanged));
    let bad = connection.send_fragment(Kind::Text, Fragment::Last, b"a", &mut out);
    assert_eq!(bad, Err(SendError::InvalidUtf8));
    assert_eq!(out, before);

    // What was refused left no trace.
    connection
        .send_fragment(Kind::Text, Fragment::Last, b"\xa9", &mut out)
        .unwrap();
    connection
        .send_fragment(Kind::Text, Fragment::Last, b"next", &mut out)
        .unwrap();
    assert_eq!(read(&mut client(), &[&out]), [text("\u{e9}"), text("next")]);
}

#[test]
fn frames_can_be_written_without_the_heap() {
    let mut connection = client();
    connection.ping(b"first").unwrap();
    let control = connection.poll_control().unwrap();
    assert!(connection.poll_control().is_none());
    let mut out = control.to_vec();
    for (fragment, payload) in [(Fragment::More, b"frag"), (Fragment::Last, b"ment")] {
        let header = connection
            .start_fragment(Kind::Binary, fragment, 4)
            .unwrap();
        let mut payload = *payload;
        apply_mask(&mut payload, header.mask.unwrap(), 0);
        out.extend_from_slice(&header.encode());
        out.extend_from_slice(&payload);
    }
    let header = connection.start_message(Kind::Binary, 0).unwrap();
    out.extend_from_slice(&header.encode());
    assert_eq!(
        read(&mut server(), &[&out]),
        [
            ping(b"first"),
            Seen::Binary(b"fragment".to_vec()),
            Seen::Binary(Vec::new())
        ]
    );
}

#[test]
fn a_prepared_frame_is_the_frame_that_a_server_sends() {
    for len in [0, 125, 126, 65535, 65536] {
        let payload = vec![b'x'; len];
        let (mut prepared, mut sent) = (b"before".to_vec(), b"before".to_vec());
        encode_server_frame(OpCode::Text, &payload, &mut prepared);
        server().send(Kind::Text, &payload, &mut sent).unwrap();
        assert_eq!(prepared, sent);
    }
}

#[test]
#[should_panic(expected = "at most 125 bytes")]
fn a_prepared_control_frame_that_is_too_long_panics() {
    encode_server_frame(OpCode::Ping, &[0; 126], &mut Vec::new());
}

#[test]
fn a_header_is_parsed_as_far_as_it_goes() {
    let mut header = Header::new(OpCode::Binary, 65536);
    header.mask = Some(KEY);
    let bytes = header.encode();
    assert_eq!(bytes.len(), 14);
    for (have, need) in [(0, 2), (1, 2), (2, 14), (9, 14), (13, 14)] {
        assert_eq!(Header::parse(&bytes[..have]), Ok(Parsed::Need(need)));
    }
    assert_eq!(Header::parse(&bytes), Ok(Parsed::Done { header, used: 14 }));
}

#[test]
fn events_that_are_not_taken_are_not_lost() {
    let mut connection = server();
    let mut bytes = [
        masked(true, OpCode::Text, b"one"),
        masked(true, OpCode::Text, b"two"),
    ]
    .concat();
    let mut events = connection.push(&mut bytes, Duration::ZERO);
    assert!(events.next().is_some());
    let rest = events.into_rest().to_vec();
    assert_eq!(read(&mut connection, &[&rest]), [text("two")]);
}

#[test]
fn secrets_are_not_in_debug_output() {
    assert!(!format!("{:?}", client()).contains("55"), "0x37 is 55");
}

#[test]
fn a_prepared_message_is_not_sent_where_no_message_may_begin() {
    let message = ws_proto::Prepared::binary(b"for all");
    let mut connection = server();
    let frame = connection.send_prepared(&message, None);
    assert_eq!(frame.unwrap(), &b"\x82\x07for all"[..]);
    let mut out = Vec::new();
    connection
        .send_fragment(Kind::Text, Fragment::More, b"part", &mut out)
        .unwrap();
    let refused = connection.send_prepared(&message, None);
    assert_eq!(refused.unwrap_err(), SendError::MessageUnfinished);
    connection.close(CloseCode::NORMAL, "", ORIGIN).unwrap();
    let refused = connection.send_prepared(&message, None);
    assert_eq!(refused.unwrap_err(), SendError::Closing);
}
