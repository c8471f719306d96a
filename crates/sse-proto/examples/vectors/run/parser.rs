//! Parser vectors: chunks in, events out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sse_proto::{Decoder, Event, Item};

use super::{list_of, same, text_of};

/// Up to this many bytes a stream is cut at every place, a longer one in a sample of them.
const EVERY_SPLIT: usize = 8192;

/// Decodes the vector as given, whole, byte by byte, and cut in two at every place.
pub(crate) fn check(vector: &Value) -> Result<(), String> {
    let chunks = list_of(vector, "input_chunks")?
        .iter()
        .map(|chunk| STANDARD.decode(chunk.as_str().unwrap_or("?")))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("`input_chunks`: {error}"))?;
    let expected = Expected::read(vector)?;
    let given: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
    let stream = given.concat();
    expected.check("as given", &given)?;
    expected.check("whole", &[&stream])?;
    expected.check("byte by byte", &stream.chunks(1).collect::<Vec<_>>())?;
    let step = if stream.len() <= EVERY_SPLIT { 1 } else { 97 };
    for at in 0..=stream.len() {
        if at < 64 || at % step == 0 || at + 64 > stream.len() {
            let (head, tail) = stream.split_at(at);
            expected.check(&format!("cut at {at}"), &[head, tail])?;
        }
    }
    Ok(())
}

struct Expected<'v> {
    seed: Option<&'v str>,
    events: Vec<Event>,
    /// `None`: any.
    retry: Option<Option<u128>>,
    last_event_id: String,
}

impl<'v> Expected<'v> {
    fn read(vector: &'v Value) -> Result<Self, String> {
        let events = list_of(vector, "expected_events")?.iter().map(|event| {
            Ok(Event {
                event: text_of(event, "type")?.to_owned().into(),
                data: text_of(event, "data")?.into(),
                id: text_of(event, "last_event_id")?.into(),
            })
        });
        Ok(Self {
            seed: vector["initial_last_event_id"].as_str(),
            events: events.collect::<Result<_, String>>()?,
            retry: match &vector["expected_retry"] {
                Value::Null => Some(None),
                Value::String(any) if any == "any" => None,
                retry => match retry.as_u64() {
                    Some(ms) => Some(Some(ms.into())),
                    None => return Err(format!("`expected_retry` is {retry}")),
                },
            },
            last_event_id: text_of(vector, "expected_last_event_id")?.to_owned(),
        })
    }

    fn check(&self, how: &str, chunks: &[&[u8]]) -> Result<(), String> {
        let mut decoder = Decoder::new();
        if let Some(seed) = self.seed {
            decoder.seed_last_event_id(seed);
        }
        let mut taker = decoder.clone();
        let (mut events, mut taken) = (Vec::new(), Vec::new());
        for chunk in chunks {
            let mut items = decoder.push(chunk);
            while let Some(item) = items.next() {
                if let Item::Event(event) = item {
                    events.push(event.to_owned());
                }
            }
            let mut items = taker.push(chunk);
            while let Some(item) = items.next_owned() {
                if let Item::Event(event) = item {
                    taken.push(event);
                }
            }
        }
        decoder.finish();
        let at = |what| format!("{how}: {what}");
        same(&at("events"), &events, &self.events)?;
        same(&at("owned events"), &taken, &self.events)?;
        let last = decoder.last_event_id().to_owned();
        same(&at("last event ID"), &last, &self.last_event_id)?;
        let retry = decoder.retry().map(|delay| delay.as_millis());
        same(&at("retry"), &retry, &self.retry.unwrap_or(retry))
    }
}
