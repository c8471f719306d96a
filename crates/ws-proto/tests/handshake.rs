//! The opening handshake, as tables.

use ws_proto::handshake::{
    Accepted, ClientHandshake, DeflateParams, HandshakeError, OfferError, OriginPolicy, Reject,
    accept_key, check_connect, check_request,
};
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
        (Reject::ConnectProtocol, 501, &[]),
        (
            Reject::ConnectVersion,
            400,
            &[("sec-websocket-version", "13")],
        ),
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
