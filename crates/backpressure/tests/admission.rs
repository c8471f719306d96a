//! Publishers that wait for slow readers, case by case, and any history against a model.
#![cfg(not(loom))]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use backpressure::{Admission, AdmitError, Lag, Log, LogConfig, Reader};
use proptest::prelude::*;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn lag(events: u64, bytes: u64) -> Lag {
    Lag { events, bytes }
}

/// A log with two events of five bytes, and a blocking reader and another one that have read none.
fn log() -> (Log, Reader, Reader) {
    let log = Log::new(LogConfig::default(), 0);
    let (mut blocking, other) = (log.subscribe(), log.subscribe());
    blocking.set_blocking(true);
    log.append(1, b"event");
    log.append(2, b"event");
    (log, blocking, other)
}

fn ask(log: &Log, max: Lag, now: u64) -> Poll<Result<(), AdmitError>> {
    log.admit(max, ms(10))
        .poll_admit(&mut Context::from_waker(Waker::noop()), ms(now))
}

#[test]
fn publishers_wait_for_blocking_readers_over_the_bound_until_the_deadline() {
    let (log, mut reader, _other) = log();
    let admitted = Poll::Ready(Ok(()));
    let cases = [
        (lag(2, 10), 0, admitted),
        (lag(1, 10), 0, Poll::Pending),
        (lag(2, 9), 9, Poll::Pending),
        (lag(2, 9), 10, Poll::Ready(Err(AdmitError::TimedOut))),
        (lag(2, 10), 10, admitted),
    ];
    for (max, now, expected) in cases {
        assert_eq!(ask(&log, max, now), expected, "{max:?} at {now}");
    }
    reader.set_blocking(false);
    assert_eq!(ask(&log, Lag::ZERO, 10), admitted);
    reader.set_blocking(true);
    assert_eq!(ask(&log, Lag::ZERO, 0), Poll::Pending);
    log.close();
    assert_eq!(
        ask(&log, Lag::ZERO, 0),
        Poll::Ready(Err(AdmitError::Closed))
    );
}

#[test]
fn whatever_moves_or_ends_the_last_blocking_reader_releases_publishers() {
    type Release = fn(&mut Option<Reader>);
    let release: [(&str, Release); 6] = [
        ("read", |it| {
            assert!(it.as_mut().is_some_and(|it| it.read(99).is_ok()));
        }),
        ("skip", |it| {
            it.as_mut().map(|it| it.skip_through(2));
        }),
        ("jump", |it| {
            it.as_mut().map(|it| it.jump_to(2));
        }),
        ("jump to the head", |it| {
            it.as_mut().map(Reader::jump_to_head);
        }),
        ("no longer blocking", |it| {
            if let Some(it) = it {
                it.set_blocking(false);
            }
        }),
        ("drop", |it| {
            it.take();
        }),
    ];
    for (what, release) in release {
        let (log, reader, mut other) = log();
        let mut reader = Some(reader);
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);
        let mut admission = log.admit(Lag::ZERO, ms(10));
        for _ in 0..3 {
            assert!(admission.poll_admit(&mut cx, ms(0)).is_pending());
        }
        assert_eq!(other.jump_to_head(), 2);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0, "{what}");
        release(&mut reader);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1, "{what}");
        assert_eq!(admission.poll_admit(&mut cx, ms(0)), Poll::Ready(Ok(())));
    }
}

#[test]
fn each_publisher_waits_for_its_own_bound() {
    let (log, mut reader, _other) = log();
    let tasks = [lag(1, 100), Lag::ZERO].map(|max| {
        let wakes = Arc::new(Wakes::default());
        (log.admit(max, ms(10)), wakes)
    });
    let mut tasks = tasks;
    let poll = |tasks: &mut [(Admission, Arc<Wakes>); 2]| {
        tasks.each_mut().map(|(admission, wakes)| {
            let waker = Waker::from(Arc::clone(wakes));
            admission
                .poll_admit(&mut Context::from_waker(&waker), ms(0))
                .is_ready()
        })
    };
    assert_eq!(poll(&mut tasks), [false, false]);
    assert!(reader.read(5).is_ok());
    let woken = tasks
        .each_ref()
        .map(|(_, wakes)| wakes.0.load(Ordering::Relaxed));
    assert_eq!(woken, [1, 0]);
    assert_eq!(poll(&mut tasks), [true, false]);
}

#[test]
fn a_publisher_that_gives_up_leaves_no_waker_and_takes_no_others() {
    let (log, mut reader, _other) = log();
    let wakes = [(); 2].map(|()| Arc::new(Wakes::default()));
    let mut admissions = wakes.each_ref().map(|wakes| {
        let mut admission = log.admit(Lag::ZERO, ms(10));
        let waker = Waker::from(Arc::clone(wakes));
        assert!(
            admission
                .poll_admit(&mut Context::from_waker(&waker), ms(0))
                .is_pending()
        );
        Some(admission)
    });
    admissions[0].take();
    assert_eq!(Arc::strong_count(&wakes[0]), 1);
    assert!(reader.read(99).is_ok());
    assert_eq!(wakes[1].0.load(Ordering::Relaxed), 1);
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Ask { max: Lag, wait: u64 },
    Subscribe { blocking: bool },
    Read { reader: usize, max: usize },
    Skip { reader: usize },
    Blocking { reader: usize, blocking: bool },
    Leave { reader: usize },
    GiveUp { publisher: usize },
    Evict,
    Wait { ms: u64 },
    Close,
}

fn op() -> impl Strategy<Value = Op> {
    let reader = 0..5_usize;
    prop_oneof![
        8 => ((0..4_u64, 0..100_u64), 0..20_u64)
            .prop_map(|((events, bytes), wait)| Op::Ask { max: lag(events, bytes), wait }),
        2 => any::<bool>().prop_map(|blocking| Op::Subscribe { blocking }),
        6 => (reader.clone(), 0..100_usize).prop_map(|(reader, max)| Op::Read { reader, max }),
        1 => reader.clone().prop_map(|reader| Op::Skip { reader }),
        1 => (reader.clone(), any::<bool>())
            .prop_map(|(reader, blocking)| Op::Blocking { reader, blocking }),
        1 => reader.prop_map(|reader| Op::Leave { reader }),
        1 => (0..5_usize).prop_map(|publisher| Op::GiveUp { publisher }),
        1 => Just(Op::Evict),
        2 => (0..10_u64).prop_map(|ms| Op::Wait { ms }),
    ]
}

/// A publisher that waits, or is about to.
struct Publisher {
    admission: Admission,
    max: Lag,
    deadline: u64,
    wakes: Arc<Wakes>,
    /// How often it was woken when it was last polled.
    seen: usize,
}

struct Model {
    log: Log,
    /// The bytes of each event.
    published: Vec<u64>,
    /// Each reader, the index of its next event, and whether it blocks.
    readers: Vec<(Reader, usize, bool)>,
    publishers: Vec<Publisher>,
    now: u64,
    closed: bool,
}

impl Model {
    fn lag(&self, at: usize) -> Lag {
        let unread = &self.published[at..];
        lag(unread.len() as u64, unread.iter().sum())
    }

    /// What a publisher is told now.
    fn expected(&self, max: Lag, deadline: u64) -> Poll<Result<(), AdmitError>> {
        let mut blocking = self.readers.iter().filter(|(_, _, blocking)| *blocking);
        if self.closed {
            Poll::Ready(Err(AdmitError::Closed))
        } else if blocking.all(|(_, at, _)| !self.lag(*at).exceeds(max)) {
            Poll::Ready(Ok(()))
        } else if deadline <= self.now {
            Poll::Ready(Err(AdmitError::TimedOut))
        } else {
            Poll::Pending
        }
    }

    fn apply(&mut self, op: Op) {
        let count = self.readers.len();
        match op {
            Op::Ask { max, wait } => {
                let deadline = self.now + wait;
                self.publishers.push(Publisher {
                    admission: self.log.admit(max, ms(deadline)),
                    max,
                    deadline,
                    wakes: Arc::default(),
                    // It has not waited yet.
                    seen: usize::MAX,
                });
            }
            Op::Subscribe { blocking } => {
                let mut reader = self.log.subscribe();
                reader.set_blocking(blocking);
                self.readers.push((reader, self.published.len(), blocking));
            }
            Op::Read { reader, max } if reader < count => {
                let (reader, at, _) = &mut self.readers[reader];
                if let Ok(Some(chunk)) = reader.read(max) {
                    *at += chunk.events;
                }
            }
            Op::Skip { reader } if reader < count => {
                let (reader, at, _) = &mut self.readers[reader];
                *at += reader.jump_to(u64::MAX).events as usize;
            }
            Op::Blocking { reader, blocking } if reader < count => {
                self.readers[reader].0.set_blocking(blocking);
                self.readers[reader].2 = blocking;
            }
            Op::Leave { reader } if reader < count => drop(self.readers.swap_remove(reader)),
            Op::GiveUp { publisher } if publisher < self.publishers.len() => {
                let Publisher {
                    admission, wakes, ..
                } = self.publishers.swap_remove(publisher);
                drop(admission);
                assert_eq!(Arc::strong_count(&wakes), 1, "a waker was left behind");
            }
            Op::Evict => self.log.evict_to(0),
            Op::Wait { ms } => self.now += ms,
            Op::Close => {
                self.log.close();
                self.closed = true;
            }
            _ => {}
        }
        self.poll();
    }

    /// Polls who has a reason to: it was woken, its deadline has come, or it is new. Nobody else has
    /// been released.
    fn poll(&mut self) {
        let mut at = 0;
        while at < self.publishers.len() {
            let Publisher { max, deadline, .. } = self.publishers[at];
            let expected = self.expected(max, deadline);
            let publisher = &mut self.publishers[at];
            let woken = publisher.wakes.0.load(Ordering::Relaxed);
            if woken == publisher.seen && self.now < deadline {
                assert!(expected.is_pending(), "{expected:?} was not told");
                at += 1;
                continue;
            }
            publisher.seen = woken;
            let waker = Waker::from(Arc::clone(&publisher.wakes));
            let mut cx = Context::from_waker(&waker);
            let told = publisher.admission.poll_admit(&mut cx, ms(self.now));
            assert_eq!(told, expected);
            if told.is_pending() {
                at += 1;
                continue;
            }
            self.publishers.swap_remove(at);
            if told == Poll::Ready(Ok(())) {
                let seq = self.published.len() as u64 + 1;
                let len = seq as usize * 7 % 40;
                self.log.append(seq, &vec![b'x'; len]);
                self.published.push(len as u64);
                // One event over its bound, or none, is what a grant may cost a blocking reader.
                let over = lag(max.events + 1, max.bytes + len as u64);
                for (_, reader, blocking) in &self.readers {
                    assert!(!blocking || !self.lag(*reader).exceeds(over));
                }
            }
        }
        for (reader, at, _) in &self.readers {
            assert_eq!(reader.lag(), self.lag(*at));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Every publisher is told what the model says, as soon as it may be told: admitted exactly when no
    /// blocking reader is over the bound, whatever readers do.
    #[test]
    fn publishers_are_told_what_the_model_says_and_in_time(
        ops in prop::collection::vec(op(), 1..200),
        close in any::<bool>(),
    ) {
        let mut model = Model {
            log: Log::new(LogConfig::default(), 0),
            published: Vec::new(),
            readers: Vec::new(),
            publishers: Vec::new(),
            now: 0,
            closed: false,
        };
        ops.into_iter().for_each(|op| model.apply(op));
        model.apply(if close { Op::Close } else { Op::Wait { ms: 100 } });
        prop_assert!(model.publishers.is_empty());
    }
}
