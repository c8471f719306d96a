//! The reading side: a few threads, each with a connection of its own.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use futures::channel::oneshot;
use replay_store::{After, Epochs, Event, Limit, Page, Selector, StoreError, Topic};
use rusqlite::{Connection, OptionalExtension as _};

use crate::error::{OpenError, failed};
use crate::row::{self, LogRow, int};
use crate::schema;

/// One page to read.
pub(crate) struct Job {
    pub(crate) selector: Selector,
    pub(crate) after: After,
    pub(crate) limit: Limit,
    pub(crate) reply: oneshot::Sender<Result<Page, StoreError>>,
}

/// Starts `count` readers. They end when the sender is dropped.
pub(crate) fn start(
    path: &Path,
    count: usize,
) -> Result<(mpsc::Sender<Job>, Vec<JoinHandle<()>>), OpenError> {
    let (sender, jobs) = mpsc::channel();
    let jobs = Arc::new(Mutex::new(jobs));
    let threads = (0..count.max(1))
        .map(|_| {
            let reader = Reader {
                connection: schema::open_reader(path)?,
                epochs: None,
            };
            let jobs = Arc::clone(&jobs);
            Ok(thread::spawn(move || reader.run(&jobs)))
        })
        .collect::<Result<_, OpenError>>()?;
    Ok((sender, threads))
}

struct Reader {
    connection: Connection,
    /// The epochs, and the count of changes they were read at.
    epochs: Option<(u64, Epochs)>,
}

impl Reader {
    fn run(mut self, jobs: &Mutex<mpsc::Receiver<Job>>) {
        loop {
            // A reader that panicked has not harmed the queue.
            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(job) = job else { return };
            if job.reply.is_canceled() {
                continue;
            }
            let page = self
                .read(&job.selector, job.after, job.limit)
                .map_err(|error| failed(&error));
            let _gone = job.reply.send(page);
        }
    }

    /// Reads one page as one snapshot.
    fn read(&mut self, selector: &Selector, after: After, limit: Limit) -> rusqlite::Result<Page> {
        let snapshot = self.connection.unchecked_transaction()?;
        let log = LogRow::load(&snapshot)?;
        let epochs = match &self.epochs {
            Some((changes, epochs)) if *changes == log.epoch_changes => epochs,
            _ => {
                let epochs =
                    schema::epochs(&snapshot)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
                &self.epochs.insert((log.epoch_changes, epochs)).1
            }
        };
        let (topics, floor) = topics_and_floor(&snapshot, selector, &log)?;
        let judged = epochs.judge(after, floor, log.tail);
        // One more than is wanted tells whether there are more.
        let count = limit.events.max(1).saturating_add(1);
        let seqs = seqs(&snapshot, topics.as_deref(), judged.start(), count)?;
        let (events, more) = take(&snapshot, epochs, &seqs, limit)?;
        snapshot.finish()?;
        Ok(judged.into_page(events, more))
    }
}

/// The known topics of the selector, `None` for all, and the largest floor among them.
fn topics_and_floor(
    snapshot: &Connection,
    selector: &Selector,
    log: &LogRow,
) -> rusqlite::Result<(Option<Vec<i64>>, u64)> {
    if selector.is_all() {
        return Ok((None, log.floor));
    }
    let mut known = Vec::new();
    let mut floor = 0;
    let mut lookup = snapshot.prepare_cached("SELECT id, floor FROM topics WHERE name = ?1")?;
    for topic in selector.topics() {
        let row = lookup
            .query_row([Topic::as_str(topic)], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
            })
            .optional()?;
        match row {
            Some((id, its_floor)) => {
                known.push(id);
                floor = floor.max(its_floor);
            }
            None => floor = floor.max(log.forgotten),
        }
    }
    Ok((Some(known), floor))
}

/// The first `count` seqs above `start`, in order. Each topic is read by its index alone.
fn seqs(
    snapshot: &Connection,
    topics: Option<&[i64]>,
    start: u64,
    count: usize,
) -> rusqlite::Result<Vec<i64>> {
    let (start, count) = (int(start), int(count as u64));
    let Some(topics) = topics else {
        return snapshot
            .prepare_cached("SELECT seq FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2")?
            .query_map([start, count], |row| row.get(0))?
            .collect();
    };
    let mut of_topic = snapshot.prepare_cached(
        "SELECT seq FROM events WHERE topic = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    )?;
    let mut seqs = Vec::new();
    for topic in topics {
        for seq in of_topic.query_map([*topic, start, count], |row| row.get(0))? {
            seqs.push(seq?);
        }
    }
    seqs.sort_unstable();
    Ok(seqs)
}

/// As many of these events as the limit allows, at least one; and whether there are more.
fn take(
    snapshot: &Connection,
    epochs: &Epochs,
    seqs: &[i64],
    limit: Limit,
) -> rusqlite::Result<(Vec<Event>, bool)> {
    let mut select = snapshot.prepare_cached(row::EVENT)?;
    let mut taken: Vec<Event> = Vec::new();
    let mut bytes = 0_usize;
    for seq in seqs {
        if !taken.is_empty() && taken.len() >= limit.events {
            return Ok((taken, true));
        }
        let event = select.query_row([seq], |row| row::event(row, epochs))?;
        bytes = bytes.saturating_add(event.data.len());
        if !taken.is_empty() && bytes > limit.bytes {
            return Ok((taken, true));
        }
        taken.push(event);
    }
    Ok((taken, false))
}
