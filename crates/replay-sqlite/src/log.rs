//! One transaction of the writer: appends, trims, and the passing of time.

use replay_store::{
    Append, Appended, Capabilities, Epoch, Epochs, Event, Fingerprint, Position, Selector,
    StoreError, Topic, plan_batch,
};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::retain::Bounds;
use crate::row::{LogRow, int};
use crate::{schema, topic};

/// Some 50 ms of work.
const MAX_TRIMS: u32 = 4096;

/// The log within a write transaction. Nothing of it counts before the commit.
pub(crate) struct Log<'c> {
    pub(crate) connection: &'c Connection,
    pub(crate) bounds: &'c Bounds,
    pub(crate) row: LogRow,
    epochs: Epochs,
    /// The epoch to start with the next event.
    next_epoch: Option<Epoch>,
    /// What was appended, in order.
    events: Vec<Event>,
    /// How many events retention may still trim in this transaction; the rest is left to the next
    /// ones, so that no publisher waits for it.
    pub(crate) trims_left: u32,
}

/// What a transaction did, once it is committed.
pub(crate) struct Outcome {
    pub(crate) epochs: Epochs,
    /// Whether the epoch that was to start has started.
    pub(crate) started: bool,
    pub(crate) events: Vec<Event>,
}

/// A topic as the file has it.
#[derive(Clone, Copy)]
pub(crate) struct TopicRow {
    pub(crate) id: i64,
    prev: Option<i64>,
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    ended: bool,
}

impl<'c> Log<'c> {
    pub(crate) fn load(
        connection: &'c Connection,
        bounds: &'c Bounds,
        epochs: Epochs,
        next_epoch: Option<Epoch>,
    ) -> rusqlite::Result<Self> {
        Ok(Self {
            connection,
            bounds,
            row: LogRow::load(connection)?,
            epochs,
            next_epoch,
            events: Vec::new(),
            trims_left: MAX_TRIMS,
        })
    }

    pub(crate) fn finish(self) -> rusqlite::Result<Outcome> {
        self.row.save(self.connection)?;
        Ok(Outcome {
            epochs: self.epochs,
            started: self.next_epoch.is_none(),
            events: self.events,
        })
    }

    /// Appends a batch. A batch that is refused has changed nothing; after any other error the
    /// transaction must be rolled back.
    pub(crate) fn append(
        &mut self,
        batch: Vec<Append>,
        capabilities: &Capabilities,
    ) -> Result<Vec<Appended>, AppendError> {
        let plan = self.plan(&batch, capabilities)?;
        for (append, planned) in batch.into_iter().zip(&plan) {
            if !planned.duplicate {
                self.push(append, planned.position)?;
            }
        }
        Ok(plan)
    }

    /// Answers for the whole batch, with the positions that new events will have.
    fn plan(
        &self,
        batch: &[Append],
        capabilities: &Capabilities,
    ) -> Result<Vec<Appended>, AppendError> {
        let last = Position {
            epoch: self.next_epoch.unwrap_or_else(|| self.epochs.current()),
            seq: self.row.tail,
        };
        let known = |append: &Append| match &append.idempotency_key {
            Some(key) => Ok(self.known(&append.topic, key)?),
            None => Ok(None),
        };
        let ended = |topic: &Topic| {
            let ended = self.topic(topic)?.filter(|row| row.ended);
            Ok(ended.and_then(|row| row.prev).map(|seq| {
                let seq = seq.cast_unsigned();
                let epoch = self.epochs.of(seq);
                Position { epoch, seq }
            }))
        };
        plan_batch(batch, capabilities, last, known, ended)
    }

    fn known(&self, topic: &Topic, key: &str) -> rusqlite::Result<Option<(Fingerprint, Position)>> {
        self.connection
            .prepare_cached(
                "SELECT fingerprint, epoch, seq FROM keys WHERE topic = ?1 AND key = ?2",
            )?
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

    fn push(&mut self, append: Append, position: Position) -> rusqlite::Result<()> {
        if let Some(epoch) = self.next_epoch.take() {
            self.epochs.start(epoch, position.seq);
            schema::replace_epochs(self.connection, &self.epochs)?;
            self.row.epoch_changes += 1;
        }
        let topic = self.topic_to_append(&append.topic)?;
        let ended = append.is_end();
        if topic.events == 0 {
            let bounds = self.bounds.of(&append.topic);
            self.connection
                .prepare_cached("UPDATE topics SET expires = ?2 WHERE id = ?1")?
                .execute(params![
                    topic.id,
                    expires(bounds.expires_ms(self.row.now_ms))
                ])?;
        }
        if append.idempotency_key.is_some() {
            self.remember(&append, position)?;
        }
        let event = Event {
            position,
            prev: topic.prev.map(i64::cast_unsigned),
            topic: append.topic,
            event: append.event,
            data: append.data,
            conflate_key: append.conflate_key,
            timestamp_ms: self.row.now_ms,
        };
        let cost = event.cost();
        self.connection
            .prepare_cached(
                "INSERT INTO events (seq, topic, prev, type, conflate_key, time, cost, data) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                int(position.seq),
                topic.id,
                topic.prev,
                event.event.as_ref().map(replay_store::EventType::as_str),
                event.conflate_key.as_deref(),
                int(event.timestamp_ms),
                int(cost),
                &event.data[..],
            ])?;
        self.connection
            .prepare_cached(
                "UPDATE topics SET prev = ?2, events = events + 1, bytes = bytes + ?3, \
                 ended = ?4 WHERE id = ?1",
            )?
            .execute(params![topic.id, int(position.seq), int(cost), ended])?;
        self.row.tail = position.seq;
        self.row.bytes += cost;
        self.events.push(event);
        Ok(())
    }

    /// The topic, made if it is not there; no longer idle, since an event follows.
    fn topic_to_append(&mut self, name: &Topic) -> rusqlite::Result<TopicRow> {
        if let Some(topic) = self.topic(name)? {
            if topic.events == 0 {
                self.row.idle = self.row.idle.saturating_sub(1);
            }
            return Ok(topic);
        }
        let prev = (self.row.forgotten == 0).then_some(0);
        self.connection
            .prepare_cached(
                "INSERT INTO topics (name, floor, prev, events, bytes) VALUES (?1, ?2, ?3, 0, 0)",
            )?
            .execute(params![name.as_str(), int(self.row.forgotten), prev])?;
        Ok(TopicRow {
            id: self.connection.last_insert_rowid(),
            prev,
            events: 0,
            bytes: 0,
            ended: false,
        })
    }

    pub(crate) fn topic(&self, name: &Topic) -> rusqlite::Result<Option<TopicRow>> {
        self.connection
            .prepare_cached("SELECT id, prev, events, bytes, ended FROM topics WHERE name = ?1")?
            .query_row([name.as_str()], |row| {
                Ok(TopicRow {
                    id: row.get(0)?,
                    prev: row.get(1)?,
                    events: row.get::<_, i64>(2)?.cast_unsigned(),
                    bytes: row.get::<_, i64>(3)?.cast_unsigned(),
                    ended: row.get(4)?,
                })
            })
            .optional()
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

    /// Topics that were appended to since the transaction began, each once.
    pub(crate) fn appended_topics(&self) -> Vec<Topic> {
        let mut topics: Vec<_> = self.events.iter().map(|it| it.topic.clone()).collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }

    /// Every topic of the selector that the file knows.
    pub(crate) fn topics_of(&self, selector: &Selector) -> rusqlite::Result<Vec<Topic>> {
        let rows = topic::matching(self.connection, selector, None)?;
        Ok(rows.into_iter().map(|row| row.name).collect())
    }
}

/// As the file has it: null for never.
pub(crate) fn expires(at_ms: u64) -> Option<i64> {
    i64::try_from(at_ms).ok()
}

/// Why a batch was not appended.
pub(crate) enum AppendError {
    /// The batch is at fault, and has changed nothing.
    Refused(StoreError),
    /// SQLite failed.
    Failed(rusqlite::Error),
}

impl From<StoreError> for AppendError {
    fn from(refused: StoreError) -> Self {
        Self::Refused(refused)
    }
}

impl From<rusqlite::Error> for AppendError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error)
    }
}
