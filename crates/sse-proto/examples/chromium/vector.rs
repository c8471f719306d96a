//! The parser vectors, and what our decoder makes of them.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sse_proto::{Decoder, Item};

pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) chunks: Vec<Vec<u8>>,
    /// Last event ID of an earlier connection.
    pub(crate) seed: Option<String>,
    /// The standard, or the vectors' reading of it, says how long to wait.
    pub(crate) retry_matters: bool,
}

/// What our decoder finds.
pub(crate) struct Found {
    /// Type, data and last event ID.
    pub(crate) events: Vec<[String; 3]>,
    pub(crate) last_event_id: String,
    pub(crate) retry: Option<Duration>,
}

pub(crate) fn read() -> Vec<Vector> {
    let file: Value = serde_json::from_str(include_str!("../../tests/vectors/sse_vectors.json"))
        .expect("the vectors are JSON");
    let vectors = file["vectors"].as_array().expect("a list of vectors");
    vectors.iter().map(Vector::read).collect()
}

impl Vector {
    fn read(value: &Value) -> Self {
        let chunk = |chunk: &Value| STANDARD.decode(chunk.as_str()?).ok();
        let chunks = value["input_chunks"].as_array().expect("chunks").iter();
        Self {
            name: value["name"].as_str().expect("a name").to_owned(),
            chunks: chunks.map(|it| chunk(it).expect("base64")).collect(),
            seed: value["initial_last_event_id"].as_str().map(str::to_owned),
            retry_matters: value["expected_retry"] != "any",
        }
    }

    pub(crate) fn decode(&self) -> Found {
        let mut decoder = Decoder::new();
        if let Some(seed) = &self.seed {
            decoder.seed_last_event_id(seed);
        }
        let mut events = Vec::new();
        for chunk in &self.chunks {
            let mut items = decoder.push(chunk);
            while let Some(item) = items.next() {
                if let Item::Event(event) = item {
                    events.push([event.event, event.data, event.id].map(str::to_owned));
                }
            }
        }
        decoder.finish();
        Found {
            events,
            last_event_id: decoder.last_event_id().to_owned(),
            retry: decoder.retry(),
        }
    }
}
