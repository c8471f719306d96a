//! Topic names.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of a topic: `/`-separated, non-empty segments, 1 to 255 bytes, no control characters,
/// no `*`, which belongs to [patterns](crate::Pattern).
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
        check_segments(name)?;
        if name.as_bytes().contains(&b'*') {
            return Err(TopicError::Wildcard);
        }
        Ok(Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The rules that topics and patterns share.
pub(crate) fn check_segments(name: &str) -> Result<(), TopicError> {
    if name.is_empty() {
        return Err(TopicError::Empty);
    }
    if name.len() > Topic::MAX_LEN {
        return Err(TopicError::TooLong { len: name.len() });
    }
    // Most names are ASCII, and need no decoding.
    let has_control = if name.is_ascii() {
        name.bytes().any(|byte| byte.is_ascii_control())
    } else {
        name.chars().any(char::is_control)
    };
    if has_control {
        return Err(TopicError::ControlCharacter);
    }
    if name
        .as_bytes()
        .split(|byte| *byte == b'/')
        .any(<[u8]>::is_empty)
    {
        return Err(TopicError::EmptySegment);
    }
    Ok(())
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

/// The rule that a topic name or a pattern breaks. Whoever chose it is at fault.
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
    /// A topic with a `*`, which only patterns may have.
    #[error("a topic has no `*`; only a pattern that is subscribed to may have one")]
    Wildcard,
    /// A pattern with a `*` within a segment.
    #[error(
        "in a pattern, `*` stands for one whole segment and `**` for any number of them; it cannot be part of a segment"
    )]
    PartialWildcard,
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
        for wildcard in ["*", "**", "a/*", "**/a", "a/*/b", "a*b", "a/b*"] {
            check(wildcard, Err(TopicError::Wildcard));
        }
    }
}
