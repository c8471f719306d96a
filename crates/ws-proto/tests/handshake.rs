//! The opening handshake, as tables.

use ws_proto::handshake::{
    Accepted, ClientHandshake, HandshakeError, OfferError, OriginPolicy, Reject, accept_key,
    check_request,
};

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

const RESPONSE: &str = "\
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
Sec-WebSocket-Protocol: chat";

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

#[track_caller]
fn check(head: &str, expected: Result<Option<&str>, Reject>) {
    let answer = check_request(
        "GET",
        fields(head),
        &OriginPolicy::SameHost,
        &["superchat", "v9"],
    );
    assert_eq!(
        answer.map(|accepted| accepted.subprotocol),
        expected,
        "{head}"
    );
}

/// The request with the line of `field` replaced.
#[track_caller]
fn check_with(field: &str, lines: &str, expected: Result<(), Reject>) {
    let head = with(REQUEST, field, lines);
    check(&head, expected.map(|()| Some("superchat")));
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
            accept: *ACCEPT,
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

#[test]
fn the_method_is_get() {
    for method in ["POST", "HEAD", "get", "CONNECT", ""] {
        let answer = check_request(method, fields(REQUEST), &OriginPolicy::SameHost, &[]);
        assert_eq!(answer, Err(Reject::Method));
    }
}

#[test]
fn upgrade_and_connection_are_lists_compared_without_case() {
    for lines in [
        "UPGRADE: WebSocket",
        "upgrade:websocket",
        "Upgrade: h2c, websocket",
        "Upgrade: h2c\nUpgrade: \t websocket \t",
        "Upgrade: ,, websocket ,",
    ] {
        check_with("Upgrade", lines, Ok(()));
    }
    for lines in [
        "",
        "Upgrade: h2c",
        "Upgrade: websockets",
        "Upgrade: web socket",
        "Upgrade:",
    ] {
        check_with("Upgrade", lines, Err(Reject::MissingUpgrade));
    }
    for lines in [
        "connection: upgrade",
        "Connection: keep-alive, Upgrade",
        "Connection: keep-alive\nConnection: UPGRADE",
    ] {
        check_with("Connection", lines, Ok(()));
    }
    for lines in [
        "",
        "Connection: close",
        "Connection: upgrade-insecure",
        "Connection: \"upgrade\"",
    ] {
        check_with("Connection", lines, Err(Reject::MissingConnection));
    }
}

#[test]
fn the_version_is_13_and_nothing_else() {
    check_with("Sec-WebSocket-Version", "sec-websocket-version:13", Ok(()));
    for lines in ["", "8", "14", "013", "13, 8", "+13", "1 3", ""] {
        let lines = if lines.is_empty() {
            String::new()
        } else {
            format!("{VERSION}: {lines}")
        };
        check_with(VERSION, &lines, Err(Reject::Version));
    }
    let twice = format!("{VERSION}: 13\n{VERSION}: 13");
    check_with(VERSION, &twice, Err(Reject::RepeatedField));
}

const VERSION: &str = "Sec-WebSocket-Version";

#[test]
fn the_key_is_16_bytes_in_base64() {
    const KEY: &str = "Sec-WebSocket-Key";
    for key in [
        "AAAAAAAAAAAAAAAAAAAAAA==",
        "+/+/+/+/+/+/+/+/+/+/+w==",
        " dGhlIHNhbXBsZSBub25jZQ== ",
    ] {
        check_with(KEY, &format!("{KEY}:{key}"), Ok(()));
    }
    for key in [
        "",
        "==",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZQQQ",
        "dGhlIHNhbXBsZSBub25jZ===",
        "dGhlIHNhbXBsZSBub25-ZQ==",
        "dGhlIHNhbXBsZSBub25jZSE=",
        "dGhlIHNhbXBsZSBub25jZSBpcyBsb25n",
        "\u{e9}GhlIHNhbXBsZSBub25jZ==",
    ] {
        check_with(KEY, &format!("{KEY}: {key}"), Err(Reject::Key));
    }
    check_with(KEY, "", Err(Reject::Key));
    let twice = format!("{KEY}: dGhlIHNhbXBsZSBub25jZQ==\n{KEY}: dGhlIHNhbXBsZSBub25jZQ==");
    check_with(KEY, &twice, Err(Reject::RepeatedField));
}

#[test]
fn there_is_one_host() {
    check_with("Host", "", Err(Reject::MissingHost));
    let twice = "Host: server.example.com\nHost: server.example.com";
    check_with("Host", twice, Err(Reject::RepeatedField));
}

#[test]
fn the_first_offered_subprotocol_that_is_supported_is_chosen() {
    let check_protocol = |lines: &str, expected| {
        check(&with(REQUEST, "Sec-WebSocket-Protocol", lines), expected);
    };
    check_protocol("Sec-WebSocket-Protocol: v9, superchat", Ok(Some("v9")));
    check_protocol(
        "Sec-WebSocket-Protocol: v8,superchat,v9",
        Ok(Some("superchat")),
    );
    check_protocol(
        "Sec-WebSocket-Protocol: v8\nsec-websocket-protocol: v9",
        Ok(Some("v9")),
    );
    check_protocol("Sec-WebSocket-Protocol: V9", Ok(None));
    check_protocol("Sec-WebSocket-Protocol: v8", Ok(None));
    check_protocol("Sec-WebSocket-Protocol:", Ok(None));
    for bad in ["v9, a b", "v9, \"v8\"", "v9, a/b", "v9, \u{e9}", "v9, a\0"] {
        check_protocol(
            &format!("Sec-WebSocket-Protocol: {bad}"),
            Err(Reject::Subprotocol),
        );
    }
}

#[test]
fn pages_of_the_same_host_and_port_may_connect() {
    let check_origin = |host: &str, origin: &str, allowed: bool| {
        let head = with(REQUEST, "Host", &format!("Host: {host}"));
        let head = with(&head, "Origin", &format!("Origin: {origin}"));
        check(
            &head,
            if allowed {
                Ok(Some("superchat"))
            } else {
                Err(Reject::Origin)
            },
        );
    };
    for (host, origin) in [
        ("a.example", "https://a.example"),
        ("a.example", "http://a.example"),
        ("A.example", "HTTPS://a.EXAMPLE"),
        ("a.example:443", "https://a.example"),
        ("a.example:80", "http://a.example"),
        ("a.example", "https://a.example:443"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("[::80]", "http://[::80]"),
    ] {
        check_origin(host, origin, true);
    }
    for (host, origin) in [
        ("a.example", "https://b.example"),
        ("a.example", "https://a.example.evil"),
        ("a.example", "https://evil-a.example"),
        ("a.example", "https://a.example:8443"),
        ("a.example", "http://a.example:443"),
        ("a.example:80", "https://a.example"),
        ("a.example:8080", "http://a.example:80"),
        ("a.example", "https://a.example/"),
        ("a.example", "https://x@a.example"),
        ("a.example", "null"),
        ("a.example", "a.example"),
        ("a.example", ""),
        ("a.example", "file://a.example"),
        ("", "https://"),
        (":443", "https://"),
    ] {
        check_origin(host, origin, false);
    }
    check_with("Origin", "", Ok(()));
    let twice = "Origin: http://server.example.com\nOrigin: http://server.example.com";
    check_with("Origin", twice, Err(Reject::RepeatedField));
}

#[test]
fn a_list_allows_its_origins_and_any_allows_all() {
    let ask = |policy: &OriginPolicy<'_>, origin: &str| {
        let head = with(REQUEST, "Origin", &format!("Origin: {origin}"));
        check_request("GET", fields(&head), policy, &[]).map(drop)
    };
    let list = OriginPolicy::AllowList(&["https://a.example", "http://localhost:3000"]);
    assert_eq!(ask(&list, "https://a.example"), Ok(()));
    assert_eq!(ask(&list, "https://A.example"), Ok(()));
    assert_eq!(ask(&list, "http://localhost:3000"), Ok(()));
    for origin in [
        "http://a.example",
        "https://a.example:444",
        "http://server.example.com",
        "null",
    ] {
        assert_eq!(ask(&list, origin), Err(Reject::Origin));
    }
    let any = OriginPolicy::Any {
        reason: "the test wants it",
    };
    assert_eq!(ask(&any, "null"), Ok(()));
}

#[test]
fn every_rejection_has_its_status_and_tells_how_to_do_better() {
    let version: &[_] = &[
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-version", "13"),
    ];
    let allow: &[_] = &[("allow", "GET")];
    for (reject, status, headers) in [
        (Reject::Method, 405, allow),
        (Reject::MissingUpgrade, 426, version),
        (Reject::MissingConnection, 426, version),
        (Reject::Version, 426, version),
        (Reject::MissingHost, 400, &[]),
        (Reject::Key, 400, &[]),
        (Reject::Subprotocol, 400, &[]),
        (Reject::RepeatedField, 400, &[]),
        (Reject::Origin, 403, &[]),
    ] {
        assert_eq!(
            (reject.status(), reject.response_headers()),
            (status, headers),
            "{reject}"
        );
    }
}

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
