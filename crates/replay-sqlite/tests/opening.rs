//! Opening: what is refused, and what a process that was killed leaves behind.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use futures::executor::block_on;
use replay_sqlite::{OpenError, SqliteConfig, SqliteStore};
use replay_store::{After, Append, Clock, Limit, ReplayStore as _, Selector, Topic};

/// Set in the process that is to be killed; the file to append to.
const VICTIM: &str = "REPLAY_SQLITE_TEST_VICTIM";

fn open(path: &Path, seed: u64) -> Result<SqliteStore, OpenError> {
    let clock = Clock::new(|| 1_790_000_000_000);
    SqliteStore::open(path, SqliteConfig::default(), move || seed, clock)
}

fn append(store: &SqliteStore, data: &str) -> String {
    let topic = Topic::new("topic").expect("valid");
    let batch = vec![Append::new(topic, data.to_owned())];
    let appended = block_on(store.append(batch)).expect("the store appends");
    appended[0].position.to_string()
}

fn all(store: &SqliteStore) -> Vec<(String, String)> {
    let mut after = After::Earliest;
    let mut events = Vec::new();
    loop {
        let page = block_on(store.read(&Selector::all(), after, Limit::default()))
            .expect("the store reads");
        assert_eq!(page.gap, None);
        after = page.next().into();
        let last = page.is_last();
        events.extend(page.events.iter().map(|event| {
            let data = String::from_utf8_lossy(&event.data).into_owned();
            (event.position.to_string(), data)
        }));
        if last {
            return events;
        }
    }
}

#[test]
fn a_second_store_on_the_same_file_is_refused_until_the_first_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let first = open(&path, 1).expect("the file is new");
    let refused = open(&path, 2).expect_err("the file is in use");
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    drop(first);
    open(&path, 2).expect("the file is free again");
}

#[test]
fn what_is_not_a_store_is_refused_and_left_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let foreign = folder.path().join("foreign.db");
    let connection = rusqlite::Connection::open(&foreign).expect("a database");
    connection
        .execute_batch("CREATE TABLE t (x)")
        .expect("a table");
    drop(connection);
    let text = folder.path().join("notes.txt");
    fs::write(
        &text,
        "not a database, but long enough to be read as a header\n".repeat(9),
    )
    .expect("a file");
    for path in [&foreign, &text] {
        let before = fs::read(path).expect("it is there");
        let refused = open(path, 1).expect_err("not a store");
        assert!(!refused.to_string().is_empty());
        assert_eq!(fs::read(path).expect("it is there"), before);
    }
    let missing = folder.path().join("no such folder").join("events.db");
    let refused = open(&missing, 1).expect_err("there is no folder");
    assert!(matches!(refused, OpenError::Lock { .. }), "{refused}");
}

#[test]
fn a_store_of_a_later_format_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    drop(open(&path, 1).expect("the file is new"));
    let connection = rusqlite::Connection::open(&path).expect("it is a database");
    connection
        .pragma_update(None, "user_version", 99)
        .expect("it can be written");
    drop(connection);
    let refused = open(&path, 1).expect_err("too new");
    assert!(
        matches!(refused, OpenError::Newer { found: 99, .. }),
        "{refused}"
    );
}

/// Not a test of its own: what [`a_killed_process_loses_nothing_it_acknowledged`] kills.
#[test]
fn victim() {
    let Ok(path) = std::env::var(VICTIM) else {
        return;
    };
    let seed = std::process::id().into();
    let store = open(Path::new(&path), seed).expect("the file opens");
    for n in 0_u64.. {
        let position = append(&store, &format!("{seed} {n}"));
        let mut stderr = std::io::stderr().lock();
        writeln!(stderr, "{position} {seed} {n}").expect("somebody listens");
    }
}

fn start_victim(path: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "victim", "--nocapture", "--test-threads=1"])
        .env(VICTIM, path)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts")
}

#[test]
fn a_killed_process_loses_nothing_it_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let mut acknowledged = Vec::new();
    for round in 1..=5 {
        let mut victim = start_victim(&path);
        let lines = BufReader::new(victim.stderr.take().expect("piped")).lines();
        for line in lines {
            let line = line.expect("text");
            let (position, data) = line.split_once(' ').expect("position and data");
            acknowledged.push((position.to_owned(), data.to_owned()));
            if acknowledged.len() >= round * 40 {
                victim.kill().expect("it runs");
            }
        }
        victim.wait().expect("it ends");
        let store = open(&path, round as u64).expect("the file opens again");
        let found = all(&store);
        // What was appended and not acknowledged may be there, once, behind what was.
        let mut missing = acknowledged.iter();
        let mut next = missing.next();
        for event in &found {
            if Some(event) == next {
                next = missing.next();
            }
        }
        assert_eq!(next, None, "acknowledged in round {round}, and lost");
        let mut positions: Vec<_> = found.iter().map(|(_, data)| data).collect();
        let all_found = positions.len();
        positions.sort_unstable();
        positions.dedup();
        assert_eq!(positions.len(), all_found, "an event is there twice");
    }
}

#[cfg(unix)]
#[test]
fn a_file_is_one_file_whatever_links_lead_to_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).expect("a link to nothing yet");
    let first = open(&link, 1).expect("the file is new");
    for name in [&path, &link] {
        let refused = open(name, 2).expect_err("the file is in use");
        assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    }
    drop(first);
    open(&path, 2).expect("the file is free again");
}
