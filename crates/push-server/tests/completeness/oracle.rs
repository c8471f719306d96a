//! The log as it was published, and what one subscriber may make of it.

use std::collections::HashMap;

use replay_store::{Pattern, Topic};

/// One published event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Logged {
    pub(crate) seq: u64,
    /// Its number, which its data says.
    pub(crate) number: u64,
    pub(crate) topic: usize,
    pub(crate) key: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) topics: Vec<Topic>,
    pub(crate) events: Vec<Logged>,
    /// The last event of each topic and key.
    latest: HashMap<(usize, u64), u64>,
}

impl Log {
    pub(crate) fn new(topics: Vec<Topic>) -> Self {
        Self {
            topics,
            ..Self::default()
        }
    }

    pub(crate) fn push(&mut self, event: Logged) {
        if let Some(key) = event.key {
            self.latest.insert((event.topic, key), event.seq);
        }
        self.events.push(event);
    }

    /// Is there a later event with the key of this one?
    fn is_superseded(&self, event: &Logged) -> bool {
        let latest = |key| self.latest.get(&(event.topic, key));
        event
            .key
            .is_some_and(|key| latest(key).is_some_and(|seq| *seq > event.seq))
    }
}

/// What a subscriber was told, or asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Told {
    /// It connected with this cursor, if it had one.
    Resumed(Option<u64>),
    Event {
        seq: u64,
        number: u64,
    },
    /// An id without an event: the beginning, `$ready`, a heartbeat.
    At(u64),
    Gap {
        after: Option<u64>,
        to: u64,
        reason: String,
        skipped: Option<u64>,
    },
}

/// What a subscriber may have missed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Allowed {
    Nothing,
    /// What a gap announced. An event that two patterns match counts twice in it.
    Gaps,
    /// What a gap announced, and what a later event of its key supersedes.
    Conflation,
}

/// What happened to a subscriber, or to all of them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tally {
    pub(crate) events: u64,
    pub(crate) gaps: u64,
    pub(crate) announced: u64,
    pub(crate) superseded: u64,
    pub(crate) resumes: u64,
    pub(crate) ids: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.events += other.events;
        self.gaps += other.gaps;
        self.announced += other.announced;
        self.superseded += other.superseded;
        self.resumes += other.resumes;
        self.ids += other.ids;
    }
}

/// Walks along the events that match, with a position that nothing told may contradict.
struct Walk<'l> {
    log: &'l Log,
    expected: Vec<&'l Logged>,
    patterns: u64,
    allowed: Allowed,
    position: Option<u64>,
    next: usize,
    tally: Tally,
}

impl<'l> Walk<'l> {
    /// Goes on to `seq`, and returns the matching events in between.
    fn advance(&mut self, seq: u64) -> &[&'l Logged] {
        let begin = self.next;
        let rest = self.expected[begin..].iter();
        self.next += rest.take_while(|event| event.seq <= seq).count();
        self.position = Some(seq);
        &self.expected[begin..self.next]
    }

    /// As `advance`, if nothing is lost by that.
    fn pass(&mut self, seq: u64) -> Result<(), String> {
        let (log, allowed) = (self.log, self.allowed);
        let passed = self.advance(seq);
        let lost = passed
            .iter()
            .find(|event| allowed != Allowed::Conflation || !log.is_superseded(event));
        if let Some(lost) = lost {
            return Err(format!("{lost:?} was lost before {seq}"));
        }
        self.tally.superseded += passed.len() as u64;
        Ok(())
    }

    fn step(&mut self, told: &Told) -> Result<(), String> {
        match *told {
            Told::Resumed(cursor) => {
                self.tally.resumes += 1;
                if cursor != self.position {
                    return Err(format!("resumed at {:?}", self.position));
                }
            }
            // What a subscription from `latest` on begins with.
            Told::At(seq) if self.position.is_none() => {
                self.advance(seq);
            }
            Told::At(seq) => {
                self.tally.ids += 1;
                if self.position > Some(seq) {
                    return Err(format!("went back from {:?}", self.position));
                }
                self.pass(seq)?;
            }
            Told::Event { seq, number } => {
                self.tally.events += 1;
                if self.position.is_none_or(|at| at >= seq) {
                    return Err(format!("repeated, or in disorder, at {:?}", self.position));
                }
                self.pass(seq - 1)?;
                match *self.advance(seq) {
                    [event] if event.number == number => {}
                    ref other => return Err(format!("expected {other:?}")),
                }
            }
            Told::Gap {
                after,
                to,
                ref reason,
                skipped,
            } => {
                self.tally.gaps += 1;
                let after = after.ok_or("a gap after nothing")?;
                if self.allowed == Allowed::Nothing || reason != "lagged" {
                    return Err("a gap that is not allowed".to_owned());
                }
                if self.position.is_none_or(|at| at > after) || to < after {
                    return Err(format!("a gap that begins wrongly, at {:?}", self.position));
                }
                self.pass(after)?;
                let missing = self.advance(to).len() as u64;
                self.tally.announced += missing;
                // What was superseded is not counted in it.
                let least = if self.allowed == Allowed::Gaps {
                    missing
                } else {
                    1
                };
                if skipped.is_none_or(|it| it < least || it > missing * self.patterns) {
                    return Err(format!("{missing} were missing"));
                }
            }
        }
        Ok(())
    }
}

/// Is what a subscriber of `patterns` was told true, and up to `last` the whole truth?
pub(crate) fn check(
    log: &Log,
    patterns: &[String],
    allowed: Allowed,
    told: &[Told],
    last: u64,
) -> Result<Tally, String> {
    let patterns: Vec<_> = patterns
        .iter()
        .map(|it| Pattern::new(it).unwrap())
        .collect();
    let matches = |topic: &Topic| patterns.iter().any(|pattern| pattern.matches(topic));
    let wanted: Vec<bool> = log.topics.iter().map(matches).collect();
    let mut walk = Walk {
        log,
        expected: log.events.iter().filter(|it| wanted[it.topic]).collect(),
        patterns: patterns.len() as u64,
        allowed,
        position: None,
        next: 0,
        tally: Tally::default(),
    };
    for (n, each) in told.iter().enumerate() {
        walk.step(each).map_err(|why| {
            let before = &told[n.saturating_sub(3)..n];
            format!("{each:?}, after {before:?}: {why}")
        })?;
    }
    if walk.position.is_none_or(|at| at < last) {
        return Err(format!("ended at {:?} instead of {last}", walk.position));
    }
    Ok(walk.tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [Told; 3] = [
        Told::Event { seq: 1, number: 0 },
        Told::Event { seq: 2, number: 1 },
        Told::Event { seq: 3, number: 2 },
    ];

    fn judged(allowed: Allowed, told: &[Told]) -> Result<Tally, String> {
        let mut log = Log::new(vec![Topic::new("a").unwrap()]);
        for number in 0..3 {
            log.push(Logged {
                seq: number + 1,
                number,
                topic: 0,
                key: (number != 1).then_some(0),
            });
        }
        let told: Vec<_> = [&[Told::Resumed(None), Told::At(0)], told].concat();
        check(&log, &["a".to_owned()], allowed, &told, 3)
    }

    fn gap(after: u64, to: u64, skipped: u64) -> Told {
        Told::Gap {
            after: Some(after),
            to,
            reason: "lagged".to_owned(),
            skipped: Some(skipped),
        }
    }

    #[test]
    fn the_oracle_sees_loss_repetition_disorder_and_wrong_gaps() {
        let [one, two, three] = EVENTS;
        let refused = |allowed, told: &[&Told]| {
            let told: Vec<_> = told.iter().map(|it| (*it).clone()).collect();
            assert!(judged(allowed, &told).is_err(), "{told:?}");
        };
        use Allowed::{Conflation, Gaps, Nothing};
        assert!(judged(Nothing, &EVENTS).is_ok());
        refused(Nothing, &[&one, &three]);
        refused(Nothing, &[&one, &two]);
        refused(Nothing, &[&one, &two, &two, &three]);
        refused(Nothing, &[&two, &one, &three]);
        refused(Nothing, &[&one, &two, &Told::At(3)]);
        refused(Nothing, &[&one, &two, &three, &Told::At(2)]);
        refused(Nothing, &[&one, &Told::Resumed(Some(0)), &two, &three]);
        refused(Nothing, &[&one, &two, &Told::Event { seq: 3, number: 1 }]);
        refused(Nothing, &[&gap(0, 2, 2), &three]);
        assert!(judged(Gaps, &[gap(0, 2, 2), EVENTS[2].clone()]).is_ok());
        refused(Gaps, &[&gap(0, 2, 1), &three]);
        refused(Gaps, &[&one, &gap(2, 3, 1)]);
        refused(Gaps, &[&one, &gap(0, 3, 2)]);
        // The first and the third have the same key.
        assert!(judged(Conflation, &EVENTS[1..]).is_ok());
        refused(Conflation, &[&one, &three]);
        refused(Conflation, &[&one, &two]);
    }
}
