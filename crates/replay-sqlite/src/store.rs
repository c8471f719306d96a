//! The store: the face of the writer and the readers.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures::StreamExt as _;
use futures::channel::oneshot;
use futures::stream::BoxStream;
use replay_store::{
    After, Append, Appended, Capabilities, Clock, Hint, KeyWindow, Limit, Page, ReplayStore,
    Retention, RetentionRules, Selector, StoreError, Topic, TopicInfo,
};

use crate::backup::{self, Backup};
use crate::check;
use crate::error::{BackupError, OpenError};
use crate::gate::{Gate, checkpoint, log_len};
use crate::queue::Queue;
use crate::reader::{self, Job};
use crate::retain::Bounds;
use crate::schema;
use crate::table::TopicTable;
use crate::writer::{Chores, Command, Published, Reply, Writer};

/// Commands that wait for the writer, and their data; more wait with their publishers, in line.
const COMMANDS: usize = 1024;
const COMMAND_BYTES: usize = 16 << 20;

/// Pages that wait for a reader; more wait with whoever wants them, in line.
const JOBS: usize = 256;

/// How a [`SqliteStore`] is set up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SqliteConfig {
    /// How much of the log is kept; `log_bytes` bounds the file, times about 1.3.
    pub retention: Retention,
    /// Topics that are bounded otherwise.
    pub rules: RetentionRules,
    /// How long idempotency keys are remembered.
    pub keys: KeyWindow,
    /// The largest data of one event, in bytes.
    pub max_event_bytes: usize,
    /// Reading connections, at least one, each with a thread and a cache of up to 512 KiB. More
    /// clients than that may replay at once; they take turns, a page each.
    pub readers: usize,
    /// When the whole file is checked as it is opened.
    pub check: Check,
}

/// When the whole file is checked as it is opened: the structure of the database, and that what it
/// says of topics and events adds up. That reads all of the file: about two seconds for a million
/// events, 330 MB, on a busy machine. What events hold is checked whenever one is read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Check {
    /// Never.
    Never,
    /// When the store was not closed in order, and when the file is a backup.
    #[default]
    AfterCrash,
    /// Always.
    Always,
}

impl Default for SqliteConfig {
    /// The defaults of [`Retention`] and [`KeyWindow`], events of up to 1 MiB, two readers.
    fn default() -> Self {
        Self {
            retention: Retention::default(),
            rules: RetentionRules::default(),
            keys: KeyWindow::default(),
            max_event_bytes: 1 << 20,
            readers: 2,
            check: Check::default(),
        }
    }
}

/// A store in one SQLite file. Clones are the same store; when the last one is dropped, what is
/// queued is written and the file is closed.
#[derive(Clone)]
pub struct SqliteStore(Arc<Shared>);

struct Shared {
    path: PathBuf,
    capabilities: Capabilities,
    clock: Clock,
    published: Arc<Published>,
    gate: Arc<Gate>,
    commands: Arc<Queue<Command>>,
    jobs: Arc<Queue<Job>>,
    threads: Vec<JoinHandle<()>>,
    /// Held until everything else is gone.
    _lock: File,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the file at `path`, or makes it; its folder must be there. Beside it are `PATH-wal`
    /// and `PATH-shm`, which belong to it, and `PATH.lock`, which keeps other processes out.
    ///
    /// `seeds` gives 64 random bits each time an epoch begins.
    ///
    /// # Errors
    ///
    /// Another process has the file open, it is not a store, or it cannot be read or written.
    pub fn open(
        path: &Path,
        config: SqliteConfig,
        mut seeds: impl FnMut() -> u64 + Send + 'static,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let path = schema::resolve(path)?;
        let lock = schema::lock(&path)?;
        let doubtful = log_len(&path) > 0 || schema::is_backup(&path);
        let opened = schema::open(&path, &mut seeds)?;
        if opened.existed {
            let check = match config.check {
                Check::Never => false,
                Check::AfterCrash => doubtful,
                Check::Always => true,
            };
            if check {
                check::check(&opened.connection)?;
            }
            // What a process that died has left in the write-ahead log may not be synced yet.
            // Nobody else has the file open, so this is never held up.
            let _settled = checkpoint(&opened.connection)?;
        }
        let capabilities = Capabilities {
            dense: true,
            exact_gaps: true,
            atomic_batch: true,
            per_topic_retention: true,
            survives_process: true,
            survives_power: true,
            survives_failover: false,
            dedup_window: if config.keys.count == 0 {
                Duration::ZERO
            } else {
                config.keys.age
            },
            max_event_bytes: config.max_event_bytes,
        };
        let bounds = Bounds {
            retention: config.retention,
            rules: config.rules,
        };
        bounds.apply(&opened.connection)?;
        let gate = Arc::<Gate>::default();
        let jobs = Arc::new(Queue::new(JOBS, usize::MAX));
        let commands = Arc::new(Queue::new(COMMANDS, COMMAND_BYTES));
        let published = Arc::new(Published::default());
        let writer = Writer {
            path: path.clone(),
            commands: Arc::clone(&commands),
            connection: Some(opened.connection),
            epochs: opened.epochs,
            epoch_due: opened.existed,
            expires_ms: 0,
            table: TopicTable::default(),
            chores: Chores::default(),
            gate: Arc::clone(&gate),
            seeds: Box::new(seeds),
            clock: clock.clone(),
            bounds,
            keys: config.keys,
            capabilities,
            published: Arc::clone(&published),
        };
        let mut shared = Shared {
            path,
            capabilities,
            clock,
            published,
            gate,
            commands,
            jobs,
            threads: Vec::new(),
            _lock: lock,
        };
        // Should one of them not start, those that did end with what is shared.
        shared.threads = reader::start(&shared.path, config.readers, &shared.jobs, &shared.gate)?;
        let write = thread::Builder::new().name("replay-sqlite write".to_owned());
        shared.threads.push(write.spawn(move || writer.run())?);
        Ok(Self(Arc::new(shared)))
    }

    /// Copies the log as it is now into a new file, which is synced and complete once it bears its
    /// name, while everything else goes on: [`backup`](crate::backup()) says more. Meanwhile the
    /// write-ahead log beside the file grows with what is appended.
    ///
    /// # Errors
    /// There is such a file already, or it cannot be written.
    ///
    /// # Cancel safety
    /// The backup is taken nevertheless.
    pub async fn backup(&self, to: &Path) -> Result<Backup, BackupError> {
        let (reply, answer) = oneshot::channel();
        let (shared, to) = (Arc::clone(&self.0), to.to_owned());
        let take = thread::Builder::new().name("replay-sqlite backup".to_owned());
        let spawned = take.spawn(move || {
            let _log_may_grow = shared.gate.back_up();
            let _gone = reply.send(backup::backup(&shared.path, &to));
        });
        spawned.map_err(OpenError::from)?;
        answer
            .await
            .unwrap_or_else(|_| Err(rusqlite::Error::InvalidQuery.into()))
    }

    async fn read_job<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        if self.0.published.expires_ms.load(Ordering::Acquire) <= self.0.clock.now_ms() {
            // A store that cannot write now can still be read; it only shows what is too old.
            let _ticked = self.ask(Command::Tick).await;
        }
        let (reply, answer) = oneshot::channel();
        let queued = self.0.jobs.push(job(reply), 0).await;
        queued.map_err(|_| StoreError::Closed)?;
        // A reader answers everything it takes, unless it panics.
        answer.await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable {
                detail: "reading panicked".into(),
            })
        })
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let command = command(reply);
        let weight = command.weight();
        let queued = self.0.commands.push(command, weight).await;
        queued.map_err(|_| StoreError::Closed)?;
        // The writer answers everything it takes, unless it is closed before, or panics.
        answer.await.unwrap_or_else(|_| {
            Err(if self.0.commands.is_closed() {
                StoreError::Closed
            } else {
                StoreError::OutcomeUnknown {
                    detail: "writing panicked".into(),
                }
            })
        })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The threads end when they have done what is queued.
        self.commands.close();
        self.jobs.close();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already.
            let _panicked = thread.join();
        }
    }
}

impl ReplayStore for SqliteStore {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities
    }

    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        self.ask(|reply| Command::Append(batch, reply)).await
    }

    async fn read(
        &self,
        selector: &Selector,
        after: After,
        limit: Limit,
    ) -> Result<Page, StoreError> {
        let selector = selector.clone();
        self.read_job(|reply| Job::Page {
            selector,
            after,
            limit,
            reply,
        })
        .await
    }

    async fn trim(&self, selector: &Selector, through: u64) -> Result<(), StoreError> {
        let selector = selector.clone();
        self.ask(|reply| Command::Trim(selector, through, reply))
            .await
    }

    async fn topics(
        &self,
        selector: &Selector,
        after: Option<&Topic>,
        limit: usize,
    ) -> Result<Vec<TopicInfo>, StoreError> {
        let (selector, after) = (selector.clone(), after.cloned());
        self.read_job(|reply| Job::Topics {
            selector,
            after,
            limit,
            reply,
        })
        .await
    }

    fn hints(&self) -> Option<BoxStream<'static, Hint>> {
        Some(self.0.published.hints.subscribe().boxed())
    }

    async fn close(&self) -> Result<(), StoreError> {
        let closed = self.ask(Command::Close).await;
        self.0.jobs.close();
        match closed {
            Err(StoreError::Closed) => Ok(()),
            other => other,
        }
    }
}
