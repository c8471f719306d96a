//! A durable replay store in one SQLite file.
//!
//! An append is acknowledged once SQLite has synced it to disk (`journal_mode=WAL`,
//! `synchronous=FULL`). One thread writes; appends that arrive while it syncs share the next
//! commit, so throughput grows with the number of publishers. A few threads read, each with a
//! connection of its own, and never wait for the writer.
//!
//! The numbering of a file goes on where it ended. Every opening starts an epoch with its first
//! append, and so does a commit whose outcome is not known; cursors of before stay valid as far as
//! nothing was lost, so a restart costs no subscriber a gap.
//!
//! A file that another program or the disk has damaged is refused, or the read is: events have
//! checksums, and the file is [checked](Check) after a crash. [`backup()`] copies a log in use.
//!
//! For a log that need not outlive the process, use [`replay_store::MemoryStore`]. For one that
//! several machines share, this is the wrong store: a second process is refused.
//!
//! ```
//! use replay_sqlite::{SqliteConfig, SqliteStore};
//! use replay_store::{After, Append, Clock, Limit, ReplayStore, Selector, Topic};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # futures::executor::block_on(async {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("events.db");
//! let clock = Clock::new(|| {
//!     let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
//!     since.as_millis() as u64
//! });
//! // In earnest, take the seeds of epochs from the operating system's randomness.
//! let mut seed = 0;
//! let seeds = move || {
//!     seed += 1;
//!     seed
//! };
//! let store = SqliteStore::open(&path, SqliteConfig::default(), seeds, clock)?;
//!
//! let topic = Topic::new("greetings")?;
//! let appended = store.append(vec![Append::new(topic.clone(), "hello")]).await?;
//! let page = store.read(&topic.into(), After::Earliest, Limit::default()).await?;
//! assert_eq!(page.events[0].position, appended[0].position);
//! # Ok(())
//! # })
//! # }
//! ```

#![forbid(unsafe_code)]

mod backup;
mod check;
mod error;
mod gate;
mod index;
mod log;
mod queue;
mod reader;
mod retain;
mod row;
mod schema;
mod store;
mod table;
mod topic;
mod writer;

pub use self::backup::{Backup, backup};
pub use self::error::{BackupError, OpenError};
pub use self::store::{Check, SqliteConfig, SqliteStore};
