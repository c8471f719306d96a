//! A panic under the lock.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{Log, LogConfig, ReadError};

#[test]
fn a_panic_under_the_lock_closes_the_log_and_so_hides_no_hole() {
    let log = Log::new(LogConfig::default(), 0);
    let mut reader = log.subscribe();
    log.append(1, b"one");
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _state = log.shared().lock();
        panic!("planted");
    }));
    assert!(panicked.is_err());
    assert_eq!(reader.read(usize::MAX), Err(ReadError::Closed));
    log.append(2, b"two");
    assert_eq!(log.head(), 1);
    drop((reader, log));
}
