//! The order in which a tail is reset.

use std::sync::OnceLock;
use std::task::{Context, Wake};

use backpressure::Policy;
use replay_store::Epoch;

use super::*;
use crate::form::Form;

/// Looks at the watermark when it is called.
struct Looks {
    fanout: Fanout,
    seen: OnceLock<Position>,
}

impl Wake for Looks {
    fn wake(self: Arc<Self>) {
        let _second = self.seen.set(self.fanout.watermark());
    }
}

#[test]
fn logs_are_closed_before_the_watermark_of_another_history_is_there() {
    let mut fanout = Fanout::new(&HubConfig::default());
    let at = |epoch, seq| Position {
        epoch: Epoch(epoch),
        seq,
    };
    fanout.reset(at(1, 5));
    let topic = Topic::new("a").expect("a topic");
    let selector = Selector::new(vec![topic]).expect("one topic");
    let seat = Seat {
        encoding: Encoding::new(Form::SseRaw, &Policy::replay()),
        shard: None,
    };
    let mut attached = fanout.attach(&selector, &seat, at(1, 5));
    let looks = Arc::new(Looks {
        fanout: fanout.clone(),
        seen: OnceLock::new(),
    });
    let waker = Arc::clone(&looks).into();
    let waits = attached
        .readers
        .poll_ready(&mut Context::from_waker(&waker));
    assert!(waits.is_pending());
    fanout.reset(at(2, 9));
    // Else what the old log holds would be taken for events of the new history, and what that has
    // instead would never be handed out.
    assert_eq!(looks.seen.get(), Some(&at(1, 5)));
    assert_eq!(fanout.watermark(), at(2, 9));
}
