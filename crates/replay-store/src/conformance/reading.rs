//! Cases: what a read returns.

use super::subject::{Subject, append, data, each, only};
use super::{Factory, Outcome};
use crate::{After, Limit, Selector};

/// Three interleaved topics, every selection of them, pages of any size.
pub fn pages_of_any_size_add_up<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    interleave(&log);
    for selector in selectors() {
        let whole = log.read_on(&selector, After::Earliest, events(usize::MAX));
        assert_eq!(data(&whole), expected(&selector, 0));
        for size in 0..5 {
            let paged = log.read_on(&selector, After::Earliest, events(size));
            assert_eq!(paged, whole, "in pages of {size}");
        }
    }
    Ok(())
}

/// Whatever the topics read, including those the position is not of.
pub fn every_position_resumes_after_itself<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    interleave(&log);
    let all = log.read_all(&Selector::all());
    for selector in selectors() {
        for (i, event) in all.iter().enumerate() {
            let rest = log.read_on(&selector, event.position, events(2));
            assert_eq!(
                data(&rest),
                expected(&selector, i + 1),
                "after {}",
                event.position
            );
        }
    }
    Ok(())
}

/// At least one event, however small the limit.
pub fn a_page_is_limited_by_bytes_and_never_empty_for_it<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    for len in [10, 10, 100, 10, 10] {
        log.append("a", vec![b'x'; len]);
    }
    let sizes = |bytes| {
        let mut after = After::Earliest;
        let mut sizes = Vec::new();
        loop {
            let page = log.read(
                &only("a"),
                after,
                Limit {
                    events: 1000,
                    bytes,
                },
            );
            sizes.push(page.events.len());
            after = page.next().into();
            if page.is_last() {
                return sizes;
            }
        }
    };
    assert_eq!(sizes(0), [1, 1, 1, 1, 1]);
    assert_eq!(sizes(20), [2, 1, 2]);
    assert_eq!(sizes(120), [3, 2]);
    assert_eq!(sizes(1000), [5]);
    Ok(())
}

/// It is no error, and its end is the end of the log.
pub fn an_unknown_topic_is_empty<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    let last = log.append("a", "x");
    let page = log.read(&only("b"), After::Earliest, Limit::default());
    assert_eq!((page.events.len(), page.next(), page.gap), (0, last, None));
    let page = log.read(&each(&["b", "c"]), last, Limit::default());
    assert_eq!((page.events.len(), page.next(), page.gap), (0, last, None));
    Ok(())
}

/// An epoch is current from the beginning, and position 0 of it is valid.
pub fn an_empty_log_has_no_gap<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    let page = log.read(&only("a"), After::Earliest, Limit::default());
    assert_eq!((page.scanned_to, page.bounds.tail, page.gap), (0, 0, None));
    let start = log.read(&only("a"), After::Latest, Limit::default()).next();
    assert_eq!(start, page.next());
    assert_eq!(log.read(&only("a"), start, Limit::default()).gap, None);
    let first = log.append("a", "x");
    assert_eq!(
        first.epoch, start.epoch,
        "the first append starts no epoch of its own"
    );
    assert_eq!(
        data(&log.read_on(&only("a"), start, Limit::default())),
        ["x"]
    );
    Ok(())
}

/// Nothing of what is there, everything that comes.
pub fn latest_is_the_end_of_the_log<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    log.append("a", "1");
    let last = log.append("b", "2");
    let page = log.read(&only("a"), After::Latest, Limit::default());
    assert_eq!((page.events.len(), page.from, page.next()), (0, last, last));
    log.append("a", "3");
    assert_eq!(
        data(&log.read_on(&only("a"), page.next(), Limit::default())),
        ["3"]
    );
    Ok(())
}

/// Two thousand topics; each has what was published to it.
pub fn one_topic_among_many_is_read<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    for round in 0..2 {
        for chunk in 0..20 {
            let names = (chunk * 100..).take(100).map(|i| format!("many/{i}"));
            let batch = names.map(|name| append(&name, format!("{name} {round}")));
            log.batch(batch).expect("the store appends");
        }
    }
    for i in (0..2000).step_by(97) {
        let name = format!("many/{i}");
        let found = data(&log.read_all(&only(&name)));
        assert_eq!(found, [format!("{name} 0"), format!("{name} 1")]);
    }
    Ok(())
}

const NAMES: [&str; 3] = ["a", "b", "a/b"];

fn name(i: usize) -> &'static str {
    NAMES[i * i % 5 % 3]
}

const APPENDED: usize = 17;

fn interleave<F: Factory>(log: &Subject<'_, F>) {
    for i in 0..APPENDED {
        log.append(name(i), format!("{i}"));
    }
}

fn expected(selector: &Selector, from: usize) -> Vec<String> {
    let matches = |i: &usize| selector.matches(&super::subject::topic(name(*i)));
    (from..APPENDED)
        .filter(matches)
        .map(|i| format!("{i}"))
        .collect::<Vec<_>>()
}

fn selectors() -> Vec<Selector> {
    let mut selectors: Vec<_> = NAMES.iter().map(|name| only(name)).collect();
    selectors.extend([
        each(&NAMES[..2]),
        each(&NAMES[1..]),
        each(&NAMES),
        Selector::all(),
    ]);
    selectors.push(each(&["a", "nothing here"]));
    selectors
}

fn events(events: usize) -> Limit {
    Limit {
        events,
        bytes: usize::MAX,
    }
}
