//! The wire form of each message, and the error of each bad one.

use std::borrow::Cow;

use session_proto::envelope::{
    ClientMessage, Encoding, EnvelopeError, GapReason, SUBPROTOCOL, ServerMessage,
};

pub(crate) fn client_json(message: &ClientMessage<'_>) -> String {
    let mut out = b"before".to_vec();
    message.to_json(&mut out);
    String::from_utf8(out.split_off(6)).unwrap()
}

pub(crate) fn server_json(message: &ServerMessage<'_>) -> String {
    let mut out = b"before".to_vec();
    message.to_json(&mut out);
    String::from_utf8(out.split_off(6)).unwrap()
}

/// `message` is written as `wire`, read back from it, and from no part of it.
#[track_caller]
fn check_client(message: &ClientMessage<'_>, wire: &str) {
    assert_eq!(client_json(message), wire);
    assert_eq!(ClientMessage::parse(wire).as_ref(), Ok(message));
    for end in (0..wire.len()).filter(|end| wire.is_char_boundary(*end)) {
        assert!(
            ClientMessage::parse(&wire[..end]).is_err(),
            "{}",
            &wire[..end]
        );
    }
}

#[track_caller]
fn check_server(message: &ServerMessage<'_>, wire: &str) {
    assert_eq!(server_json(message), wire);
    assert_eq!(ServerMessage::parse(wire).as_ref(), Ok(message));
    for end in (0..wire.len()).filter(|end| wire.is_char_boundary(*end)) {
        assert!(
            ServerMessage::parse(&wire[..end]).is_err(),
            "{}",
            &wire[..end]
        );
    }
}

#[test]
fn the_wire_form_of_each_client_message() {
    assert_eq!(SUBPROTOCOL, "tidegate.v1+json");
    check_client(
        &ClientMessage::Resume {
            after: Some("0123456789abcdef-42".into()),
            topics: vec!["a".into(), "b/c".into()],
            policy: Some("replay".into()),
        },
        r#"{"type":"resume","after":"0123456789abcdef-42","topics":["a","b/c"],"policy":"replay"}"#,
    );
    check_client(
        &ClientMessage::Resume {
            after: None,
            topics: vec![],
            policy: None,
        },
        r#"{"type":"resume","topics":[]}"#,
    );
    let topics = vec!["a".into()];
    check_client(
        &ClientMessage::Subscribe {
            topics: topics.clone(),
        },
        r#"{"type":"subscribe","topics":["a"]}"#,
    );
    check_client(
        &ClientMessage::Unsubscribe { topics },
        r#"{"type":"unsubscribe","topics":["a"]}"#,
    );
    check_client(
        &ClientMessage::Publish {
            reference: Some("r".into()),
            topic: "t".into(),
            event: Some("e".into()),
            data: "AAE=".into(),
            encoding: Some(Encoding::Base64),
            idempotency_key: Some("i".into()),
            conflate_key: Some("c".into()),
        },
        concat!(
            r#"{"type":"publish","ref":"r","topic":"t","event":"e","data":"AAE=","#,
            r#""encoding":"base64","idempotency_key":"i","conflate_key":"c"}"#
        ),
    );
    check_client(
        &ClientMessage::Publish {
            reference: None,
            topic: "t".into(),
            event: None,
            data: "\" \\ / \n \r \t \u{0} \u{8} \u{1f} \u{7f} \u{2028} \u{1f680}".into(),
            encoding: None,
            idempotency_key: None,
            conflate_key: None,
        },
        "{\"type\":\"publish\",\"topic\":\"t\",\"data\":\"\\\" \\\\ / \\n \\r \\t \\u0000 \\u0008 \
         \\u001f \u{7f} \u{2028} \u{1f680}\"}",
    );
    check_client(
        &ClientMessage::Auth { token: "t".into() },
        r#"{"type":"auth","token":"t"}"#,
    );
}

#[test]
fn the_wire_form_of_each_server_message() {
    check_server(
        &ServerMessage::Event {
            id: "0-2".into(),
            seq: 2,
            prev: Some(0),
            time: Some(1_700_000_000_000),
            topic: "t".into(),
            event: Some("e".into()),
            data: "AAE=".into(),
            encoding: Some(Encoding::Base64),
        },
        concat!(
            r#"{"type":"event","id":"0-2","seq":2,"prev":0,"time":1700000000000,"topic":"t","#,
            r#""event":"e","data":"AAE=","encoding":"base64"}"#
        ),
    );
    check_server(
        &ServerMessage::Event {
            id: "0-2".into(),
            seq: u64::MAX,
            prev: None,
            time: None,
            topic: "t".into(),
            event: None,
            data: "".into(),
            encoding: None,
        },
        r#"{"type":"event","id":"0-2","seq":18446744073709551615,"topic":"t","data":""}"#,
    );
    let gap = |reason, after: Option<&'static str>, skipped| ServerMessage::Gap {
        reason,
        after: after.map(Cow::Borrowed),
        id: "0-9".into(),
        skipped,
    };
    check_server(
        &gap(GapReason::Lagged, Some("0-2"), Some(7)),
        r#"{"type":"gap","reason":"lagged","after":"0-2","id":"0-9","skipped":7}"#,
    );
    let reasons = [
        (GapReason::EpochChanged, "epoch_changed"),
        (GapReason::Trimmed, "trimmed"),
        (GapReason::Ahead, "ahead"),
        (GapReason::Unknown, "unknown"),
    ];
    for (reason, name) in reasons {
        let wire = format!(r#"{{"type":"gap","reason":"{name}","id":"0-9"}}"#);
        check_server(&gap(reason, None, None), &wire);
    }
    check_server(
        &ServerMessage::Ready {
            id: "0-9".into(),
            policy: "replay".into(),
        },
        r#"{"type":"ready","id":"0-9","policy":"replay"}"#,
    );
    check_server(
        &ServerMessage::Subscribed {
            at: Some("0-9".into()),
            topics: vec!["t".into()],
        },
        r#"{"type":"subscribed","at":"0-9","topics":["t"]}"#,
    );
    check_server(
        &ServerMessage::Subscribed {
            at: None,
            topics: vec![],
        },
        r#"{"type":"subscribed","at":null,"topics":[]}"#,
    );
    check_server(
        &ServerMessage::Published {
            reference: Some("r".into()),
            id: "0-9".into(),
            duplicate: true,
        },
        r#"{"type":"published","ref":"r","id":"0-9","duplicate":true}"#,
    );
    check_server(
        &ServerMessage::Published {
            reference: None,
            id: "0-9".into(),
            duplicate: false,
        },
        r#"{"type":"published","id":"0-9","duplicate":false}"#,
    );
    check_server(&ServerMessage::Reauth, r#"{"type":"reauth"}"#);
    check_server(
        &ServerMessage::Drain { retry_ms: 1500 },
        r#"{"type":"drain","retry_ms":1500}"#,
    );
    check_server(
        &ServerMessage::Error {
            reference: Some("r".into()),
            code: "bad_topic".into(),
            detail: "d".into(),
        },
        r#"{"type":"error","ref":"r","code":"bad_topic","detail":"d"}"#,
    );
}

#[test]
fn each_bad_message_has_its_error_and_the_error_says_what_to_do() {
    let cases: &[(&str, &str, &str)] = &[
        (
            "",
            "not_an_object",
            "not a JSON object: send one JSON object per message",
        ),
        (
            "[]",
            "not_an_object",
            "not a JSON object: send one JSON object per message",
        ),
        (
            "\"{\"",
            "not_an_object",
            "not a JSON object: send one JSON object per message",
        ),
        (
            "{",
            "not_json",
            "not JSON at line 1 column 1: send one JSON object per message",
        ),
        (
            "{}{}",
            "not_json",
            "not JSON at line 1 column 3: send one JSON object per message",
        ),
        (
            "{\n1:2}",
            "not_json",
            "not JSON at line 2 column 1: send one JSON object per message",
        ),
        (
            r#"{"data":"\ud800"}"#,
            "not_json",
            "not JSON at line 1 column 16: send one JSON object per message",
        ),
        ("{}", "missing_field", "the field `type` is missing: add it"),
        (
            r#"{"type":null}"#,
            "missing_field",
            "the field `type` is missing: add it",
        ),
        (
            r#"{"type":1}"#,
            "wrong_type",
            "the field `type` must be a string",
        ),
        (
            r#"{"type":"event"}"#,
            "unknown_type",
            "unknown message type: `type` must be one of resume, subscribe, unsubscribe, publish, auth",
        ),
        (
            r#"{"type":"resume"}"#,
            "missing_field",
            "the field `topics` is missing: add it",
        ),
        (
            r#"{"type":"resume","topics":"a"}"#,
            "wrong_type",
            "the field `topics` must be a list of strings",
        ),
        (
            r#"{"type":"resume","topics":["a",1]}"#,
            "wrong_type",
            "the field `topics` must be a list of strings",
        ),
        (
            r#"{"type":"resume","topics":[["a"]]}"#,
            "wrong_type",
            "the field `topics` must be a list of strings",
        ),
        (
            r#"{"type":"resume","topics":[],"after":7}"#,
            "wrong_type",
            "the field `after` must be a string",
        ),
        (
            r#"{"type":"publish","topic":"t"}"#,
            "missing_field",
            "the field `data` is missing: add it",
        ),
        (
            r#"{"type":"publish","topic":"t","data":{}}"#,
            "wrong_type",
            "the field `data` must be a string",
        ),
        (
            r#"{"type":"publish","topic":"t","data":"","encoding":"hex"}"#,
            "unknown_value",
            "the field `encoding` must be one of base64",
        ),
    ];
    for (wire, code, message) in cases {
        let error = ClientMessage::parse(wire).expect_err(wire);
        assert_eq!(
            (error.code(), error.to_string().as_str()),
            (*code, *message),
            "{wire}"
        );
    }
    for seq in ["-1", "1.0", "1e3", "18446744073709551616", "\"1\"", "true"] {
        let wire = format!(r#"{{"type":"event","id":"0-1","topic":"t","data":"","seq":{seq}}}"#);
        let error = ServerMessage::parse(&wire).expect_err(&wire);
        assert_eq!(
            error.to_string(),
            "the field `seq` must be a whole number from 0 to 2^64 - 1"
        );
    }
    let wire = r#"{"type":"gap","reason":"because","id":"0-1"}"#;
    assert_eq!(
        ServerMessage::parse(wire).unwrap_err().code(),
        "unknown_value"
    );
}

#[test]
fn unknown_fields_are_ignored_whatever_they_hold() {
    let auth = Ok(ClientMessage::Auth { token: "t".into() });
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    let objects = r#"{"a":"#.repeat(200_000) + "1" + &"}".repeat(200_000);
    for value in [
        "1",
        "-1.5e300",
        "null",
        r#"{"type":"resume"}"#,
        &deep,
        &objects,
    ] {
        let wire = format!(r#"{{"new":{value},"type":"auth","topics":{value},"token":"t"}}"#);
        assert_eq!(ClientMessage::parse(&wire), auth, "{:.60}", wire);
    }
    let wire = r#"{"new":"\ud800","type":"auth","token":"t"}"#;
    assert_eq!(ClientMessage::parse(wire), auth);
}

#[test]
fn depth_is_no_danger_where_a_string_is_expected() {
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    assert_eq!(ClientMessage::parse(&deep), Err(EnvelopeError::NotAnObject));
    let wire = format!(r#"{{"type":"auth","token":{deep}}}"#);
    let error = ClientMessage::parse(&wire).unwrap_err();
    assert_eq!(error.code(), "wrong_type");
    let wire = format!(r#"{{"type":"subscribe","topics":{deep}}}"#);
    assert_eq!(
        ClientMessage::parse(&wire).unwrap_err().code(),
        "wrong_type"
    );
}

#[test]
fn the_last_of_equal_fields_counts_as_in_a_browser() {
    let wire = r#"{"type":"resume","token":"a","type":"auth","token":"b"}"#;
    assert_eq!(
        ClientMessage::parse(wire),
        Ok(ClientMessage::Auth { token: "b".into() })
    );
}

#[test]
fn null_is_absence() {
    let wire = r#"{"type":"resume","after":null,"topics":[],"policy":null}"#;
    let message = ClientMessage::Resume {
        after: None,
        topics: vec![],
        policy: None,
    };
    assert_eq!(ClientMessage::parse(wire), Ok(message));
}

#[test]
fn escapes_and_space_are_read_and_plain_strings_are_borrowed() {
    let wire = " \t\r\n{ \"\\u0074ype\" : \"auth\" , \"token\" : \"\\ud83d\\ude80\" } \n";
    let message = ClientMessage::Auth {
        token: "\u{1f680}".into(),
    };
    assert_eq!(ClientMessage::parse(wire), Ok(message));
    let Ok(ClientMessage::Auth { token }) = ClientMessage::parse(r#"{"type":"auth","token":"t"}"#)
    else {
        panic!("not auth");
    };
    assert!(matches!(token, Cow::Borrowed("t")));
}
