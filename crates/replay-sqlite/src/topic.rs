//! The topics that a selector matches.

use std::collections::BTreeMap;

use replay_store::{Selector, Topic, TopicInfo};
use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::row::topic;

/// A topic as a reader needs it.
pub(crate) struct Matching {
    pub(crate) id: i64,
    pub(crate) name: Topic,
    pub(crate) floor: u64,
    pub(crate) info: TopicInfo,
}

const COLUMNS: &str = "id, name, floor, events, bytes, prev, ended";

/// The known topics of the selector whose names sort after `after`, sorted by name. A pattern looks
/// at the names that share its literal beginning, by their index.
pub(crate) fn matching(
    connection: &Connection,
    selector: &Selector,
    after: Option<&Topic>,
) -> rusqlite::Result<Vec<Matching>> {
    let mut found = BTreeMap::new();
    let mut add = |row: Matching| {
        if after.is_none_or(|after| row.name > *after) {
            found.insert(row.name.clone(), row);
        }
    };
    let mut one =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM topics WHERE name = ?1"))?;
    for topic in selector.topics() {
        if let Some(row) = one.query_row([topic.as_str()], parse).optional()? {
            add(row);
        }
    }
    let mut range = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM topics WHERE name >= ?1 AND name >= ?2 ORDER BY name"
    ))?;
    for pattern in selector.wildcards() {
        let prefix = pattern.prefix();
        let mut rows = range.query([prefix, after.map_or("", Topic::as_str)])?;
        while let Some(row) = rows.next()? {
            if !row.get_ref(1)?.as_str()?.starts_with(prefix) {
                break;
            }
            let row = parse(row)?;
            if pattern.matches(&row.name) {
                add(row);
            }
        }
    }
    Ok(found.into_values().collect())
}

fn parse(row: &Row<'_>) -> rusqlite::Result<Matching> {
    let count = |at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned);
    let name = topic(row, 1)?;
    Ok(Matching {
        id: row.get(0)?,
        floor: count(2)?,
        info: TopicInfo {
            topic: name.clone(),
            events: count(3)?,
            bytes: count(4)?,
            last: row.get::<_, Option<i64>>(5)?.map_or(0, i64::cast_unsigned),
            ended: row.get(6)?,
        },
        name,
    })
}
