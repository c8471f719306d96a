//! What a client offers, and which answers it takes.

use ws_proto::handshake::{ClientHandshake, HandshakeError, OfferError};

use crate::{NONCE, fields, with};

const RESPONSE: &str = "\
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
Sec-WebSocket-Protocol: chat";

#[test]
fn a_client_takes_only_the_answer_to_its_own_question() {
    let client = ClientHandshake::new(NONCE, "chat,v2").unwrap();
    let verify = |status, head: &str| client.verify(status, fields(head));
    let replaced = |field, lines: &str| verify(101, &with(RESPONSE, field, lines));

    assert_eq!(verify(101, RESPONSE), Ok(Some("chat")));
    for status in [200, 301, 400, 426, 503] {
        assert_eq!(
            verify(status, RESPONSE),
            Err(HandshakeError::Status(status))
        );
    }
    for lines in ["", "Upgrade: h2c", "Upgrade: websocket, h2c"] {
        assert_eq!(replaced("Upgrade", lines), Err(HandshakeError::Upgrade));
    }
    assert_eq!(replaced("Upgrade", "upgrade: WEBSOCKET"), Ok(Some("chat")));
    for lines in ["", "Connection: close"] {
        assert_eq!(
            replaced("Connection", lines),
            Err(HandshakeError::Connection)
        );
    }
    assert_eq!(
        replaced("Connection", "connection: keep-alive, upgrade"),
        Ok(Some("chat"))
    );
    let accept = "Sec-WebSocket-Accept";
    for value in [
        "",
        "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo",
    ] {
        let lines = format!("{accept}: {value}");
        assert_eq!(replaced(accept, &lines), Err(HandshakeError::Accept));
    }
    assert_eq!(replaced(accept, ""), Err(HandshakeError::Accept));
    let spaced = "sec-websocket-accept: \t s3pPLMBiTxaQ9kYGzzhZRbK+xOo= ";
    assert_eq!(replaced(accept, spaced), Ok(Some("chat")));
}

#[test]
fn a_client_takes_no_subprotocol_or_extension_that_it_did_not_offer() {
    let client = ClientHandshake::new(NONCE, "chat,v2").unwrap();
    let protocol = |lines: &str| {
        let head = with(RESPONSE, "Sec-WebSocket-Protocol", lines);
        client.verify(101, fields(&head))
    };
    assert_eq!(protocol("sec-websocket-protocol: v2"), Ok(Some("v2")));
    assert_eq!(protocol(""), Ok(None));
    for value in ["v1", "CHAT", "chat, v2", "chat,v2", ""] {
        let lines = format!("Sec-WebSocket-Protocol: {value}");
        assert_eq!(
            protocol(&lines),
            Err(HandshakeError::Subprotocol),
            "{value}"
        );
    }
    let twice = "Sec-WebSocket-Protocol: chat\nSec-WebSocket-Protocol: chat";
    assert_eq!(protocol(twice), Err(HandshakeError::RepeatedField));
    let silent = ClientHandshake::new(NONCE, "").unwrap();
    assert_eq!(
        silent.verify(101, fields(RESPONSE)),
        Err(HandshakeError::Subprotocol)
    );
    let extended = format!("{RESPONSE}\nSec-WebSocket-Extensions: permessage-deflate");
    assert_eq!(
        client.verify(101, fields(&extended)),
        Err(HandshakeError::Extension)
    );
    let empty = format!("{RESPONSE}\nSec-WebSocket-Extensions:");
    assert_eq!(client.verify(101, fields(&empty)), Ok(Some("chat")));
}

#[test]
fn a_client_offers_tokens_only() {
    for good in [
        "",
        "chat",
        "tidegate.v1+json",
        "a, b ,c",
        "!#$%&'*+-.^_`|~09azAZ",
    ] {
        assert!(ClientHandshake::new(NONCE, good).is_ok(), "{good}");
    }
    for bad in [
        ",",
        "a,",
        "a,,b",
        "a b",
        "a\r\nx: y",
        "a\0",
        "\u{e9}",
        "a/b",
        "(a)",
        " ",
    ] {
        assert_eq!(
            ClientHandshake::new(NONCE, bad).map(drop),
            Err(OfferError),
            "{bad:?}"
        );
    }
}
