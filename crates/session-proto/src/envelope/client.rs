//! Messages from client to hub.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::encoding::Encoding;
use super::error::EnvelopeError;
use super::json::{Fields, Object};

/// A message from client to hub.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ClientMessage<'a> {
    /// Begins the session; must come first, and once.
    Resume {
        /// The newest cursor the client holds, or `earliest` or `latest`; none means `latest`.
        after: Option<Cow<'a, str>>,
        /// What to receive; may be empty.
        topics: Vec<Cow<'a, str>>,
        /// What the hub does when the client cannot keep up; none means the hub's default.
        policy: Option<Cow<'a, str>>,
    },
    /// Adds topics to a running session, from now on.
    Subscribe {
        /// What to receive in addition.
        topics: Vec<Cow<'a, str>>,
    },
    /// Takes topics away.
    Unsubscribe {
        /// What to receive no more.
        topics: Vec<Cow<'a, str>>,
    },
    /// Publishes an event.
    Publish {
        /// Comes back in the answer (`ref` on the wire).
        reference: Option<Cow<'a, str>>,
        /// The topic to publish to.
        topic: Cow<'a, str>,
        /// The event's type.
        event: Option<Cow<'a, str>>,
        /// The event's data, encoded as `encoding` says.
        data: Cow<'a, str>,
        /// How `data` is encoded; none: not at all.
        encoding: Option<Encoding>,
        /// Publishing again with the same key appends nothing and answers the first id.
        idempotency_key: Option<Cow<'a, str>>,
        /// Under policy `conflate`, a newer event with the same key replaces this one.
        conflate_key: Option<Cow<'a, str>>,
    },
    /// Presents a token, first or anew.
    Auth {
        /// The token.
        token: Cow<'a, str>,
    },
}

impl<'a> ClientMessage<'a> {
    /// Reads one text message.
    ///
    /// # Errors
    /// Every variant of [`EnvelopeError`].
    pub fn parse(text: &'a str) -> Result<Self, EnvelopeError> {
        let mut fields = Fields::parse(text)?;
        Ok(match &*fields.text("type")? {
            "resume" => Self::Resume {
                after: fields.optional_text("after")?,
                topics: fields.texts("topics")?,
                policy: fields.optional_text("policy")?,
            },
            "subscribe" => Self::Subscribe {
                topics: fields.texts("topics")?,
            },
            "unsubscribe" => Self::Unsubscribe {
                topics: fields.texts("topics")?,
            },
            "publish" => Self::Publish {
                reference: fields.optional_text("ref")?,
                topic: fields.text("topic")?,
                event: fields.optional_text("event")?,
                data: fields.text("data")?,
                encoding: fields.encoding()?,
                idempotency_key: fields.optional_text("idempotency_key")?,
                conflate_key: fields.optional_text("conflate_key")?,
            },
            "auth" => Self::Auth {
                token: fields.text("token")?,
            },
            _ => {
                return Err(EnvelopeError::UnknownType {
                    expected: "resume, subscribe, unsubscribe, publish, auth",
                });
            }
        })
    }

    /// Appends the message to `out` as JSON.
    pub fn to_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Resume {
                after,
                topics,
                policy,
            } => Object::begin(out, "resume")
                .optional_text("after", after.as_deref())
                .texts("topics", topics)
                .optional_text("policy", policy.as_deref())
                .end(),
            Self::Subscribe { topics } => Object::begin(out, "subscribe")
                .texts("topics", topics)
                .end(),
            Self::Unsubscribe { topics } => Object::begin(out, "unsubscribe")
                .texts("topics", topics)
                .end(),
            Self::Publish {
                reference,
                topic,
                event,
                data,
                encoding,
                idempotency_key,
                conflate_key,
            } => Object::begin(out, "publish")
                .optional_text("ref", reference.as_deref())
                .text("topic", topic)
                .optional_text("event", event.as_deref())
                .text("data", data)
                .optional_text("encoding", encoding.map(Encoding::as_str))
                .optional_text("idempotency_key", idempotency_key.as_deref())
                .optional_text("conflate_key", conflate_key.as_deref())
                .end(),
            Self::Auth { token } => Object::begin(out, "auth").text("token", token).end(),
        }
    }
}
