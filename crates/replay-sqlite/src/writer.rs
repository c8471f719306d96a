//! The writing side: one thread that commits whatever has queued up meanwhile.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt as _;
use futures::channel::{mpsc, oneshot};
use futures::executor::block_on;
use replay_store::{
    Append, Appended, Capabilities, Clock, Epoch, Epochs, Hint, Hints, KeyWindow, Selector,
    StoreError,
};
use rusqlite::Connection;

use crate::error::failed;
use crate::log::{AppendError, Log, Outcome};
use crate::retain::Bounds;
use crate::schema;

/// The most commands that share one commit, and the data after which no more are added.
const GROUP: usize = 512;
const GROUP_BYTES: usize = 8 << 20;

/// Free pages that the file may keep for what comes next, and how many are given back at once.
const SPARE_PAGES: i64 = 2048;
const VACUUM_PAGES: u32 = 256;

pub(crate) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked for.
pub(crate) enum Command {
    Append(Vec<Append>, Reply<Vec<Appended>>),
    Trim(Selector, u64, Reply<()>),
    /// Time has passed: trim what is too old.
    Tick(Reply<()>),
    Close(Reply<()>),
}

/// What the writer tells everybody after each commit.
#[derive(Debug, Default)]
pub(crate) struct Published {
    pub(crate) hints: Hints,
    /// When the next event is too old; the largest value for never.
    pub(crate) expires_ms: AtomicU64,
}

pub(crate) struct Writer {
    pub(crate) path: PathBuf,
    /// `None` after a commit whose outcome is not known, until the file can be written again.
    pub(crate) connection: Option<Connection>,
    pub(crate) epochs: Epochs,
    /// The next event starts an epoch.
    pub(crate) epoch_due: bool,
    pub(crate) seeds: Box<dyn FnMut() -> u64 + Send>,
    pub(crate) clock: Clock,
    pub(crate) bounds: Bounds,
    pub(crate) keys: KeyWindow,
    pub(crate) capabilities: Capabilities,
    pub(crate) published: Arc<Published>,
}

/// Commands that were applied, and whose answers wait for the commit.
#[derive(Default)]
struct Applied {
    appends: Vec<AppliedAppend>,
    others: Vec<Reply<()>>,
    /// Who asked to close. Answered after the commit, and after closing.
    close: Option<Reply<()>>,
}

struct AppliedAppend {
    result: Result<Vec<Appended>, StoreError>,
    reply: Reply<Vec<Appended>>,
}

impl Applied {
    /// Tells everybody how it ended. A batch that was refused before is told that.
    fn answer(self, committed: &Result<(), StoreError>) {
        // Whoever asked may have gone.
        for AppliedAppend { result, reply } in self.appends {
            let result = result.and_then(|appended| committed.clone().map(|()| appended));
            let _gone = reply.send(result);
        }
        for reply in self.others {
            let _gone = reply.send(committed.clone());
        }
    }
}

impl Writer {
    /// Serves commands until one says to close, or nobody is left to send any.
    pub(crate) fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(first) = block_on(commands.next()) {
            let mut bytes = size(&first);
            let mut group = vec![first];
            while group.len() < GROUP && bytes < GROUP_BYTES {
                let Ok(next) = commands.try_recv() else { break };
                bytes += size(&next);
                group.push(next);
            }
            if let Some(reply) = self.serve(group) {
                let _gone = reply.send(self.close());
                return;
            }
        }
        // Nobody is left to tell; a failed checkpoint is made up for by the next opening.
        let _closed = self.close();
    }

    /// Commits what the commands ask for and answers them. Returns who asked to close.
    fn serve(&mut self, group: Vec<Command>) -> Option<Reply<()>> {
        let mut applied = Applied::default();
        let committed = self.transact(group, &mut applied);
        let close = applied.close.take();
        applied.answer(&committed);
        self.vacuum();
        close
    }

    fn transact(&mut self, group: Vec<Command>, applied: &mut Applied) -> Result<(), StoreError> {
        let reopened = self.reopen_if_needed();
        let next_epoch = self.epoch_due.then(|| Epoch((self.seeds)()));
        let mut log = reopened.and_then(|()| self.begin(next_epoch));
        let log_prev = log.as_ref().map_or(0, |log| log.row.tail);
        for command in group {
            self.apply(&mut log, command, applied);
        }
        let prepared = log.and_then(|log| self.finish(log).map_err(|error| failed(&error)));
        let Some(connection) = &self.connection else {
            return prepared.map(|_| ());
        };
        let outcome = match prepared {
            Ok(outcome) => outcome,
            Err(error) => {
                // After some errors SQLite has rolled back by itself; then this changes nothing.
                let _rolled_back = connection.execute_batch("ROLLBACK");
                if !connection.is_autocommit() {
                    self.distrust();
                }
                return Err(error);
            }
        };
        if let Err(error) = connection.execute_batch("COMMIT") {
            self.distrust();
            return Err(StoreError::OutcomeUnknown {
                detail: error.to_string().into(),
            });
        }
        self.publish(outcome, log_prev);
        Ok(())
    }

    /// A commit that failed, perhaps in its sync, may still be found in the file later. It is not
    /// tried again: the file is read anew, and what follows is another epoch.
    fn distrust(&mut self) {
        self.connection = None;
        self.epoch_due = true;
    }

    fn begin(&self, next_epoch: Option<Epoch>) -> Result<Log<'_>, StoreError> {
        let connection = self.connection.as_ref().ok_or(StoreError::Closed)?;
        let begin = || {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            let mut log = Log::load(connection, &self.bounds, self.epochs.clone(), next_epoch)?;
            log.tick(self.clock.now_ms(), &self.keys)?;
            Ok(log)
        };
        begin().map_err(|error: rusqlite::Error| failed(&error))
    }

    /// Applies one command, unless the transaction is broken.
    fn apply(
        &self,
        log: &mut Result<Log<'_>, StoreError>,
        command: Command,
        applied: &mut Applied,
    ) {
        let mut broken = None;
        match command {
            Command::Append(batch, reply) => {
                let result = match log
                    .as_mut()
                    .map(|log| log.append(batch, &self.capabilities))
                {
                    Ok(Ok(appended)) => Ok(appended),
                    Ok(Err(AppendError::Refused(refused))) => Err(refused),
                    Ok(Err(AppendError::Failed(error))) => {
                        broken = Some(error);
                        Ok(vec![])
                    }
                    Err(_) => Ok(vec![]),
                };
                applied.appends.push(AppliedAppend { result, reply });
            }
            Command::Trim(selector, through, reply) => {
                if let Ok(log) = log {
                    broken = log.trim(&selector, through).err();
                }
                applied.others.push(reply);
            }
            Command::Tick(reply) => applied.others.push(reply),
            Command::Close(reply) => applied.close = Some(reply),
        }
        if let Some(error) = broken {
            *log = Err(failed(&error));
        }
    }

    fn finish(&self, mut log: Log<'_>) -> rusqlite::Result<Outcome> {
        log.retain(&self.keys)?;
        let expires_ms = log.expires_ms()?.unwrap_or(u64::MAX);
        // Should the commit fail, a reader at worst asks for a tick in vain.
        self.published
            .expires_ms
            .store(expires_ms, Ordering::Release);
        log.finish()
    }

    fn publish(&mut self, outcome: Outcome, log_prev: u64) {
        self.epochs = outcome.epochs;
        self.epoch_due = self.epoch_due && !outcome.started;
        if !outcome.events.is_empty() {
            let hint = Hint {
                epoch: self.epochs.current(),
                log_prev,
                events: outcome.events.into(),
            };
            for waker in self.published.hints.push(&hint) {
                waker.wake();
            }
        }
    }

    /// Gives pages back to the file system, a few at a time, when there are many to spare. That is
    /// a commit of its own, and can fail like any other.
    fn vacuum(&mut self) {
        let vacuumed = self.connection.as_ref().map(|connection| {
            let free: i64 = connection
                .prepare_cached("PRAGMA freelist_count")?
                .query_row([], |row| row.get(0))?;
            if free > SPARE_PAGES {
                connection.execute_batch(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
            }
            Ok::<_, rusqlite::Error>(())
        });
        if matches!(vacuumed, Some(Err(_))) {
            self.distrust();
        }
    }

    fn reopen_if_needed(&mut self) -> Result<(), StoreError> {
        if self.connection.is_some() {
            return Ok(());
        }
        let unavailable = |detail: String| StoreError::Unavailable {
            detail: detail.into(),
        };
        let (connection, epochs, _) = schema::open(&self.path, &mut self.seeds)
            .map_err(|error| unavailable(error.to_string()))?;
        // A file that cannot take what is in its write-ahead log must not be given more.
        match schema::checkpoint(&connection) {
            Ok(true) => {}
            Ok(false) => return Err(unavailable("the file is being read; try again".to_owned())),
            Err(error) => return Err(failed(&error)),
        }
        self.bounds
            .apply(&connection)
            .map_err(|error| failed(&error))?;
        self.epochs = epochs;
        self.connection = Some(connection);
        Ok(())
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.published.hints.end();
        let Some(connection) = self.connection.take() else {
            return Ok(());
        };
        schema::checkpoint(&connection).map_err(|error| failed(&error))?;
        connection.close().map_err(|(_, error)| failed(&error))
    }
}

fn size(command: &Command) -> usize {
    match command {
        Command::Append(batch, _) => batch.iter().map(|append| append.data.len()).sum(),
        _ => 0,
    }
}
