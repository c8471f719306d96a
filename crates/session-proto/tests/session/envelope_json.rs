//! Any message, compared with what `serde_json` makes of it.

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use session_proto::envelope::{ClientMessage, Encoding, EnvelopeError, GapReason, ServerMessage};

use crate::envelope::{client_json, server_json};

fn text() -> impl Strategy<Value = Cow<'static, str>> {
    prop_oneof![
        any::<String>(),
        "[a-z\"\\\\\u{0}-\u{1f}\u{2028}\u{1f680}]{0,8}".prop_map(String::from)
    ]
    .prop_map(Cow::Owned)
}

fn optional_text() -> impl Strategy<Value = Option<Cow<'static, str>>> {
    prop::option::of(text())
}

fn texts() -> impl Strategy<Value = Vec<Cow<'static, str>>> {
    prop::collection::vec(text(), 0..4)
}

fn encoding() -> impl Strategy<Value = Option<Encoding>> {
    prop::option::of(Just(Encoding::Base64))
}

/// A message together with its JSON value, built the slow and obvious way.
fn object(kind: &str, fields: &[(&str, Value)]) -> Value {
    let mut object = Map::new();
    object.insert("type".into(), kind.into());
    for (name, value) in fields {
        if !value.is_null() {
            object.insert((*name).into(), value.clone());
        }
    }
    object.into()
}

fn client_message() -> impl Strategy<Value = (ClientMessage<'static>, Value)> {
    prop_oneof![
        (optional_text(), texts(), optional_text()).prop_map(|(after, topics, policy)| {
            let fields = [
                ("after", json!(after)),
                ("topics", json!(topics)),
                ("policy", json!(policy)),
            ];
            let value = object("resume", &fields);
            (
                ClientMessage::Resume {
                    after,
                    topics,
                    policy,
                },
                value,
            )
        }),
        texts().prop_map(|topics| {
            let value = object("subscribe", &[("topics", json!(topics))]);
            (ClientMessage::Subscribe { topics }, value)
        }),
        texts().prop_map(|topics| {
            let value = object("unsubscribe", &[("topics", json!(topics))]);
            (ClientMessage::Unsubscribe { topics }, value)
        }),
        (
            optional_text(),
            text(),
            optional_text(),
            text(),
            encoding(),
            optional_text(),
            optional_text(),
        )
            .prop_map(
                |(reference, topic, event, data, encoding, idempotency_key, conflate_key)| {
                    let fields = [
                        ("ref", json!(reference)),
                        ("topic", json!(topic)),
                        ("event", json!(event)),
                        ("data", json!(data)),
                        ("encoding", json!(encoding.map(|_| "base64"))),
                        ("idempotency_key", json!(idempotency_key)),
                        ("conflate_key", json!(conflate_key)),
                    ];
                    let value = object("publish", &fields);
                    let message = ClientMessage::Publish {
                        reference,
                        topic,
                        event,
                        data,
                        encoding,
                        idempotency_key,
                        conflate_key,
                    };
                    (message, value)
                }
            ),
        text().prop_map(|token| {
            let value = object("auth", &[("token", json!(token))]);
            (ClientMessage::Auth { token }, value)
        }),
    ]
}

fn server_message() -> impl Strategy<Value = (ServerMessage<'static>, Value)> {
    prop_oneof![
        (
            text(),
            any::<u64>(),
            any::<Option<u64>>(),
            any::<Option<u64>>(),
            text(),
            optional_text(),
            text(),
            encoding(),
        )
            .prop_map(|(id, seq, prev, time, topic, event, data, encoding)| {
                let fields = [
                    ("id", json!(id)),
                    ("seq", json!(seq)),
                    ("prev", json!(prev)),
                    ("time", json!(time)),
                    ("topic", json!(topic)),
                    ("event", json!(event)),
                    ("data", json!(data)),
                    ("encoding", json!(encoding.map(|_| "base64"))),
                ];
                let value = object("event", &fields);
                let message = ServerMessage::Event {
                    id,
                    seq,
                    prev,
                    time,
                    topic,
                    event,
                    data,
                    encoding,
                };
                (message, value)
            }),
        (optional_text(), text(), any::<Option<u64>>()).prop_map(|(after, id, skipped)| {
            let fields = [
                ("reason", json!("trimmed")),
                ("after", json!(after)),
                ("id", json!(id)),
                ("skipped", json!(skipped)),
            ];
            let value = object("gap", &fields);
            let reason = GapReason::Trimmed;
            let message = ServerMessage::Gap {
                reason,
                after,
                id,
                skipped,
            };
            (message, value)
        }),
        (text(), texts()).prop_map(|(at, topics)| {
            let fields = [("at", json!(at)), ("topics", json!(topics))];
            let value = object("subscribed", &fields);
            (
                ServerMessage::Subscribed {
                    at: Some(at),
                    topics,
                },
                value,
            )
        }),
        (optional_text(), text(), any::<bool>()).prop_map(|(reference, id, duplicate)| {
            let fields = [
                ("ref", json!(reference)),
                ("id", json!(id)),
                ("duplicate", json!(duplicate)),
            ];
            let value = object("published", &fields);
            (
                ServerMessage::Published {
                    reference,
                    id,
                    duplicate,
                },
                value,
            )
        }),
        (optional_text(), text(), text()).prop_map(|(reference, code, detail)| {
            let fields = [
                ("ref", json!(reference)),
                ("code", json!(code)),
                ("detail", json!(detail)),
            ];
            let value = object("error", &fields);
            (
                ServerMessage::Error {
                    reference,
                    code,
                    detail,
                },
                value,
            )
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn client_messages_are_the_json_that_another_library_reads_and_writes(
        (message, value) in client_message(),
    ) {
        let wire = client_json(&message);
        prop_assert_eq!(&serde_json::from_str::<Value>(&wire).unwrap(), &value);
        for wire in [wire, value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            prop_assert_eq!(ClientMessage::parse(&wire), Ok(message.clone()));
        }
    }

    #[test]
    fn server_messages_are_the_json_that_another_library_reads_and_writes(
        (message, value) in server_message(),
    ) {
        let wire = server_json(&message);
        prop_assert_eq!(&serde_json::from_str::<Value>(&wire).unwrap(), &value);
        for wire in [wire, value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            prop_assert_eq!(ServerMessage::parse(&wire), Ok(message.clone()));
        }
    }

    #[test]
    fn what_another_library_refuses_is_refused(
        fragments in prop::collection::vec(
            prop::sample::select(&[
                "{", "}", "[", "]", ",", ":", "\"type\"", "\"auth\"", "\"token\"", "\"topics\"",
                "\"subscribe\"", "1", "null", "\"", "\\", " ", "\u{1f680}",
            ][..]),
            0..12,
        ),
    ) {
        let wire = fragments.concat();
        let oracle = serde_json::from_str::<Value>(&wire);
        match ClientMessage::parse(&wire) {
            Ok(_) | Err(EnvelopeError::MissingField { .. } | EnvelopeError::WrongType { .. }) => {
                prop_assert!(oracle.is_ok_and(|value| value.is_object()));
            }
            Err(EnvelopeError::NotJson { .. }) => prop_assert!(oracle.is_err()),
            Err(_) => {}
        }
    }
}
