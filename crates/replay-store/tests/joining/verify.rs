//! Judges what a client was sent against everything that ever happened.

use std::collections::HashSet;

use replay_store::{After, GapReason, Position, Selector};

use crate::client::Sent;
use crate::model::Model;

pub(crate) struct Verifier {
    selector: Selector,
    /// The last id the client was sent.
    pub(crate) last_id: Option<Position>,
    /// Where the client is: everything up to here was delivered or announced as missing.
    at: Option<Position>,
    /// What is missing above `at` is excused if it was trimmed and its seq is at most this.
    floor: u64,
    /// Facts that were trimmed when the client asked for what was retained.
    trimmed_before: HashSet<usize>,
    /// What this connection asked for, until it is answered.
    asked: Option<After>,
}

impl Verifier {
    pub(crate) fn new(selector: Selector) -> Self {
        Self {
            selector,
            last_id: None,
            at: None,
            floor: 0,
            trimmed_before: HashSet::new(),
            asked: None,
        }
    }

    pub(crate) fn connect(&mut self, after: After) {
        self.asked = Some(after);
        self.trimmed_before.clear();
        self.floor = 0;
        match after {
            After::Position(position) => self.at = Some(position),
            _ => self.at = None,
        }
    }

    pub(crate) fn receive(&mut self, sent: &Sent, model: &Model) {
        let asked = self.asked.take();
        match sent {
            Sent::Opened(opening) => match (asked.expect("an opening comes first"), opening) {
                (After::Position(asked), Some(opening)) => assert_eq!(asked, *opening),
                (After::Earliest, None) => {
                    let trimmed = |i: &usize| model.facts[*i].trimmed;
                    self.trimmed_before = (0..model.facts.len()).filter(trimmed).collect();
                    self.at = Some(Position {
                        epoch: model.epoch(),
                        seq: 0,
                    });
                }
                (After::Latest, Some(opening)) => self.at = Some(*opening),
                (asked, opening) => panic!("asked {asked:?}, opened with {opening:?}"),
            },
            Sent::Gap(gap) => {
                let first = asked.is_some();
                match asked {
                    Some(After::Position(cursor)) => assert_eq!(gap.after, Some(cursor)),
                    Some(After::Unknown) => assert_eq!(gap.reason, GapReason::Unknown),
                    Some(After::Latest | After::Earliest) => panic!("no cursor, but {gap:?}"),
                    None => assert_ne!(gap.reason, GapReason::Unknown),
                }
                self.judge_gap(gap, first, model);
                self.at = Some(gap.continue_at);
                self.floor = gap.floor;
                self.trimmed_before.clear();
            }
            Sent::Event(event) => {
                assert!(asked.is_none(), "an event before the opening");
                assert!(
                    self.selector.matches(&event.topic),
                    "not asked for: {event:?}"
                );
                assert!(
                    model.facts.iter().any(|fact| fact.event == *event),
                    "never was: {event:?}"
                );
                let before = Position {
                    seq: event.position.seq - 1,
                    ..event.position
                };
                self.advance(before, model);
                self.at = Some(event.position);
            }
            Sent::Id(id) => {
                assert!(asked.is_none(), "an id before the opening");
                self.advance(*id, model);
            }
        }
        if !matches!(sent, Sent::Opened(None)) {
            self.last_id = self.at;
        }
    }

    /// Nothing is missing between where the client is and `to`, and both are of one history.
    pub(crate) fn advance(&mut self, to: Position, model: &Model) {
        let at = self.at.expect("opened");
        assert!(at.seq <= to.seq, "went back from {at} to {to}");
        let history = model
            .chains
            .get(&to.epoch)
            .expect("an id of an epoch that never was");
        let seq = |i: &usize| model.facts[*i].event.position.seq;
        assert!(
            shares_history(at, to, model),
            "{at} has events that {to} has lost, without a gap"
        );
        for i in history
            .iter()
            .filter(|i| seq(i) > at.seq && seq(i) <= to.seq)
        {
            let fact = &model.facts[*i];
            let excused = self.trimmed_before.contains(i)
                || (fact.trimmed && fact.event.position.seq <= self.floor);
            assert!(
                excused || !self.selector.matches(&fact.event.topic),
                "silent hole between {at} and {to}: {fact:?}"
            );
        }
        self.at = Some(to);
    }

    /// A gap is only told for a reason.
    fn judge_gap(&mut self, gap: &replay_store::Gap, first: bool, model: &Model) {
        match gap.reason {
            GapReason::Trimmed => {
                assert_eq!(Some(gap.continue_at), gap.after);
                if !first {
                    self.advance(gap.continue_at, model);
                }
                let above = |i: &&usize| {
                    let fact = &model.facts[**i];
                    fact.trimmed && fact.event.position.seq > gap.continue_at.seq
                };
                let mut histories = model.chains.values().flatten();
                assert!(histories.any(|i| above(&i)), "nothing was trimmed: {gap:?}");
            }
            GapReason::EpochChanged => {
                let cursor = gap.after.expect("a cursor was judged");
                let listed = model.births.iter().any(|(epoch, _)| *epoch == cursor.epoch);
                assert!(
                    !listed || !shares_history(cursor, gap.continue_at, model),
                    "{gap:?}"
                );
            }
            GapReason::Ahead => {
                assert!(
                    gap.after
                        .is_some_and(|cursor| cursor.seq > gap.continue_at.seq)
                );
            }
            GapReason::Unknown => assert_eq!(gap.after, None),
            GapReason::Lagged => panic!("nothing here drops: {gap:?}"),
        }
    }
}

/// Does everything up to `a` also stand in the history that `b` is of?
fn shares_history(a: Position, b: Position, model: &Model) -> bool {
    let up_to_a = |position: Position| {
        let history = model.chains.get(&position.epoch)?;
        let seq = |i: &usize| model.facts[*i].event.position.seq;
        Some(
            history
                .iter()
                .copied()
                .filter(|i| seq(i) <= a.seq)
                .collect::<Vec<_>>(),
        )
    };
    up_to_a(a).is_some_and(|history| Some(history) == up_to_a(b))
}
