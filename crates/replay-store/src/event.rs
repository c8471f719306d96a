//! Events as they are stored, and as they are handed in.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;

use crate::{Capabilities, Position, StoreError, Topic};

/// The type of an event, as `EventSource` listeners know it: 1 to 255 bytes, no control characters,
/// not beginning with `$` (those types belong to the hub).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EventType(Arc<str>);

impl EventType {
    /// The longest type, in bytes.
    pub const MAX_LEN: usize = 255;

    /// Checks a type.
    ///
    /// # Errors
    /// The first rule that `name` breaks.
    pub fn new(name: &str) -> Result<Self, EventTypeError> {
        if name.is_empty() {
            return Err(EventTypeError::Empty);
        }
        if name.len() > Self::MAX_LEN {
            return Err(EventTypeError::TooLong { len: name.len() });
        }
        if name.chars().any(char::is_control) {
            return Err(EventTypeError::ControlCharacter);
        }
        if name.starts_with('$') {
            return Err(EventTypeError::Reserved);
        }
        Ok(Self(name.into()))
    }

    /// `$end`, the type of the last event of a topic. See [`Append::end`].
    #[must_use]
    pub fn end() -> Self {
        static END: LazyLock<Arc<str>> = LazyLock::new(|| END_NAME.into());
        Self(Arc::clone(&END))
    }

    /// Checks a type that a store has kept: as [`new`](Self::new), but `$end` is one.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn stored(name: &str) -> Result<Self, EventTypeError> {
        if name == END_NAME {
            return Ok(Self::end());
        }
        Self::new(name)
    }

    /// Is this [`end`](Self::end)?
    #[must_use]
    pub fn is_end(&self) -> bool {
        &*self.0 == END_NAME
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const END_NAME: &str = "$end";

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for EventType {
    type Err = EventTypeError;

    fn from_str(name: &str) -> Result<Self, EventTypeError> {
        Self::new(name)
    }
}

/// The rule that an event type breaks. Whoever chose it is at fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EventTypeError {
    /// No bytes at all; leave the type out instead.
    #[error("an event type has at least one byte; leave it out for none")]
    Empty,
    /// Longer than [`EventType::MAX_LEN`].
    #[error("an event type has at most {max} bytes, this one has {len}", max = EventType::MAX_LEN)]
    TooLong {
        /// Bytes of the type.
        len: usize,
    },
    /// A control character (Unicode category Cc, line breaks included).
    #[error("an event type has no control characters or line breaks")]
    ControlCharacter,
    /// It begins with `$`.
    #[error("event types that begin with `$` belong to the hub")]
    Reserved,
}

/// One event of the log. Cloning is cheap; clones share text and data.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// Its place in the log. The epoch is the one it was appended in.
    pub position: Position,
    /// The seq before it in its topic: 0 for the first one, `None` if the store has forgotten.
    pub prev: Option<u64>,
    /// The topic it was published to.
    pub topic: Topic,
    /// Its type, if the publisher gave one.
    pub event: Option<EventType>,
    /// What was published, byte for byte.
    pub data: Bytes,
    /// Events of one topic with the same key supersede each other under the policy `conflate`.
    pub conflate_key: Option<Arc<str>>,
    /// When it was appended: milliseconds since the Unix epoch, never decreasing over the log.
    pub timestamp_ms: u64,
}

impl Event {
    /// What every event is charged beyond its texts and data, in bytes.
    pub const OVERHEAD: u64 = 128;

    /// Is this the last event of its topic?
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.event.as_ref().is_some_and(EventType::is_end)
    }

    /// Bytes that retention charges for this event: topic, type, key, data and
    /// [`Event::OVERHEAD`].
    #[must_use]
    pub fn cost(&self) -> u64 {
        let texts = self.topic.as_str().len()
            + self.event.as_ref().map_or(0, |event| event.as_str().len())
            + self.conflate_key.as_ref().map_or(0, |key| key.len());
        Self::OVERHEAD + (texts + self.data.len()) as u64
    }
}

/// One event to be appended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Append {
    /// The topic to publish to.
    pub topic: Topic,
    /// The event's type, if any.
    pub event: Option<EventType>,
    /// The event's data, any bytes, none included.
    pub data: Bytes,
    /// See [`Event::conflate_key`]. At most [`Append::MAX_KEY`] bytes.
    pub conflate_key: Option<Arc<str>>,
    /// A retry with the same topic and key appends nothing and answers the first position.
    /// At most [`Append::MAX_KEY`] bytes.
    pub idempotency_key: Option<Arc<str>>,
}

impl Append {
    /// The longest idempotency or conflate key, in bytes.
    pub const MAX_KEY: usize = 255;

    /// Checks the sizes of a batch. A store does this before anything else.
    ///
    /// # Errors
    /// The first event whose data or keys are too large.
    pub fn check_batch(batch: &[Self], capabilities: &Capabilities) -> Result<(), StoreError> {
        for (index, append) in batch.iter().enumerate() {
            let (bytes, limit) = (append.data.len(), capabilities.max_event_bytes);
            if bytes > limit {
                return Err(StoreError::TooLarge {
                    index,
                    bytes,
                    limit,
                });
            }
            let keys = [&append.conflate_key, &append.idempotency_key];
            if keys
                .into_iter()
                .flatten()
                .any(|key| key.len() > Self::MAX_KEY)
            {
                return Err(StoreError::KeyTooLong {
                    index,
                    limit: Self::MAX_KEY,
                });
            }
        }
        Ok(())
    }

    /// The end of a topic: an event of type `$end` without data, after which the topic takes no
    /// more. A topic that has ended answers another end as a duplicate, and everything else with
    /// [`StoreError::Ended`]. An end lasts until the store forgets the topic.
    #[must_use]
    pub fn end(topic: Topic) -> Self {
        Self {
            event: Some(EventType::end()),
            ..Self::new(topic, Bytes::new())
        }
    }

    /// Is this the [`end`](Self::end) of its topic?
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.event.as_ref().is_some_and(EventType::is_end)
    }

    /// An event with data and nothing else.
    #[must_use]
    pub fn new(topic: Topic, data: impl Into<Bytes>) -> Self {
        Self {
            topic,
            event: None,
            data: data.into(),
            conflate_key: None,
            idempotency_key: None,
        }
    }
}

/// The answer to one [`Append`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Appended {
    /// Where the event stands; for a duplicate, where the first one stands.
    pub position: Position,
    /// The event was already there under its idempotency key; nothing was appended.
    pub duplicate: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Result<(), EventTypeError>) {
        assert_eq!(
            EventType::new(name).map(|kind| assert_eq!(kind.as_str(), name)),
            expected
        );
    }

    #[test]
    fn a_type_is_what_an_event_field_can_carry() {
        check("message", Ok(()));
        check("a b: c/$", Ok(()));
        check(&"x".repeat(255), Ok(()));
        check("", Err(EventTypeError::Empty));
        check(&"x".repeat(256), Err(EventTypeError::TooLong { len: 256 }));
        for control in ["\0", "\n", "\r", "\u{7f}"] {
            check(
                &format!("a{control}"),
                Err(EventTypeError::ControlCharacter),
            );
        }
        check("$gap", Err(EventTypeError::Reserved));
        check("$", Err(EventTypeError::Reserved));
        check("$end", Err(EventTypeError::Reserved));
        assert_eq!(EventType::stored("$end"), Ok(EventType::end()));
        assert_eq!(EventType::stored("$gap"), Err(EventTypeError::Reserved));
    }
}
