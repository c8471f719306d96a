//! Messages from hub to client.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::encoding::Encoding;
use super::error::EnvelopeError;
use super::json::{Fields, Object};

/// A message from hub to client.
///
/// A client that may have to resume keeps the newest cursor of: `at` of `Subscribed`, and `id` of
/// `Gap`, `Event` and `Ready`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ServerMessage<'a> {
    /// An event.
    Event {
        /// The cursor of the event.
        id: Cow<'a, str>,
        /// The event's sequence number in the log.
        seq: u64,
        /// The sequence number of the event before it in its topic: 0 if it is the first, none if
        /// that is not known.
        prev: Option<u64>,
        /// When it was published, in milliseconds since the Unix epoch.
        time: Option<u64>,
        /// The topic it was published to.
        topic: Cow<'a, str>,
        /// Its type, if it was given one.
        event: Option<Cow<'a, str>>,
        /// Its data, encoded as `encoding` says.
        data: Cow<'a, str>,
        /// How `data` is encoded; none: not at all.
        encoding: Option<Encoding>,
    },
    /// Events that the client should have received are not to be had.
    Gap {
        /// Why.
        reason: GapReason,
        /// The client's cursor before the gap, if it had a valid one.
        after: Option<Cow<'a, str>>,
        /// The cursor that delivery goes on from.
        id: Cow<'a, str>,
        /// How many events were skipped, if that is known.
        skipped: Option<u64>,
    },
    /// Everything up to `id` has been delivered.
    Ready {
        /// The cursor reached.
        id: Cow<'a, str>,
        /// The policy in force.
        policy: Cow<'a, str>,
    },
    /// The answer to `resume`, `subscribe` and `unsubscribe`.
    Subscribed {
        /// The cursor that delivery goes on from; none after `resume` from `earliest`.
        at: Option<Cow<'a, str>>,
        /// The topics of the session.
        topics: Vec<Cow<'a, str>>,
    },
    /// The answer to `publish`.
    Published {
        /// As in the question (`ref` on the wire).
        reference: Option<Cow<'a, str>>,
        /// The cursor of the event.
        id: Cow<'a, str>,
        /// The idempotency key was known: nothing was appended, and `id` is that of the first time.
        duplicate: bool,
    },
    /// The token ends soon: send `auth` with a new one.
    Reauth,
    /// The hub is going to close the connection.
    Drain {
        /// How long to wait before connecting again, in milliseconds.
        retry_ms: u64,
    },
    /// A message was refused; the session goes on unless the hub closes it.
    Error {
        /// The `ref` of the message refused, if it had one.
        reference: Option<Cow<'a, str>>,
        /// The kind of error, for programs.
        code: Cow<'a, str>,
        /// What is wrong and what to do, for people.
        detail: Cow<'a, str>,
    },
}

impl<'a> ServerMessage<'a> {
    /// Reads one text message.
    ///
    /// # Errors
    /// Every variant of [`EnvelopeError`]. A client should ignore
    /// [`UnknownType`](EnvelopeError::UnknownType), which a newer hub may cause.
    pub fn parse(text: &'a str) -> Result<Self, EnvelopeError> {
        let mut fields = Fields::parse(text)?;
        Ok(match &*fields.text("type")? {
            "event" => Self::Event {
                id: fields.text("id")?,
                seq: fields.number("seq")?,
                prev: fields.optional_number("prev")?,
                time: fields.optional_number("time")?,
                topic: fields.text("topic")?,
                event: fields.optional_text("event")?,
                data: fields.text("data")?,
                encoding: fields.encoding()?,
            },
            "gap" => Self::Gap {
                reason: GapReason::from_name(&fields.text("reason")?)?,
                after: fields.optional_text("after")?,
                id: fields.text("id")?,
                skipped: fields.optional_number("skipped")?,
            },
            "ready" => Self::Ready {
                id: fields.text("id")?,
                policy: fields.text("policy")?,
            },
            "subscribed" => Self::Subscribed {
                at: fields.optional_text("at")?,
                topics: fields.texts("topics")?,
            },
            "published" => Self::Published {
                reference: fields.optional_text("ref")?,
                id: fields.text("id")?,
                duplicate: fields.flag("duplicate")?,
            },
            "reauth" => Self::Reauth,
            "drain" => Self::Drain {
                retry_ms: fields.number("retry_ms")?,
            },
            "error" => Self::Error {
                reference: fields.optional_text("ref")?,
                code: fields.text("code")?,
                detail: fields.text("detail")?,
            },
            _ => {
                return Err(EnvelopeError::UnknownType {
                    expected: "event, gap, ready, subscribed, published, reauth, drain, error",
                });
            }
        })
    }

    /// Appends the message to `out` as JSON.
    pub fn to_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Event {
                id,
                seq,
                prev,
                time,
                topic,
                event,
                data,
                encoding,
            } => Object::begin(out, "event")
                .text("id", id)
                .number("seq", *seq)
                .optional_number("prev", *prev)
                .optional_number("time", *time)
                .text("topic", topic)
                .optional_text("event", event.as_deref())
                .text("data", data)
                .optional_text("encoding", encoding.map(Encoding::as_str))
                .end(),
            Self::Gap {
                reason,
                after,
                id,
                skipped,
            } => Object::begin(out, "gap")
                .text("reason", reason.as_str())
                .optional_text("after", after.as_deref())
                .text("id", id)
                .optional_number("skipped", *skipped)
                .end(),
            Self::Ready { id, policy } => Object::begin(out, "ready")
                .text("id", id)
                .text("policy", policy)
                .end(),
            Self::Subscribed { at, topics } => Object::begin(out, "subscribed")
                .nullable_text("at", at.as_deref())
                .texts("topics", topics)
                .end(),
            Self::Published {
                reference,
                id,
                duplicate,
            } => Object::begin(out, "published")
                .optional_text("ref", reference.as_deref())
                .text("id", id)
                .flag("duplicate", *duplicate)
                .end(),
            Self::Reauth => Object::begin(out, "reauth").end(),
            Self::Drain { retry_ms } => Object::begin(out, "drain")
                .number("retry_ms", *retry_ms)
                .end(),
            Self::Error {
                reference,
                code,
                detail,
            } => Object::begin(out, "error")
                .optional_text("ref", reference.as_deref())
                .text("code", code)
                .text("detail", detail)
                .end(),
        }
    }
}

/// Why events are not to be had.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum GapReason {
    /// The log began anew and what the client saw of the old one is not all in the new.
    EpochChanged,
    /// Retention has removed events after the client's cursor.
    Trimmed,
    /// The client knows of events that the hub does not.
    Ahead,
    /// The client was too slow, and its policy dropped events.
    Lagged,
    /// The cursor is malformed, or of another hub.
    Unknown,
}

impl GapReason {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EpochChanged => "epoch_changed",
            Self::Trimmed => "trimmed",
            Self::Ahead => "ahead",
            Self::Lagged => "lagged",
            Self::Unknown => "unknown",
        }
    }

    fn from_name(name: &str) -> Result<Self, EnvelopeError> {
        Ok(match name {
            "epoch_changed" => Self::EpochChanged,
            "trimmed" => Self::Trimmed,
            "ahead" => Self::Ahead,
            "lagged" => Self::Lagged,
            "unknown" => Self::Unknown,
            _ => {
                return Err(EnvelopeError::UnknownValue {
                    field: "reason",
                    expected: "epoch_changed, trimmed, ahead, lagged, unknown",
                });
            }
        })
    }
}
