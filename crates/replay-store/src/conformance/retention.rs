//! Cases: what goes, and what stays.

use std::time::Duration;

use super::subject::{Subject, data, each, needs, only};
use super::{Factory, Outcome, Setup, Skipped};
use crate::{
    Event, GapReason, Limit, Pattern, ReplayStore, Retention, RetentionRules, Selector,
    TopicRetention,
};

/// The newest events of each topic stay, and know what was before them.
pub fn a_topic_is_bounded_by_count<F: Factory>(factory: &F) -> Outcome {
    let log = keeping(
        factory,
        Retention {
            events: 3,
            ..Retention::UNBOUNDED
        },
    )?;
    let mut seqs = Vec::new();
    for i in 0..7 {
        seqs.push(log.append("a", format!("{i}")).seq);
        log.append("b", format!("{i}"));
    }
    let kept = log.read_all(&only("a"));
    assert_eq!(data(&kept), ["4", "5", "6"]);
    assert_eq!(kept[0].prev, Some(seqs[3]));
    assert_eq!(data(&log.read_all(&only("b"))), ["4", "5", "6"]);
    assert_eq!(
        data(&log.read_all(&Selector::all())),
        ["4", "4", "5", "5", "6", "6"]
    );
    Ok(())
}

/// Of each topic's bytes, as [`Event::cost`] counts them.
pub fn a_topic_is_bounded_by_bytes<F: Factory>(factory: &F) -> Outcome {
    let one = Event::OVERHEAD + 1 + 100;
    let log = keeping(
        factory,
        Retention {
            bytes: 3 * one,
            ..Retention::UNBOUNDED
        },
    )?;
    for i in 0..7_u8 {
        log.append("a", [i; 100]);
        log.append("b", [i; 100]);
    }
    let first: Vec<_> = log
        .read_all(&only("a"))
        .iter()
        .map(|event| event.data[0])
        .collect();
    assert_eq!(first, [4, 5, 6]);
    log.append("a", vec![7; 201]);
    let first: Vec<_> = log
        .read_all(&only("a"))
        .iter()
        .map(|event| event.data[0])
        .collect();
    assert_eq!(first, [6, 7]);
    assert_eq!(log.read_all(&only("b")).len(), 3);
    Ok(())
}

/// An event of exactly the age stays. What is too old goes from every topic, appended to or not.
pub fn events_grow_too_old<F: Factory>(factory: &F) -> Outcome {
    needs(F::TURNABLE_CLOCK, "TURNABLE_CLOCK")?;
    let age = Duration::from_secs(60);
    let log = keeping(
        factory,
        Retention {
            age,
            ..Retention::UNBOUNDED
        },
    )?;
    let start = log.append("a", "0");
    log.append("b", "1");
    log.setup.clock.advance(Duration::from_secs(30));
    log.append("a", "2");
    log.setup.clock.advance(Duration::from_secs(30));
    log.append("c", "3");
    assert_eq!(data(&log.read_all(&each(&["a", "b"]))), ["0", "1", "2"]);
    log.setup.clock.advance(Duration::from_millis(1));
    log.append("c", "4");
    assert_eq!(data(&log.read_all(&Selector::all())), ["2", "3", "4"]);
    log.gap(&only("b"), start, GapReason::Trimmed, start);
    assert_eq!(
        data(&log.read_on(&only("a"), start, Limit::default())),
        ["2"]
    );
    Ok(())
}

/// The oldest events of the log go first, whatever their topic.
pub fn the_log_is_bounded_by_bytes<F: Factory>(factory: &F) -> Outcome {
    let one = Event::OVERHEAD + 1 + 100;
    let log = keeping(
        factory,
        Retention {
            log_bytes: 4 * one,
            ..Retention::UNBOUNDED
        },
    )?;
    let start = log.append("a", [0; 100]);
    for i in 1..=5_u8 {
        log.append(["b", "c"][usize::from(i % 2)], [i; 100]);
    }
    let first: Vec<_> = log
        .read_all(&Selector::all())
        .iter()
        .map(|event| event.data[0])
        .collect();
    assert_eq!(first, [2, 3, 4, 5]);
    assert_eq!(log.read(&only("a"), start, Limit::default()).gap, None);
    log.gap(&only("c"), start, GapReason::Trimmed, start);
    assert_eq!(log.read_on(&only("b"), start, Limit::default()).len(), 2);
    Ok(())
}

/// The first rule that matches decides, of each of its bounds.
pub fn a_rule_bounds_the_topics_it_matches<F: Factory>(factory: &F) -> Outcome {
    let rule = |pattern: &str, events| {
        let bounds = TopicRetention {
            events,
            ..Retention::UNBOUNDED.of_topic()
        };
        (Pattern::new(pattern).expect("valid"), bounds)
    };
    let rules = vec![rule("a/one", 1), rule("a/**", 3), rule("none", 0)];
    let retention = Retention {
        events: 2,
        ..Retention::UNBOUNDED
    };
    let log = ruling(factory, retention, rules)?;
    for i in 0..5 {
        for name in ["a/one", "a/b", "a", "b", "none"] {
            log.append(name, format!("{i}"));
        }
    }
    assert_eq!(data(&log.read_all(&only("a/one"))), ["4"]);
    assert_eq!(data(&log.read_all(&only("a/b"))), ["2", "3", "4"]);
    assert_eq!(data(&log.read_all(&only("a"))), ["2", "3", "4"]);
    assert_eq!(data(&log.read_all(&only("b"))), ["3", "4"]);
    assert_eq!(log.read_all(&only("none")), []);
    Ok(())
}

/// An old event that is kept does not keep younger ones of other topics.
pub fn ages_may_differ_by_topic<F: Factory>(factory: &F) -> Outcome {
    needs(F::TURNABLE_CLOCK, "TURNABLE_CLOCK")?;
    let rule = |pattern: &str, seconds| {
        let bounds = TopicRetention {
            age: Duration::from_secs(seconds),
            ..Retention::UNBOUNDED.of_topic()
        };
        (Pattern::new(pattern).expect("valid"), bounds)
    };
    let retention = Retention {
        age: Duration::from_secs(60),
        ..Retention::UNBOUNDED
    };
    let log = ruling(
        factory,
        retention,
        vec![rule("long", 300), rule("short", 10)],
    )?;
    log.append("long", "0");
    log.append("short", "1");
    log.append("other", "2");
    log.setup.clock.advance(Duration::from_secs(11));
    log.append("short", "3");
    assert_eq!(data(&log.read_all(&Selector::all())), ["0", "2", "3"]);
    log.setup.clock.advance(Duration::from_secs(50));
    log.append("x", "4");
    assert_eq!(data(&log.read_all(&Selector::all())), ["0", "4"]);
    log.setup.clock.advance(Duration::from_secs(240));
    log.append("x", "5");
    assert_eq!(data(&log.read_all(&Selector::all())), ["5"]);
    Ok(())
}

fn ruling<F: Factory>(
    factory: &F,
    retention: Retention,
    rules: Vec<(Pattern, TopicRetention)>,
) -> Result<Subject<'_, F>, Skipped> {
    let log = Subject::with(
        factory,
        Setup {
            retention,
            rules: RetentionRules::new(rules),
            ..Setup::default()
        },
    );
    needs(
        log.store.capabilities().per_topic_retention,
        "per_topic_retention",
    )?;
    Ok(log)
}

fn keeping<F: Factory>(factory: &F, retention: Retention) -> Result<Subject<'_, F>, Skipped> {
    ruling(factory, retention, Vec::new())
}
