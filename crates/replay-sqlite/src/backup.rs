//! Copies of a log, taken while it is in use.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::error::BackupError;
use crate::schema;

/// A backup that was taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backup {
    /// The last seq in it; 0 if nothing was ever appended.
    pub tail: u64,
    /// The size of the file, in bytes.
    pub bytes: u64,
}

/// Copies the log in the file at `from`, as it is at one moment, into a new file `to`. The log may
/// be in use, by this process or by another one, which is neither stopped nor held up; nothing that
/// was acknowledged before the call is missing from the copy.
///
/// The copy is written beside its place, as `TO.partial`, synced, and then given its name. It is a
/// whole database without unused space. To restore it, put it in the place of the log, without the
/// `-wal` and `-shm` files that were beside that, and open it.
///
/// A restored log starts an epoch with its first append, as after every opening. So events that
/// the lost log had appended after the backup keep their ids to themselves: a subscriber that has
/// seen one is told that the epoch changed and continues where the two histories part, and one that
/// has not misses nothing.
///
/// This takes as long as reading and writing the log does, on the calling thread.
///
/// # Errors
/// There is such a file already, `from` is no log, or one of them cannot be read or written.
pub fn backup(from: &Path, to: &Path) -> Result<Backup, BackupError> {
    if fs::symlink_metadata(to).is_ok() {
        return Err(BackupError::Exists {
            path: to.to_owned(),
        });
    }
    let partial = beside(to);
    let Some(name) = partial.to_str() else {
        return Err(BackupError::NotUtf8 {
            path: to.to_owned(),
        });
    };
    let failed = |source| BackupError::Write {
        path: partial.clone(),
        source,
    };
    let source = schema::open_source(from)?;
    // What a backup that was interrupted has left.
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let copied = copy(&source, name, &partial, to);
    if copied.is_err() {
        let _there_or_not = fs::remove_file(&partial);
    }
    let bytes = copied?.map_err(failed)?;
    let copy = Connection::open_with_flags(to, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    // Of any format, since the source may be of an older one.
    let tail: i64 = copy.query_row("SELECT tail FROM log", [], |row| row.get(0))?;
    let tail = tail.cast_unsigned();
    Ok(Backup { tail, bytes })
}

/// Writes, syncs and names the copy; returns its size.
fn copy(
    source: &Connection,
    name: &str,
    partial: &Path,
    to: &Path,
) -> rusqlite::Result<io::Result<u64>> {
    source.execute("VACUUM INTO ?1", [name])?;
    let finish = || {
        let file = File::open(partial)?;
        file.sync_all()?;
        fs::rename(partial, to)?;
        let folder = match to.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        File::open(folder)?.sync_all()?;
        Ok(file.metadata()?.len())
    };
    Ok(finish())
}

fn beside(to: &Path) -> PathBuf {
    let mut name = OsString::from(to);
    name.push(".partial");
    name.into()
}
