//! How topics and patterns are written as NATS subjects.
//!
//! A subject is `<stream>.t.<segment>.<segment>.-`. In a segment, every byte but the visible ASCII
//! characters without `.`, `*`, `>` and `%` is written as `%` and two upper-case hexadecimal
//! digits. The last token ends the name, so that one filter, `<stream>.t.a.>`, covers the pattern
//! `a/**`, to which the topic `a` itself belongs.

use std::fmt::Write as _;

use replay_store::{Pattern, Selector, Topic};

/// Ends every name.
const END: &str = "-";

/// The subjects of one stream.
#[derive(Clone, Debug)]
pub(crate) struct Subjects {
    /// `<stream>.t.`
    events: String,
    /// Where the epochs are kept.
    pub(crate) epochs: String,
}

impl Subjects {
    pub(crate) fn new(stream: &str) -> Self {
        Self {
            events: format!("{stream}.t."),
            epochs: format!("{stream}.epochs"),
        }
    }

    /// What the stream must take, sorted.
    pub(crate) fn of_stream(&self) -> [String; 2] {
        [self.epochs.clone(), format!("{}>", self.events)]
    }

    pub(crate) fn of(&self, topic: &Topic) -> String {
        let mut subject = self.events.clone();
        for segment in topic.as_str().split('/') {
            encode_into(segment, &mut subject);
            subject.push('.');
        }
        subject + END
    }

    /// The topic whose subject this is, if it is one's.
    pub(crate) fn topic(&self, subject: &str) -> Option<Topic> {
        let name = subject.strip_prefix(&self.events)?.strip_suffix(END)?;
        let segments: Option<Vec<_>> = name.strip_suffix('.')?.split('.').map(decode).collect();
        let topic = Topic::new(&segments?.join("/")).ok()?;
        // One topic has one subject, or its events would be judged apart.
        (self.of(&topic) == subject).then_some(topic)
    }

    /// Filters that together let through every event of the selector, and, where a pattern has more
    /// after its first `**`, others.
    pub(crate) fn filters(&self, selector: &Selector) -> Vec<String> {
        let covered = |topic: &&Topic| {
            let mut wildcards = selector.wildcards().iter();
            !wildcards.any(|pattern| pattern.matches(topic))
        };
        let topics = selector.topics().iter().filter(covered);
        let mut filters: Vec<_> = topics.map(|topic| self.of(topic)).collect();
        filters.extend(selector.wildcards().iter().map(|it| self.filter(it)));
        filters.sort_unstable();
        filters.dedup();
        filters
    }

    fn filter(&self, pattern: &Pattern) -> String {
        let mut filter = self.events.clone();
        for segment in pattern.as_str().split('/') {
            match segment {
                "**" => return filter + ">",
                "*" => filter.push('*'),
                segment => encode_into(segment, &mut filter),
            }
            filter.push('.');
        }
        filter + END
    }
}

/// Text as a token of a subject, or as the value of a header field.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::new();
    encode_into(text, &mut out);
    out
}

fn encode_into(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'.' | b'*' | b'>' | b'%') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// What [`encode`] wrote; `None` for what it never writes.
pub(crate) fn decode(token: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects() -> Subjects {
        Subjects::new("S")
    }

    #[track_caller]
    fn check(topic: &str, subject: &str) {
        let topic = Topic::new(topic).expect("valid");
        assert_eq!(subjects().of(&topic), subject);
        assert_eq!(subjects().topic(subject), Some(topic));
    }

    #[test]
    fn a_topic_has_one_subject_and_a_subject_one_topic() {
        check("a", "S.t.a.-");
        check("-", "S.t.-.-");
        check("a/-/b", "S.t.a.-.b.-");
        check("v1.2/x>y", "S.t.v1%2E2.x%3Ey.-");
        check("50%/a b", "S.t.50%25.a%20b.-");
        check("$JS/\u{e9}", "S.t.$JS.%C3%A9.-");
        check(
            &"\u{1f980}".repeat(63),
            &format!("S.t.{}.-", "%F0%9F%A6%80".repeat(63)),
        );
    }

    #[test]
    fn what_no_topic_is_written_as_is_none() {
        for subject in [
            "S.t.-",
            "S.t.a",
            "S.t..-",
            "S.epochs",
            "T.t.a.-",
            "S.t.%61.-",
            "S.t.%2.-",
            "S.t.%zz.-",
            "S.t.%FF.-",
            "S.t.a%2Fb.-",
            "S.t.%2a.-",
            "S.t.%00.-",
            "",
        ] {
            assert_eq!(subjects().topic(subject), None, "{subject}");
        }
    }

    #[track_caller]
    fn check_filters(patterns: &[&str], expected: &[&str]) {
        let patterns = patterns.iter().map(|it| Pattern::new(it).expect("valid"));
        let selector = Selector::new(patterns.collect()).expect("not empty");
        assert_eq!(subjects().filters(&selector), expected);
    }

    #[test]
    fn patterns_become_filters_of_the_server() {
        check_filters(&["a/b"], &["S.t.a.b.-"]);
        check_filters(&["a/*"], &["S.t.a.*.-"]);
        check_filters(&["a/**"], &["S.t.a.>"]);
        check_filters(&["*/b/**"], &["S.t.*.b.>"]);
        check_filters(&["a/**/b"], &["S.t.a.>"]);
        check_filters(&["**"], &["S.t.>"]);
        check_filters(&["a/*", "a/b", "c"], &["S.t.a.*.-", "S.t.c.-"]);
    }
}
