//! A reader that reads while the writer evicts.

use loom::thread;

use crate::{Log, LogConfig, ReadError};

/// Events that one append evicts are either read before or reported: the reader never goes on behind
/// a hole, and its lag is what it did not get.
///
/// Red when `Reader::read_through` asks whether it was evicted under one lock and then, under
/// another, reads on from the oldest event that is left: eviction falls between the two.
#[test]
fn loom_a_reader_gets_the_next_event_or_is_told_that_it_was_evicted() {
    loom::model(|| {
        let mut config = LogConfig::default();
        config.max_events(1);
        let log = Log::new(config, 0);
        let mut reader = log.subscribe();
        log.append(1, b"one");

        let writer = {
            let log = log.clone();
            thread::spawn(move || {
                log.append(2, b"two");
                log.append(3, b"three");
            })
        };

        let mut expected = 1;
        let mut evicted = false;
        for _ in 0..2 {
            match reader.read(usize::MAX) {
                Ok(Some(chunk)) => {
                    assert!(!evicted, "an evicted reader came back by itself");
                    assert_eq!(chunk.last, expected, "a silent hole");
                    expected += 1;
                }
                Ok(None) => assert!(!evicted),
                Err(error) => {
                    assert_eq!(error, ReadError::Evicted);
                    evicted = true;
                }
            }
        }
        writer.join().expect("the writer does not panic");
        assert_eq!(reader.lag().events, 4 - expected);
        assert_eq!(reader.jump_to_head(), 3);
        assert_eq!((log.memory(), reader.lag().events), (0, 0));
    });
}
