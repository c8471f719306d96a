//! Any history of one log against a model that keeps everything in a `Vec`.
#![cfg(not(loom))]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use backpressure::{Lag, Log, LogConfig, ReadError, Reader};
use proptest::prelude::*;

const START: u64 = 10;

#[derive(Clone, Debug)]
enum Op {
    Append {
        gap: u64,
        len: usize,
    },
    Wake,
    Subscribe,
    Drop {
        reader: usize,
    },
    Read {
        reader: usize,
        max: usize,
    },
    /// `ahead` is how many events of the reader's backlog are let through.
    ReadThrough {
        reader: usize,
        ahead: usize,
        max: usize,
    },
    SkipThrough {
        reader: usize,
        ahead: usize,
    },
    JumpTo {
        reader: usize,
        ahead: usize,
    },
    JumpToHead {
        reader: usize,
    },
    Poll {
        reader: usize,
    },
    PollThrough {
        reader: usize,
        ahead: usize,
    },
    EvictTo {
        bytes: usize,
    },
}

#[derive(Clone, Debug)]
struct Bounds {
    max_bytes: usize,
    max_events: usize,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum LeaveOut {
    Skip,
    Jump,
}

/// The oracle of one reader.
struct Subscriber {
    reader: Reader,
    /// Index of its next event in `Model::published`.
    at: usize,
    /// It said `Evicted` and did not jump since.
    evicted: bool,
    wakes: Arc<Wakes>,
    waker: Waker,
    /// Wakes it must have had by now.
    woken: u64,
    armed: bool,
}

#[derive(Default)]
struct Wakes(AtomicU64);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Model {
    bounds: Bounds,
    log: Log,
    published: Vec<(u64, Vec<u8>)>,
    subscribers: Vec<Subscriber>,
    /// `evict_to` ran, so an eviction needs no other reason.
    evicted_on_demand: bool,
}

impl Model {
    fn new(bounds: Bounds) -> Self {
        let mut config = LogConfig::default();
        config
            .max_bytes(bounds.max_bytes)
            .max_events(bounds.max_events);
        Self {
            bounds,
            log: Log::new(config, START),
            published: Vec::new(),
            subscribers: Vec::new(),
            evicted_on_demand: false,
        }
    }

    fn head(&self) -> u64 {
        self.published.last().map_or(START, |(seq, _)| *seq)
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Append { gap, len } => {
                let seq = self.head() + gap;
                let data: Vec<u8> = seq.to_le_bytes().into_iter().cycle().take(len).collect();
                self.log.append(seq, &data);
                self.published.push((seq, data));
            }
            Op::Wake => {
                self.log.wake();
                for subscriber in &mut self.subscribers {
                    subscriber.woken += u64::from(std::mem::take(&mut subscriber.armed));
                }
            }
            Op::Subscribe => {
                let wakes = Arc::new(Wakes::default());
                self.subscribers.push(Subscriber {
                    reader: self.log.subscribe(),
                    at: self.published.len(),
                    evicted: false,
                    waker: Waker::from(Arc::clone(&wakes)),
                    wakes,
                    woken: 0,
                    armed: false,
                });
            }
            Op::EvictTo { bytes } => {
                self.log.evict_to(bytes);
                assert!(self.log.memory() <= bytes);
                self.evicted_on_demand = true;
            }
            Op::Drop { reader } if !self.subscribers.is_empty() => {
                let reader = reader % self.subscribers.len();
                let Subscriber {
                    reader,
                    wakes,
                    waker,
                    ..
                } = self.subscribers.swap_remove(reader);
                drop(reader);
                drop(waker);
                assert_eq!(Arc::strong_count(&wakes), 1, "a waker was left behind");
            }
            Op::Read { reader, max } => self.read(reader, usize::MAX, max),
            Op::ReadThrough { reader, ahead, max } => self.read(reader, ahead, max),
            Op::SkipThrough { reader, ahead } => self.leave_out(reader, ahead, LeaveOut::Skip),
            Op::JumpTo { reader, ahead } => self.leave_out(reader, ahead, LeaveOut::Jump),
            Op::JumpToHead { reader } => {
                let head = self.head();
                let published = self.published.len();
                if let Some(subscriber) = self.subscriber(reader) {
                    assert_eq!(subscriber.reader.jump_to_head(), head);
                    subscriber.at = published;
                    subscriber.evicted = false;
                }
            }
            Op::Poll { reader } => self.poll(reader, usize::MAX),
            Op::PollThrough { reader, ahead } => self.poll(reader, ahead),
            Op::Drop { .. } => {}
        }
        self.check();
    }

    fn subscriber(&mut self, reader: usize) -> Option<&mut Subscriber> {
        let count = self.subscribers.len().max(1);
        self.subscribers.get_mut(reader % count)
    }

    /// The seq that lets `ahead` events of the reader's backlog through.
    fn seq_ahead(&self, at: usize, ahead: usize) -> u64 {
        let end = at.saturating_add(ahead);
        if end > self.published.len() {
            return u64::MAX;
        }
        if end == 0 {
            START
        } else {
            self.published[end - 1].0
        }
    }

    fn read(&mut self, reader: usize, ahead: usize, max: usize) {
        let Some(at) = self.subscriber(reader).map(|subscriber| subscriber.at) else {
            return;
        };
        let through = self.seq_ahead(at, ahead);
        let published = std::mem::take(&mut self.published);
        let subscriber = self.subscriber(reader).expect("found above");
        match subscriber.reader.read_through(through, max) {
            Err(error) => {
                assert_eq!(error, ReadError::Evicted);
                assert!(!subscriber.reader.is_intact());
                subscriber.evicted = true;
            }
            Ok(None) => {
                assert!(!subscriber.evicted, "an evicted reader came back by itself");
                assert!(published.get(at).is_none_or(|(seq, _)| *seq > through));
            }
            Ok(Some(chunk)) => {
                assert!(!subscriber.evicted, "an evicted reader came back by itself");
                assert!(chunk.events > 0);
                let events = &published[at..at + chunk.events];
                let expected: Vec<u8> = events.iter().flat_map(|(_, data)| data.clone()).collect();
                assert!(chunk.bytes == expected, "other bytes than were published");
                assert_eq!(chunk.last, events[events.len() - 1].0);
                assert!(chunk.last <= through);
                assert!(chunk.bytes.len() <= max || chunk.events == 1);
                subscriber.at += chunk.events;
            }
        }
        self.published = published;
    }

    fn leave_out(&mut self, reader: usize, ahead: usize, how: LeaveOut) {
        let Some(at) = self.subscriber(reader).map(|subscriber| subscriber.at) else {
            return;
        };
        let through = self.seq_ahead(at, ahead);
        let target = self
            .published
            .partition_point(|(seq, _)| *seq <= through)
            .max(at);
        let expected = lag(&self.published[at..target]);
        let everything = target == self.published.len();
        let subscriber = self.subscriber(reader).expect("found above");
        let was_intact = subscriber.reader.is_intact();
        let skipped = match how {
            LeaveOut::Skip => subscriber.reader.skip_through(through),
            LeaveOut::Jump => subscriber.reader.jump_to(through),
        };
        if subscriber.reader.is_intact() {
            assert_eq!(skipped, expected);
            subscriber.at = target;
            subscriber.evicted = false;
        } else {
            assert!(!was_intact, "leaving out events made a reader lose others");
            assert_eq!(skipped, Lag::ZERO);
            let whole_again = everything && how == LeaveOut::Jump;
            assert!(
                !whole_again,
                "a jump over everything left the reader evicted"
            );
        }
    }

    fn poll(&mut self, reader: usize, ahead: usize) {
        let Some(at) = self.subscriber(reader).map(|subscriber| subscriber.at) else {
            return;
        };
        let watermark = self.seq_ahead(at, ahead);
        let next = self.published.get(at).map(|(seq, _)| *seq);
        let subscriber = self.subscriber(reader).expect("found above");
        let mut cx = Context::from_waker(&subscriber.waker);
        match subscriber.reader.poll_ready_through(&mut cx, || watermark) {
            Poll::Ready(Ok(through)) => {
                assert_eq!(through, watermark);
                assert!(next.is_some_and(|next| next <= watermark));
            }
            Poll::Ready(Err(error)) => {
                assert_eq!(error, ReadError::Evicted);
                subscriber.evicted = true;
            }
            Poll::Pending => {
                assert!(next.is_none_or(|next| next > watermark));
                assert!(!subscriber.evicted);
                subscriber.armed = true;
            }
        }
    }

    /// What holds after every step.
    fn check(&mut self) {
        assert_eq!(self.log.head(), self.head());
        assert_eq!(self.log.readers(), self.subscribers.len());
        let (segment_bytes, segment_events) = (
            (self.bounds.max_bytes / 8).clamp(1 << 10, 64 << 10),
            (self.bounds.max_events / 8).clamp(1, 4096),
        );
        let largest = self
            .published
            .iter()
            .map(|(_, data)| data.len())
            .max()
            .unwrap_or(0);
        let segment = (2 * segment_bytes).max(largest) + 32 * segment_events + 256;
        assert!(self.log.memory() <= self.bounds.max_bytes + segment);

        let mut anybody_behind = false;
        for subscriber in &mut self.subscribers {
            let behind = lag(&self.published[subscriber.at..]);
            assert_eq!(
                subscriber.reader.lag(),
                behind,
                "delivered + reported != published"
            );
            let next = self.published.get(subscriber.at).map(|(seq, _)| *seq);
            match subscriber.reader.peek() {
                Ok(seq) => {
                    assert_eq!(seq, next);
                    assert!(!subscriber.evicted, "an evicted reader came back by itself");
                    anybody_behind |= next.is_some();
                    assert!(behind.events as usize <= self.bounds.max_events.max(1));
                }
                Err(error) => {
                    assert_eq!(error, ReadError::Evicted);
                    let memory = behind.bytes as usize + 300 * behind.events as usize + segment;
                    assert!(
                        self.evicted_on_demand
                            || behind.events as usize + segment_events > self.bounds.max_events
                            || memory + segment > self.bounds.max_bytes,
                        "evicted without need, {behind:?} behind"
                    );
                    subscriber.evicted = true;
                }
            }
            assert_eq!(subscriber.reader.is_intact(), !subscriber.evicted);
            assert_eq!(subscriber.wakes.0.load(Ordering::Relaxed), subscriber.woken);
        }
        assert_eq!(
            self.log.memory() > 0,
            anybody_behind,
            "bytes are kept only for readers behind"
        );
    }

    fn close(mut self) {
        self.log.close();
        assert_eq!(self.log.memory(), 0);
        let mut late = self.log.subscribe();
        assert_eq!(late.read(1), Err(ReadError::Closed));
        for subscriber in &mut self.subscribers {
            let woken = subscriber.woken + u64::from(subscriber.armed);
            assert_eq!(subscriber.wakes.0.load(Ordering::Relaxed), woken);
            assert_eq!(subscriber.reader.read(usize::MAX), Err(ReadError::Closed));
            assert_eq!(subscriber.reader.peek(), Err(ReadError::Closed));
            assert!(!subscriber.reader.is_intact());
            assert_eq!(
                subscriber.reader.lag(),
                lag(&self.published[subscriber.at..])
            );
        }
    }
}

fn lag(events: &[(u64, Vec<u8>)]) -> Lag {
    Lag {
        events: events.len() as u64,
        bytes: events.iter().map(|(_, data)| data.len() as u64).sum(),
    }
}

fn bounds_and_lengths() -> impl Strategy<Value = (Bounds, usize)> {
    let bytes_and_length = prop_oneof![
        Just((0, 40)),
        Just((4_000, 600)),
        Just((16_000, 3_000)),
        Just((1 << 20, 70_000)),
    ];
    let events = prop_oneof![Just(0), Just(1), Just(5), Just(30), Just(100_000)];
    (bytes_and_length, events).prop_map(|((max_bytes, longest), max_events)| {
        (
            Bounds {
                max_bytes,
                max_events,
            },
            longest,
        )
    })
}

fn op(longest: usize) -> impl Strategy<Value = Op> {
    let reader = 0..6_usize;
    let ahead = prop_oneof![0..4_usize, Just(usize::MAX)];
    let max = prop_oneof![Just(usize::MAX), 0..=longest, 0..=4 * longest];
    prop_oneof![
        12 => (1..4_u64, prop_oneof![0..=longest, 0..=longest / 20])
            .prop_map(|(gap, len)| Op::Append { gap, len }),
        2 => Just(Op::Wake),
        2 => Just(Op::Subscribe),
        1 => reader.clone().prop_map(|reader| Op::Drop { reader }),
        6 => (reader.clone(), max.clone()).prop_map(|(reader, max)| Op::Read { reader, max }),
        3 => (reader.clone(), ahead.clone(), max)
            .prop_map(|(reader, ahead, max)| Op::ReadThrough { reader, ahead, max }),
        1 => (reader.clone(), ahead.clone())
            .prop_map(|(reader, ahead)| Op::SkipThrough { reader, ahead }),
        1 => (reader.clone(), ahead.clone())
            .prop_map(|(reader, ahead)| Op::JumpTo { reader, ahead }),
        1 => reader.clone().prop_map(|reader| Op::JumpToHead { reader }),
        2 => reader.clone().prop_map(|reader| Op::Poll { reader }),
        2 => (reader, ahead).prop_map(|(reader, ahead)| Op::PollThrough { reader, ahead }),
        1 => (0..20_000_usize).prop_map(|bytes| Op::EvictTo { bytes }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn delivered_plus_reported_is_what_was_published(
        (bounds, ops) in bounds_and_lengths().prop_flat_map(|(bounds, longest)| {
            (Just(bounds), prop::collection::vec(op(longest), 1..150))
        }),
        on_demand in any::<bool>(),
    ) {
        let mut model = Model::new(bounds);
        for op in &ops {
            if on_demand || !matches!(op, Op::EvictTo { .. }) {
                model.apply(op);
            }
        }
        model.close();
    }
}
