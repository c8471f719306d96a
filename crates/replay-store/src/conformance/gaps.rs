//! Cases: cursors that cannot be honoured, and where delivery continues.

use super::subject::{Subject, append, data, each, needs, only};
use super::{Factory, Outcome, Setup};
use crate::{After, Epoch, GapReason, Limit, Position, ReplayStore, Retention, Selector};

/// It continues where the current epoch began.
pub fn a_foreign_epoch_is_told<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    let first = log.append("a", "1");
    log.append("b", "2");
    let before = Position {
        seq: first.seq - 1,
        ..first
    };
    let foreign = Epoch(!first.epoch.0);
    for seq in [0, first.seq, Position::MAX_SEQ] {
        let cursor = Position {
            epoch: foreign,
            seq,
        };
        let page = log.gap(&only("a"), cursor, GapReason::EpochChanged, before);
        assert_eq!(data(&page.events), ["1"]);
    }
    Ok(())
}

/// It continues at the end of the log.
pub fn a_cursor_beyond_the_end_is_told<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    log.append("a", "1");
    let last = log.append("b", "2");
    for seq in [last.seq + 1, Position::MAX_SEQ] {
        let ahead = Position { seq, ..last };
        let page = log.gap(&only("a"), ahead, GapReason::Ahead, last);
        assert_eq!(page.events, []);
        log.gap(&only("nothing here"), ahead, GapReason::Ahead, last);
    }
    Ok(())
}

/// It continues before the oldest retained event, or at the end if there is none.
pub fn what_is_no_cursor_is_told<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    let start = log.read(&only("a"), After::Latest, Limit::default()).next();
    log.gap(&only("a"), After::Unknown, GapReason::Unknown, start);
    log.append("b", "1");
    let first = log.append("a", "2");
    let last = log.append("a", "3");
    let before = Position {
        seq: first.seq - 1,
        ..first
    };
    let page = log.gap(&only("a"), After::Unknown, GapReason::Unknown, before);
    assert_eq!(data(&page.events), ["2", "3"]);
    log.gap(
        &only("nothing here"),
        After::Unknown,
        GapReason::Unknown,
        last,
    );
    Ok(())
}

/// It continues at the subscriber's own cursor, and everything retained follows.
pub fn a_cursor_below_the_floor_is_told<F: Factory>(factory: &F) -> Outcome {
    let log = keeping(factory, 2)?;
    let start = log.read(&only("a"), After::Latest, Limit::default()).next();
    let seqs: Vec<_> = (0..5).map(|i| log.append("a", format!("{i}"))).collect();
    let floor = seqs[2];
    for cursor in [start, seqs[0], seqs[1]] {
        let page = log.gap(&only("a"), cursor, GapReason::Trimmed, cursor);
        assert_eq!(page.bounds.floor, floor.seq);
        assert_eq!(data(&page.events), ["3", "4"]);
    }
    // The event at the floor is the last one trimmed: whoever has it misses nothing.
    assert_eq!(
        data(&log.read_on(&only("a"), floor, Limit::default())),
        ["3", "4"]
    );
    // What is retained is read without a gap by whoever asks for just that.
    assert_eq!(data(&log.read_all(&only("a"))), ["3", "4"]);
    Ok(())
}

/// A gap in one of the topics read is a gap, and the others' events follow all the same.
pub fn the_largest_floor_counts<F: Factory>(factory: &F) -> Outcome {
    let log = keeping(factory, 2)?;
    let start = log.append("b", "0");
    for i in 1..=4 {
        log.append("a", format!("{i}"));
    }
    log.append("b", "5");
    assert_eq!(
        data(&log.read_on(&only("b"), start, Limit::default())),
        ["5"]
    );
    let page = log.gap(&each(&["a", "b"]), start, GapReason::Trimmed, start);
    assert_eq!(data(&page.events), ["3", "4", "5"]);
    let page = log.gap(&Selector::all(), start, GapReason::Trimmed, start);
    assert_eq!(data(&page.events), ["3", "4", "5"]);
    Ok(())
}

/// The store remembers no topic for ever, and does not take a forgotten one for a new one.
pub fn a_forgotten_topic_is_judged_by_its_floor<F: Factory>(factory: &F) -> Outcome {
    let retention = Retention {
        idle_topics: 0,
        ..Retention::UNBOUNDED
    };
    let log = Subject::with(
        factory,
        Setup {
            retention,
            ..Setup::default()
        },
    );
    needs(
        log.store.capabilities().per_topic_retention,
        "per_topic_retention",
    )?;
    let start = log.append("b", "1");
    let last = log.append("a", "2");
    let Ok(()) = log.block_on(log.store.trim(&only("a"), last.seq)) else {
        return needs(false, "trim");
    };
    // Whoever has not seen all of it is told, and so is whoever reads a topic never heard of.
    log.gap(&only("a"), start, GapReason::Trimmed, start);
    log.gap(&only("c"), start, GapReason::Trimmed, start);
    assert_eq!(log.read(&only("a"), last, Limit::default()).gap, None);
    assert_eq!(log.read(&only("b"), start, Limit::default()).gap, None);
    // Created again it begins with that floor, and with no event known to be before its first.
    log.append("a", "3");
    let page = log.gap(&only("a"), start, GapReason::Trimmed, start);
    assert_eq!(page.bounds.floor, last.seq);
    assert_eq!(page.events[0].prev, None);
    assert_eq!(
        data(&log.read_on(&only("a"), last, Limit::default())),
        ["3"]
    );
    Ok(())
}

/// However little is left.
pub fn seqs_are_not_used_again_after_trimming_all<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    log.batch([append("a", "1"), append("b", "2")])
        .expect("the store appends");
    let last = log.append("a", "3");
    let Ok(()) = log.block_on(log.store.trim(&Selector::all(), u64::MAX)) else {
        return needs(false, "trim");
    };
    let page = log.read(&Selector::all(), After::Earliest, Limit::default());
    assert_eq!((page.events.len(), page.next()), (0, last));
    assert_eq!(log.read(&only("a"), last, Limit::default()).gap, None);
    assert!(log.append("a", "4").seq > last.seq);
    assert_eq!(
        data(&log.read_on(&only("a"), last, Limit::default())),
        ["4"]
    );
    Ok(())
}

fn keeping<F: Factory>(factory: &F, events: usize) -> Result<Subject<'_, F>, super::Skipped> {
    let retention = Retention {
        events,
        ..Retention::UNBOUNDED
    };
    let log = Subject::with(
        factory,
        Setup {
            retention,
            ..Setup::default()
        },
    );
    needs(
        log.store.capabilities().per_topic_retention,
        "per_topic_retention",
    )?;
    Ok(log)
}
