//! Between the writer and the readers: keeps the write-ahead log short.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use rusqlite::Connection;

/// SQLite begins its log again only at a moment when nobody reads it. Past this length of it, which
/// is about four times what is usual, such a moment is made.
const LOG_BYTES: u64 = 16 << 20;

/// Every page is read under a guard of it, so that the writer can wait for a moment without any.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    lock: RwLock<()>,
    /// Backups that are being taken. They take as long as they take; nobody waits for them.
    backups: AtomicUsize,
    /// How much longer than [`LOG_BYTES`] the log may become before this is tried again.
    put_off: AtomicU64,
}

impl Gate {
    /// To be held while a page is read.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, ()> {
        self.lock.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be held while a backup is taken.
    pub(crate) fn back_up(&self) -> Backup<'_> {
        self.backups.fetch_add(1, Ordering::AcqRel);
        Backup(&self.backups)
    }

    /// Moves the whole write-ahead log into the file, which proves that the file can be written.
    /// `false`: somebody else reads the file.
    pub(crate) fn checkpoint(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let _nobody_reads = self.lock.write().unwrap_or_else(PoisonError::into_inner);
        checkpoint(connection)
    }

    /// Does so if the log has become too long. While a backup is taken, it may.
    pub(crate) fn keep_log_short(
        &self,
        path: &Path,
        connection: &Connection,
    ) -> rusqlite::Result<()> {
        let len = log_len(path);
        let put_off = self.put_off.load(Ordering::Relaxed);
        if len <= LOG_BYTES.saturating_add(put_off) || self.backups.load(Ordering::Acquire) > 0 {
            return Ok(());
        }
        // Another program that reads the file holds this up for as long as SQLite waits for it;
        // not with every commit.
        let settled = self.checkpoint(connection)?;
        self.put_off
            .store(if settled { 0 } else { len }, Ordering::Relaxed);
        Ok(())
    }
}

/// A backup that is being taken.
#[derive(Debug)]
pub(crate) struct Backup<'g>(&'g AtomicUsize);

impl Drop for Backup<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// As [`Gate::checkpoint`], for who knows that nobody reads.
pub(crate) fn checkpoint(connection: &Connection) -> rusqlite::Result<bool> {
    let busy: i64 =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    Ok(busy == 0)
}

/// The length of the write-ahead log beside a file; 0 if there is none.
pub(crate) fn log_len(path: &Path) -> u64 {
    std::fs::metadata(log_of(path)).map_or(0, |found| found.len())
}

/// The write-ahead log beside a file.
pub(crate) fn log_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push("-wal");
    name.into()
}
