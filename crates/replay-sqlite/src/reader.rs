//! The reading side: a few threads, each with a connection of its own.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use replay_store::{After, Epochs, Event, Limit, Page, Selector, Topic, TopicInfo};
use rusqlite::{Connection, Row};

use crate::error::{OpenError, corrupt, failed};
use crate::gate::Gate;
use crate::index;
use crate::queue::Queue;
use crate::row::{self, LogRow, Names, int};
use crate::topic::Matching;
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

/// Starts `count` readers. They end when the queue is closed and empty.
pub(crate) fn start(
    path: &Path,
    count: usize,
    jobs: &Arc<Queue<Job>>,
    gate: &Arc<Gate>,
) -> Result<Vec<JoinHandle<()>>, OpenError> {
    let reader = |_| {
        let mut reader = Reader {
            connection: schema::open_reader(path)?,
            gate: Arc::clone(gate),
            epochs: None,
        };
        let jobs = Arc::clone(jobs);
        let run = move || {
            while let Some(taken) = jobs.take(1, 0) {
                for job in taken {
                    // A panic takes the reply with it, and ends nothing.
                    let _panic = catch_unwind(AssertUnwindSafe(|| reader.serve(job)));
                }
            }
        };
        let name = "replay-sqlite read".to_owned();
        Ok(thread::Builder::new().name(name).spawn(run)?)
    };
    // All connections are there before the first thread is.
    (0..count.max(1)).map(reader).collect()
}

struct Reader {
    connection: Connection,
    gate: Arc<Gate>,
    /// The epochs, and the count of changes they were read at.
    epochs: Option<(u64, Epochs)>,
}

impl Reader {
    fn serve(&mut self, job: Job) {
        let gate = Arc::clone(&self.gate);
        let _reads = gate.read();
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
                let infos =
                    topics.map(|topics| topics.into_iter().map(|it| it.info).take(limit).collect());
                let _gone = reply.send(infos.map_err(|error| failed(&error)));
            }
            Job::Page { .. } | Job::Topics { .. } => {}
        }
    }

    /// Reads one page as one snapshot.
    fn read(&mut self, selector: &Selector, after: After, limit: Limit) -> rusqlite::Result<Page> {
        let snapshot = self.connection.unchecked_transaction()?;
        let log = LogRow::load(&snapshot)?;
        let epochs = match &self.epochs {
            Some((changes, epochs)) if *changes == log.epoch_changes => epochs,
            _ => {
                let epochs = schema::epochs(&snapshot)?
                    .ok_or_else(|| corrupt("its epochs are not in order"))?;
                &self.epochs.insert((log.epoch_changes, epochs)).1
            }
        };
        let (topics, floor) = topics_and_floor(&snapshot, selector, &log)?;
        let judged = epochs.judge(after, floor, log.tail);
        let mut taking = Taking::new(&snapshot, epochs, limit);
        let through = match &topics {
            None => taking.log(judged.start())?,
            Some(topics) if topics.len() > MERGED => taking.scan(topics, judged.start())?,
            Some(topics) => taking.merge(topics, judged.start(), log.indexed)?,
        };
        let Taking { events, .. } = taking;
        let page = match through {
            Through::Limit => judged.into_page(events, true),
            Through::End => judged.into_page(events, false),
            Through::Scanned(seq) => judged.into_page_through(events, seq),
        };
        snapshot.finish()?;
        Ok(page)
    }
}

/// The most topics that are read by their indexes and merged, which takes one look at the index
/// for each; so a page of exact topics never scans the log. For more, the log is scanned, so many
/// events at a time.
const MERGED: usize = 512;
const SCANNED: i64 = 8192;

/// How far a page goes.
enum Through {
    /// To its last event; there is another.
    Limit,
    /// To the end of the log.
    End,
    /// To this seq; nobody has looked further.
    Scanned(u64),
}

/// The events of a page, as they are taken.
struct Taking<'s> {
    snapshot: &'s Connection,
    epochs: &'s Epochs,
    names: Names,
    limit: Limit,
    bytes: usize,
    events: Vec<Event>,
}

impl<'s> Taking<'s> {
    fn new(snapshot: &'s Connection, epochs: &'s Epochs, limit: Limit) -> Self {
        Self {
            snapshot,
            epochs,
            names: Names::default(),
            limit,
            bytes: 0,
            events: Vec::new(),
        }
    }

    /// Takes the event of a row, unless the page is full.
    fn take(&mut self, row: &Row<'_>) -> rusqlite::Result<bool> {
        if !self.events.is_empty() && self.events.len() >= self.limit.events {
            return Ok(false);
        }
        let event = row::event(row, self.snapshot, self.epochs, &mut self.names)?;
        self.bytes = self.bytes.saturating_add(event.data.len());
        if !self.events.is_empty() && self.bytes > self.limit.bytes {
            return Ok(false);
        }
        self.events.push(event);
        Ok(true)
    }

    /// Everything above `start`.
    fn log(&mut self, start: u64) -> rusqlite::Result<Through> {
        let mut select = self.snapshot.prepare_cached(&format!(
            "SELECT {} FROM events WHERE seq > ?1 ORDER BY seq",
            row::EVENT
        ))?;
        let mut rows = select.query([int(start)])?;
        while let Some(row) = rows.next()? {
            if !self.take(row)? {
                return Ok(Through::Limit);
            }
        }
        Ok(Through::End)
    }

    /// The events of these topics above `start`, by looking at so many of all.
    fn scan(&mut self, topics: &[Matching], start: u64) -> rusqlite::Result<Through> {
        let topics: HashSet<i64> = topics.iter().map(|topic| topic.id).collect();
        let mut select = self.snapshot.prepare_cached(&format!(
            "SELECT {} FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            row::EVENT
        ))?;
        let mut rows = select.query([int(start), SCANNED])?;
        let (mut scanned, mut last) = (0, start);
        while let Some(row) = rows.next()? {
            if topics.contains(&row.get::<_, i64>(1)?) && !self.take(row)? {
                return Ok(Through::Limit);
            }
            scanned += 1;
            last = row.get::<_, i64>(0)?.cast_unsigned();
        }
        Ok(if scanned == SCANNED {
            Through::Scanned(last)
        } else {
            Through::End
        })
    }

    /// The events of these topics above `start`, each by its index.
    fn merge(
        &mut self,
        topics: &[Matching],
        start: u64,
        indexed: u64,
    ) -> rusqlite::Result<Through> {
        let snapshot = self.snapshot;
        let mut select = snapshot
            .prepare_cached(&format!("SELECT {} FROM events WHERE seq = ?1", row::EVENT))?;
        let mut seqs = Merge::new(snapshot, topics, start, indexed, self.limit.events)?;
        while let Some(seq) = seqs.next()? {
            let mut rows = select.query([seq])?;
            let row = rows.next()?.ok_or_else(|| {
                corrupt(&format!(
                    "event {seq} is in the index, and not in the table"
                ))
            })?;
            if !self.take(row)? {
                return Ok(Through::Limit);
            }
        }
        Ok(Through::End)
    }
}

/// The seqs of some topics in order, a few of each topic read ahead.
struct Merge<'s> {
    snapshot: &'s Connection,
    /// The last seq that the index of topics has.
    indexed: u64,
    ahead: usize,
    /// The next seq of each topic that has one, the lowest first.
    next: BinaryHeap<Reverse<(i64, usize)>>,
    topics: Vec<Ahead<'s>>,
}

/// What is read ahead of a topic.
struct Ahead<'s> {
    topic: &'s Matching,
    seqs: VecDeque<i64>,
    /// There are no more than those.
    whole: bool,
}

impl<'s> Merge<'s> {
    fn new(
        snapshot: &'s Connection,
        topics: &'s [Matching],
        start: u64,
        indexed: u64,
        wanted: usize,
    ) -> rusqlite::Result<Self> {
        // One topic is read ahead by what is wanted and one more, which tells whether there is
        // more; of many, each by twice its even share.
        let share = match topics.len() {
            0 | 1 => wanted,
            many => wanted.div_ceil(many).saturating_mul(2),
        };
        let ahead = |topic| Ahead {
            topic,
            seqs: VecDeque::new(),
            whole: false,
        };
        let mut merge = Self {
            snapshot,
            indexed,
            ahead: share.clamp(3, 4096) + 1,
            next: BinaryHeap::new(),
            topics: topics.iter().map(ahead).collect(),
        };
        for (at, topic) in topics.iter().enumerate() {
            merge.refill(at, start.max(topic.floor))?;
        }
        Ok(merge)
    }

    fn next(&mut self) -> rusqlite::Result<Option<i64>> {
        let Some(Reverse((seq, at))) = self.next.pop() else {
            return Ok(None);
        };
        let ahead = self.topics.get_mut(at);
        match ahead.and_then(|ahead| ahead.seqs.pop_front()) {
            Some(following) => self.next.push(Reverse((following, at))),
            None => self.refill(at, seq.cast_unsigned())?,
        }
        Ok(Some(seq))
    }

    /// Reads on in a topic of which nothing is read ahead.
    fn refill(&mut self, at: usize, after: u64) -> rusqlite::Result<()> {
        let Some(Ahead { topic, seqs, whole }) = self.topics.get_mut(at) else {
            return Ok(());
        };
        if *whole {
            return Ok(());
        }
        if after < self.indexed {
            let mut select = self.snapshot.prepare_cached(
                "SELECT seq FROM topic_events WHERE topic = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
            )?;
            let limit = int(self.ahead as u64);
            for seq in select.query_map([topic.id, int(after), limit], |row| row.get(0))? {
                seqs.push_back(seq?);
            }
        }
        if seqs.len() < self.ahead {
            let after = after.max(self.indexed);
            let last = topic.info.last;
            seqs.extend(index::back_to(self.snapshot, topic.id, last, after)?);
            *whole = true;
        }
        let first = seqs.pop_front();
        self.next.extend(first.map(|seq| Reverse((seq, at))));
        Ok(())
    }
}

/// The known topics of the selector, `None` for all, and the largest floor among them.
fn topics_and_floor(
    snapshot: &Connection,
    selector: &Selector,
    log: &LogRow,
) -> rusqlite::Result<(Option<Vec<Matching>>, u64)> {
    if selector.is_all() {
        return Ok((None, log.floor));
    }
    let known = topic::matching(snapshot, selector, None)?;
    let unknown = !selector.is_exact() || known.len() < selector.topics().len();
    let floors = known.iter().map(|topic| topic.floor);
    let floor = floors.chain(unknown.then_some(log.forgotten)).max();
    let floor = floor.unwrap_or(0);
    Ok((Some(known), floor))
}
