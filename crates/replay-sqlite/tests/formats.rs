//! Files of every format that there was are opened, and lose nothing; later ones are refused.

use std::path::Path;

use futures::executor::block_on;
use replay_sqlite::{OpenError, SqliteConfig, SqliteStore};
use replay_store::{
    After, Append, Clock, Epoch, Limit, Position, ReplayStore as _, Selector, StoreError, Topic,
};

/// What the first version made.
const FORMAT_1: &str = "
    PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA journal_mode = WAL;
    PRAGMA application_id = 0x74646774;
    PRAGMA user_version = 1;
    CREATE TABLE log (id INTEGER PRIMARY KEY CHECK (id = 0), tail INTEGER NOT NULL,
        floor INTEGER NOT NULL, forgotten INTEGER NOT NULL, now_ms INTEGER NOT NULL,
        bytes INTEGER NOT NULL, idle INTEGER NOT NULL, keys INTEGER NOT NULL,
        epoch_changes INTEGER NOT NULL) STRICT;
    CREATE TABLE epochs (nth INTEGER PRIMARY KEY, epoch INTEGER NOT NULL,
        birth INTEGER NOT NULL) STRICT;
    CREATE TABLE topics (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
        floor INTEGER NOT NULL, prev INTEGER, events INTEGER NOT NULL,
        bytes INTEGER NOT NULL) STRICT;
    CREATE INDEX idle_topics ON topics (floor) WHERE events = 0;
    CREATE TABLE events (seq INTEGER PRIMARY KEY, topic INTEGER NOT NULL, prev INTEGER, type TEXT,
        conflate_key TEXT, time INTEGER NOT NULL, cost INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
    CREATE INDEX events_of_topic ON events (topic, seq);
    CREATE TABLE keys (nth INTEGER PRIMARY KEY, topic TEXT NOT NULL, key TEXT NOT NULL,
        epoch INTEGER NOT NULL, seq INTEGER NOT NULL, fingerprint BLOB NOT NULL,
        time INTEGER NOT NULL, UNIQUE (topic, key)) STRICT;
    INSERT INTO epochs VALUES (0, 10, 1), (1, 11, 2);
    INSERT INTO topics VALUES (1, 'a', 1, 2, 1, 130), (2, 'b', 0, 3, 1, 130);
    INSERT INTO events VALUES
        (2, 1, 1, 'greeting', NULL, 1790000000000, 130, x'68'),
        (3, 2, 0, NULL, 'key', 1790000000000, 130, x'69');
    INSERT INTO log VALUES (0, 3, 1, 0, 1790000000000, 260, 0, 0, 1);
";

/// What format 2 added.
const FORMAT_2: &str = "
    ALTER TABLE log ADD COLUMN ages INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE topics ADD COLUMN ended INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE topics ADD COLUMN expires INTEGER;
    CREATE INDEX expiring_topics ON topics (expires) WHERE expires IS NOT NULL;
    PRAGMA user_version = 2;
";

/// What format 3 added.
const FORMAT_3: &str = "
    ALTER TABLE events ADD COLUMN sum INTEGER;
    PRAGMA user_version = 3;
";

fn open(path: &Path) -> Result<SqliteStore, OpenError> {
    let clock = Clock::new(|| 1_790_000_000_000);
    SqliteStore::open(path, SqliteConfig::default(), || 12, clock)
}

#[track_caller]
fn check(format: i64, statements: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let connection = rusqlite::Connection::open(&path).expect("a database");
    connection.execute_batch(statements).expect("it is made");
    drop(connection);
    let backup = replay_sqlite::backup(&path, &folder.path().join("backup.db"));
    assert_eq!(backup.expect("the backup is taken").tail, 3);
    for round in 0..2 {
        let store = open(&path).unwrap_or_else(|error| panic!("format {format}: {error}"));
        let page = block_on(store.read(&Selector::all(), After::Earliest, Limit::default()))
            .expect("the store reads");
        let texts: Vec<_> = page.events.iter().map(|event| &event.data[..]).collect();
        assert_eq!(texts, [&b"h"[..], b"i", b"new", b"new"][..2 + round]);
        assert_eq!(
            page.events[0].event.as_ref().map(|it| it.as_str()),
            Some("greeting")
        );
        assert_eq!(page.events[1].conflate_key.as_deref(), Some("key"));
        let old = Position {
            epoch: Epoch(11),
            seq: 2,
        };
        assert_eq!(page.events[0].position, old);
        let page = block_on(store.read(&Selector::all(), old.into(), Limit::default()));
        assert_eq!(page.expect("the store reads").gap, None);
        let of_topic = |name: &str| {
            let topic = Topic::new(name).expect("valid");
            let page = block_on(store.read(&topic.into(), After::Earliest, Limit::default()));
            let page = page.expect("the store reads");
            let seqs = page.events.iter().map(|event| event.position.seq);
            seqs.collect::<Vec<_>>()
        };
        assert_eq!(of_topic("a"), [2, 4][..1 + round]);
        assert_eq!(of_topic("b"), [3]);
        let new = vec![Append::new(Topic::new("a").expect("valid"), "new")];
        let appended = block_on(store.append(new)).expect("the store appends");
        assert_eq!(appended[0].position.seq, 4 + round as u64);
    }
    let connection = rusqlite::Connection::open(&path).expect("a database");
    let version = connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
    assert_eq!(version, Ok(4));
}

#[test]
fn a_file_of_format_1_is_brought_up_to_date() {
    check(1, FORMAT_1);
}

#[test]
fn a_file_of_format_2_is_brought_up_to_date() {
    check(2, &format!("{FORMAT_1}{FORMAT_2}"));
}

#[test]
fn a_file_of_format_3_is_brought_up_to_date() {
    check(3, &format!("{FORMAT_1}{FORMAT_2}{FORMAT_3}"));
}

#[test]
fn a_file_of_a_later_format_is_refused_and_left_as_it_was() {
    for found in [5, 99, i32::MAX, 0, -1] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("events.db");
        drop(open(&path).expect("the file is new"));
        let connection = rusqlite::Connection::open(&path).expect("it is a database");
        connection
            .pragma_update(None, "user_version", found)
            .expect("it can be written");
        drop(connection);
        let before = std::fs::read(&path).expect("it is there");
        match open(&path).expect_err("no such format") {
            OpenError::Newer { found: told, .. } if found > 0 => assert_eq!(told, found),
            OpenError::Corrupt { detail } if found < 1 => assert!(!detail.is_empty()),
            other => panic!("{found}: {other}"),
        }
        assert_eq!(std::fs::read(&path).expect("it is there"), before);
    }
}

#[test]
fn an_event_that_the_file_has_damaged_is_an_error_and_the_rest_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let store = open(&path).expect("the file is new");
    for name in ["one", "two", "three"] {
        let append = Append::new(
            Topic::new(name).expect("valid"),
            format!("the data of {name}"),
        );
        block_on(store.append(vec![append])).expect("the store appends");
    }
    drop(store);
    let mut file = std::fs::read(&path).expect("it is there");
    let data = b"the data of two";
    let at = file.windows(data.len()).position(|bytes| bytes == data);
    file[at.expect("it is in the file")] ^= 1;
    std::fs::write(&path, &file).expect("it is written");

    let store = open(&path).expect("its structure is sound");
    let read = |name: &str| {
        let topic = Topic::new(name).expect("valid");
        block_on(store.read(&topic.into(), After::Earliest, Limit::default()))
    };
    assert_eq!(read("one").map(|page| page.events.len()), Ok(1));
    assert_eq!(read("three").map(|page| page.events.len()), Ok(1));
    assert!(matches!(read("two"), Err(StoreError::Corrupt { .. })));
    let whole = block_on(store.read(&Selector::all(), After::Earliest, Limit::default()));
    assert!(
        matches!(whole, Err(StoreError::Corrupt { .. })),
        "{whole:?}"
    );
}
