//! The reading side: a few threads, each with a connection of its own.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use replay_store::{After, Epochs, Event, Limit, Page, Selector, Topic, TopicInfo};
use rusqlite::Connection;

use crate::error::{OpenError, failed};
use crate::row::{self, LogRow, int};
use crate::writer::Reply;
use crate::{schema, topic};

/// What to read.
pub(crate) enum Job {
    Page {
        selector: Selector,
        after: After,
        limit: Limit,
        reply: Reply<Page>,
    },
    Topics {
        selector: Selector,
        after: Option<Topic>,
        limit: usize,
        reply: Reply<Vec<TopicInfo>>,
    },
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
            // Whoever asked may have gone, before or while it is read.
            match job {
                Job::Page {
                    selector,
                    after,
                    limit,
                    reply,
                } if !reply.is_canceled() => {
                    let page = self.read(&selector, after, limit);
                    let _gone = reply.send(page.map_err(|error| failed(&error)));
                }
                Job::Topics {
                    selector,
                    after,
                    limit,
                    reply,
                } if !reply.is_canceled() => {
                    let topics = topic::matching(&self.connection, &selector, after.as_ref());
                    let infos = topics
                        .map(|topics| topics.into_iter().map(|it| it.info).take(limit).collect());
                    let _gone = reply.send(infos.map_err(|error| failed(&error)));
                }
                Job::Page { .. } | Job::Topics { .. } => {}
            }
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
        let (seqs, through) = match topics {
            Some(topics) if topics.len() > MERGED => {
                scan(&snapshot, &topics, judged.start(), count)?
            }
            topics => (
                seqs(&snapshot, topics.as_deref(), judged.start(), count)?,
                None,
            ),
        };
        let (events, more) = take(&snapshot, epochs, &seqs, limit)?;
        snapshot.finish()?;
        Ok(match through {
            Some(through) if !more => judged.into_page_through(events, through),
            _ => judged.into_page(events, more),
        })
    }
}

/// The most topics that are read by their indexes and merged. For more, the log is scanned, so many
/// events at a time.
const MERGED: usize = Selector::MAX_PATTERNS;
const SCANNED: i64 = 8192;

/// The first `count` seqs of many topics above `start`, in order, and how far was scanned if there
/// is more.
fn scan(
    snapshot: &Connection,
    topics: &[i64],
    start: u64,
    count: usize,
) -> rusqlite::Result<(Vec<i64>, Option<u64>)> {
    let topics: HashSet<i64> = topics.iter().copied().collect();
    let mut select = snapshot
        .prepare_cached("SELECT seq, topic FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
    let mut rows = select.query([int(start), SCANNED])?;
    let (mut seqs, mut scanned, mut last) = (Vec::new(), 0, start);
    while seqs.len() < count
        && let Some(row) = rows.next()?
    {
        let seq: i64 = row.get(0)?;
        if topics.contains(&row.get::<_, i64>(1)?) {
            seqs.push(seq);
        }
        (scanned, last) = (scanned + 1, seq.cast_unsigned());
    }
    Ok((seqs, (scanned == SCANNED).then_some(last)))
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
    let known = topic::matching(snapshot, selector, None)?;
    let unknown = !selector.is_exact() || known.len() < selector.topics().len();
    let floors = known.iter().map(|topic| topic.floor);
    let floor = floors.chain(unknown.then_some(log.forgotten)).max();
    let ids = known.iter().map(|topic| topic.id).collect();
    Ok((Some(ids), floor.unwrap_or(0)))
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
