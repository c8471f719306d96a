//! Between rows and values.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use bytes::Bytes;
use replay_store::{Epochs, Event, EventType, Position, Topic};
use rusqlite::types::Type;
use rusqlite::{Connection, Row};

use crate::error::corrupt;

/// Saturates, which is as good as any value a limit can have.
pub(crate) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The columns of an event, in the order that [`event`] takes them.
pub(crate) const EVENT: &str = "seq, topic, prev, type, conflate_key, time, sum, data";

/// The names of topics by their ids, as one snapshot has them.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<i64, Topic>);

impl Names {
    fn of(&mut self, connection: &Connection, id: i64) -> rusqlite::Result<Topic> {
        match self.0.entry(id) {
            Entry::Occupied(known) => Ok(known.get().clone()),
            Entry::Vacant(unknown) => {
                let name = connection
                    .prepare_cached("SELECT name FROM topics WHERE id = ?1")?
                    .query_row([id], |row| topic(row, 0))?;
                Ok(unknown.insert(name).clone())
            }
        }
    }
}

/// The event of a row of [`EVENT`].
pub(crate) fn event(
    row: &Row<'_>,
    connection: &Connection,
    epochs: &Epochs,
    names: &mut Names,
) -> rusqlite::Result<Event> {
    let seq = row.get::<_, i64>(0)?.cast_unsigned();
    let kind = row.get_ref(3)?.as_str_or_null()?;
    let event = Event {
        position: Position {
            epoch: epochs.of(seq),
            seq,
        },
        prev: row.get::<_, Option<i64>>(2)?.map(i64::cast_unsigned),
        topic: names.of(connection, row.get(1)?)?,
        event: kind
            .map(EventType::stored)
            .transpose()
            .map_err(|error| invalid(3, error))?,
        data: Bytes::copy_from_slice(row.get_ref(7)?.as_blob()?),
        conflate_key: row.get_ref(4)?.as_str_or_null()?.map(Arc::from),
        timestamp_ms: row.get::<_, i64>(5)?.cast_unsigned(),
    };
    // Files that were begun before format 3 have events without a checksum.
    match row.get::<_, Option<i64>>(6)? {
        Some(found) if found != checksum(&event) => Err(corrupt(&format!(
            "the checksum of event {seq} does not match"
        ))),
        _ => Ok(event),
    }
}

/// What tells an event from one that the file has damaged: SQLite sums up what is in its
/// write-ahead log, and nothing once it has moved on into the file.
///
/// Words of eight bytes are multiplied and folded; it is made to be quick, not to resist anybody.
pub(crate) fn checksum(event: &Event) -> i64 {
    let mut sum = Checksum(0x243f_6a88_85a3_08d3);
    sum.word(event.position.seq);
    sum.word(event.prev.map_or(u64::MAX, |prev| prev));
    sum.word(event.timestamp_ms);
    sum.bytes(Some(event.topic.as_str().as_bytes()));
    sum.bytes(event.event.as_ref().map(|kind| kind.as_str().as_bytes()));
    sum.bytes(event.conflate_key.as_ref().map(|key| key.as_bytes()));
    sum.bytes(Some(&event.data));
    sum.0.cast_signed()
}

struct Checksum(u64);

impl Checksum {
    fn word(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product as u64) ^ ((product >> 64) as u64).rotate_left(23);
    }

    fn bytes(&mut self, bytes: Option<&[u8]>) {
        self.word(bytes.map_or(u64::MAX, |bytes| bytes.len() as u64));
        let (words, rest) = bytes.unwrap_or_default().as_chunks();
        words
            .iter()
            .for_each(|word| self.word(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        self.word(u64::from_le_bytes(last));
    }
}

/// The topic whose name is in a column.
pub(crate) fn topic(row: &Row<'_>, column: usize) -> rusqlite::Result<Topic> {
    Topic::new(row.get_ref(column)?.as_str()?).map_err(|error| invalid(column, error))
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
    /// The last seq that the index of topics has.
    pub(crate) indexed: u64,
}

impl LogRow {
    pub(crate) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        connection
            .prepare_cached(
                "SELECT tail, floor, forgotten, now_ms, bytes, idle, keys, epoch_changes, indexed \
                 FROM log",
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
                    indexed: column(8)?,
                })
            })
    }

    pub(crate) fn save(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached(
                "UPDATE log SET tail = ?1, floor = ?2, forgotten = ?3, now_ms = ?4, bytes = ?5, \
                 idle = ?6, keys = ?7, epoch_changes = ?8, indexed = ?9",
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
                int(self.indexed),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_that_flips_anywhere_changes_the_checksum() {
        let event = |data: Vec<u8>| Event {
            position: Position {
                epoch: replay_store::Epoch(1),
                seq: 7,
            },
            prev: Some(3),
            topic: Topic::new("a/b").expect("valid"),
            event: None,
            data: data.into(),
            conflate_key: None,
            timestamp_ms: 1_790_000_000_000,
        };
        for len in [0, 1, 7, 8, 9, 16, 300] {
            let data = vec![0; len];
            let whole = checksum(&event(data.clone()));
            for bit in 0..len * 8 {
                let mut flipped = data.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(checksum(&event(flipped)), whole, "{bit} of {len}");
            }
            let longer = vec![0; len + 1];
            assert_ne!(checksum(&event(longer)), whole, "{len}");
        }
        let plain = event(vec![1]);
        let whole = checksum(&plain);
        let others = [
            Event {
                prev: None,
                ..plain.clone()
            },
            Event {
                timestamp_ms: 0,
                ..plain.clone()
            },
            Event {
                topic: Topic::new("a/c").expect("valid"),
                ..plain.clone()
            },
            Event {
                conflate_key: Some("".into()),
                ..plain.clone()
            },
            Event {
                event: EventType::new("x").ok(),
                ..plain
            },
        ];
        for other in others {
            assert_ne!(checksum(&other), whole, "{other:?}");
        }
    }
}
