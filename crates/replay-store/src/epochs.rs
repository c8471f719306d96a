//! The epochs of a log, and the one judgement of cursors that all stores share.

use crate::{After, Bounds, Epoch, Event, Gap, GapReason, Page, Position};

/// The epochs of one log, each with its birth: the first seq that belongs to it.
///
/// A cursor `(e, s)` is valid iff `e` is the current epoch, or `s` is below the birth of `e`'s
/// successor: what came before the birth is common to both histories. So a store that starts an
/// epoch and lost nothing costs no subscriber a gap.
///
/// An entry takes 16 bytes; a store adds at most one per writable open or failed commit, and keeps
/// the newest [`Epochs::MAX`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Epochs {
    /// Not empty; births never decrease.
    births: Vec<(Epoch, u64)>,
}

impl Epochs {
    /// A log that begins now: its first event will have the seq 1.
    #[must_use]
    pub fn new(seed: Epoch) -> Self {
        Self {
            births: vec![(seed, 1)],
        }
    }

    /// Epochs as a store has kept them, oldest first. `None` if there are none, or if their births
    /// decrease.
    #[must_use]
    pub fn restore(births: Vec<(Epoch, u64)>) -> Option<Self> {
        let sorted = births.is_sorted_by_key(|(_, birth)| *birth);
        (sorted && !births.is_empty()).then_some(Self { births })
    }

    /// Epochs that are kept.
    pub const MAX: usize = 1024;

    /// Starts an epoch with the event `birth`, which is about to be appended. Epochs that were
    /// born after it are lost with their events.
    ///
    /// Beyond [`Epochs::MAX`] the oldest is forgotten. A cursor of a forgotten epoch is answered
    /// like one of an unknown history, with [`GapReason::EpochChanged`]: it costs a subscriber who
    /// was away for that long a gap, never an event in silence. Retention is no reason to forget
    /// one earlier: a cursor moves with the log, so that a subscriber of a quiet topic may hold one
    /// below the floor of every other topic and still have missed nothing.
    pub fn start(&mut self, epoch: Epoch, birth: u64) {
        self.births.retain(|(_, born)| *born <= birth);
        self.births.push((epoch, birth));
        let excess = self.births.len().saturating_sub(Self::MAX);
        self.births.drain(..excess);
    }

    /// The current epoch.
    #[must_use]
    pub fn current(&self) -> Epoch {
        self.newest().0
    }

    /// The epochs with their births, oldest first.
    #[must_use]
    pub fn births(&self) -> &[(Epoch, u64)] {
        &self.births
    }

    /// The epoch that the event `seq` was appended in.
    #[must_use]
    pub fn of(&self, seq: u64) -> Epoch {
        let younger = self.births.partition_point(|(_, birth)| *birth <= seq);
        self.births
            .get(younger.saturating_sub(1))
            .map_or_else(|| self.current(), |(epoch, _)| *epoch)
    }

    /// Judges a cursor in a snapshot of the log: where reading begins, and what is missing.
    /// `floor` and `tail` are those of [`Bounds`].
    pub fn judge(&self, after: After, floor: u64, tail: u64) -> Judged {
        let bounds = Bounds {
            epoch: self.current(),
            floor,
            tail,
        };
        let here = |seq| Position {
            epoch: bounds.epoch,
            seq,
        };
        let (from, reason) = match after {
            After::Earliest => (here(0), None),
            After::Latest => (here(tail), None),
            After::Unknown => (here(0), Some(GapReason::Unknown)),
            After::Position(cursor) => match self.continuation(cursor) {
                Some(seq) => (here(seq.min(tail)), Some(GapReason::EpochChanged)),
                None if cursor.seq > tail => (here(tail), Some(GapReason::Ahead)),
                None if cursor.seq < floor => (cursor, Some(GapReason::Trimmed)),
                None => (cursor, None),
            },
        };
        let cursor = match after {
            After::Position(cursor) => Some(cursor),
            After::Earliest | After::Latest | After::Unknown => None,
        };
        Judged {
            from,
            reason,
            after: cursor,
            bounds,
        }
    }

    /// Where a reader continues whose cursor is of another history; `None` if it is valid.
    ///
    /// A history that the log shares the beginning of is left where they part, so that everything
    /// after follows. One that is unknown is left where the current epoch began.
    fn continuation(&self, cursor: Position) -> Option<u64> {
        let (current, birth) = self.newest();
        if cursor.epoch == current {
            return None;
        }
        let listed = self
            .births
            .iter()
            .rposition(|(epoch, _)| *epoch == cursor.epoch);
        let parted = match listed.and_then(|at| self.births.get(at + 1)) {
            Some((_, successor)) if cursor.seq < *successor => return None,
            Some((_, successor)) => *successor,
            None => birth,
        };
        Some(parted.saturating_sub(1))
    }

    fn newest(&self) -> (Epoch, u64) {
        *self.births.last().expect("a log has at least one epoch")
    }
}

/// A cursor as [`Epochs::judge`] found it. The store reads on from [`start`](Judged::start), in
/// the same snapshot, and makes the page of what it found.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Judged {
    from: Position,
    reason: Option<GapReason>,
    after: Option<Position>,
    bounds: Bounds,
}

impl Judged {
    /// Matching events with a seq above this follow.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.from.seq
    }

    /// Makes the page. `events` are the matching ones above [`start`](Judged::start), in order;
    /// `more` says that the limit cut them short.
    #[must_use]
    pub fn into_page(self, events: Vec<Event>, more: bool) -> Page {
        let bounds = self.bounds;
        let scanned_to = match events.last() {
            Some(last) if more => last.position.seq,
            _ => bounds.tail,
        };
        self.into_page_through(events, scanned_to)
    }

    /// As [`into_page`](Self::into_page), for a store that looked at the log no further than
    /// `scanned_to`, which is past [`start`](Judged::start) unless the log ends there.
    #[must_use]
    pub fn into_page_through(self, events: Vec<Event>, scanned_to: u64) -> Page {
        let Self {
            mut from,
            reason,
            after,
            bounds,
        } = self;
        if reason == Some(GapReason::Unknown) {
            from.seq = events
                .first()
                .map_or(scanned_to, |oldest| oldest.position.seq - 1);
        }
        let scanned_to = scanned_to.max(from.seq);
        let gap = reason.map(|reason| Gap {
            reason,
            after,
            continue_at: from,
            floor: bounds.floor,
        });
        Page {
            events,
            from,
            scanned_to,
            bounds,
            gap,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Epoch = Epoch(0xa);
    const MID: Epoch = Epoch(0xb);
    const NEW: Epoch = Epoch(0xc);

    /// Epochs OLD from 1, MID from 100, NEW from 200; tail 250; floor 50.
    fn judge(after: After) -> (Position, Option<GapReason>) {
        let mut epochs = Epochs::new(OLD);
        epochs.start(MID, 100);
        epochs.start(NEW, 200);
        let page = epochs.judge(after, 50, 250).into_page(Vec::new(), false);
        (page.from, page.gap.map(|gap| gap.reason))
    }

    fn at(epoch: Epoch, seq: u64) -> Position {
        Position { epoch, seq }
    }

    #[track_caller]
    fn check(cursor: Position, from: Position, reason: Option<GapReason>) {
        assert_eq!(judge(After::Position(cursor)), (from, reason), "{cursor}");
    }

    #[test]
    fn a_cursor_is_valid_below_the_birth_of_its_successor() {
        check(at(OLD, 99), at(OLD, 99), None);
        check(at(OLD, 100), at(NEW, 99), Some(GapReason::EpochChanged));
        check(at(MID, 199), at(MID, 199), None);
        check(at(MID, 200), at(NEW, 199), Some(GapReason::EpochChanged));
        check(at(MID, 70), at(MID, 70), None);
        check(at(NEW, 250), at(NEW, 250), None);
        check(at(NEW, 70), at(NEW, 70), None);
    }

    #[test]
    fn an_unlisted_epoch_continues_where_the_current_one_began() {
        check(at(Epoch(1), 0), at(NEW, 199), Some(GapReason::EpochChanged));
        check(
            at(Epoch(1), Position::MAX_SEQ),
            at(NEW, 199),
            Some(GapReason::EpochChanged),
        );
    }

    #[test]
    fn a_cursor_beyond_the_tail_is_ahead() {
        check(at(NEW, 251), at(NEW, 250), Some(GapReason::Ahead));
    }

    #[test]
    fn a_cursor_below_the_floor_is_trimmed_and_kept() {
        check(at(OLD, 49), at(OLD, 49), Some(GapReason::Trimmed));
        check(at(OLD, 50), at(OLD, 50), None);
        check(at(NEW, 0), at(NEW, 0), Some(GapReason::Trimmed));
    }

    #[test]
    fn asking_for_the_earliest_or_the_latest_is_no_gap() {
        assert_eq!(judge(After::Earliest), (at(NEW, 0), None));
        assert_eq!(judge(After::Latest), (at(NEW, 250), None));
    }

    #[test]
    fn nothing_retained_leaves_an_unknown_cursor_at_the_tail() {
        assert_eq!(
            judge(After::Unknown),
            (at(NEW, 250), Some(GapReason::Unknown))
        );
    }

    #[test]
    fn an_epoch_that_loses_the_tail_forgets_epochs_born_in_it() {
        let mut epochs = Epochs::new(OLD);
        epochs.start(MID, 100);
        epochs.start(NEW, 60);
        assert_eq!(epochs.births(), [(OLD, 1), (NEW, 60)]);
        assert_eq!(epochs.of(59), OLD);
        assert_eq!(epochs.of(60), NEW);
        let gap = |cursor| {
            epochs
                .judge(After::Position(cursor), 0, 80)
                .into_page(vec![], false)
                .gap
        };
        assert_eq!(
            gap(at(OLD, 70)).map(|gap| gap.continue_at),
            Some(at(NEW, 59))
        );
        assert_eq!(
            gap(at(MID, 50)).map(|gap| gap.continue_at),
            Some(at(NEW, 59))
        );
    }

    #[test]
    fn only_so_many_epochs_are_kept_and_forgetting_one_costs_a_gap_and_nothing_else() {
        let mut all = vec![(Epoch(1), 1)];
        let mut bounded = Epochs::new(Epoch(1));
        for n in 2..=Epochs::MAX as u64 + 10 {
            // Some epochs stay without an event.
            let birth = n * 3 - n % 2 * 3;
            all.push((Epoch(n), birth));
            bounded.start(Epoch(n), birth);
        }
        assert_eq!(bounded.births(), &all[10..]);
        let whole = Epochs::restore(all.clone()).expect("in order");
        let tail = (all.len() * 3 + 5) as u64;
        for (epoch, birth) in all {
            for seq in [birth.saturating_sub(1), birth, birth + 1, birth + 2] {
                let after = After::Position(at(epoch, seq));
                let expected = whole.judge(after, 20, tail).into_page(vec![], false);
                let found = bounded.judge(after, 20, tail).into_page(vec![], false);
                if bounded.births().iter().any(|(known, _)| *known == epoch) {
                    assert_eq!(found, expected, "{epoch:?} {seq}");
                } else {
                    let reason = found.gap.map(|gap| gap.reason);
                    assert_eq!(reason, Some(GapReason::EpochChanged), "{epoch:?} {seq}");
                }
            }
        }
    }

    #[test]
    fn epochs_are_restored_only_in_order() {
        assert_eq!(Epochs::restore(vec![]), None);
        assert_eq!(Epochs::restore(vec![(OLD, 5), (MID, 4)]), None);
        let same = Epochs::restore(vec![(OLD, 1), (MID, 1)]).expect("an epoch may be empty");
        assert_eq!(same.of(1), MID);
        assert_eq!(same.current(), MID);
    }
}
