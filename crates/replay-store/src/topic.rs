//! Topic names, and which topics a subscriber reads.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of a topic: `/`-separated, non-empty segments, 1 to 255 bytes, no control characters,
/// no segment `*` or `**`.
///
/// Cloning is cheap; clones share the text.
///
/// ```
/// use replay_store::{Topic, TopicError};
///
/// assert_eq!(Topic::new("chat/room-1")?.as_str(), "chat/room-1");
/// assert_eq!(Topic::new("chat//room"), Err(TopicError::EmptySegment));
/// # Ok::<(), TopicError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Topic(Arc<str>);

impl Topic {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 255;

    /// Checks a name.
    ///
    /// # Errors
    /// The first rule that `name` breaks.
    pub fn new(name: &str) -> Result<Self, TopicError> {
        if name.is_empty() {
            return Err(TopicError::Empty);
        }
        if name.len() > Self::MAX_LEN {
            return Err(TopicError::TooLong { len: name.len() });
        }
        if name.chars().any(char::is_control) {
            return Err(TopicError::ControlCharacter);
        }
        for segment in name.split('/') {
            match segment {
                "" => return Err(TopicError::EmptySegment),
                "*" | "**" => return Err(TopicError::Wildcard),
                _ => {}
            }
        }
        Ok(Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Topic {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(name: &str) -> Result<Self, TopicError> {
        Self::new(name)
    }
}

/// The rule that a topic name breaks. Whoever chose the name is at fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TopicError {
    /// No bytes at all.
    #[error("a topic has at least one byte")]
    Empty,
    /// Longer than [`Topic::MAX_LEN`].
    #[error("a topic has at most {max} bytes, this one has {len}", max = Topic::MAX_LEN)]
    TooLong {
        /// Bytes of the name.
        len: usize,
    },
    /// A control character (Unicode category Cc, line breaks included).
    #[error("a topic has no control characters or line breaks")]
    ControlCharacter,
    /// It begins or ends with `/`, or has two in a row.
    #[error("a topic has no empty segment: no `/` at its start or end, no `//`")]
    EmptySegment,
    /// A segment is `*` or `**`, which only patterns may have.
    #[error("a topic has no segment `*` or `**`")]
    Wildcard,
}

/// Which topics a subscriber reads: one or more exact ones, sorted and each once.
///
/// Cloning is cheap.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Selector(Inner);

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Inner {
    All,
    /// Not empty, sorted, no topic twice, at most `MAX_TOPICS`.
    Topics(Arc<[Topic]>),
}

impl Selector {
    /// The most topics of one selector, counted after duplicates are removed.
    pub const MAX_TOPICS: usize = 64;

    /// Reads exactly these topics.
    ///
    /// # Errors
    /// No topic, or more than [`Selector::MAX_TOPICS`].
    pub fn new(mut topics: Vec<Topic>) -> Result<Self, SelectorError> {
        topics.sort_unstable();
        topics.dedup();
        if topics.is_empty() {
            return Err(SelectorError::Empty);
        }
        if topics.len() > Self::MAX_TOPICS {
            return Err(SelectorError::TooMany {
                topics: topics.len(),
            });
        }
        Ok(Self(Inner::Topics(topics.into())))
    }

    /// Reads the whole log, as the [feed](crate::feed) does. No text that a peer sends makes this.
    #[must_use]
    pub const fn all() -> Self {
        Self(Inner::All)
    }

    /// Is this [`Selector::all`]?
    #[must_use]
    pub const fn is_all(&self) -> bool {
        matches!(self.0, Inner::All)
    }

    /// The topics, sorted; empty for [`Selector::all`].
    #[must_use]
    pub fn topics(&self) -> &[Topic] {
        match &self.0 {
            Inner::All => &[],
            Inner::Topics(topics) => topics,
        }
    }

    /// Does a subscriber with this selector receive the events of `topic`?
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        match &self.0 {
            Inner::All => true,
            Inner::Topics(topics) => topics.binary_search(topic).is_ok(),
        }
    }
}

impl From<Topic> for Selector {
    fn from(topic: Topic) -> Self {
        Self(Inner::Topics([topic].into()))
    }
}

/// Why topics make no selector. Whoever chose them is at fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SelectorError {
    /// No topic was given.
    #[error("name at least one topic")]
    Empty,
    /// More than [`Selector::MAX_TOPICS`].
    #[error("at most {max} topics per subscription, {topics} were given", max = Selector::MAX_TOPICS)]
    TooMany {
        /// Different topics given.
        topics: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Result<(), TopicError>) {
        assert_eq!(
            Topic::new(name).map(|topic| assert_eq!(topic.as_str(), name)),
            expected
        );
    }

    #[test]
    fn a_name_is_segments_of_anything_but_control_characters() {
        check("a", Ok(()));
        check("a/b/c", Ok(()));
        check("Straße 1/ü.{}?#%2F", Ok(()));
        check("*a/a*/***/a*b", Ok(()));
        check(&"x".repeat(255), Ok(()));
    }

    #[test]
    fn each_rule_is_named() {
        check("", Err(TopicError::Empty));
        check(&"x".repeat(256), Err(TopicError::TooLong { len: 256 }));
        check(&"ü".repeat(128), Err(TopicError::TooLong { len: 256 }));
        for control in ["\0", "\t", "\n", "\r", "\u{7f}", "\u{85}"] {
            check(&format!("a{control}"), Err(TopicError::ControlCharacter));
        }
        for empty in ["/", "/a", "a/", "a//b"] {
            check(empty, Err(TopicError::EmptySegment));
        }
        for wildcard in ["*", "**", "a/*", "**/a", "a/*/b"] {
            check(wildcard, Err(TopicError::Wildcard));
        }
    }

    #[test]
    fn a_selector_is_sorted_and_has_each_topic_once() {
        let topic = |name: &str| Topic::new(name).expect("valid");
        let selector = Selector::new(vec![topic("b"), topic("a"), topic("b")]).expect("two topics");
        assert_eq!(selector.topics(), [topic("a"), topic("b")]);
        assert!(selector.matches(&topic("a")) && !selector.matches(&topic("c")));
        assert!(!selector.is_all());
        assert!(Selector::all().matches(&topic("c")));
    }

    #[test]
    fn a_selector_is_bounded() {
        let topics = |count: usize| (0..count).map(|i| Topic::new(&format!("{i}")).expect("valid"));
        assert_eq!(Selector::new(vec![]), Err(SelectorError::Empty));
        let twice = Selector::new(topics(64).chain(topics(64)).collect());
        assert_eq!(twice.map(|selector| selector.topics().len()), Ok(64));
        let many = Selector::new(topics(65).collect());
        assert_eq!(many, Err(SelectorError::TooMany { topics: 65 }));
    }
}
