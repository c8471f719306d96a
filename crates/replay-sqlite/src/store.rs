//! The store: the face of the writer and the readers.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::stream::BoxStream;
use futures::{SinkExt as _, StreamExt as _};
use replay_store::{
    After, Append, Appended, Capabilities, Clock, Hint, KeyWindow, Limit, Page, ReplayStore,
    Retention, RetentionRules, Selector, StoreError, Topic, TopicInfo,
};

use crate::error::OpenError;
use crate::reader::{self, Job};
use crate::retain::Bounds;
use crate::schema;
use crate::writer::{Command, Published, Reply, Writer};

/// Commands that wait for the writer, each with up to an event's largest size; more wait with their
/// publishers.
const COMMANDS: usize = 64;

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
        }
    }
}

/// A store in one SQLite file. Clones are the same store; when the last one is dropped, what is
/// queued is written and the file is closed.
#[derive(Clone)]
pub struct SqliteStore(Arc<Shared>);

struct Shared {
    capabilities: Capabilities,
    clock: Clock,
    published: Arc<Published>,
    /// `None` once closed.
    ends: Mutex<Option<Ends>>,
    threads: Vec<JoinHandle<()>>,
    /// Held until everything else is gone.
    _lock: File,
}

/// The ends that keep the threads alive.
struct Ends {
    /// One sender for all, since every clone of it would have a slot of its own in the queue, and
    /// publishers that gave up could fill it without bound.
    commands: Arc<futures::lock::Mutex<mpsc::Sender<Command>>>,
    jobs: std::sync::mpsc::Sender<Job>,
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
        let (connection, epochs, existed) = schema::open(&path, &mut seeds)?;
        if existed {
            // What a process that died has left in the write-ahead log may not be synced yet.
            // Nobody else has the file open, so this is never held up.
            let _settled = schema::checkpoint(&connection)?;
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
        bounds.apply(&connection)?;
        let (jobs, mut threads) = reader::start(&path, config.readers)?;
        let published = Arc::new(Published::default());
        let writer = Writer {
            path,
            connection: Some(connection),
            epochs,
            epoch_due: existed,
            seeds: Box::new(seeds),
            clock: clock.clone(),
            bounds,
            keys: config.keys,
            capabilities,
            published: Arc::clone(&published),
        };
        let (commands, receiver) = mpsc::channel(COMMANDS);
        threads.push(thread::spawn(move || writer.run(receiver)));
        Ok(Self(Arc::new(Shared {
            capabilities,
            clock,
            published,
            ends: Mutex::new(Some(Ends {
                commands: Arc::new(futures::lock::Mutex::new(commands)),
                jobs,
            })),
            threads,
            _lock: lock,
        })))
    }

    async fn read_job<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        if self.0.published.expires_ms.load(Ordering::Acquire) <= self.0.clock.now_ms() {
            // A store that cannot write now can still be read; it only shows what is too old.
            let _ticked = self.ask(Command::Tick).await;
        }
        let (reply, answer) = oneshot::channel();
        let sent = self.0.ends(|ends| ends.jobs.send(job(reply)))?;
        sent.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, StoreError> {
        let commands = self.0.ends(|ends| Arc::clone(&ends.commands))?;
        let (reply, answer) = oneshot::channel();
        let sent = commands.lock().await.send(command(reply)).await;
        sent.map_err(|_| StoreError::Closed)?;
        // The writer answers everything it takes, unless it ends before: in order, or not.
        answer.await.unwrap_or_else(|_| {
            self.0.ends(|_| ())?;
            Err(StoreError::OutcomeUnknown {
                detail: "the writing thread ended".into(),
            })
        })
    }
}

impl Shared {
    fn ends<T>(&self, take: impl FnOnce(&Ends) -> T) -> Result<T, StoreError> {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.as_ref().map(take).ok_or(StoreError::Closed)
    }

    /// Lets the threads end when they have done what is queued.
    fn release(&self) {
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.release();
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
        self.0.release();
        match closed {
            Err(StoreError::Closed) => Ok(()),
            other => other,
        }
    }
}
