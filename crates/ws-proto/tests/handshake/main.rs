//! The opening handshake, as tables.

mod answer;
mod connect;
mod request;

use ws_proto::handshake::{Accepted, ClientHandshake, OriginPolicy, accept_key, check_request};
use ws_proto::{Config, Connection, Event};

/// The example of RFC 6455 section 1.2.
const REQUEST: &str = "\
Host: server.example.com
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
Origin: http://server.example.com
Sec-WebSocket-Protocol: chat, superchat
Sec-WebSocket-Version: 13";

const ACCEPT: &[u8; 28] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The nonce of the example.
const NONCE: [u8; 16] = *b"the sample nonce";

fn fields(head: &str) -> impl Iterator<Item = (&str, &[u8])> + Clone {
    head.lines().map(|line| {
        let (name, value) = line.split_once(':').expect("a field has a colon");
        (name, value.as_bytes())
    })
}

/// `head` with the line of this field replaced by `lines`, which may be none.
fn with(head: &str, field: &str, lines: &str) -> String {
    let of_field = |line: &&str| line.split(':').next() == Some(field);
    assert!(
        head.lines().any(|line| of_field(&line)),
        "there is no {field}"
    );
    let kept = head.lines().filter(|line| !of_field(line));
    kept.chain(lines.lines()).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_key_of_rfc_6455_section_1_3_is_accepted() {
    assert_eq!(&accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), ACCEPT);
}

#[test]
fn the_example_of_rfc_6455_section_1_2_goes_through_on_both_ends() {
    let supported = ["superchat", "chat"];
    let policy = OriginPolicy::SameHost;
    let accepted = check_request("GET", fields(REQUEST), &policy, &supported);
    assert_eq!(
        accepted,
        Ok(Accepted {
            accept: Some(*ACCEPT),
            subprotocol: Some("chat")
        })
    );
    let accepted = accepted.unwrap();

    let client = ClientHandshake::new(NONCE, "chat, superchat").unwrap();
    assert_eq!(
        client.verify(101, accepted.response_headers()),
        Ok(Some("chat"))
    );

    let mut request: Vec<_> = client.request_headers().collect();
    request.push(("host", b"server.example.com"));
    assert_eq!(
        check_request("GET", request.into_iter(), &policy, &supported),
        Ok(accepted)
    );
}

#[test]
fn without_subprotocols_none_is_sent_and_none_is_chosen() {
    let client = ClientHandshake::new(NONCE, "").unwrap();
    let is_protocol = |(name, _): &(&str, &[u8])| *name == "sec-websocket-protocol";
    assert!(!client.request_headers().any(|field| is_protocol(&field)));
    let head = with(REQUEST, "Sec-WebSocket-Protocol", "");
    let accepted = check_request("GET", fields(&head), &OriginPolicy::SameHost, &["chat"]).unwrap();
    assert_eq!(accepted.subprotocol, None);
    assert!(!accepted.response_headers().any(|field| is_protocol(&field)));
    assert_eq!(client.verify(101, accepted.response_headers()), Ok(None));
}

/// The head of an HTTP message, and what came behind it.
fn split_head(bytes: &[u8]) -> (&str, &[u8]) {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, rest) = bytes.split_at(end.expect("the head is whole"));
    (str::from_utf8(head).expect("it is ASCII"), &rest[4..])
}

#[test]
fn bytes_pipelined_behind_either_head_are_the_first_of_the_connection() {
    fn first<R: ws_proto::Role>(mut connection: Connection<R>, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        match connection.push(&mut bytes, Default::default()).next() {
            Some(Ok(Event::Data(chunk))) => chunk.payload.to_vec(),
            other => panic!("{other:?}"),
        }
    }
    let asked = [
        b"GET /chat HTTP/1.1\r\n",
        REQUEST.replace('\n', "\r\n").as_bytes(),
        b"\r\n\r\n",
        b"\x81\x83\0\0\0\0ask",
    ]
    .concat();
    let (head, rest) = split_head(&asked);
    let (_, head) = head.split_once("\r\n").expect("a request line");
    let accepted = check_request("GET", fields(head), &OriginPolicy::SameHost, &["chat"]).unwrap();
    assert_eq!(first(Connection::server(Config::default()), rest), b"ask");

    let mut answered = b"HTTP/1.1 101 Switching Protocols\r\n".to_vec();
    for (name, value) in accepted.response_headers() {
        answered.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    answered.extend_from_slice(b"\r\n\x81\x06answer");
    let (head, rest) = split_head(&answered);
    let (_, head) = head.split_once("\r\n").expect("a status line");
    let client = ClientHandshake::new(NONCE, "chat").unwrap();
    assert_eq!(client.verify(101, fields(head)), Ok(Some("chat")));
    let client = Connection::client(Config::default(), || [0; 4]);
    assert_eq!(first(client, rest), b"answer");
}
