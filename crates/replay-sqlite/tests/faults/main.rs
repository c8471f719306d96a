//! Disks that fill up, writes and syncs that fail: at every operation of a workload, what a
//! publisher was told is true, and the store recovers once the disk does.
#![expect(
    unsafe_code,
    reason = "a file system for SQLite is written in C's terms"
)]

mod vfs;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::executor::block_on;
use replay_sqlite::{SqliteConfig, SqliteStore};
use replay_store::{
    After, Append, Clock, GapReason, Limit, Position, ReplayStore as _, Retention, Selector,
    StoreError, Topic,
};
use vfs::Fault;

/// There is one file system, so there is one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    vfs::install();
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(path: &Path, retention: Retention) -> SqliteStore {
    let config = SqliteConfig {
        retention,
        ..SqliteConfig::default()
    };
    let mut seed = std::process::id().into();
    let seeds = move || {
        seed += 1;
        seed
    };
    let clock = Clock::new(|| 1_790_000_000_000);
    SqliteStore::open(path, config, seeds, clock).expect("the file opens")
}

/// An event whose data and key are `n`, of a size that varies.
fn event(n: u64) -> Append {
    let pad = "x".repeat(usize::try_from(n % 3).expect("small") * 3000);
    Append {
        idempotency_key: Some(n.to_string().into()),
        ..Append::new(
            Topic::new(&format!("topic/{}", n % 2)).expect("valid"),
            format!("{n} {pad}"),
        )
    }
}

fn append(store: &SqliteStore, n: u64) -> Result<Position, StoreError> {
    Ok(block_on(store.append(vec![event(n)]))?[0].position)
}

/// The numbers of all events, and where the last one stands.
fn all(store: &SqliteStore) -> Vec<(u64, Position)> {
    let mut after = After::Earliest;
    let mut events = Vec::new();
    loop {
        let page = block_on(store.read(&Selector::all(), after, Limit::default()))
            .expect("a store that cannot write can be read");
        after = page.next().into();
        let last = page.is_last();
        events.extend(page.events.iter().map(|found| {
            let text = String::from_utf8_lossy(&found.data).into_owned();
            let n = text.split(' ').next().and_then(|n| n.parse().ok());
            let n = n.expect("a number");
            assert_eq!(found.data, event(n).data);
            (n, found.position)
        }));
        if last {
            return events;
        }
    }
}

/// Appends while operations fail, then without. Returns how many failed.
fn run(fault: Fault, after: u64, times: u64, retention: Retention) -> u64 {
    const EVENTS: u64 = 12;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let store = open(&path, retention);
    append(&store, 1000).expect("nothing fails yet");
    let context = format!("{fault:?} after {after}, {times} times");

    vfs::arm(fault, after, times);
    let mut acknowledged = Vec::new();
    let mut unknown = Vec::new();
    let mut refused = Vec::new();
    for n in 0..EVENTS {
        match append(&store, n) {
            Ok(position) => acknowledged.push((n, position)),
            Err(StoreError::OutcomeUnknown { detail }) => {
                assert!(!detail.is_empty());
                unknown.push(n);
            }
            Err(StoreError::Unavailable { detail }) => {
                assert!(!detail.is_empty());
                refused.push(n);
            }
            Err(other) => panic!("{context}: {other}"),
        }
        let _readable = all(&store);
    }
    let failed = vfs::disarm();
    if failed == 0 {
        assert!(unknown.is_empty() && refused.is_empty(), "{context}");
    }

    let before: Vec<u64> = all(&store).into_iter().map(|(n, _)| n).collect();
    assert!(
        refused.iter().all(|n| !before.contains(n)),
        "{context}: {before:?} has one of {refused:?}, said not to be appended"
    );
    for n in unknown {
        append(&store, n).unwrap_or_else(|error| panic!("{context}: retry of {n}: {error}"));
    }
    append(&store, 2000).unwrap_or_else(|error| panic!("{context}: {error}"));

    let found = all(&store);
    let mut numbers: Vec<u64> = found.iter().map(|(n, _)| *n).collect();
    let in_order = found.is_sorted_by_key(|(_, position)| position.seq);
    assert!(in_order, "{context}: {found:?}");
    numbers.sort_unstable();
    let count = numbers.len();
    numbers.dedup();
    assert_eq!(numbers.len(), count, "{context}: one is there twice");
    if retention == Retention::UNBOUNDED {
        for known in &acknowledged {
            assert!(found.contains(known), "{context}: {known:?} is lost");
        }
    }
    for (_, position) in acknowledged {
        // Where nothing was lost, nobody is told of a gap.
        let page = block_on(store.read(&Selector::all(), position.into(), Limit::default()))
            .expect("the store reads");
        let reason = page.gap.map(|gap| gap.reason);
        assert!(
            matches!(reason, None | Some(GapReason::Trimmed)),
            "{context}: {reason:?} at {position}"
        );
        assert!(reason.is_none() || retention != Retention::UNBOUNDED);
    }
    // What a process leaves that is killed now: a commit that failed must not come back.
    let left = folder.path().join("left.db");
    for suffix in ["", "-wal"] {
        let name = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        fs::copy(name(&path), name(&left)).expect("it is there");
    }
    assert_eq!(all(&open(&left, retention)), found, "{context}, killed");
    drop(store);
    assert_eq!(all(&open(&path, retention)), found, "{context}, closed");
    failed
}

#[track_caller]
fn check(fault: Fault, times: u64, step: usize, retention: Retention) {
    let _alone = alone();
    let mut points = 0;
    for after in (0..).step_by(step) {
        if run(fault, after, times, retention) == 0 {
            break;
        }
        points += 1;
    }
    assert!(points >= 10, "only {points} operations were hit");
}

/// Trims with every append once there are a few.
const SMALL: Retention = Retention {
    events: 3,
    ..Retention::UNBOUNDED
};

#[test]
fn any_write_may_find_the_disk_full_once() {
    check(Fault::Full, 1, 3, Retention::UNBOUNDED);
}

#[test]
fn the_disk_may_be_full_from_any_write_on() {
    check(Fault::Full, u64::MAX, 7, Retention::UNBOUNDED);
    check(Fault::Full, u64::MAX, 10, SMALL);
}

#[test]
fn any_write_may_be_torn() {
    check(Fault::HalfWrite, 1, 5, Retention::UNBOUNDED);
    check(Fault::HalfWrite, 2, 7, SMALL);
}

#[test]
fn any_sync_may_fail() {
    check(Fault::Sync, 1, 1, Retention::UNBOUNDED);
    check(Fault::Sync, 3, 1, SMALL);
}

#[test]
fn the_disk_may_be_gone_from_any_operation_on() {
    check(Fault::Everything, u64::MAX, 7, Retention::UNBOUNDED);
}
