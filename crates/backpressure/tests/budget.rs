//! One bound over many logs.
#![cfg(not(loom))]

use backpressure::{Budget, Log, LogConfig, ReadError, Reader};
use proptest::prelude::*;

fn logs<const N: usize>(budget: &Budget) -> [(Log, Reader); N] {
    [(); N].map(|()| {
        let log = Log::with_budget(LogConfig::default(), 0, budget);
        let reader = log.subscribe();
        (log, reader)
    })
}

#[test]
fn a_budget_knows_what_its_logs_take() {
    let budget = Budget::new(1 << 20);
    let [(one, mut reader), (other, _laggard)] = logs(&budget);
    for seq in 1..=10 {
        one.append(seq, &[0; 3000]);
        other.append(seq, &[0; 300]);
        assert_eq!(budget.memory(), one.memory() + other.memory());
    }
    assert!(reader.read(usize::MAX).is_ok());
    assert_eq!(budget.memory(), one.memory() + other.memory());
    other.close();
    assert_eq!(budget.memory(), one.memory());
    drop(one);
    assert_eq!(budget.memory(), 0);
}

#[test]
fn the_logs_that_take_the_most_lose_first() {
    let budget = Budget::new(1 << 20);
    let [
        (small, mut of_small),
        (large, mut of_large),
        (largest, mut of_largest),
    ] = logs(&budget);
    small.append(1, &[0; 100]);
    for seq in 1..=100 {
        large.append(seq, &[0; 3_000]);
    }
    for seq in 1..=1000 {
        largest.append(seq, &[0; 3_000]);
        assert!(budget.memory() <= 1 << 20, "at {seq}");
    }
    assert!(of_small.read(1).is_ok_and(|chunk| chunk.is_some()));
    assert!(of_large.read(1).is_ok_and(|chunk| chunk.is_some()));
    assert_eq!(of_largest.read(1), Err(ReadError::Evicted));
}

#[test]
fn logs_that_came_and_went_leave_a_budget_nothing_to_look_at() {
    let budget = Budget::new(1 << 20);
    for _ in 0..10_000 {
        let [(log, _reader)] = logs(&budget);
        log.append(1, b"event");
    }
    let text = format!("{budget:?}");
    let known: usize = text
        .split("logs: ")
        .nth(1)
        .and_then(|rest| rest.split([',', ' ']).next()?.parse().ok())
        .expect("a number of logs");
    assert!(known <= 128, "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The bound holds after every append, and every reader gets the next event or is told.
    #[test]
    fn the_bound_holds_and_every_loss_is_told(
        ops in prop::collection::vec((0..5_usize, 0..3_000_usize, any::<bool>()), 1..300),
        max in 1_000..60_000_usize,
    ) {
        let budget = Budget::new(max);
        let mut logs: [_; 5] = logs(&budget);
        let mut given = [0_u64; 5];
        for (at, len, reads) in ops {
            let (log, reader) = &mut logs[at];
            if reads {
                match reader.read(usize::MAX) {
                    Ok(Some(chunk)) => {
                        given[at] += chunk.events as u64;
                        prop_assert_eq!(chunk.last, given[at]);
                    }
                    Ok(None) => prop_assert_eq!(given[at], log.head()),
                    Err(error) => {
                        prop_assert_eq!(error, ReadError::Evicted);
                        given[at] += reader.jump_to(log.head()).events;
                    }
                }
            } else {
                log.append(log.head() + 1, &vec![0; len]);
                prop_assert!(budget.memory() <= max);
            }
            let sum: usize = logs.iter().map(|(log, _)| log.memory()).sum();
            prop_assert_eq!(budget.memory(), sum);
        }
    }
}
