//! What is bounded: readers, however many clients replay; the write-ahead log, however busy the
//! readers; and the file, once what was in it has gone.

use std::cell::Cell;
use std::fs;
use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;

use futures::executor::block_on;
use futures::future::join_all;
use replay_sqlite::{SqliteConfig, SqliteStore};
use replay_store::{
    After, Append, Clock, Limit, Pattern, Position, ReplayStore as _, Retention, Selector, Topic,
};

const READERS: usize = 3;

fn open(path: &Path, retention: Retention) -> SqliteStore {
    let config = SqliteConfig {
        retention,
        readers: READERS,
        ..SqliteConfig::default()
    };
    let seeds = {
        let mut seed = 0;
        move || {
            seed += 1;
            seed
        }
    };
    let clock = Clock::new(|| 1_790_000_000_000);
    SqliteStore::open(path, config, seeds, clock).expect("the file opens")
}

fn append(store: &SqliteStore, topic: &str, bytes: usize) -> Position {
    let topic = Topic::new(topic).expect("valid");
    let batch = vec![Append::new(topic, vec![b'x'; bytes])];
    block_on(store.append(batch)).expect("the store appends")[0].position
}

fn len(path: &Path, suffix: &str) -> u64 {
    let name = format!("{}{suffix}", path.display());
    fs::metadata(name).map_or(0, |found| found.len())
}

/// Connections to the file, as the system counts them.
#[cfg(target_os = "linux")]
fn connections(path: &Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").expect("Linux has it");
    open.filter(|entry| {
        let target = entry.as_ref().map(|entry| fs::read_link(entry.path()));
        target.is_ok_and(|target| target.is_ok_and(|target| target == path))
    })
    .count()
}

/// Lets whoever else can go on do so first.
#[cfg(target_os = "linux")]
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(target_os = "linux")]
#[test]
fn a_thousand_clients_replay_through_as_many_readers_as_configured() {
    const CLIENTS: usize = 1000;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let path = {
        drop(open(&path, Retention::UNBOUNDED));
        path.canonicalize().expect("it is there")
    };
    let store = open(&path, Retention::UNBOUNDED);
    for n in 0..40 {
        append(&store, &format!("topic/{}", n % 4), 100);
    }
    let done = Arc::new(AtomicBool::new(false));
    let counter = {
        let done = Arc::clone(&done);
        thread::spawn(move || {
            let mut most = 0;
            loop {
                most = most.max(connections(&path));
                if done.load(Ordering::Relaxed) {
                    return most;
                }
            }
        })
    };
    let (asked, pages) = (Cell::new(0), Cell::new(0));
    let clients = (0..CLIENTS).map(|client| {
        let (store, asked, pages) = (&store, &asked, &pages);
        async move {
            let limit = Limit {
                events: 7,
                ..Limit::default()
            };
            let mut after = After::Earliest;
            let mut seen = Vec::new();
            let mut turns = Vec::new();
            asked.set(asked.get() + 1);
            loop {
                let page = store.read(&Selector::all(), after, limit).await;
                let page = page.expect("the store reads");
                turns.push(pages.replace(pages.get() + 1));
                // Only who stands in line can be overtaken: nobody asks a second time before that.
                while asked.get() < CLIENTS {
                    yield_now().await;
                }
                seen.extend(page.events.iter().map(|event| event.position.seq));
                after = page.next().into();
                if page.is_last() {
                    assert!(seen.iter().copied().eq(1..=40), "{client}: {seen:?}");
                    return turns;
                }
            }
        }
    });
    let turns = block_on(join_all(clients));
    done.store(true, Ordering::Relaxed);
    let most = counter.join().expect("it ends");
    assert!((2..=READERS + 1).contains(&most), "{most} connections");
    // They take turns: nobody gets a third page before the others have their first, but for those
    // few whose page a reader has begun, and been interrupted.
    let mut firsts: Vec<usize> = turns.iter().map(|turns| turns[0]).collect();
    firsts.sort_unstable();
    let last_first = firsts[CLIENTS - 1 - READERS];
    let first_third = turns.iter().map(|turns| turns[2]).min();
    assert!(
        Some(last_first) < first_third,
        "{last_first} {first_third:?}"
    );
}

#[test]
fn clients_that_give_up_while_they_wait_hold_nothing_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder.path().join("events.db"), Retention::UNBOUNDED);
    append(&store, "topic", 10);
    for _ in 0..20 {
        let selector = Selector::all();
        let reads = (0..500).map(|_| store.read(&selector, After::Earliest, Limit::default()));
        let mut reads: Vec<_> = reads.map(Box::pin).collect();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        for read in &mut reads {
            let _waits = read.as_mut().poll(&mut context);
        }
    }
    let page = block_on(store.read(&Selector::all(), After::Earliest, Limit::default()));
    assert_eq!(page.map(|page| page.events.len()), Ok(1));
}

#[test]
fn the_write_ahead_log_stays_short_while_somebody_always_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let store = open(&path, Retention::UNBOUNDED);
    let done = AtomicBool::new(false);
    let mut longest = 0;
    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let limit = Limit {
                        events: 64,
                        bytes: usize::MAX,
                    };
                    let page = block_on(store.read(&Selector::all(), After::Earliest, limit));
                    page.expect("the store reads");
                }
            });
        }
        for _ in 0..1500 {
            append(&store, "topic", 30_000);
            longest = longest.max(len(&path, "-wal"));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(len(&path, "") > 20 << 20);
    assert!(longest < 18 << 20, "{longest}");
}

#[test]
fn the_file_shrinks_when_what_was_in_it_has_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let store = open(&path, Retention::UNBOUNDED);
    for _ in 0..24 {
        append(&store, "topic", 1 << 20);
    }
    let last = append(&store, "topic", 10);
    let page = block_on(store.read(&Selector::all(), last.into(), Limit::default()));
    let tail = page.expect("the store reads").bounds.tail;
    block_on(store.trim(&Selector::all(), tail)).expect("the store trims");
    // Space is given back with what is written afterwards, or as the writer has nothing to do.
    for _ in 0..200 {
        append(&store, "topic", 10);
        if len(&path, "") < 10 << 20 {
            break;
        }
    }
    block_on(store.close()).expect("it closes");
    assert!(len(&path, "") < 10 << 20, "{}", len(&path, ""));
}

#[test]
fn the_file_stays_within_its_bound_while_events_come_and_go() {
    const LOG: u64 = 20 << 20;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let retention = Retention {
        log_bytes: LOG,
        ..Retention::UNBOUNDED
    };
    let store = open(&path, retention);
    let mut largest = 0;
    for n in 0..900 {
        append(&store, &format!("topic/{}", n % 7), (n % 10) * 20_000);
        largest = largest.max(len(&path, ""));
    }
    let bound = LOG * 13 / 10 + (8 << 20);
    assert!(largest > LOG / 2 && largest < bound, "{largest} of {bound}");
}

#[test]
fn patterns_read_the_same_whether_by_indexes_or_by_scanning() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder.path().join("events.db"), Retention::UNBOUNDED);
    // Two branches, of more topics than are read by their indexes, and of fewer.
    let name = |n: usize| {
        format!(
            "{}/{}",
            ["many", "few"][n % 2],
            n * 7 % 1400 / (n % 2 * 9 + 1)
        )
    };
    let names: Vec<_> = (0..4000).map(name).collect();
    for batch in names.chunks(500) {
        let batch = batch.iter().map(|name| {
            let topic = Topic::new(name).expect("valid");
            Append::new(topic, name.clone())
        });
        block_on(store.append(batch.collect())).expect("the store appends");
    }
    for (pattern, prefix) in [("many/*", "many/"), ("few/*", "few/"), ("**", "")] {
        let pattern = Pattern::new(pattern).expect("valid");
        let selector = Selector::new(vec![pattern]).expect("valid");
        let expected: Vec<_> = (1_u64..)
            .zip(&names)
            .filter(|(_, name)| name.starts_with(prefix))
            .map(|(seq, _)| seq)
            .collect();
        for events in [1000, 33] {
            let limit = Limit {
                events,
                ..Limit::default()
            };
            let mut after = After::Earliest;
            let mut found = Vec::new();
            loop {
                let page = block_on(store.read(&selector, after, limit)).expect("the store reads");
                assert!(page.events.len() <= events);
                found.extend(page.events.iter().map(|event| event.position.seq));
                after = page.next().into();
                if page.is_last() {
                    break;
                }
            }
            assert_eq!(found, expected, "{prefix} by {events}");
        }
    }
}
