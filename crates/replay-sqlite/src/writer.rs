//! The writing side: one thread that commits whatever has queued up meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::channel::oneshot;
use replay_store::{
    Append, Appended, Capabilities, Clock, Epoch, Epochs, Hint, Hints, KeyWindow, Selector,
    StoreError,
};
use rusqlite::Connection;

use crate::error::failed;
use crate::gate::Gate;
use crate::log::{Failure, Isolation, Log, Now, Outcome};
use crate::queue::Queue;
use crate::retain::Bounds;
use crate::schema;
use crate::table::TopicTable;

/// The most commands that share one commit, and the data after which no more are added.
const GROUP: usize = 512;
const GROUP_BYTES: usize = 8 << 20;

/// Free pages that the file may keep for what comes next, and how many are given back at once.
const SPARE_PAGES: i64 = 2048;
const VACUUM_PAGES: u32 = 256;

/// How much the write-ahead log may have grown, about, before its length is asked for. To ask for
/// more of a file that is being written than its data makes the next sync of it dearer.
const UNSEEN_BYTES: u64 = 2 << 20;
const PAGE_BYTES: u64 = 4096;

pub(crate) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked for.
pub(crate) enum Command {
    Append(Vec<Append>, Reply<Vec<Appended>>),
    Trim(Selector, u64, Reply<()>),
    /// Time has passed: trim what is too old.
    Tick(Reply<()>),
    Close(Reply<()>),
}

impl Command {
    /// What it weighs in the queue: about what it holds in memory.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Append(batch, _) => batch.iter().map(|append| append.data.len()).sum(),
            _ => 0,
        }
    }

    /// Does it, within a transaction. An error is one of more than this command.
    fn apply(&self, log: &mut Log<'_>, capabilities: &Capabilities) -> Result<Applied, Failure> {
        match self {
            Self::Append(batch, _) => alone(log.append(batch, capabilities)).map(Applied::Append),
            Self::Trim(selector, through, _) => {
                alone(log.trim(selector, *through)).map(Applied::Other)
            }
            Self::Tick(_) | Self::Close(_) => Ok(Applied::Other(Ok(()))),
        }
    }

    /// Tells how it ended: what failed by itself, that; anything else, as the commit. Who asked to
    /// close is returned instead, and does not mind.
    fn answer(
        self,
        applied: Option<Applied>,
        committed: &Result<(), StoreError>,
    ) -> Option<Reply<()>> {
        // Whoever asked may have gone.
        let _gone = match (self, applied) {
            (Self::Close(reply), _) => return Some(reply),
            (Self::Append(_, reply), Some(Applied::Append(result))) => {
                let result = result.and_then(|appended| committed.clone().map(|()| appended));
                reply.send(result).is_err()
            }
            (Self::Append(_, reply), _) => {
                let error = committed.clone().err().unwrap_or(StoreError::Closed);
                reply.send(Err(error)).is_err()
            }
            (Self::Trim(_, _, reply) | Self::Tick(reply), Some(Applied::Other(result))) => {
                reply.send(result.and_then(|()| committed.clone())).is_err()
            }
            (Self::Trim(_, _, reply) | Self::Tick(reply), _) => {
                reply.send(committed.clone()).is_err()
            }
        };
        None
    }
}

/// What a command is told that has failed alone.
fn alone<T>(result: Result<T, Failure>) -> Result<Result<T, StoreError>, Failure> {
    match result {
        Ok(done) => Ok(Ok(done)),
        Err(Failure::Alone(error)) => Ok(Err(error)),
        Err(more) => Err(more),
    }
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
    pub(crate) commands: Arc<Queue<Command>>,
    /// `None` after a transaction that failed, until the file has been opened anew.
    pub(crate) connection: Option<Connection>,
    pub(crate) epochs: Epochs,
    /// The next event starts an epoch.
    pub(crate) epoch_due: bool,
    /// When the next event is too old; 0 if that is not known.
    pub(crate) expires_ms: u64,
    pub(crate) table: TopicTable,
    pub(crate) chores: Chores,
    pub(crate) gate: Arc<Gate>,
    pub(crate) seeds: Box<dyn FnMut() -> u64 + Send>,
    pub(crate) clock: Clock,
    pub(crate) bounds: Bounds,
    pub(crate) keys: KeyWindow,
    pub(crate) capabilities: Capabilities,
    pub(crate) published: Arc<Published>,
}

/// What is to be looked at in keeping house.
#[derive(Debug)]
pub(crate) struct Chores {
    /// How much the write-ahead log may have grown, about, since its length was asked for.
    unseen: u64,
    /// There may be pages to give back.
    vacuum: bool,
}

impl Default for Chores {
    /// Everything.
    fn default() -> Self {
        Self {
            unseen: UNSEEN_BYTES,
            vacuum: true,
        }
    }
}

impl Chores {
    /// So many rows were changed, in which there is so much data.
    fn written(&mut self, rows: u64, data: usize) {
        // Each row on a page of its own, and some pages above them.
        let pages = rows.saturating_add(8).saturating_mul(PAGE_BYTES);
        self.unseen = self.unseen.saturating_add(pages + data as u64);
    }
}

/// How a command went that was applied. It is told so once that is committed.
enum Applied {
    Append(Result<Vec<Appended>, StoreError>),
    Other(Result<(), StoreError>),
}

impl Writer {
    /// Serves commands until one says to close, or nobody is left to send any.
    pub(crate) fn run(mut self) {
        let commands = Cleared(Arc::clone(&self.commands));
        while let Some(group) = commands.0.take(GROUP, GROUP_BYTES) {
            // A panic, in the clock or the seeds that were handed in if nowhere else, fails the
            // commands of its group, whose replies go with it; it ends nothing.
            let served = catch_unwind(AssertUnwindSafe(|| self.serve(group)));
            match served {
                Ok(None) => {}
                Ok(Some(reply)) => {
                    let _gone = reply.send(self.close());
                    return;
                }
                Err(_panic) => self.distrust(),
            }
        }
        // Nobody is left to tell; a failed checkpoint is made up for by the next opening.
        let _closed = self.close();
    }

    /// Commits what the commands ask for and answers them. Returns who asked to close.
    fn serve(&mut self, group: Vec<Command>) -> Option<Reply<()>> {
        let mut applied = Vec::with_capacity(group.len());
        let committed = self.transact(&group, &mut applied);
        // What was not reached fails as the rest does.
        let mut applied = applied.into_iter();
        let mut close = None;
        for command in group {
            close = command.answer(applied.next(), &committed).or(close);
        }
        self.keep_house();
        close
    }

    fn transact(
        &mut self,
        group: &[Command],
        applied: &mut Vec<Applied>,
    ) -> Result<(), StoreError> {
        self.reopen_if_needed()?;
        let committed = self.commit(group, applied);
        if committed.is_err() {
            self.distrust();
        }
        committed
    }

    /// One transaction. If it fails, nothing can be relied on but the file.
    fn commit(&mut self, group: &[Command], applied: &mut Vec<Applied>) -> Result<(), StoreError> {
        let changes = self.changes();
        let now = Now {
            next_epoch: self.epoch_due.then(|| Epoch((self.seeds)())),
            ms: self.clock.now_ms(),
            expires_ms: self.expires_ms,
        };
        let mut outcome = self.apply(group, now, Isolation::Shared, applied);
        if matches!(outcome, Err(Failure::Tangled)) {
            // Rare, so that who has failed is found by doing all of it again.
            applied.clear();
            self.table.clear();
            self.execute("ROLLBACK").map_err(|error| failed(&error))?;
            outcome = self.apply(group, now, Isolation::Alone, applied);
        }
        let outcome = outcome.map_err(|failure| match failure {
            Failure::Alone(error) => error,
            Failure::Tangled => StoreError::Unavailable {
                detail: "the transaction is in disorder".into(),
            },
            Failure::Fallen(error) => failed(&error),
        })?;
        let committed = self.execute("COMMIT");
        committed.map_err(|error| StoreError::OutcomeUnknown {
            detail: error.to_string().into(),
        })?;
        let data = outcome.events.iter().map(|event| event.data.len()).sum();
        let rows = self.changes().saturating_sub(changes);
        self.chores.written(rows, data);
        self.chores.vacuum |= outcome.trimmed;
        self.publish(outcome);
        Ok(())
    }

    /// How many rows were changed since the file was opened.
    fn changes(&self) -> u64 {
        self.connection
            .as_ref()
            .map_or(0, Connection::total_changes)
    }

    /// Begins a transaction and applies the commands in it; an error has ended it, or is to.
    fn apply(
        &mut self,
        group: &[Command],
        now: Now,
        isolation: Isolation,
        applied: &mut Vec<Applied>,
    ) -> Result<Outcome, Failure> {
        let connection = self.connection.as_ref().ok_or(StoreError::Closed)?;
        let begun = Log::begin(
            connection,
            &self.bounds,
            &mut self.table,
            &self.epochs,
            now,
            &self.keys,
            isolation,
        );
        let mut log = begun.map_err(Failure::Fallen)?;
        for command in group {
            applied.push(command.apply(&mut log, &self.capabilities)?);
        }
        log.write()?;
        log.finish(&self.keys).map_err(Failure::Fallen)
    }

    fn execute(&self, statement: &str) -> rusqlite::Result<()> {
        let connection = self.connection.as_ref();
        let connection = connection.ok_or(rusqlite::Error::InvalidQuery)?;
        connection.prepare_cached(statement)?.execute([]).map(drop)
    }

    /// A commit that failed, perhaps in its sync, may still be found in the file later. It is not
    /// tried again: the file is read anew, and what follows is another epoch.
    fn distrust(&mut self) {
        self.connection = None;
        self.table.clear();
        self.chores = Chores::default();
        self.expires_ms = 0;
        self.epoch_due = true;
    }

    fn publish(&mut self, outcome: Outcome) {
        self.table.committed();
        if let Some(epochs) = outcome.started {
            self.epochs = epochs;
            self.epoch_due = false;
        }
        self.expires_ms = outcome.expires_ms;
        let expires_ms = &self.published.expires_ms;
        expires_ms.store(outcome.expires_ms, Ordering::Release);
        if !outcome.events.is_empty() {
            let hint = Hint {
                epoch: self.epochs.current(),
                log_prev: outcome.log_prev,
                events: outcome.events.into(),
            };
            for waker in self.published.hints.push(&hint) {
                waker.wake();
            }
        }
    }

    /// What nobody waits for: keeps the files small. It is a commit of its own, and can fail like
    /// any other.
    fn keep_house(&mut self) {
        let Some(connection) = &self.connection else {
            return;
        };
        let mut keep = || {
            if self.chores.unseen >= UNSEEN_BYTES {
                self.chores.unseen = 0;
                self.gate.keep_log_short(&self.path, connection)?;
            }
            while self.chores.vacuum {
                self.chores.vacuum = vacuum(connection)?;
                if self.chores.vacuum {
                    self.chores.unseen = UNSEEN_BYTES;
                }
                // Goes on while there is nothing better to do.
                if !self.commands.is_empty() {
                    break;
                }
            }
            Ok::<_, rusqlite::Error>(())
        };
        if keep().is_err() {
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
        let opened = schema::open(&self.path, &mut self.seeds)
            .map_err(|error| unavailable(error.to_string()))?;
        // A file that cannot take what is in its write-ahead log must not be given more; and what
        // a failed commit has left in the log must not be found again.
        match self.gate.checkpoint(&opened.connection) {
            Ok(true) => {}
            Ok(false) => return Err(unavailable("the file is being read; try again".to_owned())),
            Err(error) => return Err(failed(&error)),
        }
        self.bounds
            .apply(&opened.connection)
            .map_err(|error| failed(&error))?;
        self.epochs = opened.epochs;
        self.connection = Some(opened.connection);
        Ok(())
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.published.hints.end();
        let Some(connection) = self.connection.take() else {
            return Ok(());
        };
        self.gate
            .checkpoint(&connection)
            .map_err(|error| failed(&error))?;
        connection.close().map_err(|(_, error)| failed(&error))
    }
}

/// Gives pages back to the file system, a few at a time, when there are many to spare. Returns
/// whether there are more.
fn vacuum(connection: &Connection) -> rusqlite::Result<bool> {
    let free: i64 = connection
        .prepare_cached("PRAGMA freelist_count")?
        .query_row([], |row| row.get(0))?;
    if free <= SPARE_PAGES {
        return Ok(false);
    }
    connection.execute_batch(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
    Ok(true)
}

/// When the writer is gone, nobody may wait for it.
struct Cleared(Arc<Queue<Command>>);

impl Drop for Cleared {
    fn drop(&mut self) {
        self.0.clear();
    }
}
