//! Any history of several logs read as one, against a model that keeps everything in a `Vec`.
#![cfg(not(loom))]

use std::task::{Context, Poll, Waker};

use backpressure::{Lag, Log, LogConfig, ReadError, Readers};
use bytes::BytesMut;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    /// Bit `i` of `logs` says whether log `i` gets the event.
    Append {
        gap: u64,
        len: usize,
        logs: u8,
    },
    /// The watermark moves to the head.
    Publish,
    Read {
        max: usize,
    },
    Skip {
        back: u64,
    },
    JumpWithin {
        events: u64,
    },
    Evict {
        log: usize,
    },
}

struct Published {
    seq: u64,
    data: Vec<u8>,
    logs: u8,
}

struct Model {
    logs: Vec<Log>,
    readers: Readers,
    scratch: BytesMut,
    published: Vec<Published>,
    head: u64,
    watermark: u64,
    /// Everything up to this seq was delivered or reported.
    after: u64,
}

impl Model {
    fn new(count: usize, max_bytes: usize) -> Self {
        let mut config = LogConfig::default();
        config.max_bytes(max_bytes);
        let logs: Vec<_> = (0..count).map(|_| Log::new(config, 0)).collect();
        Self {
            readers: Readers::new(logs.iter().map(Log::subscribe).collect()),
            logs,
            scratch: BytesMut::new(),
            published: Vec::new(),
            head: 0,
            watermark: 0,
            after: 0,
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Append { gap, len, logs } => {
                self.head += gap;
                let logs = logs & ((1 << self.logs.len()) - 1);
                let data: Vec<u8> = self
                    .head
                    .to_le_bytes()
                    .into_iter()
                    .cycle()
                    .take(len)
                    .collect();
                for (i, log) in self.logs.iter().enumerate() {
                    if logs >> i & 1 == 1 {
                        log.append(self.head, &data);
                    }
                }
                self.published.push(Published {
                    seq: self.head,
                    data,
                    logs,
                });
            }
            Op::Publish => self.watermark = self.head,
            Op::Read { max } => self.read(max),
            Op::Skip { back } => {
                let through = self.watermark.saturating_sub(back);
                let intact = self.readers.is_intact();
                let before = self.lag();
                self.after = self.after.max(through);
                let skipped = self.readers.skip_through(through);
                if intact {
                    assert_eq!(skipped + self.lag(), before);
                } else {
                    self.jump();
                }
            }
            Op::JumpWithin { events } => self.jump_within(Lag {
                events,
                bytes: u64::MAX,
            }),
            Op::Evict { log } => self.logs[log % self.logs.len()].evict_to(0),
        }
        if self.readers.is_intact() {
            assert_eq!(self.readers.lag(), self.lag());
        }
    }

    fn read(&mut self, max: usize) {
        let mut cx = Context::from_waker(Waker::noop());
        let ready = self.readers.poll_ready_through(&mut cx, || self.watermark);
        let pending: Vec<_> = self
            .published
            .iter()
            .filter(|event| event.logs != 0)
            .filter(|event| event.seq > self.after && event.seq <= self.watermark)
            .collect();
        match self
            .readers
            .read_through(self.watermark, max, &mut self.scratch)
        {
            Ok(None) => {
                assert!(pending.is_empty());
                assert_eq!(ready, Poll::Pending);
            }
            Ok(Some(chunk)) => {
                let taken = &pending[..chunk.events];
                let expected: Vec<u8> = taken
                    .iter()
                    .flat_map(|event| event.data.iter().copied())
                    .collect();
                assert!(
                    chunk.bytes == expected,
                    "not the next events in order, each once"
                );
                assert_eq!(chunk.last, taken[taken.len() - 1].seq);
                assert!(chunk.bytes.len() <= max || chunk.events == 1);
                self.after = chunk.last;
                assert!(ready.is_ready());
            }
            Err(error) => {
                assert_eq!(error, ReadError::Evicted);
                assert!(!self.readers.is_intact(), "evicted without need");
                self.jump();
            }
        }
    }

    /// Reports everything up to the watermark as left out.
    fn jump(&mut self) {
        self.watermark = self.head;
        let before = self.readers.lag();
        let skipped = self.readers.jump_to(self.watermark);
        assert!(self.readers.is_intact());
        assert_eq!(skipped, before, "what was left out is what was unread");
        self.after = self.watermark;
    }

    /// What drop-oldest does: report as few events as the bound asks for.
    fn jump_within(&mut self, max: Lag) {
        let intact = self.readers.is_intact();
        let before = self.readers.lag();
        let (to, skipped) = self.readers.jump_within(max, self.watermark);
        if !self.readers.is_intact() {
            assert!(!intact);
            return self.jump();
        }
        self.after = self.after.max(to);
        assert_eq!(skipped + self.lag(), before);
        assert!(to == self.watermark || !self.lag().exceeds(max));
        if intact && to > 0 {
            let one_less = self.lag_after(to - 1);
            assert!(
                one_less.exceeds(max),
                "more was left out than the bound asks"
            );
        }
    }

    fn lag(&self) -> Lag {
        self.lag_after(self.after)
    }

    fn lag_after(&self, seq: u64) -> Lag {
        self.published
            .iter()
            .filter(|event| event.seq > seq)
            .map(|event| {
                let copies = u64::from(event.logs.count_ones());
                Lag {
                    events: copies,
                    bytes: copies * event.data.len() as u64,
                }
            })
            .sum()
    }

    /// Reads all that is left, and so ends with nothing undelivered.
    fn finish(mut self) {
        self.watermark = self.head;
        while self.readers.lag() != Lag::ZERO {
            self.read(usize::MAX);
        }
        self.read(usize::MAX);
        assert!(self.logs.iter().all(|log| log.memory() == 0));
        self.logs[0].close();
        let closed = self.readers.read_through(u64::MAX, 1, &mut self.scratch);
        assert_eq!(closed, Err(ReadError::Closed));
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (1..4_u64, 0..400_usize, any::<u8>())
            .prop_map(|(gap, len, logs)| Op::Append { gap, len, logs }),
        4 => Just(Op::Publish),
        4 => prop_oneof![Just(usize::MAX), 0..1000_usize].prop_map(|max| Op::Read { max }),
        1 => (0..10_u64).prop_map(|back| Op::Skip { back }),
        1 => (0..10_u64).prop_map(|events| Op::JumpWithin { events }),
        1 => (0..4_usize).prop_map(|log| Op::Evict { log }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn several_logs_are_read_in_order_and_each_event_once(
        count in 1..=4_usize,
        max_bytes in prop_oneof![Just(4_000_usize), Just(8 << 20)],
        evict in any::<bool>(),
        ops in prop::collection::vec(op(), 1..200),
    ) {
        let mut model = Model::new(count, max_bytes);
        for op in &ops {
            if evict || !matches!(op, Op::Evict { .. }) {
                model.apply(op);
            }
        }
        model.finish();
    }
}
