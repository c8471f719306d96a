//! A subscriber under each policy that may lose or end, against a model that keeps everything.
#![cfg(not(loom))]

use backpressure::{Lag, Log, LogConfig, Policy, ReadError, Readers, Verdict};
use bytes::BytesMut;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Publish { log: usize, len: usize },
    Write { max: usize },
    Evict { log: usize },
}

/// One subscriber of two logs, as a server would write to it.
struct Subscriber {
    policy: Policy,
    readers: Readers,
    /// The seqs that were written.
    delivered: Vec<u64>,
    /// For each gap: what was written before it, the seq jumped to, and the number left out.
    gaps: Vec<(u64, u64, u64)>,
    /// The last seq written or jumped to.
    at: u64,
    ended: bool,
    fallbacks: usize,
}

impl Subscriber {
    /// Writes one chunk, or does what the policy asks for. `store` has every event.
    fn write(&mut self, logs: &[Log; 2], store: &[usize], max: usize) {
        if self.ended {
            return;
        }
        let through = store.len() as u64;
        match self.policy.judge(self.readers.lag()) {
            Verdict::Disconnect => return self.ended = true,
            Verdict::Jump => return self.jump(through),
            _ => {}
        }
        match self
            .readers
            .read_through(through, max, &mut BytesMut::new())
        {
            Ok(chunk) => {
                for event in chunk
                    .iter()
                    .flat_map(|it| it.bytes.chunk_by(|end, _| *end != b'\n'))
                {
                    let text = std::str::from_utf8(event).expect("digits");
                    let seq = text.trim().parse().expect("a seq");
                    self.deliver(seq);
                }
            }
            Err(ReadError::Evicted) => match self.policy.judge_evicted() {
                Verdict::Disconnect => self.ended = true,
                Verdict::Jump => self.jump(through),
                _ => {
                    (self.at + 1..=through).for_each(|seq| self.deliver(seq));
                    self.readers = Readers::new(logs.iter().map(Log::subscribe).collect());
                    self.fallbacks += 1;
                }
            },
            Err(ReadError::Closed) => unreachable!("nobody closes it"),
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

    /// Delivered and reported are together what was published, up to where the subscriber is.
    fn check(&self, store: &[usize]) {
        let mut expected = Vec::new();
        let mut from = 1;
        for (after, to, left_out) in &self.gaps {
            expected.extend(from..=*after);
            assert_eq!(*left_out, to - after, "a gap counts what it left out");
            from = to + 1;
        }
        expected.extend(from..=self.at);
        assert_eq!(self.delivered, expected);
        match self.policy {
            Policy::DropOldest { .. } => assert!(!self.ended),
            _ => assert!(self.gaps.is_empty()),
        }
        assert!(self.ended || self.at == store.len() as u64);
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => (0..2_usize, 3..400_usize).prop_map(|(log, len)| Op::Publish { log, len }),
        5 => (0..2_000_usize).prop_map(|max| Op::Write { max }),
        1 => (0..2_usize).prop_map(|log| Op::Evict { log }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn delivered_plus_reported_is_what_was_published_under_every_policy(
        ops in prop::collection::vec(op(), 1..200),
        events in 0..40_u64,
        tail in 1_000..20_000_usize,
    ) {
        let mut config = LogConfig::default();
        config.max_bytes(tail);
        let logs = [(); 2].map(|()| Log::new(config, 0));
        let max = Lag { events, bytes: u64::MAX };
        let policies = [Policy::replay(), Policy::disconnect(), Policy::drop_oldest()];
        let mut subscribers = policies.map(|policy| Subscriber {
            policy: policy.with_max(max),
            readers: Readers::new(logs.iter().map(Log::subscribe).collect()),
            delivered: Vec::new(),
            gaps: Vec::new(),
            at: 0,
            ended: false,
            fallbacks: 0,
        });
        let mut store = Vec::new();
        for op in &ops {
            match *op {
                Op::Publish { log, len } => {
                    store.push(len);
                    let seq = store.len() as u64;
                    logs[log].append(seq, format!("{seq:len$}\n").as_bytes());
                }
                Op::Write { max } => {
                    for subscriber in &mut subscribers {
                        subscriber.write(&logs, &store, max);
                    }
                }
                Op::Evict { log } => logs[log].evict_to(0),
            }
        }
        for subscriber in &mut subscribers {
            while !subscriber.ended && subscriber.at < store.len() as u64 {
                subscriber.write(&logs, &store, usize::MAX);
            }
            subscriber.check(&store);
            prop_assert!(subscriber.fallbacks == 0 || subscriber.policy.as_str() == "replay");
        }
    }
}
