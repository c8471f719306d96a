//! The memory store against the slow, obvious one: any history, retention and read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::executor::block_on;
use proptest::prelude::*;
use replay_store::{
    After, Append, Clock, Epoch, Limit, MemoryConfig, MemoryStore, Pattern, Position, ReplayStore,
    Retention, Selector, Topic,
};

use crate::model::Model;

#[expect(dead_code, reason = "only the model of joining loses events")]
mod model;

const EPOCH: Epoch = Epoch(1);
const TOPICS: [&str; 4] = ["a", "a/b", "c/b", "d"];
const PATTERNS: [&str; 7] = ["a", "a/b", "c/b", "d", "*", "a/**", "*/b"];

#[derive(Clone, Debug)]
enum Op {
    Append(Vec<(usize, usize)>),
    Wait(u64),
    Trim(Vec<usize>, u64),
    Read(Vec<usize>, After, Limit),
}

fn op() -> impl Strategy<Value = Op> {
    // No topic stands for the whole log.
    let topics = || prop::collection::vec(0..PATTERNS.len(), 0..4);
    let event = (0..TOPICS.len(), 0_usize..300);
    let after = prop_oneof![
        1 => Just(After::Earliest),
        1 => Just(After::Latest),
        1 => Just(After::Unknown),
        6 => (0_u64..60).prop_map(|seq| Position::new(EPOCH, seq).into()),
        1 => (0_u64..60).prop_map(|seq| Position::new(Epoch(2), seq).into()),
    ];
    let limit = (0_usize..9, 0_usize..1000).prop_map(|(events, bytes)| Limit { events, bytes });
    prop_oneof![
        4 => prop::collection::vec(event, 1..5).prop_map(Op::Append),
        1 => (0_u64..40).prop_map(Op::Wait),
        1 => (topics(), 0_u64..60).prop_map(|(topics, through)| Op::Trim(topics, through)),
        6 => (topics(), after, limit).prop_map(|(topics, after, limit)| Op::Read(topics, after, limit)),
    ]
}

fn retention() -> impl Strategy<Value = Retention> {
    (0_usize..8, 0_u64..2000, 1_u64..100, 0_u64..4000, 0_usize..4).prop_map(
        |(events, bytes, seconds, log_bytes, idle_topics)| Retention {
            events,
            bytes,
            age: Duration::from_secs(seconds),
            log_bytes,
            idle_topics,
        },
    )
}

fn topic(i: usize) -> Topic {
    Topic::new(TOPICS[i]).expect("valid")
}

fn selector(topics: &[usize]) -> Selector {
    if topics.is_empty() {
        return Selector::all();
    }
    let pattern = |i: &usize| Pattern::new(PATTERNS[*i]).expect("valid");
    Selector::new(topics.iter().map(pattern).collect()).expect("a few patterns")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_memory_store_agrees_with_the_model(
        retention in retention(),
        ops in prop::collection::vec(op(), 0..100),
    ) {
        let now = Arc::new(AtomicU64::new(0));
        let clock = {
            let now = Arc::clone(&now);
            Clock::new(move || now.load(Ordering::Relaxed))
        };
        let config = MemoryConfig { retention, ..MemoryConfig::default() };
        let store = MemoryStore::new(config, EPOCH, clock);
        let mut model = Model::new(EPOCH, retention);
        for op in ops {
            // What is too old goes before anything else is done.
            model.now_ms = now.load(Ordering::Relaxed);
            model.apply_retention();
            match op {
                Op::Append(events) => {
                    let event = |(i, len): &(usize, usize)| Append::new(topic(*i), vec![0; *len]);
                    let batch: Vec<_> = events.iter().map(event).collect();
                    let expected = model.append(batch.clone());
                    prop_assert_eq!(block_on(store.append(batch)), Ok(expected));
                }
                Op::Wait(seconds) => {
                    now.fetch_add(seconds * 1000, Ordering::Relaxed);
                }
                Op::Trim(topics, through) => {
                    let selector = selector(&topics);
                    model.trim(&selector, through);
                    prop_assert_eq!(block_on(store.trim(&selector, through)), Ok(()));
                }
                Op::Read(topics, after, limit) => {
                    let selector = selector(&topics);
                    let expected = model.read(&selector, after, limit);
                    let found = block_on(store.read(&selector, after, limit));
                    prop_assert_eq!(found, Ok(expected));
                }
            }
        }
    }
}
