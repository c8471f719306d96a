//! Histories that random ones meet rarely, each for one rule.

use crate::client::Sent;
use crate::{Ask, Op, Setup, World};

/// Client 0 reads the topics a and b from node 0. What it was sent must be
/// `expected`: `>3` an opening (`>` without a cursor), `!trimmed` a gap, `b2` an event, `=4` an id.
struct Script(World);

impl Script {
    fn new(client_page: usize) -> Self {
        let selectors = vec![vec![0, 1], vec![2], vec![2]];
        let setup = Setup {
            tail: 8,
            retained: 1000,
            feed_page: 8,
            client_page,
            selectors,
        };
        Self(World::new(&setup))
    }

    fn ops(mut self, ops: impl IntoIterator<Item = Op>) -> Self {
        ops.into_iter().for_each(|op| self.0.apply(op));
        self
    }

    fn feed_reads(self) -> Self {
        self.ops([Op::Timer { node: 0 }, Op::StepFeed { node: 0, times: 10 }])
    }

    fn connect(self, after: Ask) -> Self {
        self.ops([Op::Connect {
            client: 0,
            node: 0,
            after,
        }])
    }

    /// Steps the client, and the feed for it, until it was sent this.
    #[track_caller]
    fn receive(mut self, expected: &str) -> Self {
        for _ in 0..1000 {
            if self.received().ends_with(expected) {
                return self;
            }
            self.0.step_client(0);
            self.0.nodes[0].task.step_if_woken();
        }
        panic!("expected {expected}, received {}", self.received());
    }

    #[track_caller]
    fn end(mut self, expected: &str) {
        self.0.run_until_idle();
        assert_eq!(self.received(), expected);
        self.0.settle();
    }

    fn received(&self) -> String {
        let client = self.0.clients[0].0.lock().unwrap();
        let words: Vec<_> = client.received.iter().map(word).collect();
        words.join(" ")
    }
}

fn word(sent: &Sent) -> String {
    match sent {
        Sent::Opened(None) => ">".to_owned(),
        Sent::Opened(Some(cursor)) => format!(">{}", cursor.seq),
        Sent::Gap(gap) => format!("!{}", gap.reason),
        Sent::Event(event) => format!("{}{}", event.topic, event.position.seq),
        Sent::Id(id) => format!("={}", id.seq),
    }
}

const A: usize = 0;
const B: usize = 1;

fn append(topics: &[usize]) -> Op {
    Op::Append(topics.to_vec())
}

#[test]
fn an_event_trimmed_between_two_pages_is_told() {
    Script::new(1)
        .ops([append(&[B, B, B, A]), Op::Trim { topic: A, keep: 0 }])
        .feed_reads()
        .connect(Ask::Earliest)
        .receive("> b1")
        .ops([Op::Trim { topic: B, keep: 2 }])
        .end("> b1 !trimmed b3 =4");
}

#[test]
fn a_floor_is_told_once() {
    Script::new(1)
        .connect(Ask::Latest)
        .receive(">0 =0")
        .ops([
            Op::Cut { client: 0 },
            append(&[B, B, B, A]),
            Op::Trim { topic: A, keep: 0 },
        ])
        .feed_reads()
        .connect(Ask::Resume)
        .end(">0 =0 !trimmed b1 b2 b3 =4");
}

#[test]
fn a_floor_of_another_epoch_is_told_again() {
    Script::new(1)
        .connect(Ask::Latest)
        .receive(">0 =0")
        .ops([
            Op::Cut { client: 0 },
            append(&[B, B, B, A]),
            Op::Trim { topic: A, keep: 0 },
        ])
        .feed_reads()
        .connect(Ask::Resume)
        .receive("!trimmed b1")
        .ops([
            Op::LoseEvents(2),
            append(&[B, B]),
            Op::Trim { topic: B, keep: 1 },
        ])
        .end(">0 =0 !trimmed b1 !trimmed b4 =4");
}

#[test]
fn a_hint_that_does_not_fit_makes_the_feed_read() {
    Script::new(1)
        .connect(Ask::Latest)
        .receive(">0 =0")
        .ops([append(&[A]), append(&[B])])
        .ops([Op::LoseHint { node: 0, hint: 0 }, deliver()])
        .end(">0 =0 a1 b2");
}

#[test]
fn a_hint_that_fits_needs_no_read() {
    Script::new(1)
        .connect(Ask::Latest)
        .receive(">0 =0")
        .ops([Op::FailReads(1000), append(&[A, B]), deliver()])
        .receive("a1 b2")
        .ops([Op::FailReads(0)])
        .end(">0 =0 a1 b2");
}

/// The hint that follows the feed's seq is of another history.
#[test]
fn a_hint_of_another_epoch_is_not_taken() {
    Script::new(1)
        .connect(Ask::Latest)
        .receive(">0 =0")
        .ops([append(&[A, A]), deliver()])
        .receive("a1 a2")
        .ops([Op::LoseEvents(1), append(&[B]), append(&[A])])
        .ops([Op::LoseHint { node: 0, hint: 0 }, deliver()])
        .end(">0 =0 a1 a2 !epoch_changed b2 a3 =3");
}

/// The subscriber has read further than its feed when the log loses its end. The feed had seen
/// nothing of what was lost, so only the rule that it must reach the subscriber's position first
/// tells that one apart from the next event with the same seq.
#[test]
fn a_tail_lost_behind_a_lagging_feed_is_told() {
    Script::new(8)
        .ops([append(&[A]), append(&[A])])
        .connect(Ask::Earliest)
        .receive("> a1 a2 =2")
        .ops([Op::LoseEvents(1), append(&[B]), Op::Timer { node: 0 }])
        .end("> a1 a2 =2 !epoch_changed b2 =2");
}

#[test]
fn an_epoch_that_lost_nothing_is_not_noticed() {
    Script::new(1)
        .ops([append(&[A])])
        .connect(Ask::Earliest)
        .receive("> a1 =1")
        .ops([
            Op::NewEpoch,
            append(&[B]),
            Op::NewEpoch,
            append(&[A]),
            Op::Timer { node: 0 },
        ])
        .end("> a1 =1 b2 a3");
}

/// Between the loss and the next append the old epoch is current, and shorter than the feed.
#[test]
fn a_lost_tail_is_told_before_the_next_epoch_begins() {
    Script::new(1)
        .connect(Ask::Latest)
        .receive(">0 =0")
        .ops([append(&[A, A]), deliver()])
        .receive("a1 a2")
        .ops([Op::LoseEvents(1), Op::Timer { node: 0 }])
        .receive("!ahead =1")
        .ops([append(&[B]), Op::Timer { node: 0 }])
        .end(">0 =0 a1 a2 !ahead =1 b2");
}

fn deliver() -> Op {
    Op::Deliver {
        node: 0,
        hint: 0,
        keep: false,
    }
}
