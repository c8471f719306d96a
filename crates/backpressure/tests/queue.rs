//! The queue to one receiver: what fits, what is handed back, and how it ends.
#![cfg(not(loom))]

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use backpressure::{Lag, SendErrorKind, queue};
use futures::executor::block_on;
use futures::future::poll_fn;
use proptest::prelude::*;

const fn lag(events: u64, bytes: u64) -> Lag {
    Lag { events, bytes }
}

#[test]
fn what_is_queued_comes_before_the_end() {
    let (sender, mut receiver) = queue(lag(10, 10));
    let other = sender.clone();
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(receiver.poll_receive(&mut cx), Poll::Pending);
    assert!(sender.send(1, 1).is_ok() && other.send(2, 1).is_ok());
    drop(sender);
    assert_eq!(receiver.poll_receive(&mut cx), Poll::Ready(Some(1)));
    drop(other);
    assert_eq!(receiver.poll_receive(&mut cx), Poll::Ready(Some(2)));
    assert_eq!(receiver.poll_receive(&mut cx), Poll::Ready(None));
}

#[test]
fn without_a_receiver_every_value_is_handed_back() {
    let (sender, receiver) = queue(lag(10, 10));
    assert!(sender.send("queued", 1).is_ok());
    drop(receiver);
    let refused = sender.send("value", 1).expect_err("nobody receives");
    assert_eq!(refused.kind(), SendErrorKind::Closed);
    assert_eq!(refused.into_value(), "value");
    assert!(sender.is_closed());
    assert_eq!(sender.lag(), Lag::ZERO);
}

#[test]
fn a_receiver_on_another_thread_gets_every_value_in_order() {
    let (sender, mut receiver) = queue(lag(3, 1000));
    let thread = std::thread::spawn(move || {
        block_on(async {
            let mut received = Vec::new();
            while let Some(value) = poll_fn(|cx| receiver.poll_receive(cx)).await {
                received.push(value);
            }
            received
        })
    });
    for mut value in 0..1000 {
        while let Err(refused) = sender.send(value, 1) {
            assert_eq!(refused.kind(), SendErrorKind::Full);
            value = refused.into_value();
            std::thread::yield_now();
        }
    }
    drop(sender);
    let received = thread.join().expect("the receiver does not panic");
    assert_eq!(received, (0..1000).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_value_is_queued_or_handed_back_and_the_bound_holds(
        ops in prop::collection::vec(prop::option::of(0..10_u64), 1..200),
        max in (0..6_u64, 0..30_u64),
    ) {
        let max = lag(max.0, max.1);
        let (sender, mut receiver) = queue(max);
        let mut model: VecDeque<(usize, u64)> = VecDeque::new();
        for (number, op) in ops.into_iter().enumerate() {
            match op {
                Some(bytes) => {
                    let sum = bytes + model.iter().map(|(_, bytes)| bytes).sum::<u64>();
                    let after = lag(model.len() as u64 + 1, sum);
                    let fits = model.is_empty() || !after.exceeds(max);
                    match sender.send(number, bytes) {
                        Ok(()) => {
                            prop_assert!(fits);
                            model.push_back((number, bytes));
                        }
                        Err(refused) => {
                            prop_assert!(!fits);
                            prop_assert_eq!(refused.kind(), SendErrorKind::Full);
                            prop_assert_eq!(refused.into_value(), number);
                        }
                    }
                }
                None => {
                    prop_assert_eq!(receiver.receive(), model.pop_front().map(|(number, _)| number));
                }
            }
            let expected = lag(model.len() as u64, model.iter().map(|(_, bytes)| bytes).sum());
            prop_assert_eq!(receiver.lag(), expected);
            prop_assert_eq!(sender.lag(), expected);
        }
    }
}
