//! The topics as the writer knows them, so that an append need not read and write their rows one
//! by one: a transaction changes them here, and writes each once before it commits.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use replay_store::{Topic, TopicRetention};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::retain::{Bounds, kept_for};
use crate::row::{int, topic};

/// Topics that are kept from one transaction to the next, some 500 bytes each. All are forgotten
/// when there are more: whoever uses that many at a time gains little.
const KEPT: usize = 16_384;

/// A topic. Its floor and its name are in the file's words; so is `prev`, `None` if the store has
/// forgotten it.
#[derive(Clone, Debug)]
pub(crate) struct TopicState {
    pub(crate) name: Topic,
    pub(crate) bounds: TopicRetention,
    pub(crate) floor: u64,
    pub(crate) prev: Option<u64>,
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    pub(crate) ended: bool,
    /// When its oldest event is too old; `None` for never.
    pub(crate) expires: Option<i64>,
    /// The file does not have it like this.
    dirty: bool,
    /// The savepoint before which it was kept for rolling back.
    saved_in: u64,
}

/// The table. What it says holds within the transaction that is open, and after it is committed;
/// after one that was not, it must be [cleared](TopicTable::clear).
#[derive(Debug, Default)]
pub(crate) struct TopicTable {
    ids: HashMap<Topic, i64>,
    states: HashMap<i64, TopicState>,
    dirty: Vec<i64>,
    /// What the topics were at the savepoint; `None` where there was none.
    undo: Vec<(i64, Option<TopicState>)>,
    savepoint: u64,
    /// Topics of which the index may have events that were trimmed, and how many it has. After
    /// clearing, they wait until more are trimmed of the same topic.
    trimmed: (HashSet<i64>, u64),
}

const COLUMNS: &str = "id, name, floor, prev, events, bytes, ended, expires";

impl TopicTable {
    /// The id of a topic, `None` if the file has none of this name.
    pub(crate) fn find(
        &mut self,
        connection: &Connection,
        bounds: &Bounds,
        name: &Topic,
    ) -> rusqlite::Result<Option<i64>> {
        if let Some(id) = self.ids.get(name) {
            return Ok(Some(*id));
        }
        let found = connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM topics WHERE name = ?1"))?
            .query_row([name.as_str()], |row| parse(row, bounds))
            .optional()?;
        Ok(found.map(|(id, state)| {
            self.keep(id, state);
            id
        }))
    }

    /// A topic by its id.
    pub(crate) fn get(
        &mut self,
        connection: &Connection,
        bounds: &Bounds,
        id: i64,
    ) -> rusqlite::Result<&TopicState> {
        self.load(connection, bounds, id).map(|state| &*state)
    }

    /// A topic by its id, to be changed.
    pub(crate) fn change(
        &mut self,
        connection: &Connection,
        bounds: &Bounds,
        id: i64,
    ) -> rusqlite::Result<&mut TopicState> {
        self.load(connection, bounds, id)?;
        let Some(state) = self.states.get_mut(&id) else {
            return Err(rusqlite::Error::QueryReturnedNoRows);
        };
        if state.saved_in != self.savepoint {
            self.undo.push((id, Some(state.clone())));
            state.saved_in = self.savepoint;
        }
        if !state.dirty {
            state.dirty = true;
            self.dirty.push(id);
        }
        Ok(state)
    }

    fn load(
        &mut self,
        connection: &Connection,
        bounds: &Bounds,
        id: i64,
    ) -> rusqlite::Result<&mut TopicState> {
        match self.states.entry(id) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let (_, state) = connection
                    .prepare_cached(&format!("SELECT {COLUMNS} FROM topics WHERE id = ?1"))?
                    .query_row([id], |row| parse(row, bounds))?;
                self.ids.insert(state.name.clone(), id);
                Ok(entry.insert(state))
            }
        }
    }

    /// Makes a topic, which is about to get its first event.
    pub(crate) fn create(
        &mut self,
        connection: &Connection,
        bounds: &Bounds,
        name: &Topic,
        floor: u64,
        prev: Option<u64>,
    ) -> rusqlite::Result<i64> {
        // Not idle, though its event is written only with the rest of its row.
        connection
            .prepare_cached(
                "INSERT INTO topics (name, floor, prev, events, bytes) VALUES (?1, ?2, ?3, 1, 0)",
            )?
            .execute(params![name.as_str(), int(floor), prev.map(int)])?;
        let id = connection.last_insert_rowid();
        self.undo.push((id, None));
        let state = TopicState {
            name: name.clone(),
            bounds: bounds.of(name),
            floor,
            prev,
            events: 0,
            bytes: 0,
            ended: false,
            expires: None,
            dirty: true,
            saved_in: self.savepoint,
        };
        self.dirty.push(id);
        self.keep(id, state);
        Ok(id)
    }

    fn keep(&mut self, id: i64, state: TopicState) {
        self.ids.insert(state.name.clone(), id);
        self.states.insert(id, state);
    }

    /// The topic is gone from the file.
    pub(crate) fn forget(&mut self, id: i64) {
        if let Some(state) = self.states.remove(&id) {
            self.ids.remove(&state.name);
            self.undo.push((id, Some(state)));
        }
        self.trimmed.0.remove(&id);
    }

    /// So many events of the topic were trimmed, which the index has still.
    pub(crate) fn trimmed(&mut self, id: i64, events: u64) {
        self.trimmed.0.insert(id);
        self.trimmed.1 += events;
    }

    /// The topics that events were trimmed of, once there were so many in all.
    pub(crate) fn take_trimmed(&mut self, events: u64) -> HashSet<i64> {
        if self.trimmed.1 < events {
            return HashSet::new();
        }
        std::mem::take(&mut self.trimmed).0
    }

    /// What changes from here on can be rolled back alone.
    pub(crate) fn savepoint(&mut self) {
        self.savepoint += 1;
        self.undo.clear();
    }

    /// Undoes what changed since the savepoint.
    pub(crate) fn roll_back(&mut self) {
        while let Some((id, before)) = self.undo.pop() {
            match before {
                Some(state) => self.keep(id, state),
                None => {
                    if let Some(state) = self.states.remove(&id) {
                        self.ids.remove(&state.name);
                    }
                }
            }
        }
    }

    /// What has changed since it was last written.
    pub(crate) fn changed(&self) -> Vec<i64> {
        let dirty = |id: &&i64| self.states.get(id).is_some_and(|state| state.dirty);
        self.dirty.iter().filter(dirty).copied().collect()
    }

    /// Writes what has changed into the file.
    pub(crate) fn flush(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut update = connection.prepare_cached(
            "UPDATE topics SET floor = ?2, prev = ?3, events = ?4, bytes = ?5, ended = ?6, \
             expires = ?7 WHERE id = ?1",
        )?;
        for id in self.dirty.drain(..) {
            // Rolled back, forgotten or written already: nothing to write.
            let Some(state) = self.states.get_mut(&id).filter(|state| state.dirty) else {
                continue;
            };
            state.dirty = false;
            update.execute(params![
                id,
                int(state.floor),
                state.prev.map(int),
                int(state.events),
                int(state.bytes),
                state.ended,
                state.expires,
            ])?;
        }
        Ok(())
    }

    /// The transaction is committed.
    pub(crate) fn committed(&mut self) {
        self.savepoint();
        if self.states.len() > KEPT {
            self.clear();
        }
    }

    /// Forgets everything; the file knows better.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl TopicState {
    /// Its oldest event is now one of this time, in a topic that had none or has lost some.
    pub(crate) fn oldest_is_of(&mut self, time: Option<i64>) {
        let kept_for = kept_for(&self.bounds);
        self.expires = time
            .zip(kept_for)
            .map(|(time, kept)| time.saturating_add(kept));
    }
}

fn parse(row: &Row<'_>, bounds: &Bounds) -> rusqlite::Result<(i64, TopicState)> {
    let name = topic(row, 1)?;
    let count = |at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned);
    let state = TopicState {
        bounds: bounds.of(&name),
        name,
        floor: count(2)?,
        prev: row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned),
        events: count(4)?,
        bytes: count(5)?,
        ended: row.get(6)?,
        expires: row.get(7)?,
        dirty: false,
        saved_in: 0,
    };
    Ok((row.get(0)?, state))
}
