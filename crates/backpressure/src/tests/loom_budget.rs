//! Logs that share a budget, appended to and read at the same time.

use loom::thread;

use crate::{Budget, Log, LogConfig, ReadError};

/// The budget's sum is what the logs take, whichever of appending, reading and evicting is first, and
/// a reader whose event another log's append evicted is told.
///
/// Red when `Budget::settle` loads the sum and stores it again instead of adding to it, and when
/// `Log::append` has the bound enforced before it unlocks, which is when it settles.
#[test]
fn loom_a_budget_counts_what_its_logs_take() {
    loom::model(|| {
        // Each event is over the bound, together with any other.
        let budget = Budget::new(1500);
        let logs = [0, 1].map(|_| Log::with_budget(LogConfig::default(), 0, &budget));
        let mut readers = logs.each_ref().map(Log::subscribe);
        let writers = logs
            .clone()
            .map(|log| thread::spawn(move || log.append(1, b"event")));
        let first = readers[0].read(usize::MAX);
        for writer in writers {
            writer.join().expect("the writer does not panic");
        }
        let memory = logs[0].memory() + logs[1].memory();
        assert_eq!(budget.memory(), memory);
        assert!(memory <= 1500);
        let told = |read: Result<Option<crate::Chunk>, ReadError>| {
            matches!(read, Ok(Some(_)) | Err(ReadError::Evicted))
        };
        assert!(matches!(first, Ok(None)) || told(first));
        for reader in &mut readers {
            if reader.lag().events > 0 {
                assert!(told(reader.read(usize::MAX)));
            }
        }
    });
}
