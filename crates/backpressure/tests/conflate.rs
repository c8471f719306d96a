//! `conflate`: rounds, bounds and gaps case by case, and any history against a model.
#![cfg(not(loom))]

use std::collections::BTreeMap;

use backpressure::{
    Conflated, Conflation, Lag, Log, LogConfig, ReadError, Readers, Skipped, encode_keyed,
};
use bytes::BytesMut;
use proptest::prelude::*;

const fn lag(events: u64, bytes: u64) -> Lag {
    Lag { events, bytes }
}

const UNBOUNDED: Lag = lag(u64::MAX, u64::MAX);

/// What a conflation gives out, one event a line: `seq`, `~n` superseded before it, `gap n..seq`.
fn drain(conflation: &mut Conflation) -> String {
    let next = || conflation.next(0).map(|next| line(&next));
    std::iter::from_fn(next).collect::<Vec<_>>().join(" ")
}

fn line(next: &Conflated) -> String {
    match next {
        Conflated::Gap(Skipped { through, events }) => format!("gap {events}..{through}"),
        Conflated::Events(chunk) => {
            assert_eq!(chunk.events, 1);
            assert_eq!(&chunk.bytes[..], chunk.last.to_string().as_bytes());
            match chunk.superseded {
                0 => chunk.last.to_string(),
                superseded => format!("~{superseded} {}", chunk.last),
            }
        }
    }
}

/// Pushes `seq` or `seq:key` for each word.
fn push(conflation: &mut Conflation, events: &str) {
    for event in events.split_whitespace() {
        let (seq, key) = event
            .split_once(':')
            .map_or((event, None), |(seq, key)| (seq, Some(key.as_bytes())));
        conflation.push(seq.parse().expect("a number"), key, seq.as_bytes());
    }
}

#[track_caller]
fn check(max: Lag, events: &str, expected: &str) {
    let mut conflation = Conflation::new(max);
    push(&mut conflation, events);
    assert_eq!(drain(&mut conflation), expected, "{events}");
    assert!(conflation.is_empty());
    assert_eq!(conflation.lag(), Lag::ZERO);
}

#[test]
fn the_latest_of_each_key_comes_in_the_order_of_the_seqs() {
    check(UNBOUNDED, "", "");
    check(UNBOUNDED, "1:a 2:b 3:a", "~1 2 3");
    check(UNBOUNDED, "1:a 2:a 3:a 4:b", "~2 3 4");
    check(UNBOUNDED, "1:a 5:b 7:c", "1 5 7");
}

#[test]
fn events_without_a_key_never_merge() {
    check(UNBOUNDED, "1 2:a 3 4:a 5", "~1 1 3 4 5");
}

#[test]
fn beyond_the_bound_the_oldest_are_dropped_with_a_gap() {
    check(lag(2, 99), "1:a 2:b 3:c", "gap 1..1 2 3");
    check(lag(2, 99), "1:a 2:b 3:a 4:c 5:d", "gap 2..3 ~1 4 5");
    check(lag(2, 99), "1 2 3 4", "gap 2..2 3 4");
    check(lag(99, 2), "1:a 2:b 3:c 10:d", "gap 3..3 10");
    check(lag(0, 0), "1:a 2:b", "gap 1..1 2");
    check(lag(1, 99), "1:a 2:a 3:a", "~2 3");
}

#[test]
fn a_round_is_fixed_when_it_begins() {
    let mut conflation = Conflation::new(UNBOUNDED);
    push(&mut conflation, "1:a 2:b 3:c");
    assert_eq!(conflation.next(0).as_ref().map(line), Some("1".to_owned()));
    push(&mut conflation, "4:b 5:a 6:b");
    assert_eq!(conflation.lag().events, 4);
    assert_eq!(drain(&mut conflation), "2 3 ~1 5 6");
}

#[test]
fn a_chunk_takes_what_fits_but_one_event_at_least() {
    let mut conflation = Conflation::new(UNBOUNDED);
    push(&mut conflation, "1:a 2:b 3:c 4:a");
    let mut next = |max_bytes| match conflation.next(max_bytes) {
        Some(Conflated::Events(chunk)) => (chunk.last, chunk.events, chunk.superseded),
        other => panic!("{other:?}"),
    };
    assert_eq!(next(2), (3, 2, 1));
    assert_eq!(next(0), (4, 1, 0));
}

#[test]
fn a_key_that_changes_all_the_time_takes_no_memory_for_it() {
    let mut conflation = Conflation::new(lag(10, 1000));
    for seq in 1..=100_000 {
        conflation.push(seq, Some(b"key"), b"data");
    }
    assert_eq!(conflation.lag(), lag(1, 4));
    let Some(Conflated::Events(chunk)) = conflation.next(0) else {
        panic!("the latest is pending")
    };
    assert_eq!((chunk.last, chunk.superseded), (100_000, 99_999));
}

#[test]
#[should_panic(expected = "seqs must increase")]
fn a_seq_that_does_not_increase_is_refused() {
    push(&mut Conflation::new(UNBOUNDED), "2:a 2:b");
}

#[test]
#[should_panic(expected = "from encode_keyed")]
fn a_log_of_other_events_is_refused() {
    let log = Log::new(LogConfig::default(), 0);
    let mut readers = Readers::new(vec![log.subscribe()]);
    log.append(1, b"no key");
    let _panics = Conflation::new(UNBOUNDED).collect(&mut readers, u64::MAX, &mut BytesMut::new());
}

#[test]
fn a_closed_log_is_an_error_and_what_was_collected_stays() {
    let log = Log::new(LogConfig::default(), 0);
    let mut readers = Readers::new(vec![log.subscribe()]);
    let mut conflation = Conflation::new(UNBOUNDED);
    push(&mut conflation, "1:a");
    log.close();
    let collected = conflation.collect(&mut readers, 1, &mut BytesMut::new());
    assert_eq!(collected, Err(ReadError::Closed));
    assert_eq!(drain(&mut conflation), "1");
}

#[derive(Clone, Debug)]
enum Op {
    Append {
        log: usize,
        key: Option<u8>,
        len: usize,
    },
    Collect,
    Next {
        max: usize,
    },
    Evict {
        log: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => (0..2_usize, prop::option::weighted(0.8, 0..6_u8), 0..30_usize)
            .prop_map(|(log, key, len)| Op::Append { log, key, len }),
        3 => Just(Op::Collect),
        4 => (0..100_usize).prop_map(|max| Op::Next { max }),
        1 => (0..2_usize).prop_map(|log| Op::Evict { log }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Delivered, superseded and skipped add up to what was published; what is delivered is as it was
    /// published, in order, and what is superseded has a later event of its key.
    #[test]
    fn every_event_is_delivered_superseded_or_part_of_one_gap(
        ops in prop::collection::vec(op(), 1..200),
        max in (0..8_u64, 0..200_u64),
    ) {
        let logs = [(); 2].map(|()| Log::new(LogConfig::default(), 0));
        let mut readers = Readers::new(logs.iter().map(Log::subscribe).collect());
        let mut conflation = Conflation::new(lag(max.0, max.1));
        let mut scratch = BytesMut::new();
        let mut published: BTreeMap<u64, (Option<u8>, Vec<u8>)> = BTreeMap::new();
        let (mut delivered, mut superseded, mut skipped) = (0, 0, 0);
        // The seq that was given out or skipped last, and that up to which readers were read.
        let (mut at, mut collected) = (0, 0);
        let mut take = |conflation: &mut Conflation, max, published: &BTreeMap<u64, (Option<u8>, Vec<u8>)>, collected: u64| {
            let next = conflation.next(max);
            match &next {
                Some(Conflated::Gap(gap)) => {
                    assert!(gap.events > 0);
                    assert!(gap.through > at && gap.through <= collected);
                    at = gap.through;
                    skipped += gap.events;
                }
                Some(Conflated::Events(chunk)) => {
                    let mut bytes = &chunk.bytes[..];
                    for _ in 0..chunk.events {
                        let seq = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
                        let (_, data) = &published[&seq];
                        assert_eq!(&bytes[..data.len()], data);
                        bytes = &bytes[data.len()..];
                        assert!(seq > at, "not in order");
                        for (left_out, (key, _)) in published.range(at + 1..seq) {
                            let mut later = published.range(left_out + 1..=collected);
                            let newer = later.any(|(_, (other, _))| other == key);
                            assert!(key.is_some() && newer, "{left_out} has no successor");
                        }
                        at = seq;
                    }
                    assert!(bytes.is_empty());
                    assert_eq!(chunk.last, at);
                    assert!(chunk.events == 1 || chunk.bytes.len() <= max);
                    delivered += chunk.events as u64;
                    superseded += chunk.superseded;
                }
                None => {}
            }
            next.is_some()
        };
        for op in &ops {
            match *op {
                Op::Append { log, key, len } => {
                    let seq = published.len() as u64 + 1;
                    let mut data = seq.to_le_bytes().to_vec();
                    data.resize(8 + len, b'x');
                    let mut encoded = Vec::new();
                    encode_keyed(seq, key.as_ref().map(std::slice::from_ref), &data, &mut encoded);
                    logs[log].append(seq, &encoded);
                    published.insert(seq, (key, data));
                }
                Op::Collect => {
                    collected = published.len() as u64;
                    conflation
                        .collect(&mut readers, collected, &mut scratch)
                        .expect("the logs are open");
                    assert_eq!(readers.lag().events, 0);
                }
                Op::Next { max } => {
                    take(&mut conflation, max, &published, collected);
                }
                Op::Evict { log } => logs[log].evict_to(0),
            }
            let pending = conflation.lag();
            assert!(pending.events <= 2 * max.0.max(1));
            if pending.events > 2 {
                assert!(pending.bytes <= 2 * max.1.max(38));
            }
        }
        collected = published.len() as u64;
        conflation.collect(&mut readers, collected, &mut scratch).expect("the logs are open");
        while take(&mut conflation, usize::MAX, &published, collected) {}
        prop_assert_eq!(delivered + superseded + skipped, published.len() as u64);
        // What follows the last event that was given out was superseded by none, so there is none.
        prop_assert_eq!(at, published.len() as u64);
    }

    /// With nothing evicted and no bound, what is collected in one go comes out as the model says.
    #[test]
    fn a_round_is_the_latest_of_each_key_and_all_without(
        keys in prop::collection::vec(prop::option::weighted(0.8, 0..6_u8), 0..60),
    ) {
        let mut conflation = Conflation::new(UNBOUNDED);
        for (seq, key) in (1..).zip(&keys) {
            conflation.push(seq, key.as_ref().map(std::slice::from_ref), b"x");
        }
        let expected: Vec<u64> = (1..)
            .zip(&keys)
            .filter(|(seq, key)| key.is_none() || !keys[*seq as usize..].contains(key))
            .map(|(seq, _)| seq)
            .collect();
        let given: Vec<u64> = std::iter::from_fn(|| match conflation.next(0)? {
            Conflated::Events(chunk) => Some(chunk.last),
            Conflated::Gap(gap) => panic!("{gap:?}"),
        })
        .collect();
        prop_assert_eq!(given, expected);
    }
}
