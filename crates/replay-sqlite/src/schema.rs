//! The file: its tables, its settings, its lock.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use replay_store::{Epoch, Epochs};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, params};

use crate::error::OpenError;
use crate::gate::{checkpoint, log_len, log_of};

/// `tdgt`: marks a SQLite file as ours.
const APPLICATION_ID: i32 = 0x7464_6774;

/// The format that this version writes.
const VERSION: i32 = 4;

/// Times are Unix milliseconds. `topics.prev` is null where the store has forgotten it; a topic
/// without events is idle; `topics.expires` is when its oldest event is too old, null for never,
/// under the bounds whose digest is `log.ages`. `events.sum` is null in what an older version wrote.
/// `log` has one row. `topic_events` has the events up to `log.indexed`,
/// and perhaps some at or below the floors of their topics.
const TABLES: &str = "
    CREATE TABLE log (
        id INTEGER PRIMARY KEY CHECK (id = 0),
        tail INTEGER NOT NULL,
        floor INTEGER NOT NULL,
        forgotten INTEGER NOT NULL,
        now_ms INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        idle INTEGER NOT NULL,
        keys INTEGER NOT NULL,
        epoch_changes INTEGER NOT NULL,
        ages INTEGER NOT NULL DEFAULT 0,
        indexed INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE epochs (
        nth INTEGER PRIMARY KEY,
        epoch INTEGER NOT NULL,
        birth INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE topics (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        floor INTEGER NOT NULL,
        prev INTEGER,
        events INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        ended INTEGER NOT NULL DEFAULT 0,
        expires INTEGER
    ) STRICT;
    CREATE INDEX idle_topics ON topics (floor) WHERE events = 0;
    CREATE INDEX expiring_topics ON topics (expires) WHERE expires IS NOT NULL;
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        topic INTEGER NOT NULL,
        prev INTEGER,
        type TEXT,
        conflate_key TEXT,
        time INTEGER NOT NULL,
        cost INTEGER NOT NULL,
        sum INTEGER,
        data BLOB NOT NULL
    ) STRICT;
    CREATE TABLE topic_events (
        topic INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        PRIMARY KEY (topic, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE keys (
        nth INTEGER PRIMARY KEY,
        topic TEXT NOT NULL,
        key TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        fingerprint BLOB NOT NULL,
        time INTEGER NOT NULL,
        UNIQUE (topic, key)
    ) STRICT;
";

/// What brings a file from each older version to the next.
const MIGRATIONS: [&str; VERSION as usize - 1] = [
    // Topics may end, and may be kept for different times.
    "ALTER TABLE log ADD COLUMN ages INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE topics ADD COLUMN ended INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE topics ADD COLUMN expires INTEGER;
    CREATE INDEX expiring_topics ON topics (expires) WHERE expires IS NOT NULL;",
    // Events have checksums.
    "ALTER TABLE events ADD COLUMN sum INTEGER;",
    // The index of topics may lack the end of the log.
    "ALTER TABLE log ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE topic_events (
        topic INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        PRIMARY KEY (topic, seq)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO topic_events SELECT topic, seq FROM events ORDER BY topic, seq;
    UPDATE log SET indexed = tail;
    DROP INDEX events_of_topic;",
];

/// A file that is open for writing.
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    pub(crate) epochs: Epochs,
    /// Whether it was there before.
    pub(crate) existed: bool,
}

/// Opens the file for writing, and makes it if it is not there: then its first epoch is `seed`.
pub(crate) fn open(path: &Path, seed: impl FnOnce() -> u64) -> Result<Opened, OpenError> {
    refuse_foreign_log(path)?;
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_CREATE)?;
    let tables: u32 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let existed = tables > 0;
    if existed {
        let found = check_format(&connection)?;
        use_wal(&connection)?;
        migrate(&mut connection, found)?;
    } else {
        // Must come before anything is written.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        use_wal(&connection)?;
        create(&mut connection, Epoch(seed()))?;
        // From here on the file says of itself what it is, whatever becomes of its log.
        let _settled = checkpoint(&connection)?;
    }
    let epochs = epochs(&connection)?.ok_or_else(|| OpenError::Corrupt {
        detail: "its epochs are not in order".to_owned(),
    })?;
    Ok(Opened {
        connection,
        epochs,
        existed,
    })
}

/// Where SQLite's header keeps the version of the file format that is needed to write it, 1 or, with
/// a write-ahead log, 2; and where the application's id.
const WRITE_VERSION: usize = 18;
const APPLICATION: Range<usize> = 68..72;

/// A file that has never had a write-ahead log, as a backup has not, cannot own the one beside it.
/// SQLite would apply it nevertheless.
fn refuse_foreign_log(path: &Path) -> Result<(), OpenError> {
    let log = log_of(path);
    if log_len(path) == 0 {
        return Ok(());
    }
    if is_backup(path) {
        return Err(OpenError::ForeignLog { path: log });
    }
    Ok(())
}

/// Is this a backup that was never opened? What cannot be read is not.
pub(crate) fn is_backup(path: &Path) -> bool {
    let mut header = Vec::new();
    let read = File::open(path).and_then(|file| file.take(100).read_to_end(&mut header));
    read.is_ok()
        && header.get(APPLICATION) == Some(&APPLICATION_ID.to_be_bytes()[..])
        && header.get(WRITE_VERSION) == Some(&1)
}

/// Opens an existing file once more, for reading.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    let connection = connect(path, OpenFlags::empty())?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Opens an existing file, perhaps that of another process, to take a backup of it.
pub(crate) fn open_source(path: &Path) -> Result<Connection, OpenError> {
    let connection = connect(path, OpenFlags::empty())?;
    check_format(&connection)?;
    Ok(connection)
}

/// The epochs in the file, `None` if they contradict each other.
pub(crate) fn epochs(connection: &Connection) -> rusqlite::Result<Option<Epochs>> {
    let mut statement =
        connection.prepare_cached("SELECT epoch, birth FROM epochs ORDER BY nth")?;
    let births = statement
        .query_map([], |row| {
            let (epoch, birth): (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok((Epoch(epoch.cast_unsigned()), birth.cast_unsigned()))
        })?
        .collect::<Result<_, _>>()?;
    Ok(Epochs::restore(births))
}

/// Writes the epochs over those in the file.
pub(crate) fn replace_epochs(connection: &Connection, epochs: &Epochs) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM epochs", [])?;
    let mut insert =
        connection.prepare_cached("INSERT INTO epochs (nth, epoch, birth) VALUES (?1, ?2, ?3)")?;
    for (nth, (epoch, birth)) in (0_i64..).zip(epochs.births()) {
        insert.execute(params![nth, epoch.0.cast_signed(), birth.cast_signed()])?;
    }
    Ok(())
}

/// The one name of the file, whatever links lead to it. An empty file is made if there is none,
/// which SQLite takes for a new database.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, OpenError> {
    make(path)
        .and_then(|_| path.canonicalize())
        .map_err(|source| OpenError::Lock {
            path: path.to_owned(),
            source,
        })
}

/// Keeps other processes out for as long as the answer lives. SQLite's own locks cannot be used
/// for this, since the readers of this process need the file too.
pub(crate) fn lock(resolved: &Path) -> Result<File, OpenError> {
    let mut name = OsString::from(resolved);
    name.push(".lock");
    let path = PathBuf::from(name);
    let file = make(&path).map_err(|source| OpenError::Lock {
        path: path.clone(),
        source,
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path }),
        Err(TryLockError::Error(source)) => Err(OpenError::Lock { path, source }),
    }
}

fn make(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
}

fn connect(path: &Path, create: OpenFlags) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(2))?;
    connection.set_prepared_statement_cache_capacity(64);
    // Plans do not depend on what is bound, so that no statement is prepared anew for a new value.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // On Apple systems a sync does not reach the disk without this; elsewhere it means nothing.
    connection.pragma_update(None, "fullfsync", true)?;
    // In KiB: what one connection may hold in memory.
    connection.pragma_update(None, "cache_size", -512)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    Ok(connection)
}

fn use_wal(connection: &Connection) -> Result<(), OpenError> {
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(OpenError::Corrupt {
            detail: format!("its journal mode stays {mode}"),
        });
    }
    Ok(())
}

/// The version of the file, if this can be read.
fn check_format(connection: &Connection) -> Result<i32, OpenError> {
    let id: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if id != APPLICATION_ID {
        return Err(OpenError::Foreign);
    }
    let found: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > VERSION {
        return Err(OpenError::Newer {
            found,
            known: VERSION,
        });
    }
    Ok(found)
}

/// Brings a file of an older version up to this one, whole or not at all.
fn migrate(connection: &mut Connection, found: i32) -> Result<(), OpenError> {
    let done = usize::try_from(found - 1).map_err(|_| OpenError::Corrupt {
        detail: format!("its format is {found}, which never was"),
    })?;
    if done == MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for step in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(())
}

fn create(connection: &mut Connection, seed: Epoch) -> Result<(), OpenError> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.execute(
        "INSERT INTO log VALUES (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)",
        [],
    )?;
    replace_epochs(&transaction, &Epochs::new(seed))?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(())
}
