//! A queue whose receiver waits while values come and senders go.

use core::future::poll_fn;

use loom::future::block_on;
use loom::thread;

use crate::{Lag, queue};

/// The receiver gets what two senders sent, and then the end.
///
/// Red (loom: deadlock) when `Receiver::poll_receive` looks under one lock and waits under a later
/// one, and when `Sender::drop` wakes nobody.
#[test]
fn loom_a_receiver_gets_every_value_and_the_end() {
    loom::model(|| {
        let max = Lag {
            events: 9,
            bytes: 9,
        };
        let (sender, mut receiver) = queue(max);
        let senders = [sender.clone(), sender].map(|sender| {
            thread::spawn(move || {
                sender
                    .send(1, 1)
                    .expect("it fits and the receiver is there")
            })
        });
        let mut sum = 0;
        while let Some(value) = block_on(poll_fn(|cx| receiver.poll_receive(cx))) {
            sum += value;
        }
        assert_eq!(sum, 2);
        for sender in senders {
            sender.join().expect("a sender does not panic");
        }
    });
}
