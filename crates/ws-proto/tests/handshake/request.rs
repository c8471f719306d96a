//! What a server answers to a request to upgrade.

use ws_proto::handshake::{OriginPolicy, Reject, check_request};

use crate::{REQUEST, fields, with};

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

const VERSION: &str = "Sec-WebSocket-Version";
