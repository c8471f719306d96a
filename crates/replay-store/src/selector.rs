//! Which topics a subscriber reads.

use std::slice;
use std::sync::{Arc, LazyLock};

use crate::{Pattern, Topic};

/// Which topics a subscriber reads: those that one or more patterns match.
///
/// Cloning is cheap.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Selector(Inner);

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Inner {
    All,
    /// What most subscribers have, without an allocation of its own.
    One(Topic),
    Some(Arc<Patterns>),
}

/// Both sorted, nothing twice, together at most `MAX_PATTERNS`, and not one topic alone.
#[derive(Debug, Eq, Hash, PartialEq)]
struct Patterns {
    topics: Vec<Topic>,
    wildcards: Vec<Pattern>,
}

static EVERYTHING: LazyLock<[Pattern; 1]> =
    LazyLock::new(|| [Pattern::new("**").expect("a valid pattern")]);

impl Selector {
    /// The most patterns of one selector, counted after duplicates are removed.
    pub const MAX_PATTERNS: usize = 64;

    /// Reads the topics that these patterns match, or exactly these topics.
    ///
    /// # Errors
    /// No pattern, or more than [`Selector::MAX_PATTERNS`].
    pub fn new<P: Into<Pattern>>(patterns: Vec<P>) -> Result<Self, SelectorError> {
        let mut patterns: Vec<Pattern> = patterns.into_iter().map(Into::into).collect();
        patterns.sort_unstable();
        patterns.dedup();
        if patterns.is_empty() {
            return Err(SelectorError::Empty);
        }
        if patterns.len() > Self::MAX_PATTERNS {
            return Err(SelectorError::TooMany {
                patterns: patterns.len(),
            });
        }
        if patterns.iter().any(Pattern::is_everything) {
            return Ok(Self::all());
        }
        let topics: Vec<_> = patterns.iter().filter_map(Pattern::topic).collect();
        patterns.retain(|pattern| pattern.topic().is_none());
        Ok(Self(match (&topics[..], &patterns[..]) {
            ([topic], []) => Inner::One(topic.clone()),
            _ => Inner::Some(Arc::new(Patterns {
                topics,
                wildcards: patterns,
            })),
        }))
    }

    /// Reads the whole log, as the [feed](crate::feed) and the pattern `**` do.
    #[must_use]
    pub const fn all() -> Self {
        Self(Inner::All)
    }

    /// Is this [`Selector::all`]? Stores need no wildcard to be expanded then.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        matches!(self.0, Inner::All)
    }

    /// The patterns without a wildcard, sorted.
    #[must_use]
    pub fn topics(&self) -> &[Topic] {
        match &self.0 {
            Inner::All => &[],
            Inner::One(topic) => slice::from_ref(topic),
            Inner::Some(patterns) => &patterns.topics,
        }
    }

    /// The patterns with a wildcard, sorted; `**` for [`Selector::all`].
    #[must_use]
    pub fn wildcards(&self) -> &[Pattern] {
        match &self.0 {
            Inner::All => &*EVERYTHING,
            Inner::One(_) => &[],
            Inner::Some(patterns) => &patterns.wildcards,
        }
    }

    /// All patterns: those without a wildcard, then those with one.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        let topics = self.topics().iter().map(Topic::as_str);
        topics.chain(self.wildcards().iter().map(Pattern::as_str))
    }

    /// All patterns, as [`Selector::new`] takes them.
    #[must_use]
    pub fn to_patterns(&self) -> Vec<Pattern> {
        let topics = self.topics().iter().cloned().map(Pattern::from);
        topics.chain(self.wildcards().iter().cloned()).collect()
    }

    /// Does every pattern name exactly one topic?
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.wildcards().is_empty()
    }

    /// Does a subscriber with this selector receive the events of `topic`?
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        self.is_all()
            || self.topics().binary_search(topic).is_ok()
            || self.wildcards().iter().any(|it| it.matches(topic))
    }
}

impl From<Topic> for Selector {
    fn from(topic: Topic) -> Self {
        Self(Inner::One(topic))
    }
}

impl From<Pattern> for Selector {
    fn from(pattern: Pattern) -> Self {
        if pattern.is_everything() {
            return Self::all();
        }
        match pattern.topic() {
            Some(topic) => topic.into(),
            None => Self(Inner::Some(Arc::new(Patterns {
                topics: Vec::new(),
                wildcards: vec![pattern],
            }))),
        }
    }
}

/// Why patterns make no selector. Whoever chose them is at fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SelectorError {
    /// No pattern was given.
    #[error("name at least one topic")]
    Empty,
    /// More than [`Selector::MAX_PATTERNS`].
    #[error("at most {max} topics or patterns per subscription, {patterns} were given", max = Selector::MAX_PATTERNS)]
    TooMany {
        /// Different patterns given.
        patterns: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> Topic {
        Topic::new(name).expect("valid")
    }

    fn select(patterns: &[&str]) -> Selector {
        let patterns = patterns.iter().map(|it| Pattern::new(it).expect("valid"));
        Selector::new(patterns.collect()).expect("a few patterns")
    }

    #[test]
    fn a_selector_is_sorted_and_has_each_pattern_once() {
        let selector = select(&["b", "x/*", "a", "b", "x/*"]);
        assert_eq!(selector.topics(), [topic("a"), topic("b")]);
        assert_eq!(selector.patterns().collect::<Vec<_>>(), ["a", "b", "x/*"]);
        assert!(selector.matches(&topic("a")) && !selector.matches(&topic("c")));
        assert!(selector.matches(&topic("x/y")));
        assert!(!selector.is_all() && !selector.is_exact());
        assert!(select(&["a"]).is_exact());
    }

    #[test]
    fn everything_is_the_whole_log() {
        assert_eq!(select(&["a", "**"]), Selector::all());
        assert_eq!(
            Selector::from(Pattern::new("**/**").expect("valid")),
            Selector::all()
        );
        assert_eq!(Selector::all().patterns().collect::<Vec<_>>(), ["**"]);
        assert!(Selector::all().matches(&topic("c")));
    }

    #[test]
    fn a_selector_is_bounded() {
        let topics = |count: usize| (0..count).map(|i| topic(&format!("{i}")));
        assert_eq!(
            Selector::new(Vec::<Topic>::new()),
            Err(SelectorError::Empty)
        );
        let twice = Selector::new(topics(64).chain(topics(64)).collect());
        assert_eq!(twice.map(|it| it.topics().len()), Ok(64));
        let many = Selector::new(topics(65).collect());
        assert_eq!(many, Err(SelectorError::TooMany { patterns: 65 }));
    }
}
