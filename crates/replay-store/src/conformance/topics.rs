//! Cases: the list of topics.

use std::time::Duration;

use super::subject::{Subject, append, needs, select, topic};
use super::{Factory, Outcome, Setup, Skipped};
use crate::{ReplayStore, Retention, Selector, StoreError, TopicInfo};

/// What is told of a topic, and where a page begins.
pub fn topics_are_listed_by_name_and_in_pages<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    assert_eq!(list(&log, &Selector::all(), None, 10)?, []);
    log.append("b", "12");
    log.append("a/x", "");
    let last = log.append("b", "345");
    log.append("c", "");
    let found = list(&log, &Selector::all(), None, 10)?;
    assert_eq!(names(&found), ["a/x", "b", "c"]);
    assert_eq!(found[1].events, 2);
    assert_eq!(
        found[1].bytes,
        log.read_all(&select(&["b"]))
            .iter()
            .map(crate::Event::cost)
            .sum()
    );
    assert_eq!((found[1].last, found[1].ended), (last.seq, false));
    assert_eq!(names(&list(&log, &Selector::all(), Some("a/x"), 1)?), ["b"]);
    assert_eq!(names(&list(&log, &Selector::all(), Some("b"), 5)?), ["c"]);
    assert_eq!(
        names(&list(&log, &select(&["a/**", "c", "d"]), None, 5)?),
        ["a/x", "c"]
    );
    assert_eq!(list(&log, &Selector::all(), None, 0)?, []);
    Ok(())
}

/// A topic without events is known as long as its floor is.
pub fn trimmed_topics_are_listed_until_they_are_forgotten<F: Factory>(factory: &F) -> Outcome {
    needs(F::TURNABLE_CLOCK, "TURNABLE_CLOCK")?;
    let retention = Retention {
        age: Duration::from_secs(10),
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
    log.append("a", "");
    let b = log.append("b", "");
    log.setup.clock.advance(Duration::from_secs(11));
    log.append("c", "");
    let found = list(&log, &Selector::all(), None, 10)?;
    assert_eq!(names(&found), ["b", "c"]);
    assert_eq!(
        (found[0].events, found[0].bytes, found[0].last),
        (0, 0, b.seq)
    );
    Ok(())
}

/// As many topics as a busy hub has.
pub fn ten_thousand_topics<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    for chunk in 0..20 {
        let batch = (0..500).map(|i| append(&format!("t/{:05}", chunk * 500 + i), "x"));
        log.batch(batch).expect("the store appends");
    }
    for i in [0, 4999, 9999] {
        let name = format!("t/{i:05}");
        assert_eq!(log.read_all(&topic(&name).into()).len(), 1, "{name}");
    }
    assert_eq!(log.read_all(&Selector::all()).len(), 10_000);
    let found = list(&log, &select(&["t/*"]), Some("t/09989"), 100)?;
    assert_eq!(found.len(), 10);
    assert_eq!(found[9].topic, topic("t/09999"));
    Ok(())
}

fn list<F: Factory>(
    log: &Subject<'_, F>,
    selector: &Selector,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<TopicInfo>, Skipped> {
    let after = after.map(topic);
    match log.block_on(log.store.topics(selector, after.as_ref(), limit)) {
        Err(StoreError::Unsupported) => Err(Skipped("topics")),
        found => Ok(found.expect("the store lists its topics")),
    }
}

fn names(found: &[TopicInfo]) -> Vec<&str> {
    found.iter().map(|it| it.topic.as_str()).collect()
}
