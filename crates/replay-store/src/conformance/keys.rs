//! Cases: idempotency keys.

use std::time::Duration;

use super::subject::{Subject, append, data, keyed, needs, only};
use super::{Factory, Outcome, Setup, Skipped};
use crate::{Append, Appended, EventType, KeyWindow, ReplayStore, StoreError};

/// As long as the window lasts, whatever came between.
pub fn a_retry_answers_the_first_position<F: Factory>(factory: &F) -> Outcome {
    let log = remembering(factory, KeyWindow::default())?;
    let first = log
        .batch([keyed("a", "k", "x")])
        .expect("the store appends")[0];
    assert!(!first.duplicate);
    for i in 0..10 {
        log.batch([keyed("a", &format!("{i}"), "x")])
            .expect("the store appends");
        let again = log
            .batch([keyed("a", "k", "x")])
            .expect("the store answers")[0];
        assert_eq!(
            again,
            Appended {
                position: first.position,
                duplicate: true
            }
        );
    }
    assert_eq!(log.read_all(&only("a")).len(), 11);
    Ok(())
}

/// The same key in two topics is two keys; no key is no key.
pub fn a_key_belongs_to_one_topic<F: Factory>(factory: &F) -> Outcome {
    let log = remembering(factory, KeyWindow::default())?;
    let batch = [
        keyed("a", "k", "1"),
        keyed("b", "k", "2"),
        append("a", "3"),
        append("a", "3"),
    ];
    let appended = log.batch(batch).expect("the store appends");
    assert!(appended.iter().all(|appended| !appended.duplicate));
    assert_eq!(data(&log.read_all(&only("a"))), ["1", "3", "3"]);
    Ok(())
}

/// Other data, another type or another conflate key; nothing of the batch is appended.
pub fn a_key_with_another_event_is_refused<F: Factory>(factory: &F) -> Outcome {
    let log = remembering(factory, KeyWindow::default())?;
    log.batch([keyed("a", "k", "1")])
        .expect("the store appends");
    let typed = EventType::new("t").expect("valid");
    for other in [
        keyed("a", "k", "2"),
        Append {
            event: Some(typed),
            ..keyed("a", "k", "1")
        },
        Append {
            conflate_key: Some("c".into()),
            ..keyed("a", "k", "1")
        },
    ] {
        let refused = log.batch([append("a", "before"), other, append("a", "after")]);
        assert_eq!(refused, Err(StoreError::KeyReused { index: 1 }));
    }
    assert_eq!(data(&log.read_all(&only("a"))), ["1"]);
    Ok(())
}

/// The second one of a batch is a duplicate of the first, or refuses the batch.
pub fn a_key_may_repeat_within_a_batch<F: Factory>(factory: &F) -> Outcome {
    let log = remembering(factory, KeyWindow::default())?;
    let batch = [keyed("a", "k", "1"), append("a", "2"), keyed("a", "k", "1")];
    let appended = log.batch(batch).expect("the store appends");
    assert_eq!(
        appended[2],
        Appended {
            duplicate: true,
            ..appended[0]
        }
    );
    assert_eq!(data(&log.read_all(&only("a"))), ["1", "2"]);
    let refused = log.batch([keyed("a", "l", "1"), keyed("a", "l", "2")]);
    assert_eq!(refused, Err(StoreError::KeyReused { index: 1 }));
    assert_eq!(data(&log.read_all(&only("a"))), ["1", "2"]);
    Ok(())
}

/// The oldest key goes first, and duplicates do not renew it.
pub fn keys_leave_the_window_by_count<F: Factory>(factory: &F) -> Outcome {
    needs(F::COUNTED_KEYS, "COUNTED_KEYS")?;
    let log = remembering(
        factory,
        KeyWindow {
            count: 3,
            ..KeyWindow::default()
        },
    )?;
    let send = |key| {
        log.batch([keyed("a", key, "x")])
            .expect("the store appends")[0]
            .duplicate
    };
    assert_eq!([send("1"), send("2"), send("3")], [false; 3]);
    assert_eq!([send("1"), send("2"), send("3")], [true; 3]);
    assert!(!send("4"));
    assert_eq!([send("2"), send("3"), send("4")], [true; 3]);
    assert!(!send("1"));
    Ok(())
}

/// A key is known until its age is over the window's.
pub fn keys_leave_the_window_by_age<F: Factory>(factory: &F) -> Outcome {
    needs(F::TURNABLE_CLOCK, "TURNABLE_CLOCK")?;
    let window = KeyWindow {
        age: Duration::from_secs(60),
        ..KeyWindow::default()
    };
    let log = remembering(factory, window)?;
    let send = |key| {
        log.batch([keyed("a", key, "x")])
            .expect("the store appends")[0]
            .duplicate
    };
    assert!(!send("k"));
    log.setup.clock.advance(Duration::from_secs(60));
    assert!(send("k"));
    log.setup.clock.advance(Duration::from_millis(1));
    assert!(!send("k"));
    Ok(())
}

fn remembering<F: Factory>(factory: &F, keys: KeyWindow) -> Result<Subject<'_, F>, Skipped> {
    let log = Subject::with(
        factory,
        Setup {
            keys,
            ..Setup::default()
        },
    );
    needs(
        !log.store.capabilities().dedup_window.is_zero(),
        "dedup_window",
    )?;
    Ok(log)
}
