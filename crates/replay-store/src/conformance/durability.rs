//! Cases: what is there after the store was closed and opened again.

use super::subject::{Subject, append, data, keyed, needs, only};
use super::{Factory, Outcome, Setup};
use crate::{After, GapReason, KeyWindow, Limit, Position, ReplayStore, Retention, Selector};

/// Event by event, with every field, and the log goes on behind them.
pub fn reopening_keeps_everything<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    for i in 0..20 {
        log.append(["a", "b", "c"][i % 3], format!("{i}"));
    }
    let before = log.read_all(&Selector::all());
    let log = log.reopened()?;
    assert_eq!(log.read_all(&Selector::all()), before);
    assert_eq!(
        data(&log.read_all(&only("b"))),
        ["1", "4", "7", "10", "13", "16", "19"]
    );
    let next = log.append("a", "20");
    assert!(next.seq > before[19].position.seq);
    let last = log.read_all(&only("a")).pop().expect("just appended");
    assert_eq!(last.prev, Some(before[18].position.seq));
    Ok(())
}

/// Until then the old one is current; opening alone changes nothing.
pub fn an_epoch_begins_with_the_first_append_after_reopening<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    let old = log.append("a", "1");
    let log = log.reopened()?.reopened()?;
    let page = log.read(&only("a"), After::Earliest, Limit::default());
    assert_eq!(page.next(), old, "the old epoch is current");
    let ahead = Position {
        seq: old.seq + 1,
        ..old
    };
    log.gap(&only("a"), ahead, GapReason::Ahead, old);

    let first = log.append("a", "2");
    assert_ne!(first.epoch, old.epoch);
    assert_eq!(log.append("a", "3").epoch, first.epoch);
    let page = log.read(&only("a"), After::Earliest, Limit::default());
    assert_eq!(page.bounds.epoch, first.epoch);
    assert_eq!(
        page.events[0].position, old,
        "events keep the epoch they were appended in"
    );
    Ok(())
}

/// Where nothing was lost there is no gap; a cursor of what never was is told.
pub fn cursors_stay_valid_across_reopening<F: Factory>(factory: &F) -> Outcome {
    let mut log = Subject::new(factory);
    let mut cursors = Vec::new();
    for round in 0..4 {
        for _ in 0..3 {
            cursors.push(log.append("a", format!("{}", cursors.len())));
        }
        if round < 3 {
            log = log.reopened()?;
        }
    }
    for (i, cursor) in cursors.iter().enumerate() {
        let rest: Vec<_> = (i + 1..cursors.len()).map(|i| format!("{i}")).collect();
        assert_eq!(
            data(&log.read_on(&only("a"), *cursor, Limit::default())),
            rest
        );
    }
    // The first epoch ended with its third event.
    let never = Position {
        seq: cursors[3].seq,
        ..cursors[2]
    };
    let parted = Position {
        seq: cursors[3].seq - 1,
        ..cursors[11]
    };
    if log.store.capabilities().dense {
        log.gap(&only("a"), never, GapReason::EpochChanged, parted);
    }
    // A store that counts more than events may begin an epoch before its first one.
    let page = log.read(&only("a"), never, Limit::default());
    let gap = page.gap.expect("it never was");
    assert_eq!(gap.reason, GapReason::EpochChanged);
    assert_eq!(gap.continue_at.epoch, parted.epoch);
    assert!((cursors[2].seq..=parted.seq).contains(&gap.continue_at.seq));
    assert_eq!(page.events.len(), 9);
    Ok(())
}

/// A publisher that retries across a restart appends nothing twice.
pub fn keys_survive_reopening<F: Factory>(factory: &F) -> Outcome {
    let keys = KeyWindow {
        count: 2,
        ..KeyWindow::default()
    };
    let log = Subject::with(
        factory,
        Setup {
            keys,
            ..Setup::default()
        },
    );
    needs(
        !log.store.capabilities().dedup_window.is_zero(),
        "dedup_window",
    )?;
    let first = log
        .batch([keyed("a", "k", "x")])
        .expect("the store appends")[0];
    let log = log.reopened()?;
    let again = log
        .batch([keyed("a", "k", "x")])
        .expect("the store answers")[0];
    assert_eq!((again.position, again.duplicate), (first.position, true));
    log.batch([keyed("a", "k", "y")])
        .expect_err("another event under the same key");
    needs(F::COUNTED_KEYS, "COUNTED_KEYS")?;
    log.batch([keyed("a", "l", "x"), keyed("a", "m", "x")])
        .expect("the store appends");
    let log = log.reopened()?;
    let forgotten = log
        .batch([keyed("a", "k", "x")])
        .expect("the store appends")[0];
    assert!(!forgotten.duplicate, "two keys later");
    Ok(())
}

/// Of topics with events, without events, and forgotten; and no seq is used again.
pub fn floors_survive_reopening<F: Factory>(factory: &F) -> Outcome {
    let retention = Retention {
        events: 1,
        idle_topics: 1,
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
    let start = log.append("a", "1");
    let floors = log.batch([append("a", "2"), append("a", "3"), append("b", "4")]);
    let floors: Vec<_> = floors
        .expect("the store appends")
        .iter()
        .map(|a| a.position)
        .collect();
    let last = log.append("c", "5");
    for trimmed in ["b", "c"] {
        let Ok(()) = log.block_on(log.store.trim(&only(trimmed), last.seq)) else {
            return needs(false, "trim");
        };
    }
    let log = log.reopened()?;
    let floor = |name| {
        log.read(&only(name), After::Earliest, Limit::default())
            .bounds
            .floor
    };
    assert_eq!(floor("a"), floors[0].seq, "with an event");
    assert_eq!(floor("c"), last.seq, "without one");
    assert_eq!(floor("b"), floors[2].seq, "forgotten");
    assert_eq!(
        floor("never heard of"),
        floors[2].seq,
        "like any topic that might be"
    );
    log.gap(&only("a"), start, GapReason::Trimmed, start);
    let next = log.append("c", "6");
    assert!(next.seq > last.seq);
    let page = log.read(&only("c"), last, Limit::default());
    assert_eq!(page.events[0].prev, Some(last.seq));
    Ok(())
}
