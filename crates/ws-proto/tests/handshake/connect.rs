//! The handshake over HTTP/2 (RFC 8441).

use ws_proto::handshake::{
    ClientHandshake, DeflateParams, HandshakeError, OriginPolicy, Reject, check_connect,
};

use crate::{NONCE, fields, with};

/// The example of RFC 8441 section 5.1, without its pseudo-header fields.
const CONNECT: &str = "\
sec-websocket-protocol: chat, superchat
sec-websocket-extensions: permessage-deflate
sec-websocket-version: 13
origin: http://www.example.com";

fn connect(protocol: &str, authority: &str, head: &str) -> Result<Option<&'static str>, Reject> {
    let policy = OriginPolicy::SameHost;
    let accepted = check_connect(protocol, authority, fields(head), &policy, &["chat", "v9"])?;
    assert_eq!(accepted.status(), 200);
    Ok(accepted.subprotocol)
}

#[test]
fn the_example_of_rfc_8441_section_5_1_goes_through_on_both_ends() {
    let (protocol, authority) = ("websocket", "www.example.com");
    let policy = OriginPolicy::SameHost;
    let accepted = check_connect(protocol, authority, fields(CONNECT), &policy, &["chat"]).unwrap();
    assert_eq!((accepted.accept, accepted.status()), (None, 200));
    let answer = accepted.response_headers().collect::<Vec<_>>();
    assert_eq!(answer, [("sec-websocket-protocol", &b"chat"[..])]);

    // The same handshake, asked by our client; nothing in it is of HTTP/1.1 alone.
    let client = ClientHandshake::new(NONCE, "chat, superchat").unwrap();
    let client = client.with_deflate(DeflateParams::default());
    let names = client.connect_headers().map(|(name, _)| name);
    assert_eq!(
        names.collect::<Vec<_>>(),
        [
            "sec-websocket-version",
            "sec-websocket-protocol",
            "sec-websocket-extensions"
        ]
    );
    let again = check_connect(
        protocol,
        authority,
        client.connect_headers(),
        &policy,
        &["chat"],
    );
    assert_eq!(again, Ok(accepted));
    let (agreed, field) = DeflateParams::default()
        .accept(client.connect_headers())
        .unwrap();
    let mut answer = answer;
    answer.push(("sec-websocket-extensions", &field));
    let answer = answer.into_iter();
    assert_eq!(client.verify_connect(200, answer.clone()), Ok(Some("chat")));
    assert_eq!(client.verify_deflate(answer), Ok(Some(agreed)));
}

#[test]
fn an_extended_connect_is_judged_like_an_upgrade_where_it_has_the_same_fields() {
    let example = "www.example.com";
    let replaced = |field, lines: &str| connect("websocket", example, &with(CONNECT, field, lines));
    assert_eq!(connect("websocket", example, CONNECT), Ok(Some("chat")));
    for protocol in ["", "webtransport", "connect-udp", "WebSocket"] {
        let refused = connect(protocol, example, CONNECT);
        assert_eq!(refused, Err(Reject::ConnectProtocol), "{protocol}");
    }
    let version = "sec-websocket-version";
    for lines in ["", "sec-websocket-version: 8"] {
        assert_eq!(replaced(version, lines), Err(Reject::ConnectVersion));
    }
    let twice = "sec-websocket-version: 13\nsec-websocket-version: 13";
    assert_eq!(replaced(version, twice), Err(Reject::RepeatedField));
    let protocol = "sec-websocket-protocol";
    assert_eq!(replaced(protocol, ""), Ok(None));
    let bad = replaced(protocol, "sec-websocket-protocol: a b");
    assert_eq!(bad, Err(Reject::Subprotocol));
    // The page's origin is held against `:authority`; a `host` field has no say.
    assert_eq!(replaced("origin", ""), Ok(Some("chat")));
    let evil = replaced("origin", "origin: http://evil.example\nhost: evil.example");
    assert_eq!(evil, Err(Reject::Origin));
    let elsewhere = connect("websocket", "www.example.com:8443", CONNECT);
    assert_eq!(elsewhere, Err(Reject::Origin));
    // A key has no meaning here (section 5) and is not looked at.
    let key = format!("{CONNECT}\nsec-websocket-key: x");
    assert_eq!(connect("websocket", example, &key), Ok(Some("chat")));
}

#[test]
fn a_client_takes_an_answer_of_the_200s_to_its_connect_and_nothing_it_did_not_offer() {
    let client = ClientHandshake::new(NONCE, "chat").unwrap();
    let verify = |status, head: &'static str| client.verify_connect(status, fields(head));
    assert_eq!(verify(200, ""), Ok(None));
    assert_eq!(
        verify(299, "sec-websocket-protocol: chat"),
        Ok(Some("chat"))
    );
    for status in [101, 199, 300, 403, 501] {
        assert_eq!(verify(status, ""), Err(HandshakeError::Status(status)));
    }
    let other = verify(200, "sec-websocket-protocol: v1");
    assert_eq!(other, Err(HandshakeError::Subprotocol));
    let extension = verify(200, "sec-websocket-extensions: permessage-deflate");
    assert_eq!(extension, Err(HandshakeError::Extension));
}
