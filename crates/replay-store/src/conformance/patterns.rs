//! Cases: topics with wildcards.

use std::time::Duration;

use super::subject::{Subject, data, needs, only, select};
use super::{Factory, Outcome, Setup};
use crate::{After, GapReason, Limit, Position, ReplayStore, Retention};

/// Every kind of wildcard, in pages of every size.
pub fn a_pattern_reads_every_topic_that_it_matches<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    for name in ["a", "a/b", "b", "a/b/c", "a/c", "ab", "a/b"] {
        log.append(name, name);
    }
    let check = |patterns: &[&str], expected: &[&str]| {
        for events in [1, 2, 100] {
            let limit = Limit {
                events,
                ..Limit::default()
            };
            let found = log.read_on(&select(patterns), After::Earliest, limit);
            assert_eq!(data(&found), expected, "{patterns:?}, {events} a page");
        }
    };
    check(&["*"], &["a", "b", "ab"]);
    check(&["a/*"], &["a/b", "a/c", "a/b"]);
    check(&["a/**"], &["a", "a/b", "a/b/c", "a/c", "a/b"]);
    check(&["**/b"], &["a/b", "b", "a/b"]);
    check(&["*/b/*"], &["a/b/c"]);
    check(&["**"], &["a", "a/b", "b", "a/b/c", "a/c", "ab", "a/b"]);
    Ok(())
}

/// An event that several patterns match is one event.
pub fn overlapping_patterns_read_each_event_once<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    for name in ["a/b", "x", "a/c", "a", "y"] {
        log.append(name, name);
    }
    let found = log.read_all(&select(&["a/**", "a/*", "a/b", "x"]));
    assert_eq!(data(&found), ["a/b", "x", "a/c", "a"]);
    Ok(())
}

/// Topics that nobody published to yet are no gap.
pub fn a_pattern_may_match_nothing<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    let start = log.read(&only("a"), After::Latest, Limit::default()).next();
    log.append("a", "");
    assert_eq!(log.read_all(&select(&["b/*", "c/**"])), []);
    assert_eq!(log.read_on(&select(&["b/*"]), start, Limit::default()), []);
    Ok(())
}

/// The largest floor among the topics that match decides, and no other one.
pub fn a_pattern_is_judged_by_the_floors_of_its_topics<F: Factory>(factory: &F) -> Outcome {
    let retention = Retention {
        events: 2,
        ..Retention::UNBOUNDED
    };
    let log = Subject::with(
        factory,
        Setup {
            retention,
            ..Setup::default()
        },
    );
    let promised = log.store.capabilities();
    needs(promised.per_topic_retention, "per_topic_retention")?;
    needs(promised.exact_gaps, "exact_gaps")?;
    let kept = log.append("b/x", "kept");
    for i in 0..4 {
        log.append("a/x", format!("{i}"));
    }
    assert_eq!(
        data(&log.read_on(&select(&["b/*"]), before(kept), Limit::default())),
        ["kept"]
    );
    let page = log.gap(&select(&["*/x"]), kept, GapReason::Trimmed, kept);
    assert_eq!(page.bounds.floor, kept.seq + 2);
    assert_eq!(data(&page.events), ["2", "3"]);
    Ok(())
}

/// A topic that was forgotten may have matched.
pub fn a_pattern_is_judged_by_what_was_forgotten<F: Factory>(factory: &F) -> Outcome {
    let retention = Retention {
        age: Duration::from_secs(10),
        idle_topics: 0,
        ..Retention::UNBOUNDED
    };
    needs(F::TURNABLE_CLOCK, "TURNABLE_CLOCK")?;
    let log = Subject::with(
        factory,
        Setup {
            retention,
            ..Setup::default()
        },
    );
    let promised = log.store.capabilities();
    needs(promised.per_topic_retention, "per_topic_retention")?;
    let gone = log.append("a/gone", "");
    log.setup.clock.advance(Duration::from_secs(11));
    log.append("b", "");
    let page = log.gap(
        &select(&["a/*"]),
        before(gone),
        GapReason::Trimmed,
        before(gone),
    );
    assert_eq!(page.bounds.floor, gone.seq);
    assert_eq!(log.read_on(&select(&["a/*"]), gone, Limit::default()), []);
    Ok(())
}

/// Few of many topics match, and few of many events.
pub fn a_pattern_among_many_topics_is_read<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    let name = |i: usize| format!("t/{}/{}", i % 10, i);
    for chunk in 0..30 {
        let batch = (0..100).map(|i| super::subject::append(&name(chunk * 100 + i), ""));
        log.batch(batch).expect("the store appends");
    }
    let found = log.read_on(
        &select(&["t/3/*"]),
        After::Earliest,
        Limit {
            events: 7,
            ..Limit::default()
        },
    );
    let names: Vec<_> = found
        .iter()
        .map(|it| it.topic.as_str().to_owned())
        .collect();
    let expected: Vec<_> = (0..3000).filter(|i| i % 10 == 3).map(name).collect();
    assert_eq!(names, expected);
    Ok(())
}

fn before(position: Position) -> Position {
    Position {
        seq: position.seq - 1,
        ..position
    }
}
