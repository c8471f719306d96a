//! Cases: the end of a topic.

use super::subject::{Subject, append, keyed, needs, only, topic};
use super::{Factory, Outcome, Skipped};
use crate::{Append, ReplayStore, StoreError};

/// An end is an event like others; a second one is a duplicate of the first.
pub fn a_topic_ends_once<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    let before = log.append("a", "last words");
    let end = end(&log, "a")?;
    log.append("b", "");
    let again = log.batch([Append::end(topic("a"))]).expect("a duplicate");
    assert!(again[0].duplicate);
    assert_eq!(again[0].position, end);
    let events = log.read_all(&only("a"));
    assert_eq!(events.len(), 2);
    assert!(events[1].is_end() && !events[0].is_end());
    assert_eq!(events[1].position, end);
    assert_eq!(events[1].prev, Some(before.seq));
    assert_eq!(events[1].data.len(), 0);
    if let Ok(found) = log.block_on(log.store.topics(&only("a"), None, 1)) {
        assert_eq!((found[0].ended, found[0].last), (true, end.seq));
    }
    Ok(())
}

/// Other topics are not affected.
pub fn an_ended_topic_takes_no_more<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    end(&log, "a")?;
    assert_eq!(
        log.batch([append("a", "")]),
        Err(StoreError::Ended { index: 0 })
    );
    log.append("a/b", "");
    let batch = log.batch([append("b", ""), keyed("a", "k", "")]);
    assert_eq!(batch, Err(StoreError::Ended { index: 1 }));
    if log.store.capabilities().atomic_batch {
        assert_eq!(log.read_all(&only("b")), []);
    }
    Ok(())
}

/// What follows an end in its own batch comes too late.
pub fn an_end_within_a_batch_counts<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    end(&log, "x")?;
    needs(log.store.capabilities().atomic_batch, "atomic_batch")?;
    let late = log.batch([append("a", ""), Append::end(topic("a")), append("a", "")]);
    assert_eq!(late, Err(StoreError::Ended { index: 2 }));
    assert_eq!(log.read_all(&only("a")), []);
    let twice = log
        .batch([
            append("a", ""),
            Append::end(topic("a")),
            Append::end(topic("a")),
        ])
        .expect("an end may be repeated");
    assert!(twice[2].duplicate);
    assert_eq!(twice[2].position, twice[1].position);
    Ok(())
}

/// A publisher that lost the answer learns where its event stands.
pub fn a_retry_of_what_came_before_the_end_is_answered<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    needs(
        !log.store.capabilities().dedup_window.is_zero(),
        "dedup_window",
    )?;
    let first = log.batch([keyed("a", "k", "x")]).expect("new")[0];
    end(&log, "a")?;
    let again = log.batch([keyed("a", "k", "x")]).expect("a duplicate")[0];
    assert!(again.duplicate);
    assert_eq!(again.position, first.position);
    Ok(())
}

/// An end is for good.
pub fn an_end_survives_reopening<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    let position = end(&log, "a")?;
    let log = log.reopened()?;
    assert_eq!(
        log.batch([append("a", "")]),
        Err(StoreError::Ended { index: 0 })
    );
    let again = log.batch([Append::end(topic("a"))]).expect("a duplicate")[0];
    assert!(again.duplicate);
    assert_eq!(again.position, position);
    assert!(log.read_all(&only("a"))[0].is_end());
    Ok(())
}

fn end<F: Factory>(log: &Subject<'_, F>, name: &str) -> Result<crate::Position, Skipped> {
    match log.batch([Append::end(topic(name))]) {
        Err(StoreError::Unsupported) => Err(Skipped("ends of topics")),
        appended => Ok(appended.expect("the store ends a topic")[0].position),
    }
}
