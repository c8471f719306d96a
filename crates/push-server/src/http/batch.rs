//! `POST /batch`: several events at once, as a JSON array.

use std::borrow::Cow;
use std::fmt;

use http::{Request, Response};
use http_body::Body;
use replay_store::Append;
use serde::Deserialize;
use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use session_proto::envelope::{ClientMessage, Encoding};

use super::events::{check_text, read_body, write_answer};
use super::problem::Problem;
use super::{HubBody, json_bytes};
use crate::hub::Hub;
use crate::ws::append;

pub(super) async fn publish<B>(hub: &Hub, request: Request<B>) -> Result<Response<HubBody>, Problem>
where
    B: Body<Data: Send> + Send,
{
    let max = hub.config().max_batch;
    let body = read_body(request, max.bytes).await;
    let body = body.map_err(|problem| match problem {
        Problem::TooLarge { limit } => Problem::BatchTooLarge { limit },
        other => other,
    })?;
    let batch = parse(&body, max.events)?;
    if hub.is_closed() {
        return Err(Problem::ShuttingDown);
    }
    let appended = hub.publish_batch(batch).await;
    let appended = appended.map_err(|error| Problem::from_batch(&error))?;
    let mut json = vec![b'['];
    for appended in &appended {
        if json.len() > 1 {
            json.push(b',');
        }
        write_answer(appended, &mut json);
    }
    json.extend_from_slice(b"]\n");
    Ok(json_bytes(json))
}

/// The events of a batch; the first that is refused refuses all.
fn parse(body: &[u8], max_events: usize) -> Result<Vec<Append>, Problem> {
    let mut batch = Batch {
        max_events,
        events: Vec::new(),
        refused: None,
    };
    let mut json = serde_json::Deserializer::from_slice(body);
    let parsed = batch.deserialize(&mut json).and_then(|()| json.end());
    match (batch.refused, parsed) {
        (Some(problem), _) => Err(problem),
        (None, Ok(())) => Ok(batch.events),
        (None, Err(error)) => Err(Problem::BatchInvalid {
            detail: error.to_string(),
        }),
    }
}

/// Reads event by event, so that an array of many small values costs no more than the array of as
/// many events as are allowed.
struct Batch {
    max_events: usize,
    events: Vec<Append>,
    refused: Option<Problem>,
}

impl<'de> DeserializeSeed<'de> for &mut Batch {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for &mut Batch {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events, each an object with topic and data")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        loop {
            let index = self.events.len();
            let item = match array.next_element::<Item<'_>>() {
                Ok(Some(item)) => item,
                Ok(None) => return Ok(()),
                Err(error) => {
                    let detail = error.to_string();
                    self.refused = Some(Problem::BatchInvalid { detail }.of_event(index));
                    return Err(error);
                }
            };
            let refused = if index == self.max_events {
                Problem::TooManyEvents {
                    limit: self.max_events,
                }
            } else {
                match item.append() {
                    Ok(append) => {
                        self.events.push(append);
                        continue;
                    }
                    Err(problem) => problem,
                }
            };
            self.refused = Some(refused.of_event(index));
            return Err(serde::de::Error::custom("refused"));
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow)]
    data: Cow<'a, str>,
    event: Option<String>,
    encoding: Option<DataEncoding>,
    idempotency_key: Option<String>,
    conflate_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum DataEncoding {
    Base64,
}

impl Item<'_> {
    fn append(self) -> Result<Append, Problem> {
        let append = append(ClientMessage::Publish {
            reference: None,
            topic: self.topic,
            event: self.event.map(Cow::Owned),
            data: self.data,
            encoding: self.encoding.map(|DataEncoding::Base64| Encoding::Base64),
            idempotency_key: self.idempotency_key.map(Cow::Owned),
            conflate_key: self.conflate_key.map(Cow::Owned),
        })?;
        check_text(&append)?;
        Ok(append)
    }
}
