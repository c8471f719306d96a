//! What also works without the `alloc` feature: decoding, and frames written by the caller.

use std::time::Duration;

use testkit::chunkings;
use ws_proto::{
    CloseCode, Config, Connection, Event, Fragment, Kind, OpCode, Role, Rule, apply_mask,
};

const KEY: [u8; 4] = [1, 2, 3, 4];

/// The payloads of everything received, one after the other, and whether it was valid.
fn read<R: Role>(mut connection: Connection<R>, chunks: &[&[u8]]) -> (Vec<u8>, Option<Rule>) {
    let mut seen = Vec::new();
    for chunk in chunks {
        let mut bytes = chunk.to_vec();
        let mut events = connection.push(&mut bytes, Duration::ZERO);
        while let Some(event) = events.next() {
            match event {
                Ok(Event::Data(chunk)) => seen.extend_from_slice(chunk.payload),
                Ok(Event::Ping(payload) | Event::Pong(payload)) => seen.extend_from_slice(payload),
                Ok(Event::Close(frame)) => seen.extend_from_slice(frame.reason.as_bytes()),
                Err(violation) => return (seen, Some(violation.rule)),
            }
        }
    }
    (seen, None)
}

#[test]
fn a_caller_writes_frames_and_the_other_end_reads_them_in_any_pieces() {
    let mut client = Connection::client(Config::default(), || KEY);
    let mut wire = Vec::new();
    client.ping(b"ping ").unwrap();
    while let Some(frame) = client.poll_control() {
        wire.extend_from_slice(&frame);
    }
    let parts = [
        (Fragment::More, "frag"),
        (Fragment::More, ""),
        (Fragment::Last, "ments "),
    ];
    for (fragment, text) in parts {
        let header = client
            .start_fragment(Kind::Text, fragment, text.len() as u64)
            .unwrap();
        write(&header, text.as_bytes(), &mut wire);
    }
    let header = client.start_message(Kind::Binary, 5).unwrap();
    write(&header, b"whole", &mut wire);
    client
        .close(CloseCode::NORMAL, " bye", Duration::ZERO)
        .unwrap();
    wire.extend_from_slice(&client.poll_control().unwrap());

    for chunks in chunkings(&wire) {
        let (seen, rule) = read(Connection::server(Config::default()), &chunks);
        assert_eq!(
            (seen.as_slice(), rule),
            (&b"ping fragments whole bye"[..], None)
        );
    }
}

fn write(header: &ws_proto::Header, payload: &[u8], wire: &mut Vec<u8>) {
    let mut payload = payload.to_vec();
    if let Some(key) = header.mask {
        apply_mask(&mut payload, key, 0);
    }
    wire.extend_from_slice(&header.encode());
    wire.extend_from_slice(&payload);
}

#[test]
fn a_violation_is_found_in_any_pieces() {
    let wire = b"\x81\x02ok\x89\x04ping\x01\x01a\x81\x00";
    for chunks in chunkings(wire) {
        let (seen, rule) = read(Connection::client(Config::default(), || KEY), &chunks);
        assert_eq!(
            (seen.as_slice(), rule),
            (&b"okpinga"[..], Some(Rule::InterleavedMessage))
        );
    }
}

#[test]
fn the_opcodes_are_those_of_rfc_6455_section_5_2() {
    let opcodes = [
        (OpCode::Continuation, 0x0),
        (OpCode::Text, 0x1),
        (OpCode::Binary, 0x2),
        (OpCode::Close, 0x8),
        (OpCode::Ping, 0x9),
        (OpCode::Pong, 0xa),
    ];
    for (opcode, number) in opcodes {
        assert_eq!(ws_proto::Header::new(opcode, 0).encode()[0], 0x80 | number);
        assert_eq!(opcode.is_control(), number >= 8);
    }
}

#[cfg(not(feature = "alloc"))]
#[test]
fn without_heap_the_room_for_control_frames_is_inline() {
    assert!(size_of::<Connection<ws_proto::Server>>() <= 700);
}
