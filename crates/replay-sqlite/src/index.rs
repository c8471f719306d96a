//! Which events a topic has. An index of SQLite's own would change a page for each topic with every
//! commit. This one follows the log some steps behind: what it does not have yet is found from the
//! topic's last event back, by `prev`; and it may still have what is at or below the topic's floor.

use rusqlite::{Connection, OptionalExtension as _};

use crate::error::corrupt;
use crate::retain::Bounds;
use crate::row::{LogRow, int};
use crate::table::TopicTable;

/// How many events the index may lack after a commit, and about how many it may have that were
/// trimmed. Reading a topic takes a look at each of those that it lacks.
const BEHIND: u64 = 512;

/// Lets the index follow, if it has fallen behind too far. All events must be written.
pub(crate) fn follow(
    connection: &Connection,
    bounds: &Bounds,
    table: &mut TopicTable,
    log: &mut LogRow,
) -> rusqlite::Result<()> {
    if log.tail - log.indexed >= BEHIND {
        complete(connection, log)?;
    }
    for topic in table.take_trimmed(BEHIND) {
        let floor = table.get(connection, bounds, topic)?.floor;
        connection
            .prepare_cached("DELETE FROM topic_events WHERE topic = ?1 AND seq <= ?2")?
            .execute([topic, int(floor)])?;
    }
    Ok(())
}

/// Brings the index up to date. All events must be written.
pub(crate) fn complete(connection: &Connection, log: &mut LogRow) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO topic_events SELECT topic, seq FROM events WHERE seq > ?1")?
        .execute([int(log.indexed)])?;
    log.indexed = log.tail;
    Ok(())
}

/// The seqs above `after` of a topic whose last is `last`, in order. None of them may have been
/// trimmed.
pub(crate) fn back_to(
    connection: &Connection,
    topic: i64,
    last: u64,
    after: u64,
) -> rusqlite::Result<Vec<i64>> {
    let mut select =
        connection.prepare_cached("SELECT prev FROM events WHERE seq = ?1 AND topic = ?2")?;
    let mut seqs = Vec::new();
    let mut seq = last;
    while seq > after {
        seqs.push(int(seq));
        let prev: Option<Option<i64>> = select
            .query_row([int(seq), topic], |row| row.get(0))
            .optional()?;
        let prev = prev.ok_or_else(|| corrupt(&format!("event {seq} is not in its topic")))?;
        let prev = prev.map_or(0, i64::cast_unsigned);
        if prev >= seq {
            return Err(corrupt(&format!("event {seq} comes before its prev")));
        }
        seq = prev;
    }
    seqs.reverse();
    Ok(seqs)
}
