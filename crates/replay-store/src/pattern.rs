//! Patterns: topics with wildcards.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::topic::check_segments;
use crate::{Topic, TopicError};

/// A topic to subscribe to, in which a segment `*` stands for any one segment, and a segment `**`
/// for any number of them, none included. Otherwise the rules of a [`Topic`].
///
/// Cloning is cheap; clones share the text.
///
/// ```
/// use replay_store::{Pattern, Topic, TopicError};
///
/// let rooms = Pattern::new("chat/*/messages")?;
/// assert!(rooms.matches(&Topic::new("chat/room-1/messages")?));
/// assert!(!rooms.matches(&Topic::new("chat/messages")?));
///
/// let everything = Pattern::new("chat/**")?;
/// assert!(everything.matches(&Topic::new("chat")?));
/// assert!(everything.matches(&Topic::new("chat/room-1/messages")?));
///
/// assert_eq!(Pattern::new("chat/room-*"), Err(TopicError::PartialWildcard));
/// # Ok::<(), TopicError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// Checks a pattern.
    ///
    /// # Errors
    /// The first rule that `text` breaks.
    pub fn new(text: &str) -> Result<Self, TopicError> {
        check_segments(text)?;
        let partial = |segment: &str| segment.contains('*') && segment != "*" && segment != "**";
        if text.split('/').any(partial) {
            return Err(TopicError::PartialWildcard);
        }
        Ok(Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one topic that this matches, if it has no wildcard.
    #[must_use]
    pub fn topic(&self) -> Option<Topic> {
        Topic::new(&self.0).ok()
    }

    /// Is this `**`, or nothing but `**` repeated?
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.split('/').all(|segment| segment == "**")
    }

    /// Does this match `topic`? Takes time proportional to the product of their lengths at worst.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        let mut pattern = self.0.split('/');
        let mut topic = topic.as_str().split('/');
        // Where to try again, with the last `**` standing for one segment more.
        let mut retry = None;
        loop {
            match pattern.next() {
                Some("**") => {
                    retry = Some((pattern.clone(), topic.clone()));
                    continue;
                }
                Some(segment) => {
                    if topic
                        .next()
                        .is_some_and(|it| segment == "*" || segment == it)
                    {
                        continue;
                    }
                }
                None => {
                    if topic.next().is_none() {
                        return true;
                    }
                }
            }
            let Some((after, rest)) = &mut retry else {
                return false;
            };
            if rest.next().is_none() {
                return false;
            }
            (pattern, topic) = (after.clone(), rest.clone());
        }
    }

    /// What every topic that this matches begins with, by which a sorted list of topics can be
    /// narrowed down. Ends before the `/` of the first wildcard.
    #[must_use]
    pub fn prefix(&self) -> &str {
        let mut end = 0;
        for segment in self.0.split('/') {
            if segment.starts_with('*') {
                return self.0.get(..end.max(1) - 1).unwrap_or_default();
            }
            end += segment.len() + 1;
        }
        &self.0
    }
}

impl From<Topic> for Pattern {
    fn from(topic: Topic) -> Self {
        Self(topic.as_str().into())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Pattern {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for Pattern {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Slow and obvious: the definition, segment by segment.
    fn oracle(pattern: &[&str], topic: &[&str]) -> bool {
        match (pattern, topic) {
            ([], []) => true,
            (["**", rest @ ..], _) => (0..=topic.len()).any(|skip| oracle(rest, &topic[skip..])),
            (["*", rest @ ..], [_, after @ ..]) => oracle(rest, after),
            ([segment, rest @ ..], [same, after @ ..]) => segment == same && oracle(rest, after),
            _ => false,
        }
    }

    #[track_caller]
    fn check(pattern: &str, topic: &str, expected: bool) {
        let (p, t) = (
            Pattern::new(pattern).expect("valid"),
            Topic::new(topic).expect("valid"),
        );
        assert_eq!(p.matches(&t), expected, "{pattern} {topic}");
        assert!(
            !expected || topic.starts_with(p.prefix()),
            "{pattern} {topic}"
        );
    }

    #[test]
    fn wildcards_stand_for_whole_segments() {
        check("a", "a", true);
        check("a", "b", false);
        check("a", "a/b", false);
        check("*", "a", true);
        check("*", "a/b", false);
        check("**", "a", true);
        check("**", "a/b/c", true);
        check("a/**", "a", true);
        check("a/**", "ab", false);
        check("a/**", "a/b/c", true);
        check("**/a", "a", true);
        check("**/a", "b/a/a", true);
        check("**/a", "a/b", false);
        check("a/**/b", "a/b", true);
        check("a/**/b", "a/x/b/y/b", true);
        check("a/**/*/b", "a/b", false);
        check("a/**/*/b", "a/x/b", true);
        check("**/**", "a", true);
    }

    #[test]
    fn each_rule_is_named() {
        let check = |text: &str, expected| assert_eq!(Pattern::new(text), Err(expected), "{text}");
        check("", TopicError::Empty);
        check("a//b", TopicError::EmptySegment);
        check("a\n", TopicError::ControlCharacter);
        check(&"x".repeat(256), TopicError::TooLong { len: 256 });
        for partial in ["a*", "***", "x/*y/z", "**a"] {
            check(partial, TopicError::PartialWildcard);
        }
    }

    #[test]
    fn only_what_has_no_wildcard_is_a_topic() {
        let topic = |text: &str| Pattern::new(text).expect("valid").topic();
        assert_eq!(topic("a/b").as_ref().map(Topic::as_str), Some("a/b"));
        assert_eq!(topic("a/*"), None);
        assert!(Pattern::new("**").expect("valid").is_everything());
        assert!(!Pattern::new("a/**").expect("valid").is_everything());
    }

    proptest! {
        #[test]
        fn matching_is_what_the_definition_says(
            pattern in prop::collection::vec(prop::sample::select(vec!["a", "b", "*", "**"]), 1..6),
            topic in prop::collection::vec(prop::sample::select(vec!["a", "b"]), 1..6),
        ) {
            check(&pattern.join("/"), &topic.join("/"), oracle(&pattern, &topic));
        }
    }
}
