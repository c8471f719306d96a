//! Retention: what is too much or too old goes, within the writer's transaction.

use replay_store::{KeyWindow, Retention, RetentionRules, Selector, Topic, TopicRetention};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::log::{Log, expires};
use crate::row::int;

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
        {
            let mut topics = transaction.prepare("SELECT id, name FROM topics WHERE events > 0")?;
            let mut rows = topics.query([])?;
            let mut update = transaction.prepare(
                "UPDATE topics SET expires = \
                 (SELECT time FROM events WHERE topic = ?1 ORDER BY seq LIMIT 1) + ?2 \
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
fn kept_for(bounds: &TopicRetention) -> Option<i64> {
    // Added to a time, it must not overflow; 100,000,000 years are for ever.
    expires(bounds.expires_ms(0)).filter(|ms| *ms < i64::MAX / 2)
}

impl Log<'_> {
    /// Time passes: what is too old goes. Time never runs backwards in a log.
    pub(crate) fn tick(&mut self, now_ms: u64, window: &KeyWindow) -> rusqlite::Result<()> {
        self.row.now_ms = self.row.now_ms.max(now_ms);
        self.expire_keys(window)?;
        self.trim_log()
    }

    /// Applies the bounds to what was appended.
    pub(crate) fn retain(&mut self, window: &KeyWindow) -> rusqlite::Result<()> {
        for topic in self.appended_topics() {
            let bounds = self.bounds.of(&topic);
            while let Some(row) = self.topic(&topic)?
                && (row.events > bounds.events as u64 || row.bytes > bounds.bytes)
            {
                if !self.retain_one_less(row.id, &bounds)? {
                    break;
                }
            }
        }
        self.trim_log()?;
        self.expire_keys(window)
    }

    /// Removes the events of the selector up to and including `through`.
    pub(crate) fn trim(&mut self, selector: &Selector, through: u64) -> rusqlite::Result<()> {
        for name in self.topics_of(selector)? {
            let bounds = self.bounds.of(&name);
            if let Some(row) = self.topic(&name)? {
                while self.trim_one(row.id, &bounds, through)? {}
            }
        }
        self.forget_idle()
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

    /// Trims what is too old, then the oldest events while all of them are too big.
    fn trim_log(&mut self) -> rusqlite::Result<()> {
        while let Some((topic, name)) = self.expired()? {
            let bounds = self.bounds.of(&name);
            if !self.retain_one_less(topic, &bounds)? {
                break;
            }
        }
        while self.row.bytes > self.bounds.retention.log_bytes
            && let Some((topic, name)) = self.oldest()?
        {
            let bounds = self.bounds.of(&name);
            if !self.retain_one_less(topic, &bounds)? {
                break;
            }
        }
        self.forget_idle()
    }

    /// The topic whose oldest event is too old, and has been for the longest.
    fn expired(&self) -> rusqlite::Result<Option<(i64, Topic)>> {
        self.connection
            .prepare_cached(
                "SELECT id, name FROM topics \
                 WHERE expires IS NOT NULL AND expires <= ?1 ORDER BY expires LIMIT 1",
            )?
            .query_row([int(self.row.now_ms)], named)
            .optional()
    }

    /// The topic of the oldest event.
    fn oldest(&self) -> rusqlite::Result<Option<(i64, Topic)>> {
        self.connection
            .prepare_cached(
                "SELECT id, name FROM topics \
                 WHERE id = (SELECT topic FROM events ORDER BY seq LIMIT 1)",
            )?
            .query_row([], named)
            .optional()
    }

    /// Trims the oldest event of a topic, unless this transaction has trimmed enough.
    fn retain_one_less(&mut self, topic: i64, bounds: &TopicRetention) -> rusqlite::Result<bool> {
        let Some(left) = self.trims_left.checked_sub(1) else {
            return Ok(false);
        };
        self.trims_left = left;
        self.trim_one(topic, bounds, u64::MAX)
    }

    /// Trims the oldest event of a topic, if there is one at or below `through`.
    fn trim_one(
        &mut self,
        topic: i64,
        bounds: &TopicRetention,
        through: u64,
    ) -> rusqlite::Result<bool> {
        let oldest: Option<(i64, i64)> = self
            .connection
            .prepare_cached(
                "SELECT seq, cost FROM events WHERE topic = ?1 AND seq <= ?2 \
                 ORDER BY seq LIMIT 1",
            )?
            .query_row([topic, int(through)], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((seq, cost)) = oldest else {
            return Ok(false);
        };
        self.connection
            .prepare_cached("DELETE FROM events WHERE seq = ?1")?
            .execute([seq])?;
        let left: i64 = self
            .connection
            .prepare_cached(
                "UPDATE topics SET floor = ?2, events = events - 1, bytes = bytes - ?3, expires = \
                 (SELECT time FROM events WHERE topic = ?1 ORDER BY seq LIMIT 1) + ?4 \
                 WHERE id = ?1 RETURNING events",
            )?
            .query_row(params![topic, seq, cost, kept_for(bounds)], |row| {
                row.get(0)
            })?;
        if left == 0 {
            self.row.idle += 1;
        }
        self.row.bytes = self.row.bytes.saturating_sub(cost.cast_unsigned());
        self.row.floor = self.row.floor.max(seq.cast_unsigned());
        Ok(true)
    }

    fn forget_idle(&mut self) -> rusqlite::Result<()> {
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

fn named(row: &rusqlite::Row<'_>) -> rusqlite::Result<(i64, Topic)> {
    let name = Topic::new(row.get_ref(1)?.as_str()?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error))
    })?;
    Ok((row.get(0)?, name))
}
