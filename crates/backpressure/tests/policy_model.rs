//! Subscribers under every policy, each with a flush window, that come, go, read and stand still in
//! any order, against a model that keeps everything in a `Vec`.
#![cfg(not(loom))]

use std::time::Duration;

use backpressure::{
    Conflated, Conflation, FlushWindow, Lag, Log, LogConfig, Policy, ReadError, Readers, Verdict,
    encode_keyed,
};
use bytes::BytesMut;
use proptest::prelude::*;

/// What was published: the key of each event, whose seq is its index and one. Its bytes are its seq.
type Store = Vec<Option<u8>>;

#[derive(Clone, Debug)]
enum Op {
    Publish {
        log: usize,
        key: Option<u8>,
        len: usize,
    },
    Join {
        policy: usize,
        delay: u64,
    },
    /// A subscriber that is not chosen stands still.
    Write {
        subscriber: usize,
        max: usize,
    },
    Leave {
        subscriber: usize,
    },
    Evict {
        log: usize,
    },
    Wait {
        ms: u64,
    },
}

/// Two logs, as they are and with keys.
struct World {
    logs: [Log; 2],
    keyed: [Log; 2],
    store: Store,
    now: Duration,
}

/// One subscriber of both logs, as a server would write to it.
struct Subscriber {
    policy: Policy,
    readers: Readers,
    conflation: Option<Conflation>,
    window: FlushWindow,
    /// What was published before it came.
    start: u64,
    /// The last seq written or jumped to.
    at: u64,
    /// Up to where a conflation has collected.
    collected: u64,
    delivered: Vec<u64>,
    /// For each gap: what was written before it, the seq jumped to, and the number left out.
    gaps: Vec<(u64, u64, u64)>,
    superseded: u64,
    ended: bool,
}

impl World {
    fn new(tail: usize) -> Self {
        let mut config = LogConfig::default();
        config.max_bytes(tail);
        Self {
            logs: [(); 2].map(|()| Log::new(config, 0)),
            keyed: [(); 2].map(|()| Log::new(config, 0)),
            store: Store::new(),
            now: Duration::ZERO,
        }
    }

    fn head(&self) -> u64 {
        self.store.len() as u64
    }

    fn publish(&mut self, log: usize, key: Option<u8>, len: usize) {
        self.store.push(key);
        let seq = self.head();
        let event = format!("{seq:len$}\n");
        self.logs[log].append(seq, event.as_bytes());
        let mut keyed = Vec::new();
        let key = key.as_ref().map(std::slice::from_ref);
        encode_keyed(seq, key, event.as_bytes(), &mut keyed);
        self.keyed[log].append(seq, &keyed);
    }

    fn join(&self, policy: Policy, delay: u64) -> Subscriber {
        let conflates = matches!(policy, Policy::Conflate { .. });
        Subscriber {
            policy,
            readers: self.readers(conflates),
            conflation: conflates.then(|| Conflation::new(policy.max())),
            window: FlushWindow::new(Duration::from_millis(delay), 500),
            start: self.head(),
            at: self.head(),
            collected: self.head(),
            delivered: Vec::new(),
            gaps: Vec::new(),
            superseded: 0,
            ended: false,
        }
    }

    fn readers(&self, keyed: bool) -> Readers {
        let logs = if keyed { &self.keyed } else { &self.logs };
        Readers::new(logs.iter().map(Log::subscribe).collect())
    }
}

impl Subscriber {
    /// The connection takes `max` bytes: writes one chunk if it is time for that, or does what the
    /// policy asks for.
    fn write(&mut self, world: &World, max: usize) {
        let conflated = self.conflation.as_ref().map_or(Lag::ZERO, Conflation::lag);
        let pending = self.readers.lag() + conflated;
        // A gap alone is no lag.
        let gap = self.conflation.as_ref().is_some_and(|it| !it.is_empty());
        if self.ended || (pending.events == 0 && !gap) {
            return;
        }
        if !self.window.handle_pending(pending.bytes, world.now) {
            assert!(self.window.poll_timeout() > Some(world.now));
            assert!(pending.bytes < 500);
            return;
        }
        match self.conflation.take() {
            Some(mut conflation) => {
                self.write_conflated(&mut conflation, world, max);
                self.conflation = Some(conflation);
            }
            None => self.write_plain(world, max),
        }
        let flushed = self.at == world.head();
        if flushed {
            self.window.handle_flushed();
            assert_eq!(self.window.poll_timeout(), None);
        }
    }

    fn write_plain(&mut self, world: &World, max: usize) {
        let through = world.head();
        match self.policy.judge(self.readers.lag()) {
            Verdict::Disconnect => return self.ended = true,
            Verdict::Jump => return self.jump(through),
            _ => {}
        }
        let read = self
            .readers
            .read_through(through, max, &mut BytesMut::new());
        match read {
            Ok(chunk) => {
                if let Some(chunk) = chunk {
                    self.deliver_all(&chunk.bytes);
                    assert_eq!(chunk.last, self.at);
                }
            }
            Err(ReadError::Evicted) => match self.policy.judge_evicted() {
                Verdict::Disconnect => self.ended = true,
                Verdict::Jump => self.jump(through),
                // The store has every event.
                _ => {
                    (self.at + 1..=through).for_each(|seq| self.deliver(seq));
                    self.readers = world.readers(false);
                }
            },
            Err(ReadError::Closed) => unreachable!("nobody closes it"),
        }
    }

    fn write_conflated(&mut self, conflation: &mut Conflation, world: &World, max: usize) {
        self.collected = world.head();
        conflation
            .collect(&mut self.readers, self.collected, &mut BytesMut::new())
            .expect("nobody closes it");
        match conflation.next(max) {
            Some(Conflated::Gap(gap)) => {
                assert!(gap.events > 0 && gap.through > self.at);
                self.gaps.push((self.at, gap.through, gap.events));
                self.at = gap.through;
            }
            Some(Conflated::Events(chunk)) => {
                let from = self.delivered.len();
                let mut before = self.at;
                self.deliver_all(&chunk.bytes);
                assert_eq!(
                    (chunk.last, chunk.events),
                    (self.at, self.delivered.len() - from)
                );
                for seq in &self.delivered[from..] {
                    for left_out in before + 1..*seq {
                        let key = world.store[left_out as usize - 1];
                        let later = &world.store[left_out as usize..self.collected as usize];
                        assert!(
                            key.is_some() && later.contains(&key),
                            "{left_out} was left out and has no successor"
                        );
                    }
                    before = *seq;
                }
                self.superseded += chunk.superseded;
            }
            None => {}
        }
    }

    fn deliver_all(&mut self, bytes: &[u8]) {
        for event in bytes.chunk_by(|end, _| *end != b'\n') {
            let text = std::str::from_utf8(event).expect("digits");
            self.deliver(text.trim().parse().expect("a seq"));
        }
    }

    fn deliver(&mut self, seq: u64) {
        assert!(seq > self.at, "{seq} after {}", self.at);
        self.delivered.push(seq);
        self.at = seq;
    }

    fn jump(&mut self, through: u64) {
        let (to, left_out) = self.readers.jump_within(self.policy.max(), through);
        assert!(left_out.events > 0 && to > self.at);
        assert!(!self.readers.lag().exceeds(self.policy.max()));
        self.gaps.push((self.at, to, left_out.events));
        self.at = to;
    }

    /// Delivered and reported are together what was published since it came, up to where it is.
    fn check(&self) {
        if self.conflation.is_some() {
            let skipped: u64 = self.gaps.iter().map(|(_, _, events)| events).sum();
            let known = self.delivered.len() as u64 + self.superseded + skipped;
            assert!(known <= self.collected - self.start);
            if self.at == self.collected {
                assert_eq!(known, self.collected - self.start);
            }
            return;
        }
        let mut expected = Vec::new();
        let mut from = self.start + 1;
        for (after, to, left_out) in &self.gaps {
            expected.extend(from..=*after);
            assert_eq!(*left_out, to - after, "a gap counts what it left out");
            from = to + 1;
        }
        expected.extend(from..=self.at);
        assert_eq!(self.delivered, expected);
        if matches!(self.policy, Policy::DropOldest { .. }) {
            assert!(!self.ended);
        } else {
            assert!(self.gaps.is_empty());
        }
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        16 => (0..2_usize, prop::option::weighted(0.8, 0..5_u8), 3..400_usize)
            .prop_map(|(log, key, len)| Op::Publish { log, key, len }),
        2 => (0..4_usize, prop_oneof![Just(0), 0..20_u64])
            .prop_map(|(policy, delay)| Op::Join { policy, delay }),
        12 => (0..8_usize, 0..2_000_usize)
            .prop_map(|(subscriber, max)| Op::Write { subscriber, max }),
        1 => (0..8_usize).prop_map(|subscriber| Op::Leave { subscriber }),
        1 => (0..2_usize).prop_map(|log| Op::Evict { log }),
        2 => (0..10_u64).prop_map(|ms| Op::Wait { ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn delivered_plus_reported_is_what_was_published_under_every_policy(
        ops in prop::collection::vec(op(), 1..250),
        events in 0..40_u64,
        tail in 1_000..20_000_usize,
    ) {
        let mut world = World::new(tail);
        let max = Lag { events, bytes: u64::MAX };
        let policies = [
            Policy::replay(),
            Policy::disconnect(),
            Policy::drop_oldest(),
            Policy::conflate(),
        ];
        let mut subscribers: Vec<_> = policies
            .iter()
            .map(|policy| world.join(policy.with_max(max), 0))
            .collect();
        for op in &ops {
            match *op {
                Op::Publish { log, key, len } => world.publish(log, key, len),
                Op::Join { policy, delay } => {
                    subscribers.push(world.join(policies[policy].with_max(max), delay));
                }
                Op::Write { subscriber, max } => {
                    let count = subscribers.len().max(1);
                    if let Some(subscriber) = subscribers.get_mut(subscriber % count) {
                        subscriber.write(&world, max);
                        subscriber.check();
                    }
                }
                Op::Leave { subscriber } => {
                    if subscriber < subscribers.len() {
                        subscribers.swap_remove(subscriber);
                    }
                }
                Op::Evict { log } => {
                    world.logs[log].evict_to(0);
                    world.keyed[log].evict_to(0);
                }
                Op::Wait { ms } => world.now += Duration::from_millis(ms),
            }
        }
        // No window is longer.
        world.now += Duration::from_millis(20);
        for mut subscriber in subscribers {
            let mut writes = 0;
            while !subscriber.ended && subscriber.at < world.head() {
                subscriber.write(&world, usize::MAX);
                world.now += Duration::from_millis(20);
                writes += 1;
                prop_assert!(writes < 1_000, "{:?} is stuck", subscriber.policy);
            }
            subscriber.check();
        }
        drop(world);
    }
}
