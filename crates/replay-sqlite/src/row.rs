//! Between rows and values.

use std::sync::Arc;

use bytes::Bytes;
use replay_store::{Epochs, Event, EventType, Position, Topic};
use rusqlite::types::Type;
use rusqlite::{Connection, Row};

/// Saturates, which is as good as any value a limit can have.
pub(crate) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The columns of an event, in the order that [`event`] takes them.
pub(crate) const EVENT: &str = "SELECT e.seq, e.prev, e.type, e.conflate_key, e.time, e.data, \
     t.name FROM events e JOIN topics t ON t.id = e.topic WHERE e.seq = ?1";

/// The event of a row of [`EVENT`].
pub(crate) fn event(row: &Row<'_>, epochs: &Epochs) -> rusqlite::Result<Event> {
    let seq = row.get::<_, i64>(0)?.cast_unsigned();
    let kind = row.get_ref(2)?.as_str_or_null()?;
    let name = row.get_ref(6)?.as_str()?;
    let data = Bytes::copy_from_slice(row.get_ref(5)?.as_blob()?);
    Ok(Event {
        position: Position {
            epoch: epochs.of(seq),
            seq,
        },
        prev: row.get::<_, Option<i64>>(1)?.map(i64::cast_unsigned),
        topic: Topic::new(name).map_err(|error| invalid(6, error))?,
        event: kind
            .map(EventType::stored)
            .transpose()
            .map_err(|error| invalid(2, error))?,
        data,
        conflate_key: row.get_ref(3)?.as_str_or_null()?.map(Arc::from),
        timestamp_ms: row.get::<_, i64>(4)?.cast_unsigned(),
    })
}

/// The one row of `log`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogRow {
    /// The last seq.
    pub(crate) tail: u64,
    /// The largest seq ever trimmed.
    pub(crate) floor: u64,
    /// The largest floor of all forgotten topics.
    pub(crate) forgotten: u64,
    /// The latest time seen.
    pub(crate) now_ms: u64,
    /// The cost of all retained events.
    pub(crate) bytes: u64,
    /// How many topics have no events.
    pub(crate) idle: u64,
    /// How many idempotency keys are remembered.
    pub(crate) keys: u64,
    /// Counts changes of `epochs`, so that readers know when theirs are old.
    pub(crate) epoch_changes: u64,
}

impl LogRow {
    pub(crate) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        connection
            .prepare_cached(
                "SELECT tail, floor, forgotten, now_ms, bytes, idle, keys, epoch_changes FROM log",
            )?
            .query_row([], |row| {
                let column = |at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned);
                Ok(Self {
                    tail: column(0)?,
                    floor: column(1)?,
                    forgotten: column(2)?,
                    now_ms: column(3)?,
                    bytes: column(4)?,
                    idle: column(5)?,
                    keys: column(6)?,
                    epoch_changes: column(7)?,
                })
            })
    }

    pub(crate) fn save(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached(
                "UPDATE log SET tail = ?1, floor = ?2, forgotten = ?3, now_ms = ?4, bytes = ?5, \
                 idle = ?6, keys = ?7, epoch_changes = ?8",
            )?
            .execute([
                int(self.tail),
                int(self.floor),
                int(self.forgotten),
                int(self.now_ms),
                int(self.bytes),
                int(self.idle),
                int(self.keys),
                int(self.epoch_changes),
            ])?;
        Ok(())
    }
}

fn invalid(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}
