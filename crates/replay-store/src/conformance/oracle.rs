//! Case: any history at all, against the memory store.

use std::time::Duration;

use super::subject::{Subject, append, each, needs, select, topic};
use super::{Factory, Outcome, Setup};
use crate::{
    After, Append, Appended, Epoch, KeyWindow, Limit, MemoryConfig, MemoryStore, Page, Pattern,
    Position, ReplayStore, Retention, RetentionRules, Selector, StoreError, TopicRetention,
};

/// A few thousand random appends, reads, trims and turns of the clock, under tight retention: the
/// same answers, epochs apart.
pub fn the_memory_store_agrees<F: Factory>(factory: &F) -> Outcome {
    needs(F::TURNABLE_CLOCK, "TURNABLE_CLOCK")?;
    for seed in 1..=5 {
        let retention = Retention {
            events: 6,
            bytes: 1000,
            age: Duration::from_secs(60),
            log_bytes: 2200,
            idle_topics: 1,
        };
        let keys = KeyWindow {
            count: 5,
            age: Duration::from_secs(40),
        };
        let brief = TopicRetention {
            events: 3,
            age: Duration::from_secs(20),
            ..retention.of_topic()
        };
        let rules = RetentionRules::new(vec![(Pattern::new("a/*").expect("valid"), brief)]);
        let setup = Setup {
            retention,
            rules,
            keys,
            ..Setup::default()
        };
        let log = Subject::with(factory, setup);
        let promised = log.store.capabilities();
        needs(promised.dense, "dense")?;
        needs(promised.exact_gaps, "exact_gaps")?;
        needs(promised.per_topic_retention, "per_topic_retention")?;
        needs(promised.atomic_batch, "atomic_batch")?;
        needs(!promised.dedup_window.is_zero(), "dedup_window")?;
        agree(&log, &mut Dice(seed));
    }
    Ok(())
}

fn agree<F: Factory>(log: &Subject<'_, F>, dice: &mut Dice) {
    let Setup {
        retention,
        rules,
        keys,
        max_event_bytes,
        clock,
    } = log.setup.clone();
    let config = MemoryConfig {
        retention,
        rules,
        keys,
        max_event_bytes,
    };
    let oracle = MemoryStore::new(config, Epoch(1), clock.clock());
    let start = log
        .read(&Selector::all(), After::Latest, Limit::default())
        .next();
    let mut tail = 0;
    for _ in 0..400 {
        match dice.below(10) {
            0..4 => {
                if dice.below(4) == 0 {
                    // Followed by an append, because a store may wait for one to trim by age.
                    clock.advance(Duration::from_secs(dice.below(50)));
                }
                let batch: Vec<_> = (0..=dice.below(3)).map(|_| dice.append()).collect();
                let found = log.batch(batch.clone());
                let expected = log.block_on(oracle.append(batch.clone()));
                assert_eq!(seqs(&found), seqs(&expected), "{batch:?}");
                let appended = expected.into_iter().flatten();
                tail = appended
                    .map(|appended| appended.position.seq)
                    .fold(tail, u64::max);
            }
            4 => {
                let (selector, through) = (dice.selector(), dice.below(tail + 1));
                let trimmed = log.block_on(log.store.trim(&selector, through));
                if trimmed == Err(StoreError::Unsupported) {
                    continue;
                }
                assert_eq!(trimmed, Ok(()));
                assert_eq!(log.block_on(oracle.trim(&selector, through)), Ok(()));
            }
            _ => {
                let selector = dice.selector();
                let limit = Limit {
                    events: dice.below(8) as usize,
                    bytes: [0, 100, 1000][dice.below(3) as usize],
                };
                let seq = dice.below(tail + 3);
                let (of_log, of_oracle) = match dice.below(8) {
                    0 => (After::Earliest, After::Earliest),
                    1 => (After::Latest, After::Latest),
                    2 => (After::Unknown, After::Unknown),
                    3 => {
                        let foreign = Position {
                            epoch: Epoch(!start.epoch.0),
                            seq,
                        };
                        (foreign.into(), foreign.into())
                    }
                    _ => (
                        Position { seq, ..start }.into(),
                        Position {
                            epoch: Epoch(1),
                            seq,
                        }
                        .into(),
                    ),
                };
                // With a wildcard, pages may end anywhere, so all of them are compared at once.
                let (mut found, expected) = if selector.is_exact() || selector.is_all() {
                    let found = log.read(&selector, of_log, limit);
                    let expected = log.block_on(oracle.read(&selector, of_oracle, limit));
                    (found, expected)
                } else {
                    let found = whole(log, &selector, of_log, limit);
                    (
                        found,
                        log.block_on(oracle.read(&selector, of_oracle, WHOLE)),
                    )
                };
                rename(&mut found, start.epoch, Epoch(1));
                assert_eq!(
                    Ok(found),
                    expected,
                    "after {of_oracle:?}, {limit:?}, {selector:?}"
                );
            }
        }
    }
}

const WHOLE: Limit = Limit {
    events: usize::MAX,
    bytes: usize::MAX,
};

/// All pages as one.
fn whole<F: Factory>(
    log: &Subject<'_, F>,
    selector: &Selector,
    after: After,
    limit: Limit,
) -> Page {
    let mut whole = log.read(selector, after, limit);
    while !whole.is_last() {
        let next = log.read(selector, whole.next(), limit);
        whole.scanned_to = next.scanned_to;
        whole.events.extend(next.events);
    }
    whole
}

fn seqs(appended: &Result<Vec<Appended>, StoreError>) -> Result<Vec<(u64, bool)>, StoreError> {
    let seqs = |appended: &Appended| (appended.position.seq, appended.duplicate);
    appended
        .as_ref()
        .map(|all| all.iter().map(seqs).collect())
        .map_err(Clone::clone)
}

fn rename(page: &mut Page, from: Epoch, to: Epoch) {
    let events = page
        .events
        .iter_mut()
        .map(|event| &mut event.position.epoch);
    let gap = page.gap.iter_mut().flat_map(|gap| {
        let after = gap.after.iter_mut().map(|after| &mut after.epoch);
        after.chain([&mut gap.continue_at.epoch])
    });
    for epoch in events
        .chain(gap)
        .chain([&mut page.from.epoch, &mut page.bounds.epoch])
    {
        if *epoch == from {
            *epoch = to;
        }
    }
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
        let mut x = self.0;
        x ^= x >> 29;
        x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^= x >> 32;
        x % bound
    }

    fn name(&mut self) -> &'static str {
        ["a", "a/b", "c/b", "d"][self.below(4) as usize]
    }

    fn append(&mut self) -> Append {
        let data = vec![b'x'; [0, 1, 1, 200][self.below(4) as usize]];
        let key = (self.below(3) == 0).then(|| ["k", "l", "m"][self.below(3) as usize].into());
        if self.below(60) == 0 {
            return Append::end(topic(self.name()));
        }
        Append {
            idempotency_key: key,
            ..append(self.name(), data)
        }
    }

    fn selector(&mut self) -> Selector {
        match self.below(8) {
            0 => Selector::all(),
            1 => each(&["a", "a/b", "c/b", "d"]),
            2 => select(&["*", "c/b"]),
            3 => select(&["a/**", "**/b"]),
            4 => select(&["*/b"]),
            5 => each(&[self.name(), self.name(), "never"]),
            _ => each(&[self.name()]),
        }
    }
}
