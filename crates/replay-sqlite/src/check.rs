//! Is what is in the file sound?

use rusqlite::Connection;

use crate::error::OpenError;

/// Each finds something that contradicts something else.
const CONTRADICTIONS: [(&str, &str); 4] = [
    (
        "there are events beyond its end",
        "SELECT max(seq) > (SELECT tail FROM log) FROM events",
    ),
    (
        "a topic has not as many events as it should have",
        "SELECT EXISTS (SELECT 1 FROM topics t LEFT JOIN \
         (SELECT topic, count(*) AS n FROM events WHERE seq > (SELECT indexed FROM log) \
         GROUP BY topic) u ON u.topic = t.id WHERE t.events <> \
         (SELECT count(*) FROM topic_events WHERE topic = t.id AND seq > t.floor) + coalesce(u.n, 0))",
    ),
    (
        "there are events of no topic",
        "SELECT (SELECT count(*) FROM events) <> (SELECT coalesce(sum(events), 0) FROM topics)",
    ),
    (
        "its topics do not make up its size",
        "SELECT (SELECT bytes FROM log) <> (SELECT coalesce(sum(bytes), 0) FROM topics)",
    ),
];

/// Checks the structure of the database, and that what it says of topics and events adds up.
pub(crate) fn check(connection: &Connection) -> Result<(), OpenError> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(OpenError::Corrupt { detail: found });
    }
    for (what, query) in CONTRADICTIONS {
        let found: Option<bool> = connection.query_row(query, [], |row| row.get(0))?;
        if found == Some(true) {
            return Err(OpenError::Corrupt {
                detail: what.to_owned(),
            });
        }
    }
    Ok(())
}
