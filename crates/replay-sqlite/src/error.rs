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
    /// SQLite cannot open, read or write the file.
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
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
