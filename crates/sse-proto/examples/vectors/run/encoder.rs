//! Encoder vectors: fields in, and what a decoder makes of the bytes, or a refusal.

use serde_json::Value;
use sse_proto::{Decoder, Event, EventId, EventName, FieldError, Frame, Item};

use super::{list_of, same, text_of};

/// What a client has as last event ID before it meets the frame.
const BEFORE: &str = "before";

/// Encodes the vector's fields and decodes the result.
pub(crate) fn check(vector: &Value) -> Result<(), String> {
    let encoded = encode(&vector["in"]);
    match (text_of(vector, "expect")?, encoded) {
        ("ok", Ok(encoded)) => check_decoded(vector, &encoded),
        ("ok", Err(error)) => Err(format!("refused: it {error}")),
        ("error", Ok(encoded)) => Err(format!(
            "must be refused, but was encoded: {:?}",
            String::from_utf8_lossy(&encoded)
        )),
        ("error", Err(_)) => Ok(()),
        (other, _) => Err(format!("`expect` is {other:?}, not ok or error")),
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

fn check_decoded(vector: &Value, encoded: &[u8]) -> Result<(), String> {
    let mut decoder = Decoder::new();
    decoder.seed_last_event_id(BEFORE);
    let mut events = Vec::new();
    let mut items = decoder.push(encoded);
    while let Some(item) = items.next() {
        if let Item::Event(event) = item {
            events.push(event.to_owned());
        }
    }
    let expected = list_of(vector, "parsed")?.iter().map(|event| {
        Ok(Event {
            event: text_of(event, "type")?.to_owned().into(),
            data: text_of(event, "data")?.into(),
            id: event["last_event_id"].as_str().unwrap_or(BEFORE).into(),
        })
    });
    same("events", &events, &expected.collect::<Result<_, String>>()?)?;
    let retry = decoder.retry().map(|delay| delay.as_millis());
    same("retry", &retry, &vector["retry"].as_u64().map(u128::from))?;
    match vector["last_event_id"].as_str() {
        Some(id) => same("last event ID", &decoder.last_event_id(), &id),
        None => Ok(()),
    }
}
