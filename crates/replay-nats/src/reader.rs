//! Reading one page.
//!
//! The end of the log and its floor are asked of the leader before the events are read, and the
//! floor again afterwards: what retention took in between is told as a gap. A consumer may stand
//! on a server that lags behind the leader, so that the log ends where a page ends only if the
//! leader says so too.
//!
//! A consumer with a filter costs the server up to a millisecond for each message (nats-server issues
//! 7014 and 7852; 2.9 is as slow), and one without it a few microseconds. So where events of the
//! selector are dense in the log, it is read without a filter, and what is not wanted is dropped here.

use futures::StreamExt as _;
use replay_store::{After, Event, Limit, Page, Selector, StoreError};
use serde_json::{Value, json};

use crate::message::Stored;
use crate::session::{Session, unavailable};

/// So many events are asked for one by one before a consumer is made, which costs as much.
const SINGLE: usize = 4;

/// The most of one page.
const MAX_EVENTS: usize = 1024;
const MAX_BYTES: usize = 8 << 20;

/// Up to so many messages are read to find one. Of those, one page looks at so many.
const DENSE: u64 = 16;
const SCANNED: usize = DENSE as usize * 512;

/// The most of one request to a consumer.
const BATCH: usize = 512;

/// What a message has beyond its data, about.
const OVERHEAD: usize = 512;

/// A consumer that is not asked for so long is removed by the server.
const INACTIVE_NS: u64 = 30_000_000_000;

pub(crate) async fn read(
    session: &Session,
    selector: &Selector,
    after: After,
    limit: Limit,
) -> Result<Page, StoreError> {
    let limit = Limit {
        events: limit.events.clamp(1, MAX_EVENTS),
        bytes: limit.bytes.min(MAX_BYTES),
    };
    let info = session.info().await?;
    let epochs = session.epochs(info.last).await?;
    let judged = epochs.judge(after, info.floor, info.last);
    let start = judged.start().max(info.floor);
    if start >= info.last {
        return Ok(judged.into_page(Vec::new(), false));
    }
    let mut events: Vec<Event> = Vec::new();
    let mut scanned_to = info.last;
    for filter in session.subjects.filters(selector) {
        // Nothing above what another filter has reached will be in the page.
        let mut scan = Scan::new(session, selector, &filter, start, scanned_to, limit);
        let read = scan.run().await;
        scan.end().await;
        read?;
        scanned_to = scanned_to.min(scan.at);
        let found = scan.found.into_iter();
        events.extend(found.filter_map(|stored| stored.event(&session.subjects, &epochs)));
    }
    events.sort_unstable_by_key(|event| event.position.seq);
    events.dedup_by_key(|event| event.position.seq);
    let fits = fitting(&events, scanned_to, limit);
    if fits < events.len() && events[fits].position.seq <= scanned_to {
        scanned_to = events[fits - 1].position.seq;
    }
    events.truncate(fits);

    let floor = session.info().await?.floor.min(info.last);
    let judged = epochs.judge(after, floor, info.last);
    events.retain(|event| event.position.seq > floor);
    Ok(judged.into_page_through(events, scanned_to.max(floor)))
}

/// How many of the events make a page: at least one of those that were read.
fn fitting(events: &[Event], scanned_to: u64, limit: Limit) -> usize {
    let mut bytes = 0_usize;
    let fits = |(i, event): &(usize, &Event)| {
        bytes = bytes.saturating_add(event.data.len());
        let within = *i < limit.events && bytes <= limit.bytes;
        event.position.seq <= scanned_to && (*i == 0 || within)
    };
    events.iter().enumerate().take_while(fits).count()
}

/// Reads what one filter lets through, above `at` and up to `end`.
struct Scan<'s> {
    session: &'s Session,
    selector: &'s Selector,
    filter: &'s str,
    start: u64,
    end: u64,
    limit: Limit,
    /// Read so far.
    at: u64,
    found: Vec<Stored>,
    bytes: usize,
    /// Messages and bytes that a consumer gave.
    scanned: (usize, usize),
    full: bool,
    consumer: Option<Consumer>,
}

struct Consumer {
    name: String,
    /// It gives about so many messages for one that is wanted.
    spacing: usize,
}

impl<'s> Scan<'s> {
    fn new(
        session: &'s Session,
        selector: &'s Selector,
        filter: &'s str,
        start: u64,
        end: u64,
        limit: Limit,
    ) -> Self {
        Self {
            session,
            selector,
            filter,
            start,
            end,
            limit,
            at: start,
            found: Vec::new(),
            bytes: 0,
            scanned: (0, 0),
            full: false,
            consumer: None,
        }
    }

    async fn run(&mut self) -> Result<(), StoreError> {
        for single in 0.. {
            if !self.full && single >= SINGLE {
                self.fetch().await?;
            }
            if self.full {
                return Ok(());
            }
            match self.session.next(self.filter, self.at + 1).await? {
                Some(stored) if stored.seq <= self.end => self.push(stored),
                _ => {
                    self.at = self.end;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Takes the next message, if it is wanted and the page has room.
    fn push(&mut self, stored: Stored) {
        let topic = self.session.subjects.topic(&stored.subject);
        if topic.is_none_or(|topic| !self.selector.matches(&topic)) {
            self.at = stored.seq;
            self.full = self.at >= self.end;
            return;
        }
        let bytes = self.bytes.saturating_add(stored.data.len());
        if !self.found.is_empty() && bytes > self.limit.bytes {
            self.full = true;
            return;
        }
        self.bytes = bytes;
        self.at = stored.seq;
        self.found.push(stored);
        self.full = self.found.len() >= self.limit.events || self.at >= self.end;
    }

    /// Makes a consumer for what comes after the first few, which tell how dense they lie.
    async fn consumer(&self) -> Result<Consumer, StoreError> {
        let spacing = (self.at - self.start).div_ceil(self.found.len().max(1) as u64);
        let (filter, spacing) = match usize::try_from(spacing) {
            Ok(spacing) if spacing as u64 <= DENSE => (None, spacing),
            _ => (Some(self.filter), 1),
        };
        let name = create(self.session, filter, self.at + 1).await?;
        Ok(Consumer { name, spacing })
    }

    /// Reads through a consumer, as far as it goes at once.
    async fn fetch(&mut self) -> Result<(), StoreError> {
        let consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => self.consumer().await?,
        };
        let Consumer { name, spacing } = self.consumer.insert(consumer);
        let (name, spacing) = (name.clone(), *spacing);
        while !self.full {
            let wanted = (self.limit.events - self.found.len()).saturating_mul(spacing);
            let wanted = wanted.min(BATCH);
            let bytes = self.limit.bytes.saturating_sub(self.bytes).max(1 << 16);
            let query = json!({
                "batch": wanted,
                "no_wait": true,
                "max_bytes": bytes.saturating_add(wanted * OVERHEAD),
            });
            let batch = pull(self.session, &name, &query, wanted).await?;
            let got = batch.len();
            for stored in batch {
                if self.full || stored.seq > self.end {
                    // The leader is asked whether this is the end.
                    return Ok(());
                }
                // One that was asked for singly comes again.
                if stored.seq > self.at {
                    self.scanned.0 += 1;
                    self.scanned.1 += stored.data.len();
                    self.push(stored);
                }
            }
            self.full |= self.scanned.0 >= SCANNED || self.scanned.1 >= MAX_BYTES;
            if got < wanted {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Consumers are few, so this one goes before the next comes.
    async fn end(&mut self) {
        if let Some(Consumer { name, .. }) = self.consumer.take() {
            delete(self.session, &name).await;
        }
    }
}

/// Makes a consumer that is gone with the connection at the latest.
pub(crate) async fn create(
    session: &Session,
    filter: Option<&str>,
    from: u64,
) -> Result<String, StoreError> {
    let stream = &session.stream;
    let mut config = json!({
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": from,
        "ack_policy": "none",
        "replay_policy": "instant",
        "num_replicas": 1,
        "mem_storage": true,
        "inactive_threshold": INACTIVE_NS,
    });
    if let (Some(filter), Some(config)) = (filter, config.as_object_mut()) {
        config.insert("filter_subject".to_owned(), filter.into());
    }
    let subject = format!("$JS.API.CONSUMER.CREATE.{stream}");
    let query = json!({"stream_name": stream, "config": config});
    let answer = session
        .api(&subject, &query)
        .await
        .map_err(|it| unavailable(&it.to_string()))?;
    match answer.get("name").and_then(Value::as_str) {
        Some(name) => Ok(name.to_owned()),
        None => Err(unavailable(&format!("no consumer could be made: {answer}"))),
    }
}

pub(crate) async fn delete(session: &Session, name: &str) {
    let subject = format!("$JS.API.CONSUMER.DELETE.{}.{name}", session.stream);
    // One that stays is removed by the server when it was not asked for a while.
    let _ = session.api(&subject, &json!({})).await;
}

/// One request to a consumer; ends with what is there.
async fn pull(
    session: &Session,
    name: &str,
    query: &Value,
    wanted: usize,
) -> Result<Vec<Stored>, StoreError> {
    let failed = |error: &dyn std::fmt::Display| unavailable(&error.to_string());
    let client = session.client();
    let inbox = client.new_inbox();
    let mut answers = client
        .subscribe(inbox.clone())
        .await
        .map_err(|it| failed(&it))?;
    let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{name}", session.stream);
    client
        .publish_with_reply(subject, inbox, query.to_string().into())
        .await
        .map_err(|it| failed(&it))?;
    let mut batch = Vec::new();
    while batch.len() < wanted {
        let next = tokio::time::timeout(session.timeout(), answers.next()).await;
        let Ok(Some(message)) = next else {
            return Err(unavailable("the server stopped in the middle of a page"));
        };
        if message.status.is_some() {
            break;
        }
        batch.push(Stored::delivered(message)?);
    }
    Ok(batch)
}
