//! `/events`: `GET` and `HEAD` subscribe, `POST` publishes, `DELETE` purges. `/end`: `POST` ends a
//! topic.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use backpressure::Policy;
use bytes::{Buf as _, Bytes};
use http::header::{CONTENT_LENGTH, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body::Body;
use replay_store::{
    After, Append, Appended, EventType, Limit, Pattern, ReplayStore as _, Selector, Topic,
};
use serde_json::json;
use tokio::time::timeout;

use super::problem::Problem;
use super::{HubBody, json_bytes, json_response, query};
use crate::form::Form;
use crate::hub::{ASKING, Hub};
use crate::link::Link;
use crate::metrics::Transport;
use crate::sse::{self, EventBody};

/// How long the body of a publish may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

static EVENT_TYPE: HeaderName = HeaderName::from_static("event-type");
static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
static CONFLATE_KEY: HeaderName = HeaderName::from_static("conflate-key");

/// What a subscription asks for.
struct Wish {
    selector: Selector,
    form: Form,
    policy: Policy,
    after: After,
}

pub(super) async fn subscribe<B>(
    hub: &Hub,
    request: &Request<B>,
) -> Result<Response<HubBody>, Problem> {
    let wish = wish(hub, request)?;
    let mut ended = Vec::new();
    if wish.selector.is_exact() {
        ended = hub.ended_of(&wish.selector).await;
        let all = ended.len() == wish.selector.topics().len();
        if all && has_everything(hub, &wish).await {
            return Ok(sse::nothing_more());
        }
    }
    if *request.method() == Method::HEAD {
        return Ok(sse::response(HubBody::headless()));
    }
    let link = Link::of_request(hub, Transport::Sse, request);
    let Wish {
        selector,
        form,
        policy,
        after,
    } = wish;
    let subscriber = hub.subscribe_for(&link, selector, form, policy, after);
    Ok(EventBody::of(link, subscriber.with_ended(&ended)).into_response())
}

/// Is there nothing for this subscription, not even a gap? Asked after it was found that all its
/// topics have ended, so that nothing can come in between.
async fn has_everything(hub: &Hub, wish: &Wish) -> bool {
    let one = Limit {
        events: 1,
        bytes: 1,
    };
    let read = hub.store().read(&wish.selector, wish.after, one);
    let page = timeout(ASKING, read).await;
    matches!(page, Ok(Ok(page)) if page.gap.is_none() && page.events.is_empty() && page.is_last())
}

fn wish<B>(hub: &Hub, request: &Request<B>) -> Result<Wish, Problem> {
    let mut patterns = Vec::new();
    let mut policy = hub.config().policy;
    let mut format = None;
    let mut after = After::Latest;
    for pair in query::pairs(request.uri().query().unwrap_or_default()) {
        let (name, value) = pair?;
        match &*name {
            "topic" => patterns.push(Pattern::new(&value)?),
            "last_event_id" if !value.is_empty() => after = After::parse(value.as_bytes()),
            "policy" => policy = parse_policy(hub, &value)?,
            "format" => {
                format = Some(match &*value {
                    "raw" => Form::SseRaw,
                    "json" => Form::SseJson,
                    _ => return Err(Problem::FormatInvalid),
                });
            }
            _ => {}
        }
    }
    // The header is what a reconnecting EventSource sends, so it is the newer of the two.
    if let Some(id) = request.headers().get(sse_proto::LAST_EVENT_ID)
        && !id.is_empty()
    {
        after = After::parse(id.as_bytes());
    }
    if patterns.is_empty() {
        return Err(Problem::TopicMissing);
    }
    let selector = Selector::new(patterns)?;
    // Only one topic goes without saying.
    let raw = selector.is_exact() && selector.topics().len() == 1;
    let form = format.unwrap_or(if raw { Form::SseRaw } else { Form::SseJson });
    Ok(Wish {
        selector,
        form,
        policy,
        after,
    })
}

/// The policy of that name, if the hub offers it.
pub(crate) fn parse_policy(hub: &Hub, name: &str) -> Result<Policy, Problem> {
    hub.config().offered(name).ok_or(Problem::PolicyInvalid)
}

pub(super) async fn publish<B>(hub: &Hub, request: Request<B>) -> Result<Response<HubBody>, Problem>
where
    B: Body<Data: Send> + Send,
{
    let topic = one_topic(request.uri().query().unwrap_or_default())?;
    let headers = request.headers();
    let event = match headers.get(&EVENT_TYPE) {
        Some(value) => event_type(value)?,
        None => None,
    };
    let idempotency_key = key(headers, &IDEMPOTENCY_KEY)?;
    let conflate_key = key(headers, &CONFLATE_KEY)?;
    let limit = hub.config().max_event_bytes;
    let data = read_body(request, limit).await?;
    let appended = publish_text(
        hub,
        Append {
            topic,
            event,
            data,
            conflate_key,
            idempotency_key,
        },
    )
    .await?;
    Ok(answer(&appended))
}

/// Where an event is, as JSON.
pub(super) fn write_answer(appended: &Appended, out: &mut Vec<u8>) {
    let duplicate: &[u8] = if appended.duplicate {
        b"true"
    } else {
        b"false"
    };
    let id = appended.position.cursor();
    for part in [
        br#"{"duplicate":"#,
        duplicate,
        br#","id":""#,
        id.as_bytes(),
        br#""}"#,
    ] {
        out.extend_from_slice(part);
    }
}

/// So many bytes an answer takes at most.
const ANSWER: usize = 80;

fn answer(appended: &Appended) -> Response<HubBody> {
    let mut json = Vec::with_capacity(ANSWER);
    write_answer(appended, &mut json);
    json.push(b'\n');
    json_bytes(json)
}

pub(super) async fn end<B>(hub: &Hub, request: &Request<B>) -> Result<Response<HubBody>, Problem> {
    let topic = one_topic(request.uri().query().unwrap_or_default())?;
    if hub.is_closed() {
        return Err(Problem::ShuttingDown);
    }
    let ended = hub.end(topic).await;
    let ended = ended.map_err(|error| Problem::from_publish(&error))?;
    Ok(answer(&ended))
}

pub(super) async fn purge<B>(
    hub: &Hub,
    request: &Request<B>,
) -> Result<Response<HubBody>, Problem> {
    let mut patterns = Vec::new();
    for pair in query::pairs(request.uri().query().unwrap_or_default()) {
        match pair? {
            (name, value) if name == "topic" => patterns.push(Pattern::new(&value)?),
            // What narrows a removal down must not be overlooked.
            (name, _) => {
                return Err(Problem::ParameterUnknown {
                    name: name.into_owned(),
                });
            }
        }
    }
    if patterns.is_empty() {
        return Err(Problem::TopicMissing);
    }
    if hub.is_closed() {
        return Err(Problem::ShuttingDown);
    }
    let through = hub.purge(&Selector::new(patterns)?).await;
    let through = through.map_err(|error| Problem::from_store(&error))?;
    Ok(json_response(&json!({ "through": through.to_string() })))
}

/// Publishes to a text topic, the only kind there is so far.
pub(crate) async fn publish_text(hub: &Hub, event: Append) -> Result<Appended, Problem> {
    if hub.is_closed() {
        return Err(Problem::ShuttingDown);
    }
    check_text(&event)?;
    hub.publish(event)
        .await
        .map_err(|error| Problem::from_publish(&error))
}

/// All topics are text topics so far.
pub(super) fn check_text(event: &Append) -> Result<(), Problem> {
    match str::from_utf8(&event.data) {
        Ok(_) => Ok(()),
        Err(_) => Err(Problem::NotText),
    }
}

fn one_topic(query: &str) -> Result<Topic, Problem> {
    let mut topic = None;
    for pair in query::pairs(query) {
        let (name, value) = pair?;
        if name == "topic" && topic.replace(Topic::new(&value)?).is_some() {
            return Err(Problem::TooManyTopics);
        }
    }
    topic.ok_or(Problem::TopicMissing)
}

fn event_type(value: &HeaderValue) -> Result<Option<EventType>, Problem> {
    let text = str::from_utf8(value.as_bytes())
        .map_err(|_| Problem::EventTypeInvalid(replay_store::EventTypeError::ControlCharacter))?;
    // `message` is what an event without a type is dispatched as.
    if text.is_empty() || text == "message" {
        return Ok(None);
    }
    Ok(Some(EventType::new(text)?))
}

fn key(headers: &HeaderMap, name: &'static HeaderName) -> Result<Option<Arc<str>>, Problem> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    // What is not visible ASCII is no key either.
    checked_key(name.as_str(), value.to_str().unwrap_or_default()).map(Some)
}

/// The key, if it is short enough and visible ASCII.
pub(crate) fn checked_key(name: &'static str, text: &str) -> Result<Arc<str>, Problem> {
    let fits = !text.is_empty() && text.len() <= Append::MAX_KEY;
    if fits
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ')
    {
        return Ok(text.into());
    }
    Err(Problem::KeyInvalid {
        name,
        max: Append::MAX_KEY,
    })
}

pub(super) async fn read_body<B>(request: Request<B>, limit: usize) -> Result<Bytes, Problem>
where
    B: Body<Data: Send> + Send,
{
    let declared = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(Problem::TooLarge { limit });
    }
    let body = std::pin::pin!(request.into_body());
    let mut data = std::pin::pin!(collect(body, limit));
    // What came with its head needs no timer.
    if let Poll::Ready(data) = futures::poll!(data.as_mut()) {
        return data;
    }
    let data = timeout(BODY_TIMEOUT, data).await;
    data.unwrap_or(Err(Problem::BodyTimeout))
}

/// The whole of a body, copied: what the transport gives is a part of its read buffer, of 8 KiB and
/// more, which would stay as long as the event does.
async fn collect<B>(mut body: Pin<&mut B>, limit: usize) -> Result<Bytes, Problem>
where
    B: Body<Data: Send> + Send,
{
    let mut data = Vec::new();
    while !body.is_end_stream()
        && let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await
    {
        let Ok(frame) = frame else {
            return Err(Problem::BodyIncomplete);
        };
        // Trailers say nothing to us.
        let Ok(mut piece) = frame.into_data() else {
            continue;
        };
        if piece.remaining() > limit - data.len() {
            return Err(Problem::TooLarge { limit });
        }
        if data.is_empty() {
            data.reserve_exact(piece.remaining());
        }
        while piece.has_remaining() {
            let chunk = piece.chunk();
            data.extend_from_slice(chunk);
            let taken = chunk.len();
            piece.advance(taken);
        }
    }
    Ok(data.into_boxed_slice().into())
}
