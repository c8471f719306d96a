//! One transaction of the writer: appends, trims, and the passing of time.

use replay_store::{
    Append, Appended, Capabilities, Epoch, Epochs, Event, EventType, Fingerprint, KeyWindow,
    Position, StoreError, Topic, plan_batch,
};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::error::failed;
use crate::retain::Bounds;
use crate::row::{LogRow, checksum, int};
use crate::schema;
use crate::table::TopicTable;

/// Some 50 ms of work.
const MAX_TRIMS: u64 = 4096;

/// The log within a write transaction. Nothing of it counts before the commit.
pub(crate) struct Log<'c> {
    pub(crate) connection: &'c Connection,
    pub(crate) bounds: &'c Bounds,
    pub(crate) table: &'c mut TopicTable,
    pub(crate) row: LogRow,
    /// The last seq before the transaction.
    before: u64,
    epochs: &'c Epochs,
    /// The epochs, once one has started in this transaction.
    started: Option<Epochs>,
    /// The epoch to start with the next event.
    next_epoch: Option<Epoch>,
    /// What was appended, in order.
    pub(crate) events: Vec<Event>,
    /// The topics of the last of the events, which are not written yet.
    unwritten: Vec<i64>,
    isolation: Isolation,
    /// How many events retention may still trim in this transaction; the rest is left to the next
    /// ones, so that no publisher waits for it.
    pub(crate) trims_left: u64,
    /// Events were trimmed.
    pub(crate) trimmed: bool,
}

/// What becomes of the transaction when SQLite fails with one of its appends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Isolation {
    /// It is of no more use; but none of them costs more than its rows.
    Shared,
    /// The append alone is rolled back, to a savepoint.
    Alone,
}

/// What a transaction did, once it is committed.
pub(crate) struct Outcome {
    /// The epochs, if one has started.
    pub(crate) started: Option<Epochs>,
    /// The last seq before it.
    pub(crate) log_prev: u64,
    pub(crate) events: Vec<Event>,
    /// When the next event is too old; the largest value for never.
    pub(crate) expires_ms: u64,
    /// Events were trimmed.
    pub(crate) trimmed: bool,
}

/// What a transaction takes from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) ms: u64,
    /// When the next event is too old, as the last commit has left it; 0 if that is not known.
    pub(crate) expires_ms: u64,
    /// The epoch to start with the next event.
    pub(crate) next_epoch: Option<Epoch>,
}

/// Why a command had no effect.
pub(crate) enum Failure {
    /// This command alone has failed, and is told why. The transaction goes on as if it had not
    /// been there.
    Alone(StoreError),
    /// The transaction stands, with a part of what has failed in it: it must be rolled back.
    Tangled,
    /// SQLite has rolled back the transaction, and all that was in it.
    Fallen(rusqlite::Error),
}

impl From<StoreError> for Failure {
    fn from(refused: StoreError) -> Self {
        Self::Alone(refused)
    }
}

impl<'c> Log<'c> {
    /// Begins a transaction, in which time has passed.
    pub(crate) fn begin(
        connection: &'c Connection,
        bounds: &'c Bounds,
        table: &'c mut TopicTable,
        epochs: &'c Epochs,
        now: Now,
        window: &KeyWindow,
        isolation: Isolation,
    ) -> rusqlite::Result<Self> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let row = LogRow::load(connection)?;
        let mut log = Self {
            connection,
            bounds,
            table,
            row,
            before: row.tail,
            epochs,
            started: None,
            next_epoch: now.next_epoch,
            events: Vec::new(),
            unwritten: Vec::new(),
            isolation,
            trims_left: MAX_TRIMS,
            trimmed: false,
        };
        log.tick(now, window)?;
        Ok(log)
    }

    /// Does what is due at the end of each transaction, when all is written. What is left is to
    /// commit it.
    pub(crate) fn finish(mut self, window: &KeyWindow) -> rusqlite::Result<Outcome> {
        self.retain(window)?;
        let expires_ms = self.expires_ms()?.unwrap_or(u64::MAX);
        self.row.save(self.connection)?;
        Ok(Outcome {
            started: self.started,
            log_prev: self.before,
            events: self.events,
            expires_ms,
            trimmed: self.trimmed,
        })
    }

    /// Appends a batch, whole or not at all.
    pub(crate) fn append(
        &mut self,
        batch: &[Append],
        capabilities: &Capabilities,
    ) -> Result<Vec<Appended>, Failure> {
        let plan = self.plan(batch, capabilities)?;
        let new = || {
            let planned = batch.iter().zip(&plan);
            planned.filter(|(_, planned)| !planned.duplicate)
        };
        let push_all = |log: &mut Self| {
            new().try_for_each(|(append, planned)| log.push(append, planned.position))
        };
        if new().next().is_none() {
            return Ok(plan);
        }
        match self.isolation {
            Isolation::Shared => push_all(self).map_err(|error| self.tangled(error))?,
            Isolation::Alone => self.alone(|log| {
                push_all(log)?;
                log.write_rows()
            })?,
        }
        Ok(plan)
    }

    /// Writes what was appended. What reads or removes events comes after.
    pub(crate) fn write(&mut self) -> Result<(), Failure> {
        self.write_rows().map_err(|error| self.tangled(error))
    }

    fn write_rows(&mut self) -> rusqlite::Result<()> {
        let written = self.events.len() - self.unwritten.len();
        let unwritten = self.events.iter().skip(written);
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO events (seq, topic, prev, type, conflate_key, time, cost, sum, data) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?;
        for (topic, event) in self.unwritten.drain(..).zip(unwritten) {
            insert.execute(params![
                int(event.position.seq),
                topic,
                event.prev.map(int),
                event.event.as_ref().map(EventType::as_str),
                event.conflate_key.as_deref(),
                int(event.timestamp_ms),
                int(event.cost()),
                checksum(event),
                &event.data[..],
            ])?;
        }
        Ok(())
    }

    fn tangled(&self, error: rusqlite::Error) -> Failure {
        match judge(self.connection, error) {
            Failure::Alone(_) => Failure::Tangled,
            fallen => fallen,
        }
    }

    /// Does something that, should it fail, leaves the transaction as it was before. All events must
    /// be written before it, and topics must not be forgotten or written in it.
    pub(crate) fn alone(
        &mut self,
        work: impl FnOnce(&mut Self) -> rusqlite::Result<()>,
    ) -> Result<(), Failure> {
        let (row, next_epoch) = (self.row, self.next_epoch);
        let (events, trims_left) = (self.events.len(), self.trims_left);
        let connection = self.connection;
        let run = |statement| connection.prepare_cached(statement)?.execute([]).map(drop);
        run("SAVEPOINT alone").map_err(|error| judge(connection, error))?;
        self.table.savepoint();
        let worked = work(self).and_then(|()| run("RELEASE alone"));
        let Err(error) = worked else { return Ok(()) };
        let failure = judge(connection, error);
        if matches!(failure, Failure::Alone(_)) {
            run("ROLLBACK TO alone")
                .and_then(|()| run("RELEASE alone"))
                .map_err(Failure::Fallen)?;
            self.table.roll_back();
            (self.row, self.trims_left) = (row, trims_left);
            self.events.truncate(events);
            self.unwritten.clear();
            if next_epoch.is_some() {
                (self.next_epoch, self.started) = (next_epoch, None);
            }
        }
        Err(failure)
    }

    /// Answers for the whole batch, with the positions that new events will have.
    fn plan(
        &mut self,
        batch: &[Append],
        capabilities: &Capabilities,
    ) -> Result<Vec<Appended>, Failure> {
        let (connection, bounds) = (self.connection, self.bounds);
        let epochs = self.started.as_ref().unwrap_or(self.epochs);
        let last = Position {
            epoch: self.next_epoch.unwrap_or_else(|| epochs.current()),
            seq: self.row.tail,
        };
        let known = |append: &Append| match &append.idempotency_key {
            Some(key) => {
                known(connection, &append.topic, key).map_err(|error| judge(connection, error))
            }
            None => Ok(None),
        };
        let table = &mut *self.table;
        let ended = |topic: &Topic| {
            let mut ended = || {
                let Some(id) = table.find(connection, bounds, topic)? else {
                    return Ok(None);
                };
                let state = table.get(connection, bounds, id)?;
                let seq = state.prev.filter(|_| state.ended);
                Ok(seq.map(|seq| Position {
                    epoch: epochs.of(seq),
                    seq,
                }))
            };
            ended().map_err(|error| judge(connection, error))
        };
        plan_batch(batch, capabilities, last, known, ended)
    }

    fn push(&mut self, append: &Append, position: Position) -> rusqlite::Result<()> {
        if let Some(epoch) = self.next_epoch.take() {
            let mut epochs = self.epochs.clone();
            epochs.start(epoch, position.seq);
            schema::replace_epochs(self.connection, &epochs)?;
            self.row.epoch_changes += 1;
            self.started = Some(epochs);
        }
        if append.idempotency_key.is_some() {
            self.remember(append, position)?;
        }
        let topic = self.topic_to_append(&append.topic)?;
        let (connection, now_ms) = (self.connection, self.row.now_ms);
        let state = self.table.change(connection, self.bounds, topic)?;
        let ended = append.is_end();
        let event = Event {
            position,
            prev: state.prev,
            topic: append.topic.clone(),
            event: append.event.clone(),
            data: append.data.clone(),
            conflate_key: append.conflate_key.clone(),
            timestamp_ms: now_ms,
        };
        let cost = event.cost();
        if state.events == 0 {
            state.oldest_is_of(Some(int(now_ms)));
        }
        state.prev = Some(position.seq);
        state.events += 1;
        state.bytes += cost;
        state.ended = ended;
        self.row.tail = position.seq;
        self.row.bytes += cost;
        self.events.push(event);
        self.unwritten.push(topic);
        Ok(())
    }

    /// The topic, made if it is not there; no longer idle, since an event follows.
    fn topic_to_append(&mut self, name: &Topic) -> rusqlite::Result<i64> {
        let (connection, bounds) = (self.connection, self.bounds);
        if let Some(id) = self.table.find(connection, bounds, name)? {
            if self.table.get(connection, bounds, id)?.events == 0 {
                self.row.idle = self.row.idle.saturating_sub(1);
            }
            return Ok(id);
        }
        let floor = self.row.forgotten;
        let prev = (floor == 0).then_some(0);
        self.table.create(connection, bounds, name, floor, prev)
    }

    fn remember(&mut self, append: &Append, position: Position) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO keys (topic, key, epoch, seq, fingerprint, time) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                append.topic.as_str(),
                append.idempotency_key.as_deref(),
                position.epoch.0.cast_signed(),
                int(position.seq),
                Fingerprint::of(append).to_bytes(),
                int(self.row.now_ms),
            ])?;
        self.row.keys += 1;
        Ok(())
    }
}

/// What an error of SQLite has done to the transaction.
fn judge(connection: &Connection, error: rusqlite::Error) -> Failure {
    if connection.is_autocommit() {
        Failure::Fallen(error)
    } else {
        Failure::Alone(failed(&error))
    }
}

/// What an idempotency key was used for.
fn known(
    connection: &Connection,
    topic: &Topic,
    key: &str,
) -> rusqlite::Result<Option<(Fingerprint, Position)>> {
    connection
        .prepare_cached("SELECT fingerprint, epoch, seq FROM keys WHERE topic = ?1 AND key = ?2")?
        .query_row([topic.as_str(), key], |row| {
            let fingerprint = Fingerprint::from_bytes(row.get(0)?);
            let (epoch, seq): (i64, i64) = (row.get(1)?, row.get(2)?);
            let position = Position {
                epoch: Epoch(epoch.cast_unsigned()),
                seq: seq.cast_unsigned(),
            };
            Ok((fingerprint, position))
        })
        .optional()
}
