//! What reading several logs as one copies, and what it does with errors, case by case.

use std::task::{Context, Waker};

use backpressure::{Lag, Log, LogConfig, ReadError, Readers};
use bytes::BytesMut;

/// Logs of the given seqs, each event being its seq in decimal and a space; all readers subscribed
/// before the first event.
fn logs<const N: usize>(seqs: [&[u64]; N]) -> ([Log; N], Readers) {
    let logs = seqs.map(|_| Log::new(LogConfig::default(), 0));
    let readers = Readers::new(logs.iter().map(Log::subscribe).collect());
    for (log, seqs) in logs.iter().zip(seqs) {
        for seq in seqs {
            log.append(*seq, format!("{seq} ").as_bytes());
        }
    }
    (logs, readers)
}

#[track_caller]
fn check<const N: usize>(seqs: [&[u64]; N], through: u64, max: usize, expected: &[&str]) {
    let (_logs, mut readers) = logs(seqs);
    let mut scratch = BytesMut::new();
    let mut chunks = Vec::new();
    while let Some(chunk) = readers
        .read_through(through, max, &mut scratch)
        .expect("intact")
    {
        let text = String::from_utf8(chunk.bytes.to_vec()).expect("digits and spaces");
        assert_eq!(chunk.events, text.split_whitespace().count());
        assert_eq!(
            text.split_whitespace().next_back(),
            Some(&*chunk.last.to_string())
        );
        chunks.push(text);
    }
    assert_eq!(chunks, expected);
}

#[test]
fn events_come_in_order_and_once() {
    const ALL: usize = usize::MAX;
    check([&[1, 2], &[3, 4]], 9, ALL, &["1 2 3 4 "]);
    check([&[1, 3, 5], &[2, 4, 6]], 9, ALL, &["1 2 3 4 5 6 "]);
    check([&[1, 2, 3], &[2, 3, 4], &[2, 5]], 9, ALL, &["1 2 3 4 5 "]);
    check([&[1, 2, 3], &[1, 2, 3], &[1, 2, 3]], 9, ALL, &["1 2 3 "]);
    check([&[1, 2], &[1, 2]], 0, ALL, &[]);
    check([&[1, 4], &[2, 5]], 4, ALL, &["1 2 4 "]);
    check([&[5], &[6]], 4, ALL, &[]);
    check([&[], &[1], &[]], 9, ALL, &["1 "]);
    check([], 9, ALL, &[]);
    check([&[1, 3, 5], &[2, 4, 6]], 9, 5, &["1 2 ", "3 4 ", "5 6 "]);
    check([&[1, 2], &[1, 2]], 9, 0, &["1 ", "2 "]);
    // With room for one event of two digits, the shorter ones before it go together.
    check([&[8, 10], &[9, 11]], 99, 4, &["8 9 ", "10 ", "11 "]);
}

#[test]
fn what_comes_from_one_log_alone_is_not_copied() {
    for others in [0, 2] {
        let log = Log::new(LogConfig::default(), 0);
        let mut direct = log.subscribe();
        let mut readers = vec![log.subscribe()];
        readers.extend((0..others).map(|_| Log::new(LogConfig::default(), 0).subscribe()));
        let idle: Vec<_> = (0..others)
            .map(|_| Log::new(LogConfig::default(), 0))
            .collect();
        readers.truncate(1);
        readers.extend(idle.iter().map(Log::subscribe));
        let mut readers = Readers::new(readers);
        log.append(1, b"one");
        let chunk = readers.read_through(1, usize::MAX, &mut BytesMut::new());
        let chunk = chunk.expect("intact").expect("one event");
        let expected = direct.read(usize::MAX).expect("intact").expect("one event");
        assert_eq!(chunk.bytes.as_ptr(), expected.bytes.as_ptr());
    }
}

#[test]
fn scratch_is_used_again_once_its_chunks_are_gone() {
    let (logs, mut readers) = logs([&[], &[]]);
    let mut scratch = BytesMut::with_capacity(1024);
    let start = scratch.as_ptr();
    for round in 0..100 {
        for (i, log) in logs.iter().enumerate() {
            log.append(2 * round + i as u64 + 1, &[b'a'; 100]);
        }
        let chunk = readers.read_through(u64::MAX, usize::MAX, &mut scratch);
        assert_eq!(chunk.expect("intact").expect("two events").bytes.len(), 200);
        scratch.reserve(1024);
        assert_eq!(scratch.as_ptr(), start, "in round {round}");
    }
}

#[test]
fn an_evicted_reader_is_reported_and_a_jump_makes_the_subscription_whole() {
    let ([one, other], mut readers) = logs([&[1, 3], &[2, 4]]);
    let mut scratch = BytesMut::new();
    other.evict_to(0);
    assert!(!readers.is_intact());
    let read = readers.read_through(4, usize::MAX, &mut scratch);
    assert_eq!(
        read,
        Err(ReadError::Evicted),
        "1 may not come before it is known what 2 was"
    );
    assert_eq!(readers.lag().events, 4);
    assert_eq!(
        readers.skip_through(2).events,
        1,
        "only what is still there is skipped"
    );
    assert_eq!(
        readers.jump_to(3).events,
        1,
        "4 was evicted, which is not to be left out"
    );
    assert!(!readers.is_intact());
    assert_eq!(readers.jump_to(4).events, 2);
    assert!(readers.is_intact());

    one.append(5, b"5 ");
    other.append(6, b"6 ");
    let chunk = readers
        .read_through(6, usize::MAX, &mut scratch)
        .expect("whole again");
    assert_eq!(chunk.map(|chunk| (chunk.last, chunk.events)), Some((6, 2)));
    one.close();
    assert_eq!(
        readers.read_through(6, 1, &mut scratch),
        Err(ReadError::Closed)
    );
}

#[test]
fn readers_are_woken_by_any_of_their_logs_and_wait_for_the_watermark() {
    let ([one, other], mut readers) = logs([&[], &[]]);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(readers.poll_ready(&mut cx).is_pending());
    other.append(2, b"2 ");
    assert!(readers.poll_ready_through(&mut cx, || 1).is_pending());
    assert!(readers.poll_ready_through(&mut cx, || 2).is_ready());
    one.append(3, b"3 ");
    assert!(readers.poll_ready(&mut cx).is_ready());
    let mut none = Readers::default();
    assert!(none.poll_ready(&mut cx).is_pending());
    assert!(none.is_intact());
}

/// The seq jumped to, how many were left out, and what is read then.
#[track_caller]
fn check_jump<const N: usize>(
    seqs: [&[u64]; N],
    events: u64,
    through: u64,
    expected: (u64, u64, &str),
) {
    let (_logs, mut readers) = logs(seqs);
    let max = Lag {
        events,
        bytes: u64::MAX,
    };
    let (to, skipped) = readers.jump_within(max, through);
    let mut scratch = BytesMut::new();
    let rest = readers
        .read_through(u64::MAX, usize::MAX, &mut scratch)
        .expect("intact")
        .map_or_else(String::new, |chunk| {
            String::from_utf8(chunk.bytes.to_vec()).expect("digits and spaces")
        });
    assert_eq!((to, skipped.events, &*rest), expected);
}

#[test]
fn a_jump_leaves_out_as_few_events_as_the_bound_asks() {
    check_jump([&[1, 2, 3, 4]], 4, 4, (0, 0, "1 2 3 4 "));
    check_jump([&[1, 2, 3, 4]], 3, 4, (1, 1, "2 3 4 "));
    check_jump([&[1, 2, 3, 4]], 0, 4, (4, 4, ""));
    check_jump([&[1, 3, 5], &[2, 4, 6]], 2, 6, (4, 4, "5 6 "));
    check_jump([&[10, 30], &[20]], 1, 40, (20, 2, "30 "));
    // What the watermark does not cover yet stays, whatever the bound.
    check_jump([&[1, 2, 3, 4]], 1, 2, (2, 2, "3 4 "));
    check_jump([], 1, 9, (0, 0, ""));
}

#[test]
fn a_jump_leaves_out_what_was_evicted() {
    let mut config = LogConfig::default();
    config.max_bytes(64);
    let log = Log::new(config, 0);
    let mut readers = Readers::new(vec![log.subscribe()]);
    // Keeps up but for the last events, so that those stay in memory.
    let mut other = log.subscribe();
    for seq in 1..=1000 {
        log.append(seq, b"0123456789abcdef");
        while seq < 999 && other.read(usize::MAX).is_ok_and(|chunk| chunk.is_some()) {}
    }
    let mut scratch = BytesMut::new();
    let evicted = readers.read_through(1000, usize::MAX, &mut scratch);
    assert_eq!(evicted, Err(ReadError::Evicted));
    let all = Lag {
        events: u64::MAX,
        bytes: u64::MAX,
    };
    let (to, skipped) = readers.jump_within(all, 1000);
    assert_eq!(skipped.events, to, "every event from the first on");
    let rest = readers.lag().events;
    assert!(rest > 0, "what is still in memory is kept");
    assert_eq!(to + rest, 1000);
    let chunk = readers.read_through(1000, usize::MAX, &mut scratch);
    assert!(chunk.is_ok_and(|chunk| chunk.is_some()));
}
