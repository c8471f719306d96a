//! Connections: decoding against an oracle, hostile input, sending, and the closing handshake in
//! virtual time.

#![cfg(feature = "alloc")]

mod close_frame;
mod closing;
mod decode;
mod hostile;
mod laws;
mod limits;
mod oracle;
mod pair;
mod sending;

use std::time::Duration;

use testkit::chunkings;
use ws_proto::{
    Assembler, Client, Config, Connection, Event, Header, Kind, Message, OpCode, Role, Rule, Server,
};

/// What a peer was seen to do.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
    Broken(Rule),
    /// The input ended within a message, of which this much had come, if anything.
    Unfinished(Vec<u8>),
}

fn text(text: &str) -> Seen {
    Seen::Text(text.into())
}

fn ping(payload: &[u8]) -> Seen {
    Seen::Ping(payload.into())
}

fn pong(payload: &[u8]) -> Seen {
    Seen::Pong(payload.into())
}

fn close(code: u16, reason: &str) -> Seen {
    Seen::Close(code, reason.into())
}

const ORIGIN: Duration = Duration::ZERO;
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn server() -> Connection<Server> {
    Connection::server(Config::default())
}

type Masks = fn() -> [u8; 4];

fn client() -> Connection<Client<Masks>> {
    Connection::client(Config::default(), || KEY)
}

/// A frame from a client, masked with [`KEY`].
fn masked(fin: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let keys = KEY.iter().cycle();
    let payload: Vec<u8> = payload
        .iter()
        .zip(keys)
        .map(|(byte, key)| byte ^ key)
        .collect();
    raw(fin, opcode, Some(KEY), &payload)
}

/// A frame from a server.
fn unmasked(fin: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    raw(fin, opcode, None, payload)
}

fn raw(fin: bool, opcode: OpCode, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut header = Header::new(opcode, payload.len() as u64);
    header.fin = fin;
    header.mask = mask;
    [&header.encode(), payload].concat()
}

/// Pushes `chunks` and notes what comes of them. Messages are put together, and the chunks they
/// come in must make sense.
fn read<R: Role>(connection: &mut Connection<R>, chunks: &[&[u8]]) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut assembler = Assembler::new(usize::MAX);
    let mut open: Option<(Kind, Vec<u8>)> = None;
    for chunk in chunks {
        let mut bytes = chunk.to_vec();
        let mut events = connection.push(&mut bytes, ORIGIN);
        while let Some(event) = events.next() {
            seen.push(match event {
                Ok(Event::Data(chunk)) => {
                    assert_eq!(chunk.first, open.is_none(), "a message begins with `first`");
                    let (kind, payload) = open.get_or_insert((chunk.kind, Vec::new()));
                    assert_eq!(*kind, chunk.kind, "a message is of one kind");
                    payload.extend_from_slice(chunk.payload);
                    let message = assembler.push(chunk).expect("the connection judged it");
                    assert_eq!(message.is_some(), chunk.last, "a message ends with `last`");
                    let Some(message) = message else { continue };
                    open = None;
                    match message {
                        Message::Text(text) => Seen::Text(text),
                        Message::Binary(bytes) => Seen::Binary(bytes),
                    }
                }
                Ok(Event::Ping(payload)) => Seen::Ping(payload.into()),
                Ok(Event::Pong(payload)) => Seen::Pong(payload.into()),
                Ok(Event::Close(frame)) => Seen::Close(frame.code.into(), frame.reason.into()),
                Err(violation) => {
                    assert_eq!(violation.code, violation.rule.close_code());
                    Seen::Broken(violation.rule)
                }
            });
        }
        assert!(events.into_rest().is_empty(), "everything is used up");
    }
    let is_over = matches!(seen.last(), Some(Seen::Close(..) | Seen::Broken(_)));
    if let (false, Some((_, payload))) = (is_over, open)
        && !payload.is_empty()
    {
        seen.push(Seen::Unfinished(payload));
    }
    seen
}

/// Every way of cutting `input` gives `expected`, and so does the oracle.
#[track_caller]
fn check<R: Role>(new: impl Fn() -> Connection<R>, input: &[u8], expected: &[Seen]) {
    for chunks in chunkings(input) {
        assert_eq!(read(&mut new(), &chunks), expected, "from {chunks:02x?}");
    }
}

#[track_caller]
fn check_server(input: &[u8], expected: &[Seen]) {
    assert_eq!(
        oracle::interpret(input, true, &oracle::Limits::DEFAULT),
        expected,
        "the oracle"
    );
    check(server, input, expected);
}

#[track_caller]
fn check_client(input: &[u8], expected: &[Seen]) {
    assert_eq!(
        oracle::interpret(input, false, &oracle::Limits::DEFAULT),
        expected,
        "the oracle"
    );
    check(client, input, expected);
}

/// What is due to be sent.
fn transmit<R: Role>(connection: &mut Connection<R>) -> Vec<u8> {
    let mut out = Vec::new();
    connection.poll_transmit(&mut out);
    out
}
