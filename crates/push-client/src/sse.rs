//! A subscription's connection over Server-Sent Events.

use core::task::{Context, Poll, ready};
use std::borrow::Cow;

use bytes::{Buf, Bytes};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use session_proto::envelope::{GapReason, ServerMessage};
use session_proto::{Beat, HeartbeatConfig};
use sse_proto::{Decoder, EventRef, Item, Limits};

use crate::delivery::{GapNotice, ReceivedEvent};
use crate::error::{ClientError, ConnectionError};
use crate::http::{Endpoint, HttpConnection};
use crate::options::SubscribeOptions;
use crate::pulse::Pulse;
use crate::signal::{Failure, Signal};

/// An open event stream.
pub(crate) struct SseStream {
    http: HttpConnection,
    body: Incoming,
    decoder: Decoder,
    max_event: usize,
    /// Received and not decoded yet; the next chunk is read once this one is used up.
    chunk: Bytes,
    pulse: Pulse,
}

impl SseStream {
    /// Asks for the stream that goes on after `after`.
    pub(crate) async fn open(
        endpoint: &Endpoint,
        options: &SubscribeOptions,
        pulse: HeartbeatConfig,
        after: Option<&str>,
    ) -> Result<Self, Failure> {
        // A header loses spaces at either end and cannot hold control characters; the query can.
        let header = after
            .filter(|id| id.bytes().all(|byte| byte.is_ascii_graphic()))
            .and_then(|id| HeaderValue::from_str(id).ok());
        let mut query: Vec<_> = options
            .topics
            .iter()
            .map(|topic| ("topic", &**topic))
            .collect();
        query.push(("format", "json"));
        query.extend(options.policy.as_deref().map(|policy| ("policy", policy)));
        query.extend(
            after
                .filter(|_| header.is_none())
                .map(|id| ("last_event_id", id)),
        );
        let mut request = endpoint
            .request(Method::GET, "events", &query)
            .map_err(Failure::Stop)?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static(sse_proto::CONTENT_TYPE));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if let Some(id) = header {
            headers.insert(sse_proto::LAST_EVENT_ID, id);
        }

        let mut http = HttpConnection::open(endpoint).await?;
        let response = http.send(request).await?;
        if response.status() != StatusCode::OK {
            return Err(http.explain(response).await);
        }
        check_content_type(response.headers()).map_err(Failure::Stop)?;
        let mut limits = Limits::new();
        limits
            .max_line(options.max_event)
            .max_event(options.max_event);
        Ok(Self {
            http,
            body: response.into_body(),
            decoder: Decoder::with_limits(limits),
            max_event: options.max_event,
            chunk: Bytes::new(),
            pulse: Pulse::new(pulse, options.idle_timeout),
        })
    }

    /// The next thing on the stream, or why there is none any more.
    pub(crate) fn poll_signal(&mut self, cx: &mut Context<'_>) -> Poll<Result<Signal, Failure>> {
        loop {
            while self.chunk.has_remaining() {
                if let Some(outcome) = self.decode() {
                    return Poll::Ready(outcome.map_err(Failure::Violation));
                }
            }
            match self.http.poll_body(&mut self.body, cx) {
                Poll::Ready(Some(chunk)) => {
                    self.pulse.received();
                    self.chunk = chunk?;
                }
                Poll::Ready(None) => return Poll::Ready(Err(ConnectionError::Ended.into())),
                // An event stream has no way back, so there is nothing to send on a beat.
                Poll::Pending => match ready!(self.pulse.poll_beat(cx)) {
                    Beat::Send => {}
                    Beat::Dead => return Poll::Ready(Err(self.pulse.death().into())),
                },
            }
        }
    }

    /// Decodes one item off the chunk; `None` if it is of no interest or not complete.
    fn decode(&mut self) -> Option<Result<Signal, ClientError>> {
        let mut items = self.decoder.push(&self.chunk);
        let outcome = match items.next() {
            Some(Item::Event(event)) => read_event(event).transpose(),
            Some(Item::Id(id)) => Some(id).filter(|id| !id.is_empty()).map(id_signal).map(Ok),
            Some(Item::Retry(delay)) => Some(Ok(Signal::Retry(delay))),
            Some(Item::TooLarge { .. }) => Some(Err(ClientError::TooLarge {
                limit: self.max_event,
            })),
            _ => None,
        };
        let used = self.chunk.len() - items.remaining().len();
        self.chunk.advance(used);
        outcome
    }
}

fn id_signal(id: &str) -> Signal {
    Signal::Id(id.to_owned())
}

/// Reads one event of the stream; `None` if it belongs to the hub and means nothing here.
fn read_event(event: EventRef<'_>) -> Result<Option<Signal>, ClientError> {
    #[derive(Deserialize)]
    struct Gap<'a> {
        #[serde(borrow)]
        reason: Cow<'a, str>,
        after: Option<String>,
        id: String,
        skipped: Option<u64>,
    }
    #[derive(Deserialize)]
    struct Ready {
        id: String,
    }
    fn parse<'a, T: Deserialize<'a>>(what: &'static str, data: &'a str) -> Result<T, ClientError> {
        serde_json::from_str(data).map_err(|error| ClientError::Malformed {
            what,
            detail: error.to_string(),
        })
    }

    let signal = match event.event {
        "message" => {
            let malformed = |detail| ClientError::Malformed {
                what: "event",
                detail,
            };
            let message =
                ServerMessage::parse(event.data).map_err(|error| malformed(error.to_string()))?;
            let received = ReceivedEvent::try_from(message)?;
            if received.id != event.id {
                let detail = format!("its id is {} but the stream's is {}", received.id, event.id);
                return Err(malformed(detail));
            }
            Signal::Event(received)
        }
        "$gap" => {
            let Gap {
                reason,
                after,
                id,
                skipped,
            } = parse("$gap", event.data)?;
            let reason = gap_reason(&reason)?;
            Signal::Gap(GapNotice {
                reason,
                after,
                id,
                skipped,
            })
        }
        "$ready" => Signal::Ready {
            id: parse::<Ready>("$ready", event.data)?.id,
        },
        name if name.starts_with('$') && event.id.is_empty() => return Ok(None),
        name if name.starts_with('$') => id_signal(event.id),
        name => {
            let detail = format!("of type {name:?}, though format=json has no types");
            return Err(ClientError::Malformed {
                what: "event",
                detail,
            });
        }
    };
    Ok(Some(signal))
}

fn gap_reason(name: &str) -> Result<GapReason, ClientError> {
    use GapReason::{Ahead, EpochChanged, Lagged, Trimmed, Unknown};
    [EpochChanged, Trimmed, Ahead, Lagged, Unknown]
        .into_iter()
        .find(|reason| reason.as_str() == name)
        .ok_or_else(|| ClientError::Malformed {
            what: "$gap",
            detail: format!("reason {name:?}"),
        })
}

/// HTML standard, section 9.2.3: the essence must be `text/event-stream`; case and parameters do
/// not matter.
fn check_content_type(headers: &HeaderMap) -> Result<(), ClientError> {
    let found = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if found.is_some_and(sse_proto::is_event_stream) {
        return Ok(());
    }
    let found = found.map(|value| String::from_utf8_lossy(value).into_owned());
    Err(ClientError::ContentType { found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content_type: Option<&'static str>, expected: bool) {
        let headers = content_type
            .map(|value| (CONTENT_TYPE, HeaderValue::from_static(value)))
            .into_iter()
            .collect();
        assert_eq!(
            check_content_type(&headers).is_ok(),
            expected,
            "{content_type:?}"
        );
    }

    #[test]
    fn only_the_essence_of_the_content_type_counts() {
        for accepted in [
            "text/event-stream",
            "text/event-stream;",
            "text/event-stream; charset=utf-8",
            "TEXT/Event-Stream ; x=y",
        ] {
            check(Some(accepted), true);
        }
        for refused in [
            "text/event-streamx",
            "text/event",
            "application/json",
            "",
            ";",
        ] {
            check(Some(refused), false);
        }
        check(None, false);
    }
}
