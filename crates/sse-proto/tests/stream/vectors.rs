//! The conformance vectors: checked against Chromium and several independent parsers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sse_proto::{Decoder, EventId, EventName, FieldError, Frame};
use testkit::chunkings;

use crate::{Seen, event, read};

fn vectors(section: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("../vectors/sse_vectors.json")).unwrap();
    file[section].as_array().unwrap().clone()
}

#[track_caller]
fn check(vector: &Value, chunks: &[&[u8]]) {
    let name = &vector["name"];
    let mut decoder = Decoder::new();
    if let Some(seed) = vector["initial_last_event_id"].as_str() {
        decoder.seed_last_event_id(seed);
    }
    let (seen, _) = read(&mut decoder, chunks);
    let events: Vec<Seen> = seen
        .into_iter()
        .filter(|item| matches!(item, Seen::Event(_)))
        .collect();
    let expected: Vec<Seen> = vector["expected_events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            let text = |field| it[field].as_str().unwrap();
            event(text("type"), text("data"), text("last_event_id"))
        })
        .collect();
    assert_eq!(events, expected, "{name}: events from {chunks:?}");
    let last = vector["expected_last_event_id"].as_str().unwrap();
    assert_eq!(decoder.last_event_id(), last, "{name}: from {chunks:?}");
    if vector["expected_retry"] != "any" {
        let retry = decoder.retry().map(|delay| delay.as_millis());
        let expected = vector["expected_retry"].as_u64().map(u128::from);
        assert_eq!(retry, expected, "{name}: retry from {chunks:?}");
    }
}

#[test]
fn every_parser_vector_holds_as_given_whole_byte_by_byte_and_at_every_split() {
    let vectors = vectors("vectors");
    assert_eq!(vectors.len(), 175);
    for vector in &vectors {
        let chunks: Vec<Vec<u8>> = vector["input_chunks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|chunk| STANDARD.decode(chunk.as_str().unwrap()).unwrap())
            .collect();
        let given: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        check(vector, &given);
        let whole = given.concat();
        // Of the one vector of 64 KiB a sample of the splits: all would take minutes.
        let step = if whole.len() <= 8192 { 1 } else { 97 };
        for (at, split) in chunkings(&whole).enumerate() {
            if at < 64 || at % step == 0 || at + 64 > whole.len() {
                check(vector, &split);
            }
        }
    }
}

fn encode(input: &Value) -> Result<Vec<u8>, FieldError> {
    let mut frame = Frame::new();
    if let Some(name) = input["event"].as_str() {
        frame = frame.event(EventName::new(name)?);
    }
    if let Some(id) = input["id"].as_str() {
        frame = frame.id(EventId::new(id)?);
    }
    if let Some(ms) = input["retry"].as_u64() {
        frame = frame.retry_ms(ms);
    }
    if let Some(text) = input["comment"].as_str() {
        frame = frame.comment(text);
    }
    if let Some(text) = input["data"].as_str() {
        frame = frame.data(text);
    }
    let mut out = Vec::new();
    frame.encode_to(&mut out);
    Ok(out)
}

#[test]
fn every_encoder_vector_is_refused_or_decodes_to_what_it_says() {
    let vectors = vectors("encoder_vectors");
    assert_eq!(vectors.len(), 20);
    for vector in &vectors {
        let name = &vector["name"];
        let encoded = encode(&vector["in"]);
        if vector["expect"] == "error" {
            assert!(encoded.is_err(), "{name}: {encoded:?}");
            continue;
        }
        let encoded = encoded.unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut decoder = Decoder::new();
        decoder.seed_last_event_id("before");
        let (seen, _) = read(&mut decoder, &[&encoded]);
        let events: Vec<Seen> = seen
            .into_iter()
            .filter(|item| matches!(item, Seen::Event(_)))
            .collect();
        let expected: Vec<Seen> = vector["parsed"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| {
                let id = it["last_event_id"].as_str().unwrap_or("before");
                event(
                    it["type"].as_str().unwrap(),
                    it["data"].as_str().unwrap(),
                    id,
                )
            })
            .collect();
        assert_eq!(events, expected, "{name}");
        let retry = decoder.retry().map(|delay| delay.as_millis());
        assert_eq!(retry, vector["retry"].as_u64().map(u128::from), "{name}");
        if let Some(id) = vector["last_event_id"].as_str() {
            assert_eq!(decoder.last_event_id(), id, "{name}");
        }
    }
}
