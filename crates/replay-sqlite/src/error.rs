//! What can go wrong, in the store's words.

use std::io;
use std::path::PathBuf;

use replay_store::StoreError;
use rusqlite::ErrorCode;

/// Why a file could not be opened as a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another store in this one, has the file open.
    #[error("{path} is in use by another process; a store belongs to one process at a time", path = .path.display())]
    InUse {
        /// The lock file that is held.
        path: PathBuf,
    },
    /// The file, or the lock file beside it, could not be made or locked.
    #[error("cannot open {path} for writing: {source}; is the folder there, and may it be written to?", path = .path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is a SQLite database of another application.
    #[error("the file is a database, but not a store of events; choose another path")]
    Foreign,
    /// The file was written by a later version of this crate.
    #[error("the store has format {found}, this version reads up to {known}; use a newer version")]
    Newer {
        /// The format of the file.
        found: i32,
        /// The newest format this version knows.
        known: i32,
    },
    /// The file contradicts itself.
    #[error("the store is corrupt: {detail}; restore it from a backup, or choose another path")]
    Corrupt {
        /// What was found.
        detail: String,
    },
    /// The write-ahead log beside the file is that of another one, which was there before; applying
    /// it would ruin the file.
    #[error("the file is a backup, and {path} is not its write-ahead log; move it away, and the -shm file beside it too", path = .path.display())]
    ForeignLog {
        /// The log.
        path: PathBuf,
    },
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
    /// SQLite cannot open, read or write the file.
    #[error("SQLite: {0}; is there room on the disk, and may the file be written to?")]
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        match failed(&error) {
            StoreError::Corrupt { detail } => Self::Corrupt {
                detail: detail.as_ref().into(),
            },
            _ => Self::Sqlite(error),
        }
    }
}

/// Why a backup could not be taken. The log itself is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// There is a file already; a backup replaces none.
    #[error("{path} is there already; choose another path for the backup", path = .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The path is not UTF-8, which SQLite needs.
    #[error("{path} is not UTF-8; choose another path for the backup", path = .path.display())]
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// The log could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The backup could not be synced, or given its name.
    #[error("cannot write {path}: {source}; is the folder there, and may it be written to?", path = .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// SQLite could not read the log or write the backup.
    #[error("SQLite: {0}; is there room on the disk for the backup?")]
    Sqlite(#[from] rusqlite::Error),
}

/// The file contradicts itself, in a way that SQLite does not see.
pub(crate) fn corrupt(detail: &str) -> rusqlite::Error {
    let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(error, Some(detail.to_owned()))
}

/// Nothing of the transaction took effect.
pub(crate) fn failed(error: &rusqlite::Error) -> StoreError {
    let detail = error.to_string().into();
    let corrupt = match error {
        rusqlite::Error::SqliteFailure(failure, _) => matches!(
            failure.code,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase
        ),
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::QueryReturnedNoRows => true,
        _ => false,
    };
    if corrupt {
        StoreError::Corrupt { detail }
    } else {
        StoreError::Unavailable { detail }
    }
}
