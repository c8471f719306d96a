//! Backups taken while the log is in use, and what becomes of ids once one is restored.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use futures::executor::block_on;
use replay_sqlite::{BackupError, OpenError, SqliteConfig, SqliteStore, backup};
use replay_store::{
    After, Append, Clock, Event, GapReason, Limit, Position, ReplayStore as _, Retention, Selector,
    Topic,
};

fn open(path: &Path) -> SqliteStore {
    try_open(path).expect("the file opens")
}

fn try_open(path: &Path) -> Result<SqliteStore, OpenError> {
    static SEED: AtomicU64 = AtomicU64::new(1);
    let config = SqliteConfig {
        retention: Retention::UNBOUNDED,
        ..SqliteConfig::default()
    };
    let clock = Clock::new(|| 1_790_000_000_000);
    let seeds = || SEED.fetch_add(1, Ordering::Relaxed);
    SqliteStore::open(path, config, seeds, clock)
}

fn append(store: &SqliteStore, data: &str) -> Position {
    let topic = Topic::new(&format!("topic/{}", data.len() % 3)).expect("valid");
    let batch = vec![Append::new(topic, data.to_owned())];
    block_on(store.append(batch)).expect("the store appends")[0].position
}

fn all(store: &SqliteStore) -> Vec<Event> {
    let mut after = After::Earliest;
    let mut events = Vec::new();
    loop {
        let page = block_on(store.read(&Selector::all(), after, Limit::default()))
            .expect("the store reads");
        after = page.next().into();
        let last = page.is_last();
        events.extend(page.events);
        if last {
            return events;
        }
    }
}

/// What a subscriber with this cursor is told, and where it continues.
fn resume(store: &SqliteStore, cursor: Position) -> (Option<GapReason>, u64) {
    let page = block_on(store.read(&Selector::all(), cursor.into(), Limit::default()))
        .expect("the store reads");
    (page.gap.map(|gap| gap.reason), page.from.seq)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

#[test]
fn a_backup_taken_under_load_is_a_prefix_with_all_that_was_acknowledged_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder.path().join("events.db"));
    let done = AtomicBool::new(false);
    let acknowledged = AtomicU64::new(0);
    thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let last = append(&store, &"x".repeat(3000));
                acknowledged.store(last.seq, Ordering::Relaxed);
            }
        });
        for n in 0..4 {
            let known = acknowledged.load(Ordering::Relaxed);
            while acknowledged.load(Ordering::Relaxed) < known + 20 {
                thread::yield_now();
            }
            let before = acknowledged.load(Ordering::Relaxed);
            let to = folder.path().join(format!("backup-{n}.db"));
            // Once by the store, once as another process would.
            let taken = if n % 2 == 0 {
                block_on(store.backup(&to))
            } else {
                backup(&folder.path().join("events.db"), &to)
            };
            let taken = taken.expect("it is taken");
            assert!(taken.tail >= before, "{taken:?} after {before}");
            assert_eq!(taken.bytes, fs::metadata(&to).expect("it is there").len());
            assert!(!beside(&to, ".partial").exists());
            assert!(!beside(&to, "-wal").exists());
        }
        done.store(true, Ordering::Relaxed);
        publisher.join().expect("it ends");
    });
    let events = all(&store);
    for n in 0..4 {
        let restored = open(&folder.path().join(format!("backup-{n}.db")));
        let found = all(&restored);
        assert!(found.len() >= 20);
        assert_eq!(found, events[..found.len()], "backup {n}");
    }
}

#[test]
fn ids_given_out_after_a_backup_are_not_taken_for_those_of_the_restored_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let copy = folder.path().join("copy.db");
    let store = open(&path);
    let common: Vec<_> = ["a", "b", "c"].map(|data| append(&store, data)).into();
    block_on(store.backup(&copy)).expect("it is taken");
    // Delivered, acknowledged, and lost with the original; some in the same epoch as before.
    let lost: Vec<_> = ["d", "e"].map(|data| append(&store, data)).into();
    drop(store);
    let store = open(&path);
    let lost_later = append(&store, "f");
    drop(store);

    fs::rename(&copy, &path).expect("it is restored");
    let store = open(&path);
    let tail = common[2];
    for known in &common {
        assert_eq!(resume(&store, *known), (None, known.seq));
    }
    // Before anything is appended: the subscriber knows more than the store.
    assert_eq!(resume(&store, lost[1]), (Some(GapReason::Ahead), tail.seq));
    let epoch_changed = (Some(GapReason::EpochChanged), tail.seq);
    let first = append(&store, "D");
    assert_eq!((first.seq, lost[0].seq), (4, 4), "the number is used again");
    assert_ne!(first.epoch, lost[0].epoch, "and told apart");
    append(&store, "E");
    append(&store, "F");
    for (n, known) in lost.iter().chain([&lost_later]).enumerate() {
        // The new events have passed every one of the lost ids, which stay what they are.
        assert_eq!(resume(&store, *known), epoch_changed, "{n}");
    }
    for known in &common {
        assert_eq!(resume(&store, *known), (None, known.seq));
    }
    // The same holds when it is restored a second time, and for the ids given out in between.
    drop(store);
    let store = open(&path);
    let second = append(&store, "G");
    assert_ne!(second.epoch, first.epoch);
    assert_eq!(resume(&store, lost[0]), epoch_changed);
}

#[test]
fn the_log_of_another_file_is_not_applied_to_a_backup() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let copy = folder.path().join("copy.db");
    let store = open(&path);
    append(&store, "a");
    block_on(store.backup(&copy)).expect("it is taken");
    append(&store, "b");
    // The original dies and leaves its write-ahead log; the backup is put in its place.
    let log = fs::read(beside(&path, "-wal")).expect("it is there");
    assert!(!log.is_empty());
    drop(store);
    let restored = folder.path().join("restored.db");
    fs::copy(&copy, &restored).expect("it is copied");
    fs::write(beside(&restored, "-wal"), &log).expect("it is written");
    let refused = try_open(&restored).expect_err("the log is foreign");
    assert!(matches!(refused, OpenError::ForeignLog { .. }), "{refused}");
    assert!(refused.to_string().contains("move it away"), "{refused}");
    assert_eq!(
        fs::read(&restored).expect("it is there"),
        fs::read(&copy).expect("it is there"),
        "what is refused is left as it was"
    );
    fs::remove_file(beside(&restored, "-wal")).expect("it is there");
    let store = open(&restored);
    assert_eq!(all(&store).len(), 1);
    // Now it has a log of its own, which is not refused after a crash.
    append(&store, "c");
    let crashed = folder.path().join("crashed.db");
    for suffix in ["", "-wal"] {
        fs::copy(beside(&restored, suffix), beside(&crashed, suffix)).expect("it is copied");
    }
    assert_eq!(all(&open(&crashed)).len(), 2);
}

#[test]
fn a_backup_replaces_nothing_and_says_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let store = open(&path);
    append(&store, "a");
    let there = folder.path().join("there.db");
    fs::write(&there, "precious").expect("it is written");
    let refused = block_on(store.backup(&there)).expect_err("it is there");
    assert!(matches!(refused, BackupError::Exists { .. }), "{refused}");
    assert_eq!(fs::read(&there).expect("it is there"), b"precious");
    let nowhere = folder.path().join("no such folder").join("copy.db");
    let failed = block_on(store.backup(&nowhere)).expect_err("there is no folder");
    assert!(!failed.to_string().is_empty());
    let missing = folder.path().join("missing.db");
    let failed = backup(&missing, &folder.path().join("copy.db")).expect_err("no such log");
    assert!(!failed.to_string().is_empty());
    assert!(!missing.exists(), "it was not made by looking");
    // A backup that was interrupted is no hindrance.
    let copy = folder.path().join("copy.db");
    fs::write(beside(&copy, ".partial"), "half a backup").expect("it is written");
    block_on(store.backup(&copy)).expect("it is taken");
    assert_eq!(all(&open(&copy)).len(), 1);
}
