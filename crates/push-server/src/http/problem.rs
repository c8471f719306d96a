//! Every refusal the hub can answer with: one closed list, one map to status and code.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use replay_store::{EventTypeError, SelectorError, StoreError, TopicError};
use serde_json::json;

use crate::http::HubBody;
use crate::hub::PublishError;

/// A request the hub refuses, as `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// No handler for this path.
    #[error(
        "nothing is served at this path; the hub serves /events, /batch, /end, /history, /topics and /ws"
    )]
    NotFound,
    /// The path exists, the method does not.
    #[error("this method is not served at this path; use one of: {allow}")]
    MethodNotAllowed {
        /// The `Allow` header of the answer.
        allow: &'static str,
    },
    /// The query string has a broken percent-encoding, or one that is not UTF-8.
    #[error("the query string is not valid percent-encoded UTF-8")]
    QueryInvalid,
    /// No topic was named.
    #[error("name a topic in the query: ?topic=NAME")]
    TopicMissing,
    /// A topic breaks a rule.
    #[error("a topic is not valid: {0}")]
    TopicInvalid(TopicError),
    /// The set of topics breaks a rule.
    #[error("the topics are not valid: {0}")]
    TopicsInvalid(SelectorError),
    /// A publish named several topics.
    #[error("publish to exactly one topic")]
    TooManyTopics,
    /// A policy that does not exist.
    #[error(
        "no such policy, or this hub does not offer it; there are replay, disconnect, drop-oldest and conflate"
    )]
    PolicyInvalid,
    /// A format that does not exist.
    #[error("no such format; use raw or json")]
    FormatInvalid,
    /// The event type begins with `$`.
    #[error("event types that begin with $ belong to the hub; choose another")]
    EventTypeReserved,
    /// The event type breaks a rule.
    #[error("the event type is not valid: {0}")]
    EventTypeInvalid(EventTypeError),
    /// A key header is empty, too long, or not visible ASCII.
    #[error("{name} must be 1 to {max} visible ASCII characters")]
    KeyInvalid {
        /// The header or member.
        name: &'static str,
        /// The longest allowed, in bytes.
        max: usize,
    },
    /// The data is larger than an event may be.
    #[error("the data is larger than the {limit} bytes an event may have")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The data is not UTF-8.
    #[error(
        "the data is not UTF-8 text, and the topic is a text topic; encode binary data, for example as base64"
    )]
    NotText,
    /// `encoding` says base64, and the data is not.
    #[error("the data is not valid base64 (RFC 4648 section 4, with padding)")]
    EncodingInvalid,
    /// The body of a batch is no array of events.
    #[error("a batch is a JSON array of objects with topic and data: {detail}")]
    BatchInvalid {
        /// What is wrong, and where.
        detail: String,
    },
    /// The body of a batch is larger than it may be.
    #[error("the batch is larger than the {limit} bytes it may have; send it in parts")]
    BatchTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A batch has more events than it may have.
    #[error("a batch has at most {limit} events; send it in parts")]
    TooManyEvents {
        /// The limit.
        limit: usize,
    },
    /// An event of a batch is refused, and the whole batch with it.
    #[error(
        "event {index} of the batch, counted from 0, and so the whole batch was refused: {problem}"
    )]
    OfEvent {
        /// Which event.
        index: usize,
        /// Why.
        problem: Box<Self>,
    },
    /// A page cannot have that many.
    #[error("limit must be a number from 1 to {max}")]
    LimitInvalid {
        /// The most.
        max: usize,
    },
    /// A parameter that does not exist, where that matters.
    #[error("this request has no parameter {name:?}, only topic; nothing was removed")]
    ParameterUnknown {
        /// Its name.
        name: String,
    },
    /// The body could not be read to its end.
    #[error("the request body ended early")]
    BodyIncomplete,
    /// The body did not arrive in time.
    #[error("the request body took too long to arrive")]
    BodyTimeout,
    /// The `Host` is not one the hub serves.
    #[error(
        "this Host is not served; unless it was started as an open one, a hub answers only to localhost, 127.0.0.1 and [::1]"
    )]
    HostForbidden,
    /// The `Origin` may not use the hub.
    #[error("pages of this Origin may not use the hub")]
    OriginForbidden,
    /// Not a WebSocket handshake.
    #[error("this path speaks WebSocket: send an upgrade with Sec-WebSocket-Version: 13")]
    UpgradeRequired,
    /// A WebSocket handshake that breaks RFC 6455 section 4.2.1.
    #[error("the WebSocket handshake is not valid: {reason}")]
    UpgradeInvalid {
        /// The rule that is broken.
        reason: String,
    },
    /// The idempotency key was used with another body.
    #[error("this Idempotency-Key was used for other data; use a new key for a new event")]
    KeyReused,
    /// The topic has ended.
    #[error("the topic has ended and takes no more events; publish to another topic")]
    TopicEnded,
    /// The store has no such operation.
    #[error("the store of this hub cannot do that")]
    NotSupported,
    /// The store did not take the event, and has not kept it.
    #[error("the store is not available; try again")]
    StoreUnavailable,
    /// The store may or may not have kept the event.
    #[error("whether the event was stored is unknown; try again with the same Idempotency-Key")]
    OutcomeUnknown,
    /// Subscribers were too far behind for too long; see [`HubConfig::block`].
    ///
    /// [`HubConfig::block`]: crate::HubConfig::block
    #[error("subscribers of this topic are too far behind; the event was not published, try again")]
    SubscribersBehind,
    /// The hub is going away.
    #[error("the hub is shutting down; try again")]
    ShuttingDown,
}

impl Problem {
    /// Every [code](Self::code) that there is.
    pub(crate) const CODES: [&str; 33] = [
        "batch_invalid",
        "batch_too_large",
        "body_incomplete",
        "body_timeout",
        "encoding_invalid",
        "event_type_invalid",
        "event_type_reserved",
        "format_invalid",
        "host_forbidden",
        "key_invalid",
        "key_reused",
        "limit_invalid",
        "method_not_allowed",
        "not_found",
        "not_supported",
        "not_text",
        "origin_forbidden",
        "outcome_unknown",
        "parameter_unknown",
        "policy_invalid",
        "query_invalid",
        "shutting_down",
        "store_unavailable",
        "subscribers_behind",
        "too_large",
        "too_many_events",
        "too_many_topics",
        "topic_ended",
        "topic_invalid",
        "topic_missing",
        "topics_invalid",
        "upgrade_invalid",
        "upgrade_required",
    ];

    /// The stable name of this refusal, for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.status_and_code().1
    }

    /// The HTTP status of this refusal.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status_and_code().0
    }

    const fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::QueryInvalid => (StatusCode::BAD_REQUEST, "query_invalid"),
            Self::TopicMissing => (StatusCode::BAD_REQUEST, "topic_missing"),
            Self::TopicInvalid(_) => (StatusCode::BAD_REQUEST, "topic_invalid"),
            Self::TopicsInvalid(_) => (StatusCode::BAD_REQUEST, "topics_invalid"),
            Self::TooManyTopics => (StatusCode::BAD_REQUEST, "too_many_topics"),
            Self::PolicyInvalid => (StatusCode::BAD_REQUEST, "policy_invalid"),
            Self::FormatInvalid => (StatusCode::BAD_REQUEST, "format_invalid"),
            Self::EventTypeReserved => (StatusCode::BAD_REQUEST, "event_type_reserved"),
            Self::EventTypeInvalid(_) => (StatusCode::BAD_REQUEST, "event_type_invalid"),
            Self::KeyInvalid { .. } => (StatusCode::BAD_REQUEST, "key_invalid"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::NotText => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_text"),
            Self::EncodingInvalid => (StatusCode::BAD_REQUEST, "encoding_invalid"),
            Self::BatchInvalid { .. } => (StatusCode::BAD_REQUEST, "batch_invalid"),
            Self::BatchTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "batch_too_large"),
            Self::TooManyEvents { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_many_events"),
            Self::OfEvent { problem, .. } => problem.status_and_code(),
            Self::LimitInvalid { .. } => (StatusCode::BAD_REQUEST, "limit_invalid"),
            Self::ParameterUnknown { .. } => (StatusCode::BAD_REQUEST, "parameter_unknown"),
            Self::NotSupported => (StatusCode::NOT_IMPLEMENTED, "not_supported"),
            Self::BodyIncomplete => (StatusCode::BAD_REQUEST, "body_incomplete"),
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "body_timeout"),
            Self::HostForbidden => (StatusCode::FORBIDDEN, "host_forbidden"),
            Self::OriginForbidden => (StatusCode::FORBIDDEN, "origin_forbidden"),
            Self::UpgradeRequired => (StatusCode::UPGRADE_REQUIRED, "upgrade_required"),
            Self::UpgradeInvalid { .. } => (StatusCode::BAD_REQUEST, "upgrade_invalid"),
            Self::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "key_reused"),
            Self::TopicEnded => (StatusCode::CONFLICT, "topic_ended"),
            Self::StoreUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable"),
            Self::OutcomeUnknown => (StatusCode::SERVICE_UNAVAILABLE, "outcome_unknown"),
            Self::SubscribersBehind => (StatusCode::SERVICE_UNAVAILABLE, "subscribers_behind"),
            Self::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down"),
        }
    }

    /// The answer to send.
    #[must_use]
    pub fn into_response(self) -> Response<HubBody> {
        let status = self.status();
        let mut body = json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "code": self.code(),
            "detail": self.to_string(),
        });
        if let Self::OfEvent { index, .. } = &self {
            body["index"] = (*index).into();
        }
        let mut text = body.to_string();
        text.push('\n');
        let mut response = Response::new(HubBody::full(Bytes::from(text)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self {
            Self::MethodNotAllowed { allow } => {
                headers.insert(ALLOW, HeaderValue::from_static(allow));
            }
            Self::UpgradeRequired => {
                headers.insert(http::header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(
                    http::header::CONNECTION,
                    HeaderValue::from_static("upgrade"),
                );
                headers.insert(
                    http::header::SEC_WEBSOCKET_VERSION,
                    HeaderValue::from_static("13"),
                );
            }
            Self::StoreUnavailable
            | Self::OutcomeUnknown
            | Self::SubscribersBehind
            | Self::ShuttingDown => {
                headers.insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

impl From<TopicError> for Problem {
    fn from(error: TopicError) -> Self {
        Self::TopicInvalid(error)
    }
}

impl From<SelectorError> for Problem {
    fn from(error: SelectorError) -> Self {
        Self::TopicsInvalid(error)
    }
}

impl From<EventTypeError> for Problem {
    fn from(error: EventTypeError) -> Self {
        match error {
            EventTypeError::Reserved => Self::EventTypeReserved,
            other => Self::EventTypeInvalid(other),
        }
    }
}

impl From<crate::access::Refusal> for Problem {
    fn from(refusal: crate::access::Refusal) -> Self {
        match refusal {
            crate::access::Refusal::Host => Self::HostForbidden,
            crate::access::Refusal::Origin => Self::OriginForbidden,
        }
    }
}

impl Problem {
    pub(crate) fn of_event(self, index: usize) -> Self {
        Self::OfEvent {
            index,
            problem: Box::new(self),
        }
    }

    pub(crate) fn from_publish(error: &PublishError) -> Self {
        match error {
            PublishError::Store(error) => Self::from_store(error),
            PublishError::Behind => Self::SubscribersBehind,
        }
    }

    pub(crate) fn from_batch(error: &PublishError) -> Self {
        let problem = Self::from_publish(error);
        match error {
            PublishError::Store(
                StoreError::KeyReused { index }
                | StoreError::Ended { index }
                | StoreError::TooLarge { index, .. }
                | StoreError::KeyTooLong { index, .. },
            ) => problem.of_event(*index),
            _ => problem,
        }
    }

    pub(crate) fn from_store(error: &StoreError) -> Self {
        match error {
            StoreError::KeyReused { .. } => Self::KeyReused,
            StoreError::Ended { .. } => Self::TopicEnded,
            StoreError::TooLarge { limit, .. } => Self::TooLarge { limit: *limit },
            StoreError::OutcomeUnknown { .. } => Self::OutcomeUnknown,
            StoreError::KeyTooLong { limit, .. } => Self::KeyInvalid {
                name: "a key",
                max: *limit,
            },
            StoreError::Unsupported => Self::NotSupported,
            StoreError::Unavailable { .. }
            | StoreError::Corrupt { .. }
            | StoreError::Exhausted
            | StoreError::Closed => Self::StoreUnavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_list() {
        let map = include_str!("problem.rs").split("StatusCode::");
        let codes = map.filter_map(|it| it.split_once(", \"")?.1.split_once("\")"));
        let mut codes: Vec<_> = codes.map(|(code, _)| code).collect();
        codes.sort_unstable();
        assert_eq!(codes, Problem::CODES);
    }
}
