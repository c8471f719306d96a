//! What each subscriber should have received, against what it did.

use std::ops::Range;

/// Holes that are remembered per subscriber; messages missing in older ones count as lost for good.
const HOLES: usize = 1024;

/// What all subscribers together saw.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tally {
    /// Messages received, those below included.
    pub(crate) received: u64,
    /// Never received, and nothing was said about it.
    pub(crate) lost: u64,
    /// Received again.
    pub(crate) duplicates: u64,
    /// Received after a later one.
    pub(crate) disordered: u64,
    /// Never received, but a gap was announced before the next one.
    pub(crate) skipped: u64,
    /// Gaps announced.
    pub(crate) gaps: u64,
    /// Of a topic that was not subscribed to.
    pub(crate) misrouted: u64,
}

impl Tally {
    /// Whether the promise was broken: anything but a loss that was announced.
    pub(crate) fn is_bad(&self) -> bool {
        self.lost + self.duplicates + self.disordered + self.misrouted > 0
    }
}

/// One subscriber's place in its topic.
#[derive(Debug, Default)]
pub(crate) struct Check {
    /// The number that must come next; unknown until the first message.
    next: Option<u32>,
    /// Whether a gap was announced since the last message.
    announced: bool,
    /// What was passed over and may still come, in ascending order.
    #[expect(
        clippy::box_collection,
        reason = "there are many subscribers, and hardly one has holes"
    )]
    missing: Option<Box<Vec<Range<u32>>>>,
}

impl Check {
    /// Of a subscriber whose first message must be the one with number `next`.
    pub(crate) fn expecting(next: u32) -> Self {
        Self {
            next: Some(next),
            ..Self::default()
        }
    }

    /// The number that must come next, if anything came so far.
    pub(crate) fn next(&self) -> Option<u32> {
        self.next
    }

    /// The hub says that it left something out.
    pub(crate) fn gap(&mut self, tally: &mut Tally) {
        tally.gaps += 1;
        self.announced = true;
    }

    /// Message `seq` has come.
    pub(crate) fn see(&mut self, seq: u32, tally: &mut Tally) {
        tally.received += 1;
        let next = self.next.unwrap_or(seq);
        if seq >= next {
            if seq > next {
                self.pass_over(next..seq, tally);
            }
            self.announced = false;
            self.next = Some(seq.saturating_add(1));
        } else if self.found(seq) {
            tally.lost -= 1;
            tally.disordered += 1;
        } else {
            tally.duplicates += 1;
        }
    }

    /// Nothing more comes; `published` messages there were in the topic.
    pub(crate) fn end(&mut self, published: u32, tally: &mut Tally) {
        let next = self.next.unwrap_or(0);
        if next < published {
            self.pass_over(next..published, tally);
            self.next = Some(published);
        }
    }

    fn pass_over(&mut self, hole: Range<u32>, tally: &mut Tally) {
        let messages = u64::from(hole.end - hole.start);
        if self.announced {
            tally.skipped += messages;
            return;
        }
        tally.lost += messages;
        let missing = self.missing.get_or_insert_default();
        if missing.len() == HOLES {
            missing.remove(0);
        }
        missing.push(hole);
    }

    /// Whether `seq` was missing; it no longer is.
    fn found(&mut self, seq: u32) -> bool {
        let Some(missing) = &mut self.missing else {
            return false;
        };
        let Some(at) = missing.iter().position(|hole| hole.contains(&seq)) else {
            return false;
        };
        let hole = missing.remove(at);
        for part in [seq + 1..hole.end, hole.start..seq] {
            if !part.is_empty() {
                missing.insert(at, part);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a subscriber that sees these numbers of `published` messages counts; `None` is a gap.
    #[track_caller]
    fn check(seen: &[Option<u32>], published: u32, expected: &Tally) {
        let (mut check, mut tally) = (Check::expecting(0), Tally::default());
        for seq in seen {
            match seq {
                Some(seq) => check.see(*seq, &mut tally),
                None => check.gap(&mut tally),
            }
        }
        check.end(published, &mut tally);
        assert_eq!(tally, *expected, "{seen:?} of {published}");
    }

    fn tally(received: u64, change: impl FnOnce(&mut Tally)) -> Tally {
        let mut tally = Tally {
            received,
            ..Tally::default()
        };
        change(&mut tally);
        tally
    }

    #[test]
    fn everything_in_order_is_good() {
        let good = tally(3, |_| {});
        check(&[Some(0), Some(1), Some(2)], 3, &good);
        assert!(!good.is_bad());
        check(&[], 0, &tally(0, |_| {}));
    }

    #[test]
    fn a_loss_is_found_in_the_middle_and_at_the_end() {
        check(&[Some(0), Some(3)], 4, &tally(2, |t| t.lost = 2));
        check(&[Some(0)], 4, &tally(1, |t| t.lost = 3));
        check(&[], 4, &tally(0, |t| t.lost = 4));
        assert!(tally(0, |t| t.lost = 1).is_bad());
    }

    #[test]
    fn a_duplicate_is_found_at_once_and_later() {
        let seen = [Some(0), Some(0), Some(1), Some(2), Some(1)];
        check(&seen, 3, &tally(5, |t| t.duplicates = 2));
        assert!(tally(0, |t| t.duplicates = 1).is_bad());
    }

    #[test]
    fn what_comes_late_is_disorder_and_neither_lost_nor_a_duplicate() {
        let seen = [Some(0), Some(4), Some(2), Some(1), Some(3), Some(2)];
        let expected = tally(6, |t| {
            t.disordered = 3;
            t.duplicates = 1;
        });
        check(&seen, 5, &expected);
        assert!(tally(0, |t| t.disordered = 1).is_bad());
    }

    #[test]
    fn a_gap_announces_one_hole_and_no_other() {
        let seen = [Some(0), None, Some(3), Some(5)];
        let expected = tally(3, |t| {
            (t.gaps, t.skipped, t.lost) = (1, 2, 1);
        });
        check(&seen, 6, &expected);
        let only_announced = tally(1, |t| (t.gaps, t.skipped) = (1, 3));
        check(&[Some(0), None], 4, &only_announced);
        assert!(!only_announced.is_bad());
    }

    #[test]
    fn a_subscriber_that_joins_late_is_judged_from_its_first_message_on() {
        let (mut check, mut tally) = (Check::default(), Tally::default());
        check.see(5, &mut tally);
        check.see(7, &mut tally);
        assert_eq!((check.next(), tally.lost), (Some(8), 1));
    }

    #[test]
    fn holes_beyond_the_bound_stay_lost() {
        let (mut check, mut tally) = (Check::expecting(0), Tally::default());
        for hole in 0..=HOLES as u32 {
            check.see(hole * 2 + 1, &mut tally);
        }
        check.see(0, &mut tally);
        check.see(2, &mut tally);
        assert_eq!((tally.duplicates, tally.disordered), (1, 1));
        assert_eq!(tally.lost, HOLES as u64);
    }
}
