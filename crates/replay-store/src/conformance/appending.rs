//! Cases: what an append does.

use bytes::Bytes;

use super::subject::{Subject, append, data, needs, only, topic};
use super::{Factory, Outcome, Setup};
use crate::{After, Append, Event, EventType, Limit, ReplayStore, Selector, StoreError};

/// Every field, with the smallest, the largest and the oddest contents.
pub fn events_come_back_as_they_were_appended<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    let largest = log
        .store
        .capabilities()
        .max_event_bytes
        .min(log.setup.max_event_bytes);
    let binary: Vec<u8> = (0..=255).collect();
    let long = "x".repeat(255);
    let sent = [
        Append::new(topic("a"), Bytes::new()),
        Append::new(topic("a"), binary),
        Append::new(topic("a"), vec![7; largest]),
        Append {
            event: Some(EventType::new(&long).expect("as long as can be")),
            conflate_key: Some(long.as_str().into()),
            idempotency_key: Some(long.as_str().into()),
            ..Append::new(topic(&long), "long")
        },
        Append {
            event: Some(EventType::new("a b\u{2028}ü").expect("valid")),
            conflate_key: Some("".into()),
            idempotency_key: Some("".into()),
            ..Append::new(topic("Ä/ /a'b\"c;--/🦀/%00\\"), "odd")
        },
    ];
    for append in sent {
        let appended = log.batch([append.clone()]).expect("the store appends")[0];
        let found = log.read_all(&append.topic.clone().into());
        let found = found.last().expect("it is there");
        let Append {
            topic,
            event,
            data,
            conflate_key,
            idempotency_key: _,
        } = append;
        let expected = Event {
            position: appended.position,
            prev: found.prev,
            topic,
            event,
            data,
            conflate_key,
            timestamp_ms: found.timestamp_ms,
        };
        assert!(*found == expected, "{} differs", expected.topic);
    }
    Ok(())
}

/// The positions answered are those read, and increase by one where that is promised.
pub fn positions_are_those_answered<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    let answered: Vec<_> = (0..20)
        .map(|i| log.append(["a", "b"][i % 2], "x"))
        .collect();
    let read: Vec<_> = log
        .read_all(&Selector::all())
        .iter()
        .map(|e| e.position)
        .collect();
    assert_eq!(answered, read);
    assert!(answered.is_sorted_by(|a, b| a.seq < b.seq && a.epoch == b.epoch));
    needs(log.store.capabilities().dense, "dense")?;
    assert!(
        answered
            .iter()
            .zip(1..)
            .all(|(position, seq)| position.seq == seq)
    );
    Ok(())
}

/// All of a batch or, if one event is refused, nothing.
pub fn a_batch_is_appended_in_one_piece<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    needs(log.store.capabilities().atomic_batch, "atomic_batch")?;
    log.append("a", "0");
    let batch = ["a", "b", "a", "c"]
        .iter()
        .zip(1..)
        .map(|(t, i)| append(t, format!("{i}")));
    let appended = log.batch(batch.clone()).expect("the store appends");
    assert!(appended.iter().all(|appended| !appended.duplicate));
    assert!(appended.is_sorted_by(|a, b| a.position.seq < b.position.seq));
    assert_eq!(
        data(&log.read_all(&Selector::all())),
        ["0", "1", "2", "3", "4"]
    );

    let too_large = append("a", vec![0; log.setup.max_event_bytes + 1]);
    log.batch(batch.chain([too_large]))
        .expect_err("one event is too large");
    assert_eq!(log.read_all(&Selector::all()).len(), 5);
    Ok(())
}

/// No events, no answers, no change.
pub fn an_empty_batch_appends_nothing<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    assert_eq!(log.batch([]), Ok(vec![]));
    assert_eq!(log.append("a", "x"), log.read_all(&only("a"))[0].position);
    Ok(())
}

/// 0 for the first event of a topic, the seq of the one before for all others.
pub fn prev_is_the_seq_before_in_the_topic<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    for i in 0..30 {
        log.append(["a", "b", "c"][i * i % 3], "x");
    }
    for name in ["a", "b", "c"] {
        let mut prev = Some(0);
        for event in log.read_all(&only(name)) {
            assert_eq!(event.prev, prev, "{event:?}");
            prev = Some(event.position.seq);
        }
    }
    Ok(())
}

/// Even when the clock goes backwards.
pub fn timestamps_never_decrease<F: Factory>(factory: &F) -> Outcome {
    needs(F::TURNABLE_CLOCK, "TURNABLE_CLOCK")?;
    let log = Subject::new(factory);
    let now = log.setup.clock.clock().now_ms();
    log.append("a", "x");
    log.setup.clock.set(now + 5);
    log.append("b", "x");
    log.setup.clock.set(now - 5);
    log.append("a", "x");
    let read: Vec<_> = log
        .read_all(&Selector::all())
        .iter()
        .map(|e| e.timestamp_ms)
        .collect();
    assert_eq!(read, [now, now + 5, now + 5]);
    Ok(())
}

/// Data over the limit, and keys over theirs; nothing is appended.
pub fn what_is_too_large_is_refused<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::with(
        factory,
        Setup {
            max_event_bytes: 1000,
            ..Setup::default()
        },
    );
    let limit = log.store.capabilities().max_event_bytes;
    let refused = log.batch([append("a", "x"), append("a", vec![0; limit + 1])]);
    assert_eq!(
        refused,
        Err(StoreError::TooLarge {
            index: 1,
            bytes: limit + 1,
            limit
        })
    );
    let long = Some("x".repeat(Append::MAX_KEY + 1).into());
    let too_long = Err(StoreError::KeyTooLong {
        index: 0,
        limit: Append::MAX_KEY,
    });
    let refused = log.batch([Append {
        idempotency_key: long.clone(),
        ..append("a", "x")
    }]);
    assert_eq!(refused, too_long);
    let refused = log.batch([Append {
        conflate_key: long,
        ..append("a", "x")
    }]);
    assert_eq!(refused, too_long);
    assert_eq!(log.read_all(&Selector::all()), []);
    Ok(())
}

/// Both reading and appending, on every handle.
pub fn a_closed_store_refuses<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    log.append("a", "x");
    log.block_on(log.store.close()).expect("the store closes");
    assert_eq!(log.batch([append("a", "x")]), Err(StoreError::Closed));
    let all = Selector::all();
    let read = log.store.read(&all, After::Earliest, Limit::default());
    assert_eq!(log.block_on(read), Err(StoreError::Closed));
    log.block_on(log.store.close())
        .expect("closing again changes nothing");
    Ok(())
}
