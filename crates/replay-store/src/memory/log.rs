//! The log of a memory store: everything under its lock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};

use super::keys::Keys;
use crate::{
    After, Append, Appended, Capabilities, Epochs, Event, Hint, KeyWindow, Limit, Page, Position,
    Retention, Selector, StoreError, Topic, plan_batch,
};

#[derive(Debug)]
pub(super) struct Log {
    retention: Retention,
    window: KeyWindow,
    epochs: Epochs,
    /// The last seq. Seqs are dense: 1, 2, 3...
    tail: u64,
    /// The latest time seen; timestamps never decrease.
    now_ms: u64,
    topics: HashMap<Topic, TopicLog>,
    /// Seq and topic of every retained event in order, and of up to as many trimmed ones again.
    order: VecDeque<(u64, Topic)>,
    /// Entries of `order` whose event was trimmed.
    dead: usize,
    /// The cost of all retained events.
    bytes: u64,
    /// The largest seq ever trimmed.
    floor: u64,
    /// The largest floor of all forgotten topics.
    forgotten: u64,
    /// Topics without a retained event, by their floor, which no two topics share.
    idle: BTreeMap<u64, Topic>,
    keys: Keys,
}

#[derive(Debug)]
struct TopicLog {
    events: VecDeque<Event>,
    /// The cost of `events`.
    bytes: u64,
    /// The largest seq trimmed, or what the log had forgotten when this topic was created.
    floor: u64,
    /// What the next event will have as [`Event::prev`].
    prev: Option<u64>,
}

impl Log {
    pub(super) fn new(retention: Retention, window: KeyWindow, epochs: Epochs) -> Self {
        Self {
            retention,
            window,
            epochs,
            tail: 0,
            now_ms: 0,
            topics: HashMap::new(),
            order: VecDeque::new(),
            dead: 0,
            bytes: 0,
            floor: 0,
            forgotten: 0,
            idle: BTreeMap::new(),
            keys: Keys::default(),
        }
    }

    /// Appends a batch whole or not at all. The hint is `None` if everything was a duplicate.
    pub(super) fn append(
        &mut self,
        batch: Vec<Append>,
        capabilities: &Capabilities,
        now_ms: u64,
    ) -> Result<(Vec<Appended>, Option<Hint>), StoreError> {
        self.tick(now_ms);
        let plan = self.plan(&batch, capabilities)?;

        let log_prev = self.tail;
        let epoch = self.epochs.current();
        let mut events = Vec::with_capacity(batch.len());
        for (append, planned) in batch.into_iter().zip(&plan) {
            if !planned.duplicate {
                self.tail = planned.position.seq;
                self.keys.insert(&append, planned.position, self.now_ms);
                events.push(self.push(append, planned.position));
            }
        }
        for event in &events {
            self.trim_topic(&event.topic);
        }
        self.trim_log();
        self.keys.expire(&self.window, self.now_ms);
        let hint = (!events.is_empty()).then(|| Hint {
            epoch,
            log_prev,
            events: events.into(),
        });
        Ok((plan, hint))
    }

    pub(super) fn read(
        &mut self,
        selector: &Selector,
        after: After,
        limit: Limit,
        now_ms: u64,
    ) -> Page {
        self.tick(now_ms);
        let floor = if selector.is_all() {
            self.floor
        } else {
            let floor = |topic| {
                self.topics
                    .get(topic)
                    .map_or(self.forgotten, |log| log.floor)
            };
            selector.topics().iter().map(floor).max().unwrap_or(0)
        };
        let judged = self.epochs.judge(after, floor, self.tail);
        let (events, more) = if selector.is_all() {
            take(self.whole_log(judged.start()), limit)
        } else {
            take(self.merged(selector, judged.start()), limit)
        };
        judged.into_page(events, more)
    }

    pub(super) fn trim(&mut self, selector: &Selector, through: u64) {
        let topics = if selector.is_all() {
            self.topics.keys().cloned().collect()
        } else {
            selector.topics().to_vec()
        };
        for topic in &topics {
            while self
                .oldest(topic)
                .is_some_and(|event| event.position.seq <= through)
            {
                self.trim_one(topic);
            }
        }
        self.forget_idle();
    }

    /// Answers for the whole batch, with the positions that new events will have.
    fn plan(
        &self,
        batch: &[Append],
        capabilities: &Capabilities,
    ) -> Result<Vec<Appended>, StoreError> {
        let last = Position {
            epoch: self.epochs.current(),
            seq: self.tail,
        };
        plan_batch(batch, capabilities, last, |append| {
            let known = self.keys.get(append);
            Ok(known.map(|known| (known.fingerprint, known.position)))
        })
    }

    fn push(&mut self, append: Append, position: Position) -> Event {
        let forgotten = self.forgotten;
        let log = self
            .topics
            .entry(append.topic.clone())
            .or_insert_with(|| TopicLog {
                events: VecDeque::new(),
                bytes: 0,
                floor: forgotten,
                prev: (forgotten == 0).then_some(0),
            });
        if log.events.is_empty() {
            self.idle.remove(&log.floor);
        }
        let event = Event {
            position,
            prev: log.prev,
            topic: append.topic,
            event: append.event,
            data: append.data,
            conflate_key: append.conflate_key,
            timestamp_ms: self.now_ms,
        };
        log.prev = Some(position.seq);
        log.bytes += event.cost();
        self.bytes += event.cost();
        log.events.push_back(event.clone());
        self.order.push_back((position.seq, event.topic.clone()));
        event
    }

    /// Time passes: what is too old goes.
    fn tick(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        self.keys.expire(&self.window, self.now_ms);
        self.trim_log();
    }

    fn trim_topic(&mut self, topic: &Topic) {
        let Retention { events, bytes, .. } = self.retention;
        while self
            .topics
            .get(topic)
            .is_some_and(|log| log.events.len() > events || log.bytes > bytes)
        {
            self.trim_one(topic);
        }
    }

    /// Trims the oldest events of the log while they are too old, or all events too big. Timestamps
    /// never decrease, so age is a matter of the oldest ones alone.
    fn trim_log(&mut self) {
        let oldest_ms = self.retention.oldest_ms(self.now_ms);
        while let Some((seq, topic)) = self.order.front() {
            let oldest = self
                .oldest(topic)
                .filter(|event| event.position.seq == *seq);
            let Some(event) = oldest else {
                self.order.pop_front();
                self.dead -= 1;
                continue;
            };
            if event.timestamp_ms >= oldest_ms && self.bytes <= self.retention.log_bytes {
                break;
            }
            let topic = topic.clone();
            self.trim_one(&topic);
        }
        // Keeps what is dead behind a living event from outgrowing the living.
        if self.dead > self.order.len() / 2 + 64 {
            let topics = &self.topics;
            self.order
                .retain(|(seq, topic)| topics.get(topic).is_some_and(|log| *seq > log.floor));
            self.dead = 0;
        }
        self.forget_idle();
    }

    fn forget_idle(&mut self) {
        while self.idle.len() > self.retention.idle_topics {
            let Some((floor, topic)) = self.idle.pop_first() else {
                break;
            };
            self.topics.remove(&topic);
            self.forgotten = self.forgotten.max(floor);
        }
    }

    /// Trims the oldest event of a topic, if there is one.
    fn trim_one(&mut self, topic: &Topic) {
        let Some(log) = self.topics.get_mut(topic) else {
            return;
        };
        let Some(event) = log.events.pop_front() else {
            return;
        };
        log.floor = event.position.seq;
        log.bytes -= event.cost();
        self.bytes -= event.cost();
        self.dead += 1;
        self.floor = self.floor.max(log.floor);
        if log.events.is_empty() {
            self.idle.insert(log.floor, topic.clone());
        }
    }

    fn oldest(&self, topic: &Topic) -> Option<&Event> {
        self.topics.get(topic)?.events.front()
    }

    /// The retained events of all topics above `start`, in order.
    fn whole_log(&self, start: u64) -> impl Iterator<Item = &Event> {
        let from = self.order.partition_point(|(seq, _)| *seq <= start);
        self.order.range(from..).filter_map(|(seq, topic)| {
            let events = &self.topics.get(topic)?.events;
            let at = events
                .binary_search_by_key(seq, |event| event.position.seq)
                .ok()?;
            events.get(at)
        })
    }

    /// The retained events of the selector's topics above `start`, in order.
    fn merged<'a>(
        &'a self,
        selector: &'a Selector,
        start: u64,
    ) -> impl Iterator<Item = &'a Event> + use<'a> {
        let mut cursors: Vec<_> = selector
            .topics()
            .iter()
            .filter_map(|topic| self.topics.get(topic))
            .map(|log| {
                let from = log
                    .events
                    .partition_point(|event| event.position.seq <= start);
                log.events.range(from..).peekable()
            })
            .collect();
        let mut heads: BinaryHeap<_> = cursors
            .iter_mut()
            .enumerate()
            .filter_map(|(i, cursor)| Some(Reverse((cursor.peek()?.position.seq, i))))
            .collect();
        std::iter::from_fn(move || {
            let Reverse((_, i)) = heads.pop()?;
            let cursor = cursors.get_mut(i)?;
            let event = cursor.next();
            heads.extend(cursor.peek().map(|next| Reverse((next.position.seq, i))));
            event
        })
    }
}

/// As many events as the limit allows, at least one; and whether there are more.
fn take<'a>(events: impl Iterator<Item = &'a Event>, limit: Limit) -> (Vec<Event>, bool) {
    let mut taken: Vec<Event> = Vec::new();
    let mut bytes = 0_usize;
    for event in events {
        bytes = bytes.saturating_add(event.data.len());
        if !taken.is_empty() && (taken.len() >= limit.events || bytes > limit.bytes) {
            return (taken, true);
        }
        taken.push(event.clone());
    }
    (taken, false)
}
