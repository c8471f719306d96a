//! Who wakes whom when readers belong to shards, case by case.
#![cfg(not(loom))]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use backpressure::{Log, LogConfig, Reader, Shard};

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A task that counts how often it was woken.
struct Task {
    wakes: Arc<Wakes>,
    waker: Waker,
}

impl Task {
    fn new() -> Self {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        Self { wakes, waker }
    }

    fn cx(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }

    fn woken(&self) -> usize {
        self.wakes.0.load(Ordering::Relaxed)
    }

    #[track_caller]
    fn waits_for(&self, reader: &mut Reader) {
        assert!(reader.poll_ready(&mut self.cx()).is_pending());
    }
}

fn log() -> Log {
    Log::new(LogConfig::default(), 0)
}

#[test]
fn a_worker_is_woken_once_for_any_number_of_events_logs_and_readers() {
    let logs = [(); 3].map(|()| log());
    let (worker, task) = (Task::new(), Task::new());
    let mut shard = Shard::new();
    let mut readers: Vec<_> = logs
        .iter()
        .flat_map(|log| [(); 10].map(|()| log.subscribe_with(&shard.handle())))
        .collect();
    for round in 1..=3 {
        assert_eq!(shard.poll_wake(&mut worker.cx()), Poll::Pending);
        for reader in &mut readers {
            assert!(reader.read(usize::MAX).is_ok());
            task.waits_for(reader);
        }
        for seq in [10 * round, 10 * round + 1] {
            for log in &logs {
                log.append(seq, b"event");
                log.wake();
            }
        }
        assert_eq!(worker.woken() as u64, round);
        assert_eq!(task.woken(), 30 * (round as usize - 1));
        assert_eq!(shard.poll_wake(&mut worker.cx()), Poll::Ready(30));
    }
}

#[test]
fn only_shards_with_readers_that_wait_are_told() {
    let log = log();
    let mut shards: Vec<_> = (0..100).map(|_| (Shard::new(), Task::new())).collect();
    let mut readers: Vec<_> = shards
        .iter()
        .map(|(shard, _)| log.subscribe_with(&shard.handle()))
        .collect();
    let task = Task::new();
    for (shard, worker) in &mut shards {
        assert!(shard.poll_wake(&mut worker.cx()).is_pending());
    }
    for at in [0, 62, 63, 64, 99] {
        task.waits_for(&mut readers[at]);
    }
    log.append(1, b"event");
    log.wake();
    for (at, (shard, worker)) in shards.iter_mut().enumerate() {
        let told = [0, 62, 63, 64, 99].contains(&at);
        assert_eq!(worker.woken(), usize::from(told), "shard {at}");
        assert_eq!(shard.poll_wake(&mut worker.cx()).is_ready(), told);
    }
    assert_eq!(task.woken(), 5);
}

#[test]
fn readers_with_and_without_a_shard_wait_for_one_log() {
    let log = log();
    let (worker, sharded, direct) = (Task::new(), Task::new(), Task::new());
    let mut shard = Shard::new();
    let mut one = log.subscribe_with(&shard.handle());
    let mut other = log.subscribe();
    assert!(shard.poll_wake(&mut worker.cx()).is_pending());
    sharded.waits_for(&mut one);
    direct.waits_for(&mut other);
    log.append(1, b"event");
    log.wake();
    assert_eq!((sharded.woken(), direct.woken()), (0, 1));
    assert_eq!(shard.poll_wake(&mut worker.cx()), Poll::Ready(1));
    assert_eq!((sharded.woken(), direct.woken()), (1, 1));
}

#[test]
fn readers_of_a_shard_that_ended_are_woken_all_the_same() {
    let log = log();
    let shard = Shard::new();
    let handle = shard.handle();
    let (told, late) = (Task::new(), Task::new());
    let mut one = log.subscribe_with(&handle);
    told.waits_for(&mut one);
    log.append(1, b"event");
    log.wake();
    assert_eq!(told.woken(), 0);
    drop(shard);
    assert_eq!(told.woken(), 1, "the end of a shard wakes whom it owed it");
    let mut other = log.subscribe_with(&handle);
    late.waits_for(&mut other);
    log.append(2, b"event");
    log.wake();
    assert_eq!(late.woken(), 1);
}

#[test]
fn closing_a_log_wakes_the_readers_of_every_shard() {
    let log = log();
    let (worker, task) = (Task::new(), Task::new());
    let mut shard = Shard::new();
    let mut reader = log.subscribe_with(&shard.handle());
    assert!(shard.poll_wake(&mut worker.cx()).is_pending());
    task.waits_for(&mut reader);
    drop(log);
    assert_eq!(worker.woken(), 1);
    assert_eq!(shard.poll_wake(&mut worker.cx()), Poll::Ready(1));
    assert!(reader.read(usize::MAX).is_err());
}

#[test]
fn the_shards_of_readers_that_left_are_forgotten() {
    let log = log();
    let _stays = log.subscribe();
    let shards: Vec<_> = (0..200).map(|_| Shard::new()).collect();
    for shard in &shards {
        let mut reader = log.subscribe_with(&shard.handle());
        Task::new().waits_for(&mut reader);
    }
    let (mut last, task) = (log.subscribe(), Task::new());
    task.waits_for(&mut last);
    log.append(1, b"event");
    log.wake();
    assert_eq!(task.woken(), 1);
    for mut shard in shards {
        assert!(
            shard.poll_wake(&mut task.cx()).is_pending(),
            "a shard was told for nobody"
        );
    }
}
