//! kill -9 under load, again and again: nothing acknowledged is lost, nothing is there twice, and a
//! client that resumes across the restarts sees the whole log, once, in order, without a gap.
//!
//! Ten rounds, or as many as `REPLAY_SQLITE_KILL_ROUNDS` says.
#![expect(clippy::print_stdout, reason = "the figures of a run are its result")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use futures::StreamExt as _;
use futures::executor::block_on;
use replay_sqlite::{SqliteConfig, SqliteStore};
use replay_store::{
    After, Append, Clock, Epoch, Limit, Position, ReplayStore as _, Retention, Selector, Topic,
};

/// Set in the process that is to be killed: the file; the client's cursor; the keys to try again.
const FILE: &str = "REPLAY_SQLITE_TEST_FILE";
const CURSOR: &str = "REPLAY_SQLITE_TEST_CURSOR";
const RETRY: &str = "REPLAY_SQLITE_TEST_RETRY";

const PUBLISHERS: u64 = 8;

fn open(path: &Path) -> SqliteStore {
    let config = SqliteConfig {
        retention: Retention::UNBOUNDED,
        ..SqliteConfig::default()
    };
    let seed = u64::from(std::process::id()) << 32;
    let mut nth = seed;
    let seeds = move || {
        nth += 1;
        nth
    };
    let clock = Clock::new(|| {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        since.as_millis() as u64
    });
    SqliteStore::open(path, config, seeds, clock).expect("the file opens")
}

/// An event that is known by its key, of up to 3 KB, so that checkpoints come often.
fn event(key: &str) -> Append {
    let number = key
        .bytes()
        .fold(7_usize, |sum, byte| sum * 31 % 3001 + usize::from(byte));
    Append {
        idempotency_key: Some(key.into()),
        ..Append::new(
            Topic::new(&format!("topic/{}", number % 5)).expect("valid"),
            format!("{key} {}", "x".repeat(number)),
        )
    }
}

fn say(line: &str) {
    let line = format!("{line}\n");
    let mut stderr = std::io::stderr().lock();
    stderr.write_all(line.as_bytes()).expect("somebody listens");
}

fn publish(store: &SqliteStore, keys: &[String]) {
    keys.iter().for_each(|key| say(&format!("try {key}")));
    let batch = keys.iter().map(|key| event(key)).collect();
    let appended = block_on(store.append(batch)).expect("the store appends");
    for (key, appended) in keys.iter().zip(appended) {
        say(&format!("ack {} {key}", position(appended.position)));
    }
}

fn position(at: Position) -> String {
    format!("{:x}-{}", at.epoch.0, at.seq)
}

fn parse_position(text: &str) -> Position {
    let (epoch, seq) = text.split_once('-').expect("a position");
    Position {
        epoch: Epoch(u64::from_str_radix(epoch, 16).expect("an epoch")),
        seq: seq.parse().expect("a seq"),
    }
}

/// Not a test of its own: what the other one kills.
#[test]
fn victim() {
    let Ok(path) = std::env::var(FILE) else {
        return;
    };
    let store = open(Path::new(&path));
    let retry = std::env::var(RETRY).expect("set");
    let retry: Vec<_> = retry.split_whitespace().map(str::to_owned).collect();
    for key in retry {
        publish(&store, &[key]);
    }
    for publisher in 0..PUBLISHERS {
        let store = store.clone();
        thread::spawn(move || {
            let own = format!("{}.{publisher}", std::process::id());
            for n in 0_u64.. {
                let batch = 1 + n % 3 * (publisher % 2);
                let keys: Vec<_> = (0..batch).map(|at| format!("{own}.{n}.{at}")).collect();
                publish(&store, &keys);
            }
        });
    }
    let cursor = std::env::var(CURSOR).expect("set");
    let mut after = match cursor.as_str() {
        "" => After::Earliest,
        cursor => parse_position(cursor).into(),
    };
    let mut hints = store.hints().expect("there are hints");
    loop {
        let page = block_on(store.read(&Selector::all(), after, Limit::default()))
            .expect("the store reads");
        if let Some(gap) = page.gap {
            say(&format!("gap {}", gap.reason));
        }
        for event in &page.events {
            let data = String::from_utf8_lossy(&event.data).into_owned();
            let key = data.split(' ').next().expect("a key");
            say(&format!("event {} {key}", position(event.position)));
        }
        after = page.next().into();
        if page.is_last() {
            block_on(hints.next());
        }
    }
}

fn start(path: &Path, cursor: Option<Position>, retry: &BTreeSet<String>) -> Child {
    Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "victim", "--nocapture", "--test-threads=1"])
        .env(FILE, path)
        .env(CURSOR, cursor.map_or_else(String::new, position))
        .env(RETRY, retry.iter().cloned().collect::<Vec<_>>().join(" "))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts")
}

/// Collects what the victim says until it is dead; counts acknowledgements as they come.
fn listen(mut from: ChildStderr, acks: Arc<AtomicUsize>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut said = Vec::new();
        let mut buffer = [0; 65_536];
        loop {
            let read = from.read(&mut buffer).expect("it can be heard");
            if read == 0 {
                return String::from_utf8_lossy(&said).into_owned();
            }
            let new = String::from_utf8_lossy(&buffer[..read]);
            acks.fetch_add(new.matches("ack ").count(), Ordering::Relaxed);
            said.extend_from_slice(&buffer[..read]);
        }
    })
}

#[test]
fn killed_under_load_nothing_acknowledged_is_lost_or_twice_and_clients_resume_without_a_gap() {
    let rounds = std::env::var("REPLAY_SQLITE_KILL_ROUNDS");
    let rounds: u64 = rounds.map_or(10, |rounds| rounds.parse().expect("a number of rounds"));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    // Of no consequence, but that the moments of death differ.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(std::process::id());
    let mut below = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };

    let mut acknowledged = BTreeMap::new();
    let mut unanswered = BTreeSet::new();
    let mut seen: Vec<(Position, String)> = Vec::new();
    let mut retried = 0;
    for round in 0..rounds {
        let cursor = seen.last().map(|(position, _)| *position);
        let mut victim = start(&path, cursor, &unanswered);
        let acks = Arc::new(AtomicUsize::new(0));
        let said = listen(victim.stderr.take().expect("piped"), Arc::clone(&acks));
        // Most die after some acknowledgements; some as they open the file, or soon after.
        let enough = if round % 5 == 4 { 0 } else { below(300) };
        while (acks.load(Ordering::Relaxed) as u64) < enough {
            let ended = victim.try_wait().expect("it can be asked");
            assert!(ended.is_none(), "round {round}: it ended by itself");
            thread::sleep(Duration::from_micros(500));
        }
        thread::sleep(Duration::from_micros(below(30_000)));
        victim.kill().expect("it runs");
        victim.wait().expect("it ends");
        let said = said.join().expect("it was heard");
        // A line without an end was never said.
        let whole = said.rfind('\n').map_or("", |end| &said[..end]);
        for line in whole.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["try", key] => {
                    if !unanswered.insert(key.to_owned()) {
                        retried += 1;
                    }
                }
                ["ack", position, key] => {
                    unanswered.remove(key);
                    let first = acknowledged.insert(key.to_owned(), parse_position(position));
                    assert_eq!(first, None, "{key} was acknowledged twice");
                }
                ["event", position, key] => seen.push((parse_position(position), key.to_owned())),
                ["gap", reason] => panic!("round {round}: the client was told of a gap: {reason}"),
                _ => assert!(!line.contains("panicked"), "round {round}: {line}"),
            }
        }
    }

    let store = open(&path);
    let mut log = Vec::new();
    let mut after = After::Earliest;
    loop {
        let page = block_on(store.read(&Selector::all(), after, Limit::default()))
            .expect("the store reads");
        for found in &page.events {
            let data = String::from_utf8_lossy(&found.data).into_owned();
            let key = data.split(' ').next().expect("a key").to_owned();
            assert_eq!(found.data, event(&key).data);
            log.push((found.position, key));
        }
        after = page.next().into();
        if page.is_last() {
            break;
        }
    }
    let seqs: Vec<_> = log.iter().map(|(position, _)| position.seq).collect();
    assert!(seqs.iter().copied().eq(1..=log.len() as u64), "{seqs:?}");
    let by_key: BTreeMap<_, _> = log.iter().map(|(position, key)| (key, *position)).collect();
    assert_eq!(by_key.len(), log.len(), "an event is there twice");
    for (key, position) in &acknowledged {
        assert_eq!(by_key.get(key), Some(position), "{key} was acknowledged");
    }
    assert!(seen.len() <= log.len());
    assert_eq!(seen, log[..seen.len()], "the client saw the log as it is");
    let epochs: BTreeSet<_> = log.iter().map(|(position, _)| position.epoch).collect();
    let bytes = fs::metadata(&path).expect("it is there").len();
    println!(
        "{rounds} rounds, {} epochs: {} events, {} acknowledged, {retried} tried again, {} seen \
         by the client; the file has {bytes} bytes",
        epochs.len(),
        log.len(),
        acknowledged.len(),
        seen.len(),
    );
    assert!(!acknowledged.is_empty() && !seen.is_empty());
}
