//! Publishers that wait for slow readers, case by case.
#![cfg(not(loom))]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use backpressure::{AdmitError, Lag, Log, LogConfig, Reader};

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
    let poll = |tasks: &mut [(backpressure::Admission, Arc<Wakes>); 2]| {
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
