//! Retention: what is too much or too old goes, within the writer's transaction.

use std::collections::HashMap;

use replay_store::{KeyWindow, Retention, RetentionRules, Selector, Topic, TopicRetention};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::error::corrupt;
use crate::index;
use crate::log::{Failure, Log, Now};
use crate::row::{LogRow, int};
use crate::topic;

/// What the log keeps.
pub(crate) struct Bounds {
    pub(crate) retention: Retention,
    pub(crate) rules: RetentionRules,
}

impl Bounds {
    pub(crate) fn of(&self, topic: &Topic) -> TopicRetention {
        self.rules.of(topic, &self.retention)
    }

    /// Works out anew when each topic's oldest event is too old, if that may have changed since the
    /// file was last written. Takes a look at every topic then.
    pub(crate) fn apply(&self, connection: &Connection) -> rusqlite::Result<()> {
        let ages = self.digest();
        let known: i64 = connection.query_row("SELECT ages FROM log", [], |row| row.get(0))?;
        if known == ages {
            return Ok(());
        }
        let transaction = connection.unchecked_transaction()?;
        let mut log = LogRow::load(&transaction)?;
        index::complete(&transaction, &mut log)?;
        log.save(&transaction)?;
        {
            let mut topics = transaction.prepare("SELECT id, name FROM topics WHERE events > 0")?;
            let mut rows = topics.query([])?;
            let mut update = transaction.prepare(
                "UPDATE topics SET expires = \
                 (SELECT time FROM events WHERE seq = \
                 (SELECT min(seq) FROM topic_events WHERE topic = ?1 AND seq > floor)) + ?2 \
                 WHERE id = ?1",
            )?;
            while let Some(row) = rows.next()? {
                let bounds = match Topic::new(row.get_ref(1)?.as_str()?) {
                    Ok(name) => self.of(&name),
                    Err(_) => self.retention.of_topic(),
                };
                update.execute(params![row.get::<_, i64>(0)?, kept_for(&bounds)])?;
            }
        }
        transaction.execute("UPDATE log SET ages = ?1", [ages])?;
        transaction.commit()
    }

    /// FNV-1a of everything that decides an age; not 0.
    fn digest(&self) -> i64 {
        let text = format!("{:?} {:?}", self.retention.age, self.rules);
        let digest = text
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| {
                (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        digest.cast_signed() | 1
    }
}

/// For how long after its time an event is kept; null for ever.
pub(crate) fn kept_for(bounds: &TopicRetention) -> Option<i64> {
    // Added to a time, it must not overflow; 100,000,000 years are for ever.
    let ms = i64::try_from(bounds.expires_ms(0)).ok();
    ms.filter(|ms| *ms < i64::MAX / 2)
}

impl Log<'_> {
    /// Time passes: what is too old goes. Time never runs backwards in a log.
    pub(crate) fn tick(&mut self, now: Now, window: &KeyWindow) -> rusqlite::Result<()> {
        self.row.now_ms = self.row.now_ms.max(now.ms);
        self.expire_keys(window)?;
        if self.row.now_ms < now.expires_ms {
            // Nor are there too many idle topics: the last commit has seen to that.
            return Ok(());
        }
        let now = int(self.row.now_ms);
        for topic in self.expired(now)? {
            let kept_for = kept_for(&self.table.get(self.connection, self.bounds, topic)?.bounds);
            self.trim_while(topic, true, |oldest, _, _| {
                kept_for.is_some_and(|kept| oldest.time.saturating_add(kept) <= now)
            })?;
        }
        self.forget_idle()
    }

    /// Applies the other bounds to what was appended, and writes what has changed of the topics.
    pub(crate) fn retain(&mut self, window: &KeyWindow) -> rusqlite::Result<()> {
        for topic in self.table.changed() {
            let state = self.table.get(self.connection, self.bounds, topic)?;
            let bounds = state.bounds;
            let (events, bytes) = (state.events, state.bytes);
            if events <= bounds.events as u64 && bytes <= bounds.bytes {
                continue;
            }
            self.trim_while(topic, true, |_, trimmed, trimmed_bytes| {
                events.saturating_sub(trimmed) > bounds.events as u64
                    || bytes.saturating_sub(trimmed_bytes) > bounds.bytes
            })?;
        }
        self.trim_log()?;
        self.forget_idle()?;
        self.table.flush(self.connection)?;
        index::follow(self.connection, self.bounds, self.table, &mut self.row)?;
        self.expire_keys(window)
    }

    /// Removes the events of the selector up to and including `through`, or nothing.
    pub(crate) fn trim(&mut self, selector: &Selector, through: u64) -> Result<(), Failure> {
        self.write()?;
        self.alone(|log| {
            for topic in topic::matching(log.connection, selector, None)? {
                log.trim_while(topic.id, false, |oldest, _, _| {
                    oldest.seq.cast_unsigned() <= through
                })?;
            }
            Ok(())
        })?;
        self.forget_idle().map_err(Failure::Fallen)
    }

    /// When the next event is too old, `None` for never.
    pub(crate) fn expires_ms(&self) -> rusqlite::Result<Option<u64>> {
        let first = self
            .connection
            .prepare_cached(
                "SELECT expires FROM topics WHERE expires IS NOT NULL ORDER BY expires LIMIT 1",
            )?
            .query_row([], |row| row.get::<_, i64>(0))
            .optional()?;
        Ok(first.map(i64::cast_unsigned))
    }

    /// The topics whose oldest event is too old, as far as they can be dealt with.
    fn expired(&self, now: i64) -> rusqlite::Result<Vec<i64>> {
        self.connection
            .prepare_cached(
                "SELECT id FROM topics WHERE expires IS NOT NULL AND expires <= ?1 \
                 ORDER BY expires LIMIT ?2",
            )?
            .query_map([now, int(self.trims_left)], |row| row.get(0))?
            .collect()
    }

    /// Trims the oldest events of a topic as long as `goes` says so, which is told the event and
    /// how many, of how many bytes, go before it. When `limited`, only as many as this transaction
    /// may trim.
    fn trim_while(
        &mut self,
        topic: i64,
        limited: bool,
        goes: impl Fn(&Oldest, u64, u64) -> bool,
    ) -> rusqlite::Result<()> {
        let state = self.table.get(self.connection, self.bounds, topic)?;
        let floor = int(state.floor);
        let mut going = self.going(topic, floor, limited, &goes)?;
        if going.next.is_none() && self.index_lacks(topic)? {
            index::complete(self.connection, &mut self.row)?;
            going = self.going(topic, floor, limited, &goes)?;
        }
        let Some(through) = going.through else {
            return Ok(());
        };
        let deleted = self
            .connection
            .prepare_cached(
                "DELETE FROM events WHERE seq IN \
                 (SELECT seq FROM topic_events WHERE topic = ?1 AND seq > ?2 AND seq <= ?3)",
            )?
            .execute([topic, floor, through])?;
        self.trimmed(topic, through, going.events, going.bytes, deleted as u64)?;
        let state = self.table.change(self.connection, self.bounds, topic)?;
        state.oldest_is_of(going.next);
        if limited {
            self.trims_left -= going.events;
        }
        Ok(())
    }

    /// What goes of the events that the index has.
    fn going(
        &self,
        topic: i64,
        floor: i64,
        limited: bool,
        goes: impl Fn(&Oldest, u64, u64) -> bool,
    ) -> rusqlite::Result<Going> {
        let mut going = Going::default();
        let mut select = self.connection.prepare_cached(
            "SELECT t.seq, e.cost, e.time FROM topic_events t CROSS JOIN events e ON e.seq = t.seq \
             WHERE t.topic = ?1 AND t.seq > ?2 ORDER BY t.seq",
        )?;
        let mut rows = select.query([topic, floor])?;
        while let Some(row) = rows.next()? {
            let oldest = Oldest {
                seq: row.get(0)?,
                time: row.get(2)?,
            };
            if (limited && going.events == self.trims_left)
                || !goes(&oldest, going.events, going.bytes)
            {
                going.next = Some(oldest.time);
                break;
            }
            going.events += 1;
            let cost = row.get::<_, i64>(1)?.cast_unsigned();
            going.bytes = going.bytes.saturating_add(cost);
            going.through = Some(oldest.seq);
        }
        Ok(going)
    }

    /// Has the topic events that the index has not?
    fn index_lacks(&mut self, topic: i64) -> rusqlite::Result<bool> {
        let indexed = self.row.indexed;
        let state = self.table.get(self.connection, self.bounds, topic)?;
        Ok(state.events > 0 && state.prev.is_some_and(|last| last > indexed))
    }

    /// Takes note of what was trimmed of a topic, which must be what was to be trimmed.
    fn trimmed(
        &mut self,
        topic: i64,
        through: i64,
        events: u64,
        bytes: u64,
        deleted: u64,
    ) -> rusqlite::Result<()> {
        self.table.trimmed(topic, events);
        self.trimmed = true;
        let state = self.table.change(self.connection, self.bounds, topic)?;
        let left = state.events.checked_sub(events);
        let (Some(left), true) = (left, deleted == events) else {
            return Err(corrupt("a topic has not as many events as it should have"));
        };
        state.floor = through.cast_unsigned();
        state.events = left;
        state.bytes = state.bytes.saturating_sub(bytes);
        if left == 0 {
            self.row.idle += 1;
        }
        self.row.bytes = self.row.bytes.saturating_sub(bytes);
        self.row.floor = self.row.floor.max(through.cast_unsigned());
        Ok(())
    }

    /// Trims the oldest events while all of them are too big.
    fn trim_log(&mut self) -> rusqlite::Result<()> {
        let mut excess = self
            .row
            .bytes
            .saturating_sub(self.bounds.retention.log_bytes);
        if excess == 0 {
            return Ok(());
        }
        let mut topics: HashMap<i64, (i64, u64, u64)> = HashMap::new();
        let (mut events, mut through) = (0, None);
        {
            let mut select = self
                .connection
                .prepare_cached("SELECT seq, topic, cost FROM events ORDER BY seq")?;
            let mut rows = select.query([])?;
            while excess > 0
                && events < self.trims_left
                && let Some(row) = rows.next()?
            {
                let seq: i64 = row.get(0)?;
                let cost = row.get::<_, i64>(2)?.cast_unsigned();
                let (last, count, bytes) = topics.entry(row.get(1)?).or_default();
                (*last, *count, *bytes) = (seq, *count + 1, *bytes + cost);
                excess = excess.saturating_sub(cost);
                (events, through) = (events + 1, Some(seq));
            }
        }
        let Some(through) = through else {
            return Ok(());
        };
        self.connection
            .prepare_cached("DELETE FROM events WHERE seq <= ?1")?
            .execute([through])?;
        for (topic, (last, events, bytes)) in topics {
            self.trimmed(topic, last, events, bytes, events)?;
            let oldest = self.oldest(topic)?;
            let state = self.table.change(self.connection, self.bounds, topic)?;
            state.oldest_is_of(oldest);
        }
        self.trims_left -= events;
        Ok(())
    }

    /// The time of a topic's oldest event.
    fn oldest(&mut self, topic: i64) -> rusqlite::Result<Option<i64>> {
        let connection = self.connection;
        let state = self.table.get(connection, self.bounds, topic)?;
        let floor = int(state.floor);
        let find = || {
            connection
                .prepare_cached(
                    "SELECT time FROM events WHERE seq = \
                     (SELECT min(seq) FROM topic_events WHERE topic = ?1 AND seq > ?2)",
                )?
                .query_row([topic, floor], |row| row.get(0))
                .optional()
        };
        match find()? {
            None if self.index_lacks(topic)? => {
                index::complete(connection, &mut self.row)?;
                find()
            }
            found => Ok(found),
        }
    }

    /// Forgets the topics that have been idle for the longest, once there are too many.
    fn forget_idle(&mut self) -> rusqlite::Result<()> {
        if self.row.idle > self.bounds.retention.idle_topics as u64 {
            // Cannot be rolled back to a savepoint, so there must be none.
            self.table.flush(self.connection)?;
        }
        while self.row.idle > self.bounds.retention.idle_topics as u64 {
            let (id, floor): (i64, i64) = self
                .connection
                .prepare_cached(
                    "SELECT id, floor FROM topics WHERE events = 0 ORDER BY floor LIMIT 1",
                )?
                .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            self.connection
                .prepare_cached("DELETE FROM topics WHERE id = ?1")?
                .execute([id])?;
            self.connection
                .prepare_cached("DELETE FROM topic_events WHERE topic = ?1")?
                .execute([id])?;
            self.table.forget(id);
            self.row.idle -= 1;
            self.row.forgotten = self.row.forgotten.max(floor.cast_unsigned());
        }
        Ok(())
    }

    /// Forgets the keys that have left the window, oldest first.
    fn expire_keys(&mut self, window: &KeyWindow) -> rusqlite::Result<()> {
        let oldest_ms = window.oldest_ms(self.row.now_ms);
        while self.row.keys > 0 {
            let excess = self.row.keys > window.count as u64;
            let forgotten = self
                .connection
                .prepare_cached(
                    "DELETE FROM keys WHERE nth = (SELECT nth FROM keys ORDER BY nth LIMIT 1) \
                     AND (?1 OR time < ?2)",
                )?
                .execute(params![excess, int(oldest_ms)])?;
            if forgotten == 0 {
                break;
            }
            self.row.keys -= 1;
        }
        Ok(())
    }
}

/// The events of a topic that are to go.
#[derive(Default)]
struct Going {
    events: u64,
    bytes: u64,
    through: Option<i64>,
    /// The time of the first that stays.
    next: Option<i64>,
}

/// An event that may have to go.
struct Oldest {
    seq: i64,
    time: i64,
}
