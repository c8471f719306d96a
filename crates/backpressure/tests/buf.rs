//! A reader as `bytes::Buf`, written bit by bit.
#![cfg(not(loom))]

use backpressure::{Lag, Log, LogConfig, ReadError};
use bytes::Buf;
use proptest::prelude::*;

const fn lag(events: u64, bytes: u64) -> Lag {
    Lag { events, bytes }
}

#[test]
fn what_is_shown_is_the_memory_of_the_log_and_no_copy() {
    let log = Log::new(LogConfig::default(), 0);
    let mut bufs = [(); 2].map(|()| log.subscribe().into_buf());
    for seq in 1..=100 {
        log.append(seq, &[seq as u8; 50]);
    }
    let shown = bufs.each_mut().map(|buf| {
        assert_eq!(buf.fill(u64::MAX, usize::MAX), Ok(true));
        buf.chunk().as_ptr_range()
    });
    assert_eq!(shown[0], shown[1]);
    bufs[0].advance(1234);
    // Given back and shown again, it is the same memory.
    bufs[0].retract();
    bufs[0].advance(16);
    assert!(bufs[0].at_boundary());
    assert_eq!(bufs[0].fill(u64::MAX, usize::MAX), Ok(true));
    assert_eq!(bufs[0].chunk().as_ptr_range().end, shown[0].end);
    assert_eq!(bufs[0].remaining(), 5000 - 1250);
}

#[test]
fn events_without_bytes_are_boundaries_of_their_own() {
    let log = Log::new(LogConfig::default(), 0);
    let mut buf = log.subscribe().into_buf();
    (1..=3).for_each(|seq| log.append(seq, b""));
    assert_eq!(buf.fill(u64::MAX, 99), Ok(false));
    assert_eq!(buf.get_ref().lag(), Lag::ZERO);
    log.append(4, b"");
    log.append(5, b"five");
    log.append(6, b"");
    assert_eq!(buf.fill(u64::MAX, 99), Ok(true));
    buf.advance(2);
    assert_eq!(buf.get_ref().lag(), lag(2, 4));
    buf.advance(2);
    assert!(buf.at_boundary());
    assert_eq!(buf.fill(u64::MAX, 99), Ok(false));
    assert_eq!(buf.get_ref().lag(), Lag::ZERO);
}

#[test]
fn a_half_written_event_is_finished_whatever_becomes_of_the_log() {
    for end in ["evict", "close", "drop"] {
        let log = Log::new(LogConfig::default(), 0);
        let mut buf = log.subscribe().into_buf();
        (1..=3).for_each(|seq| log.append(seq, b"event"));
        assert_eq!(buf.fill(u64::MAX, 99), Ok(true));
        buf.advance(7);
        match end {
            "evict" => log.evict_to(0),
            "close" => log.close(),
            _ => {}
        }
        let log = (end != "drop").then_some(log);
        assert!(!buf.at_boundary() && buf.get_mut().is_none());
        buf.advance(1);
        buf.retract();
        assert_eq!(buf.copy_to_bytes(2), "nt", "{end}");
        assert!(buf.at_boundary(), "{end}");
        assert_eq!(buf.get_ref().lag(), lag(1, 5), "{end}");
        let expected = if end == "evict" {
            ReadError::Evicted
        } else {
            ReadError::Closed
        };
        assert_eq!(buf.fill(u64::MAX, 99), Err(expected), "{end}");
        let mut reader = buf.into_reader().expect("between two events");
        if let Some(log) = log {
            assert_eq!(reader.jump_to(log.head()).events, 1);
        }
    }
}

#[test]
fn after_an_eviction_unknown_boundaries_are_not_guessed() {
    let log = Log::new(LogConfig::default(), 0);
    let mut buf = log.subscribe().into_buf();
    (1..=3).for_each(|seq| log.append(seq, b"event"));
    assert_eq!(buf.fill(u64::MAX, 99), Ok(true));
    log.evict_to(0);
    buf.advance(5);
    assert!(!buf.at_boundary());
    buf.retract();
    assert_eq!(buf.remaining(), 10);
    buf.advance(10);
    assert!(buf.at_boundary());
    // All of it was written, so nothing was lost.
    assert_eq!(buf.fill(u64::MAX, 99), Ok(false));
    assert_eq!(buf.get_ref().lag(), Lag::ZERO);
}

#[test]
#[should_panic(expected = "advance")]
fn no_more_is_written_than_was_shown() {
    let log = Log::new(LogConfig::default(), 0);
    let mut buf = log.subscribe().into_buf();
    log.append(1, b"event");
    assert_eq!(buf.fill(u64::MAX, 99), Ok(true));
    buf.advance(6);
}

#[derive(Clone, Debug)]
enum Op {
    Append { len: usize },
    Fill { ahead: u64, max: usize },
    Write { part: usize },
    Retract,
    Jump { ahead: u64 },
    Evict,
    Private,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => prop_oneof![Just(0), 0..30_usize, 0..700_usize].prop_map(|len| Op::Append { len }),
        4 => (prop_oneof![0..4_u64, Just(1 << 40)], 0..2_000_usize)
            .prop_map(|(ahead, max)| Op::Fill { ahead, max }),
        6 => prop_oneof![0..20_usize, 0..1_000_usize].prop_map(|part| Op::Write { part }),
        1 => Just(Op::Retract),
        1 => (0..5_u64).prop_map(|ahead| Op::Jump { ahead }),
        1 => Just(Op::Evict),
        2 => Just(Op::Private),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What was written is what was published, but for the events that were jumped over, whole ones
    /// only; private bytes stand between events; what is not wholly written counts as lag.
    #[test]
    fn parts_written_add_up_to_whole_events(ops in prop::collection::vec(op(), 1..200)) {
        let mut config = LogConfig::default();
        config.max_bytes(6_000);
        let log = Log::new(config, 0);
        let _laggard = log.subscribe();
        let mut buf = log.subscribe().into_buf();
        let mut published: Vec<Vec<u8>> = Vec::new();
        // What was written, and what should have been: both without private bytes.
        let (mut written, mut expected) = (Vec::new(), Vec::new());
        // How many events were written or jumped over, as far as the reader says.
        let mut at = 0;
        for op in ops {
            match op {
                Op::Append { len } => {
                    let seq = published.len() as u64 + 1;
                    let event: Vec<u8> = seq.to_le_bytes().into_iter().cycle().take(len).collect();
                    log.append(seq, &event);
                    published.push(event);
                }
                Op::Fill { ahead, max } => {
                    let had = buf.remaining();
                    match buf.fill(at as u64 + ahead, max) {
                        Ok(some) => prop_assert_eq!(some, buf.has_remaining()),
                        Err(error) => {
                            prop_assert_eq!(error, ReadError::Evicted);
                            prop_assert_eq!(had, 0);
                            prop_assert!(buf.at_boundary());
                        }
                    }
                }
                Op::Write { part } => {
                    let part = part.min(buf.remaining());
                    written.extend_from_slice(&buf.chunk()[..part]);
                    buf.advance(part);
                }
                Op::Retract => {
                    let known = buf.get_ref().is_intact();
                    buf.retract();
                    prop_assert!(!known || !buf.at_boundary() || !buf.has_remaining());
                }
                Op::Jump { ahead } => {
                    let inside = !buf.at_boundary();
                    match buf.get_mut() {
                        None => prop_assert!(inside),
                        Some(reader) => {
                            // What was given back is published again, or lost.
                            let through = at as u64 + ahead;
                            let jumped = reader.jump_to(through).events as usize;
                            at += jumped;
                        }
                    }
                }
                Op::Evict => log.evict_to(0),
                Op::Private => {
                    if buf.at_boundary() {
                        // Everything before is whole.
                        prop_assert_eq!(&written, &expected);
                    }
                }
            }
            let unread = published.len() - buf.get_ref().lag().events as usize;
            expected.extend(published[at..unread].iter().flatten());
            at = unread;
            prop_assert!(written.starts_with(&expected), "an event was counted before it was whole");
            let bytes: usize = published[at..].iter().map(Vec::len).sum();
            prop_assert_eq!(buf.get_ref().lag(), lag((published.len() - at) as u64, bytes as u64));
            if buf.at_boundary() {
                prop_assert_eq!(&written, &expected);
            }
        }
    }
}
