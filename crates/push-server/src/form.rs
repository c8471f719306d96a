//! The wire forms: how an event, and what the hub itself says, look in bytes.

use std::borrow::Cow;

use backpressure::Policy;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use replay_store::{Event, Gap, Position, Selector};
use session_proto::envelope::{self, Encoding, ServerMessage};
use sse_proto::{EventId, EventName, Frame};
use ws_proto::OpCode;

/// How a subscriber wants its events written. Each event is encoded once per form in use.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Form {
    /// Server-Sent Events, the data as it was published.
    SseRaw,
    /// Server-Sent Events, the data being the envelope's event object, so that a native
    /// `EventSource` learns the topic.
    SseJson,
    /// Unmasked WebSocket text frames of `tidegate.v1+json`.
    WebSocket,
}

impl Form {
    pub(crate) const ALL: [Self; 3] = [Self::SseRaw, Self::SseJson, Self::WebSocket];

    /// One event.
    pub(crate) fn event(self, event: &Event, out: &mut Vec<u8>) {
        if self == Self::SseRaw {
            // Data that is not UTF-8 is refused when it is published to a text topic.
            let data = match str::from_utf8(&event.data) {
                Ok(data) => Cow::Borrowed(data),
                Err(_) => String::from_utf8_lossy(&event.data),
            };
            let name = event.event.as_ref().map(replay_store::EventType::as_str);
            sse(name, Some(event.position), Some(&data), out);
            return;
        }
        let message = event_message(event);
        if self == Self::WebSocket {
            frame(&message, out);
        } else {
            let mut json = Vec::with_capacity(event.data.len() + 128);
            message.to_json(&mut json);
            let json = String::from_utf8_lossy(&json);
            sse(None, Some(event.position), Some(&json), out);
        }
    }

    /// The first bytes of a stream, sent before the store was asked anything.
    pub(crate) fn preamble(self, retry_ms: u64, out: &mut Vec<u8>) {
        if self != Self::WebSocket {
            Frame::new()
                .retry_ms(retry_ms)
                .comment("tidegate")
                .encode_to(out);
        }
    }

    /// Where the stream begins, so that a drop before the first event loses nothing.
    pub(crate) fn start(self, at: Option<Position>, topics: &Selector, out: &mut Vec<u8>) {
        match self {
            Self::WebSocket => frame(
                &ServerMessage::Subscribed {
                    at: at.map(|at| at.to_string().into()),
                    topics: topics.patterns().map(Into::into).collect(),
                },
                out,
            ),
            _ if at.is_some() => sse(None, at, None, out),
            _ => {}
        }
    }

    /// A gap: what follows is complete only from its id on.
    pub(crate) fn gap(self, gap: &Gap, skipped: Option<u64>, out: &mut Vec<u8>) {
        let message = gap_message(gap, skipped);
        self.control("$gap", gap.continue_at, &message, out);
    }

    /// Replay is over: everything up to `at` was sent.
    pub(crate) fn ready(self, at: Position, policy: &Policy, out: &mut Vec<u8>) {
        let message = ServerMessage::Ready {
            id: at.to_string().into(),
            policy: policy.as_str().into(),
        };
        self.control("$ready", at, &message, out);
    }

    /// A heartbeat, with the position where it moved while nothing matched.
    pub(crate) fn beat(self, moved: Option<Position>, policy: &Policy, out: &mut Vec<u8>) {
        match (self, moved) {
            (Self::WebSocket, Some(at)) => self.ready(at, policy, out),
            (Self::WebSocket, None) => {}
            (_, Some(_)) => sse(None, moved, None, out),
            (_, None) => out.extend_from_slice(sse_proto::KEEP_ALIVE),
        }
    }

    /// The hub goes away, and the client should come back after `retry_ms`.
    pub(crate) fn drain(self, retry_ms: u64, out: &mut Vec<u8>) {
        let message = ServerMessage::Drain { retry_ms };
        if self == Self::WebSocket {
            frame(&message, out);
            return;
        }
        let mut json = Vec::new();
        message.to_json(&mut json);
        let mut block = Frame::new().retry_ms(retry_ms);
        if let Ok(name) = EventName::new("$drain") {
            block = block.event(name);
        }
        block.data(&String::from_utf8_lossy(&json)).encode_to(out);
    }

    fn control(self, name: &str, at: Position, message: &ServerMessage<'_>, out: &mut Vec<u8>) {
        if self == Self::WebSocket {
            frame(message, out);
            return;
        }
        let mut json = Vec::new();
        message.to_json(&mut json);
        sse(
            Some(name),
            Some(at),
            Some(&String::from_utf8_lossy(&json)),
            out,
        );
    }
}

/// The event as an object of the envelope.
pub(crate) fn event_message(event: &Event) -> ServerMessage<'_> {
    let (data, encoding) = match str::from_utf8(&event.data) {
        Ok(text) => (Cow::Borrowed(text), None),
        Err(_) => (
            Cow::Owned(STANDARD.encode(&event.data)),
            Some(Encoding::Base64),
        ),
    };
    ServerMessage::Event {
        id: event.position.to_string().into(),
        seq: event.position.seq,
        prev: event.prev,
        time: Some(event.timestamp_ms),
        topic: event.topic.as_str().into(),
        event: event.event.as_ref().map(|it| it.as_str().into()),
        data,
        encoding,
    }
}

/// The gap as an object of the envelope.
pub(crate) fn gap_message(gap: &Gap, skipped: Option<u64>) -> ServerMessage<'static> {
    ServerMessage::Gap {
        reason: reason(gap),
        after: gap.after.map(|after| after.to_string().into()),
        id: gap.continue_at.to_string().into(),
        skipped,
    }
}

/// One message as an unmasked text frame.
pub(crate) fn frame(message: &ServerMessage<'_>, out: &mut Vec<u8>) {
    let mut json = Vec::with_capacity(MESSAGE);
    message.to_json(&mut json);
    ws_proto::encode_server_frame(OpCode::Text, &json, out);
}

/// Room for most messages.
const MESSAGE: usize = 256;

fn sse(event: Option<&str>, id: Option<Position>, data: Option<&str>, out: &mut Vec<u8>) {
    let mut block = Frame::new();
    if let Some(Ok(name)) = event.map(EventName::new) {
        block = block.event(name);
    }
    let cursor = id.map(|id| id.cursor());
    if let Some(Ok(id)) = cursor.as_ref().map(|cursor| EventId::new(cursor.as_str())) {
        block = block.id(id);
    }
    if let Some(data) = data {
        block = block.data(data);
    }
    block.encode_to(out);
}

fn reason(gap: &Gap) -> envelope::GapReason {
    match gap.reason {
        replay_store::GapReason::EpochChanged => envelope::GapReason::EpochChanged,
        replay_store::GapReason::Trimmed => envelope::GapReason::Trimmed,
        replay_store::GapReason::Ahead => envelope::GapReason::Ahead,
        replay_store::GapReason::Lagged => envelope::GapReason::Lagged,
        replay_store::GapReason::Unknown => envelope::GapReason::Unknown,
    }
}
