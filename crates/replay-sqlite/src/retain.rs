//! Retention: what is too much or too old goes, within the writer's transaction.

use replay_store::{KeyWindow, Retention, Selector};
use rusqlite::{OptionalExtension as _, params};

use crate::log::Log;
use crate::row::int;

impl Log<'_> {
    /// Time passes: what is too old goes. Time never runs backwards in a log.
    pub(crate) fn tick(
        &mut self,
        now_ms: u64,
        retention: &Retention,
        window: &KeyWindow,
    ) -> rusqlite::Result<()> {
        self.row.now_ms = self.row.now_ms.max(now_ms);
        self.expire_keys(window)?;
        self.trim_log(retention)
    }

    /// Applies the bounds to what was appended.
    pub(crate) fn retain(
        &mut self,
        retention: &Retention,
        window: &KeyWindow,
    ) -> rusqlite::Result<()> {
        for topic in self.appended_topics() {
            while self.topic(&topic)?.is_some_and(|row| {
                row.events > retention.events as u64 || row.bytes > retention.bytes
            }) {
                let Some(row) = self.topic(&topic)? else {
                    break;
                };
                if !self.retain_one_less(row.id)? {
                    break;
                }
            }
        }
        self.trim_log(retention)?;
        self.expire_keys(window)
    }

    /// Removes the events of the selector up to and including `through`.
    pub(crate) fn trim(
        &mut self,
        selector: &Selector,
        through: u64,
        retention: &Retention,
    ) -> rusqlite::Result<()> {
        for topic in self.topics_of(selector)? {
            while self.trim_one(topic, through)? {}
        }
        self.forget_idle(retention)
    }

    /// When the oldest event was appended, `None` if there is no event.
    pub(crate) fn oldest_ms(&self) -> rusqlite::Result<Option<u64>> {
        Ok(self.oldest()?.map(|(_, time)| time))
    }

    /// Trims the oldest events while they are too old, or all events too big. Times never decrease
    /// along the log, so age is a matter of the oldest ones alone.
    fn trim_log(&mut self, retention: &Retention) -> rusqlite::Result<()> {
        let oldest_ms = retention.oldest_ms(self.row.now_ms);
        while let Some((topic, time)) = self.oldest()? {
            let fits = self.row.bytes <= retention.log_bytes;
            if (time >= oldest_ms && fits) || !self.retain_one_less(topic)? {
                break;
            }
        }
        self.forget_idle(retention)
    }

    /// The topic and the time of the oldest event.
    fn oldest(&self) -> rusqlite::Result<Option<(i64, u64)>> {
        self.connection
            .prepare_cached("SELECT topic, time FROM events ORDER BY seq LIMIT 1")?
            .query_row([], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
            })
            .optional()
    }

    /// Trims the oldest event of a topic, unless this transaction has trimmed enough.
    fn retain_one_less(&mut self, topic: i64) -> rusqlite::Result<bool> {
        let Some(left) = self.trims_left.checked_sub(1) else {
            return Ok(false);
        };
        self.trims_left = left;
        self.trim_one(topic, u64::MAX)
    }

    /// Trims the oldest event of a topic, if there is one at or below `through`.
    fn trim_one(&mut self, topic: i64, through: u64) -> rusqlite::Result<bool> {
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
                "UPDATE topics SET floor = ?2, events = events - 1, bytes = bytes - ?3 \
                 WHERE id = ?1 RETURNING events",
            )?
            .query_row([topic, seq, cost], |row| row.get(0))?;
        if left == 0 {
            self.row.idle += 1;
        }
        self.row.bytes = self.row.bytes.saturating_sub(cost.cast_unsigned());
        self.row.floor = self.row.floor.max(seq.cast_unsigned());
        Ok(true)
    }

    fn forget_idle(&mut self, retention: &Retention) -> rusqlite::Result<()> {
        while self.row.idle > retention.idle_topics as u64 {
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
