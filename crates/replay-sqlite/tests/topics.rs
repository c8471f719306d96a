//! Topics are read and trimmed the same wherever their index stands: as another store says.

use std::path::Path;

use futures::executor::block_on;
use proptest::prelude::*;
use replay_sqlite::{Check, SqliteConfig, SqliteStore};
use replay_store::{
    After, Append, Clock, Epoch, Limit, MemoryConfig, MemoryStore, Page, Position, ReplayStore,
    Retention, Selector, Topic,
};

const TOPICS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    /// This many, to topics in this pattern.
    Append(usize, usize),
    Trim(usize, u64),
    /// Pages of so many, of these topics, from there on.
    Read(Vec<usize>, u64, usize),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let topics = || prop::sample::subsequence((0..TOPICS).collect::<Vec<_>>(), 1..3);
    prop_oneof![
        4 => (1_usize..400, 1_usize..7).prop_map(|(count, pattern)| Step::Append(count, pattern)),
        1 => (0..TOPICS, 0_u64..2000).prop_map(|(topic, through)| Step::Trim(topic, through)),
        3 => (topics(), 0_u64..2000, prop_oneof![1_usize..4, 50_usize..900])
            .prop_map(|(topics, start, limit)| Step::Read(topics, start, limit)),
        1 => Just(Step::Reopen),
    ]
}

fn topic(n: usize) -> Topic {
    Topic::new(&format!("topic/{n}")).expect("valid")
}

fn clock() -> Clock {
    Clock::new(|| 1_790_000_000_000)
}

fn open(path: &Path, retention: Retention) -> SqliteStore {
    let config = SqliteConfig {
        retention,
        check: Check::Always,
        ..SqliteConfig::default()
    };
    SqliteStore::open(path, config, || 1, clock()).expect("the file opens, and adds up")
}

/// What a page says, but for the epoch.
type Said = (Vec<(u64, Option<u64>, Vec<u8>)>, bool, bool);

fn said(page: &Page) -> Said {
    let events = page.events.iter();
    let events = events.map(|it| (it.position.seq, it.prev, it.data.to_vec()));
    (events.collect(), page.gap.is_some(), page.is_last())
}

/// All pages, until there are no more.
fn read<S: ReplayStore>(store: &S, selector: &Selector, start: u64, limit: usize) -> Vec<Said> {
    let limit = Limit {
        events: limit,
        ..Limit::default()
    };
    let mut after = if start == 0 {
        After::Earliest
    } else {
        let tail = block_on(store.read(selector, After::Latest, limit)).expect("the store reads");
        let epoch = tail.bounds.epoch;
        let seq = start.min(tail.bounds.tail);
        Position { epoch, seq }.into()
    };
    let mut pages = Vec::new();
    loop {
        let page = block_on(store.read(selector, after, limit)).expect("the store reads");
        pages.push(said(&page));
        if page.is_last() {
            return pages;
        }
        after = page.next().into();
    }
}

fn compare(steps: &[Step], retention: Retention) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let mut store = open(&path, retention);
    let config = MemoryConfig {
        retention,
        ..MemoryConfig::default()
    };
    let model = MemoryStore::new(config, Epoch(1), clock());
    let mut events = 0;
    for step in steps {
        match step {
            Step::Append(count, pattern) => {
                let batch: Vec<_> = (0..*count)
                    .map(|n| {
                        events += 1;
                        Append::new(topic(n % pattern % TOPICS), format!("{events}"))
                    })
                    .collect();
                let seqs = |answers: Vec<replay_store::Appended>| {
                    let seqs = answers.iter().map(|answer| answer.position.seq);
                    seqs.collect::<Vec<_>>()
                };
                let appended = block_on(store.append(batch.clone())).expect("the store appends");
                let expected = block_on(model.append(batch)).expect("the store appends");
                assert_eq!(seqs(appended), seqs(expected));
            }
            Step::Trim(n, through) => {
                let selector = Selector::from(topic(*n));
                block_on(store.trim(&selector, *through)).expect("the store trims");
                block_on(model.trim(&selector, *through)).expect("the store trims");
            }
            Step::Read(topics, start, limit) => {
                let topics: Vec<_> = topics.iter().map(|n| topic(*n)).collect();
                let selector = Selector::new(topics).expect("valid");
                let found = read(&store, &selector, *start, *limit);
                assert_eq!(found, read(&model, &selector, *start, *limit), "{step:?}");
            }
            Step::Reopen => {
                drop(store);
                store = open(&path, retention);
            }
        }
    }
    for n in 0..TOPICS {
        let selector = Selector::from(topic(n));
        assert_eq!(
            read(&store, &selector, 0, 1000),
            read(&model, &selector, 0, 1000)
        );
    }
    drop(store);
    drop(open(&path, retention));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn topics_are_what_they_are_in_memory(steps in prop::collection::vec(step(), 1..25)) {
        compare(&steps, Retention::UNBOUNDED);
    }

    #[test]
    fn topics_of_bounded_length_are_what_they_are_in_memory(
        steps in prop::collection::vec(step(), 1..25),
        kept in prop_oneof![1_usize..40, 300_usize..700],
    ) {
        compare(&steps, Retention { events: kept, ..Retention::UNBOUNDED });
    }

    #[test]
    fn topics_of_a_bounded_log_are_what_they_are_in_memory(
        steps in prop::collection::vec(step(), 1..25),
        log_bytes in 20_000_u64..100_000,
    ) {
        compare(&steps, Retention { log_bytes, ..Retention::UNBOUNDED });
    }
}
