//! What a `publish` of the envelope appends.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use replay_store::{Append, EventType, Topic};
use session_proto::envelope::{ClientMessage, Encoding};

use crate::http::events::checked_key;
use crate::http::problem::Problem;

pub(crate) fn append(message: ClientMessage<'_>) -> Result<Append, Problem> {
    let ClientMessage::Publish {
        topic,
        event,
        data,
        encoding,
        idempotency_key,
        conflate_key,
        ..
    } = message
    else {
        return Err(Problem::TopicMissing);
    };
    let event = match event.as_deref() {
        None | Some("" | "message") => None,
        Some(name) => Some(EventType::new(name)?),
    };
    let data = match encoding {
        None => data.into_owned().into_bytes(),
        Some(Encoding::Base64) => STANDARD
            .decode(data.as_bytes())
            .map_err(|_| Problem::EncodingInvalid)?,
        Some(_) => return Err(Problem::EncodingInvalid),
    };
    Ok(Append {
        topic: Topic::new(&topic)?,
        event,
        data: data.into(),
        conflate_key: key("conflate_key", conflate_key.as_deref())?,
        idempotency_key: key("idempotency_key", idempotency_key.as_deref())?,
    })
}

fn key(name: &'static str, text: Option<&str>) -> Result<Option<Arc<str>>, Problem> {
    text.map(|text| checked_key(name, text)).transpose()
}
