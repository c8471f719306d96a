//! Readers that are woken by their shard's worker.

use core::future::poll_fn;
use core::task::{Context, Waker};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use loom::future::block_on;
use loom::thread;

use crate::{Log, LogConfig, Reader, Shard};

/// A task that runs on the worker, and so only when it was woken there.
#[derive(Default)]
struct Task(AtomicBool);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads one event, in a task that `shard` wakes.
fn read(shard: &mut Shard, reader: &mut Reader) {
    let task = Arc::new(Task::default());
    let waker = Waker::from(Arc::clone(&task));
    while reader
        .poll_ready(&mut Context::from_waker(&waker))
        .is_pending()
    {
        while !task.0.swap(false, Ordering::Relaxed) {
            block_on(poll_fn(|cx| shard.poll_wake(cx)));
        }
    }
    let chunk = reader.read(usize::MAX).expect("nothing is evicted");
    assert_eq!(chunk.map(|chunk| chunk.last), Some(1));
}

/// Whoever waits for an event by way of a shard gets it, wherever the worker is when the shard is
/// told.
///
/// Red (loom: deadlock) when `Shard::poll_wake` finds no woken log under one lock and keeps the
/// worker's waker under a later one: the shard may be told between the two.
#[test]
fn loom_a_worker_is_woken_for_a_shard_that_was_told() {
    loom::model(|| {
        let log = Log::new(LogConfig::default(), 0);
        let mut shard = Shard::new();
        let mut reader = log.subscribe_with(&shard.handle());
        let writer = thread::spawn(move || {
            log.append(1, b"one");
            log.wake();
            log
        });
        read(&mut shard, &mut reader);
        writer.join().expect("the writer does not panic");
    });
}

/// One wake of the worker stands for the wakes of several logs, while other readers come and go.
///
/// Red (loom: deadlock) when `ShardHandle::notify` keeps the log only if it wakes the worker, as one
/// that takes a worker that was woken already to know everything; red too when `Waiters::remove`
/// takes the whole group of a shard away with any of its readers instead of the last.
#[test]
fn loom_a_coalesced_wake_reaches_readers_of_every_log_while_others_come_and_go() {
    loom::model(|| {
        let logs = [0, 1].map(|_| Log::new(LogConfig::default(), 0));
        let mut shard = Shard::new();
        let handle = shard.handle();
        let mut readers = logs.each_ref().map(|log| log.subscribe_with(&handle));
        let mut leaver = logs[0].subscribe_with(&handle);
        let _waits = leaver.poll_ready(&mut Context::from_waker(Waker::noop()));

        let other = logs[0].clone();
        let visitor = thread::spawn(move || {
            drop(leaver);
            drop(other.subscribe_with(&handle));
        });
        let writer = thread::spawn(move || {
            for log in &logs {
                log.append(1, b"one");
            }
            logs.iter().for_each(Log::wake);
            logs
        });

        // Both wait before either is woken.
        let tasks = [0, 1].map(|_| Arc::new(Task::default()));
        let waits = [0, 1].map(|at| {
            let waker = Waker::from(Arc::clone(&tasks[at]));
            let ready = readers[at].poll_ready(&mut Context::from_waker(&waker));
            ready.is_pending()
        });
        for (task, waits) in tasks.iter().zip(waits) {
            while waits && !task.0.load(Ordering::Relaxed) {
                block_on(poll_fn(|cx| shard.poll_wake(cx)));
            }
        }
        visitor.join().expect("the visitor does not panic");
        writer.join().expect("the writer does not panic");
    });
}

/// A reader whose shard ends is woken all the same.
///
/// Red (loom: deadlock) when `Shard::drop` takes the woken logs under one lock and closes the shard
/// under a later one: a log that is woken between the two is never looked at.
#[test]
fn loom_the_end_of_a_shard_strands_no_reader() {
    loom::model(|| {
        let log = Log::new(LogConfig::default(), 0);
        let shard = Shard::new();
        let mut reader = log.subscribe_with(&shard.handle());
        let writer = thread::spawn(move || {
            log.append(1, b"one");
            log.wake();
            log
        });
        let worker = thread::spawn(move || drop(shard));
        block_on(poll_fn(|cx| reader.poll_ready(cx))).expect("the log stays open");
        writer.join().expect("the writer does not panic");
        worker.join().expect("the worker does not panic");
    });
}
