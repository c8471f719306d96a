//! `GET /history`: a page of retained events. `GET /topics`: what the store knows of.

use std::str::FromStr;

use http::{Request, Response};
use replay_store::{After, Limit, Pattern, ReplayStore as _, Selector, Topic};
use serde_json::json;

use super::problem::Problem;
use super::{HubBody, json_bytes, json_response, query};
use crate::form;
use crate::hub::Hub;

/// How many events or topics are answered at most, and without a `limit`.
const MAX_LIMIT: usize = 1_000;
const DEFAULT_LIMIT: usize = 100;

/// Bytes of data that are answered at most, unless one event has more.
const MAX_BYTES: usize = 1024 * 1024;

pub(super) async fn events<B>(
    hub: &Hub,
    request: &Request<B>,
) -> Result<Response<HubBody>, Problem> {
    let mut patterns = Vec::new();
    let mut after = After::Earliest;
    let mut events = DEFAULT_LIMIT;
    for pair in query::pairs(request.uri().query().unwrap_or_default()) {
        let (name, value) = pair?;
        match &*name {
            "topic" => patterns.push(Pattern::new(&value)?),
            "after" => after = After::parse(value.as_bytes()),
            "limit" => events = limit(&value)?,
            _ => {}
        }
    }
    if patterns.is_empty() {
        return Err(Problem::TopicMissing);
    }
    let limit = Limit {
        events,
        bytes: MAX_BYTES,
    };
    let page = hub
        .store()
        .read(&Selector::new(patterns)?, after, limit)
        .await
        .map_err(|error| Problem::from_store(&error))?;

    let mut out = b"{\"events\":[".to_vec();
    for (index, event) in page.events.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        form::event_message(event).to_json(&mut out);
    }
    out.extend_from_slice(b"],");
    if let Some(gap) = &page.gap {
        out.extend_from_slice(b"\"gap\":");
        form::gap_message(gap, None).to_json(&mut out);
        out.push(b',');
    }
    let rest = format!(
        "\"next\":\"{}\",\"last\":{}}}\n",
        page.next(),
        page.is_last()
    );
    out.extend_from_slice(rest.as_bytes());
    Ok(json_bytes(out))
}

pub(super) async fn topics<B>(
    hub: &Hub,
    request: &Request<B>,
) -> Result<Response<HubBody>, Problem> {
    let mut patterns = Vec::new();
    let mut after = None;
    let mut count = DEFAULT_LIMIT;
    for pair in query::pairs(request.uri().query().unwrap_or_default()) {
        let (name, value) = pair?;
        match &*name {
            "pattern" => patterns.push(Pattern::new(&value)?),
            "after" => after = Some(Topic::new(&value)?),
            "limit" => count = limit(&value)?,
            _ => {}
        }
    }
    let selector = if patterns.is_empty() {
        Selector::all()
    } else {
        Selector::new(patterns)?
    };
    // One more than is answered tells whether there are more.
    let mut infos = hub
        .store()
        .topics(&selector, after.as_ref(), count + 1)
        .await
        .map_err(|error| Problem::from_store(&error))?;
    let more = infos.len() > count;
    infos.truncate(count);
    let next = infos.last().filter(|_| more).map(|it| it.topic.as_str());
    let topics: Vec<_> = infos
        .iter()
        .map(|info| {
            json!({
                "topic": info.topic.as_str(),
                "events": info.events,
                "bytes": info.bytes,
                "last_seq": info.last,
                "ended": info.ended,
            })
        })
        .collect();
    Ok(json_response(&json!({ "topics": topics, "next": next })))
}

fn limit(text: &str) -> Result<usize, Problem> {
    usize::from_str(text)
        .ok()
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
        .ok_or(Problem::LimitInvalid { max: MAX_LIMIT })
}
