//! Segments that are begun, sealed and reclaimed while readers come and read.

use loom::thread;

use crate::{Log, LogConfig, Reader};

/// A log of one event a segment.
fn log() -> Log {
    let mut config = LogConfig::default();
    config.max_events(8);
    Log::new(config, 0)
}

/// Reads one event, which must be `seq`, whole.
fn read(reader: &mut Reader, seq: u64) {
    let chunk = reader.read(usize::MAX).expect("nothing is evicted");
    let chunk = chunk.expect("an event is pending");
    assert_eq!(
        (chunk.last, &chunk.bytes[..]),
        (seq, &seq.to_le_bytes()[..])
    );
}

fn append(log: &Log, seq: u64) {
    log.append(seq, &seq.to_le_bytes());
}

/// A segment that one reader is the last to leave is reclaimed while another one reads the next.
///
/// Red when `Reader::read_through` looks for its segment under one lock and takes its bytes, by the
/// segment's number, under a later one: what is before it may be reclaimed between the two. Red too when
/// `Tail::read` gives the last of a segment's readers its memory although segments before it are read, or
/// gives it to any reader.
#[test]
fn loom_reclaiming_a_segment_moves_no_readers_place() {
    loom::model(|| {
        let log = log();
        let [mut behind, mut ahead] = [log.subscribe(), log.subscribe()];
        (1..=3).for_each(|seq| append(&log, seq));
        read(&mut ahead, 1);
        let reader = thread::spawn(move || {
            read(&mut behind, 1);
            behind
        });
        read(&mut ahead, 2);
        let mut behind = reader.join().expect("the reader does not panic");
        read(&mut ahead, 3);
        (2..=3).for_each(|seq| read(&mut behind, seq));
        assert_eq!(log.memory(), 0);
    });
}

/// A reader that subscribes while events are appended and a segment is handed over to the next gets
/// every event from the first one that it sees on, and no more is kept than it needs.
///
/// Red when `Reader::new` takes its place from the head under one lock and is counted there under a
/// later one: what is appended between the two is kept for nobody.
#[test]
fn loom_a_reader_that_subscribes_during_appends_misses_nothing_after() {
    loom::model(|| {
        let log = log();
        let writer = {
            let log = log.clone();
            thread::spawn(move || (1..=2).for_each(|seq| append(&log, seq)))
        };
        let mut reader = log.subscribe();
        let mut next = reader.peek().expect("nothing is evicted");
        writer.join().expect("the writer does not panic");
        if next.is_none() {
            next = reader.peek().expect("nothing is evicted");
        }
        assert_eq!(reader.lag().events, next.map_or(0, |next| 3 - next));
        for seq in next.unwrap_or(3)..=2 {
            read(&mut reader, seq);
        }
        assert_eq!(log.memory(), 0);
    });
}
