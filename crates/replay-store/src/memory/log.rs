//! The log of a memory store: everything under its lock.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::ops::Bound;

use super::keys::Keys;
use crate::{
    After, Append, Appended, Capabilities, Epochs, Event, Hint, KeyWindow, Limit, Page, Position,
    Retention, RetentionRules, Selector, StoreError, Topic, TopicInfo, TopicRetention, plan_batch,
};

#[derive(Debug)]
pub(super) struct Log {
    retention: Retention,
    rules: RetentionRules,
    window: KeyWindow,
    epochs: Epochs,
    /// The last seq. Seqs are dense: 1, 2, 3...
    tail: u64,
    /// The latest time seen; timestamps never decrease.
    now_ms: u64,
    topics: HashMap<Topic, TopicLog>,
    /// The keys of `topics`, sorted, so that a pattern need not look at all of them.
    names: BTreeSet<Topic>,
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
    /// When to look whether the oldest event of a topic is too old, of every topic that has one and an
    /// age: not later than it is. What a topic's own [`TopicLog::due_ms`] does not say is void.
    expiries: BinaryHeap<Reverse<(u64, Topic)>>,
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
    bounds: TopicRetention,
    /// Its entry in [`Log::expiries`], or `u64::MAX` for none.
    due_ms: u64,
    /// Its last event is its end.
    ended: bool,
}

impl TopicLog {
    /// Has it more than its bounds allow?
    fn is_full(&self) -> bool {
        self.events.len() > self.bounds.events || self.bytes > self.bounds.bytes
    }
}

impl Log {
    pub(super) fn new(
        retention: Retention,
        rules: RetentionRules,
        window: KeyWindow,
        epochs: Epochs,
    ) -> Self {
        Self {
            retention,
            rules,
            window,
            epochs,
            tail: 0,
            now_ms: 0,
            topics: HashMap::new(),
            names: BTreeSet::new(),
            order: VecDeque::new(),
            dead: 0,
            bytes: 0,
            floor: 0,
            forgotten: 0,
            idle: BTreeMap::new(),
            expiries: BinaryHeap::new(),
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
        let mut full = Vec::new();
        for (append, planned) in batch.into_iter().zip(&plan) {
            if !planned.duplicate {
                self.tail = planned.position.seq;
                self.keys.insert(&append, planned.position, self.now_ms);
                let (event, is_full) = self.push(append, planned.position);
                if is_full {
                    full.push(event.topic.clone());
                }
                events.push(event);
            }
        }
        for topic in &full {
            self.trim_topic(topic);
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
        let (topics, floor) = if selector.is_all() {
            (Vec::new(), self.floor)
        } else {
            self.matching(selector)
        };
        let judged = self.epochs.judge(after, floor, self.tail);
        let (events, more) = if selector.is_all() {
            take(self.whole_log(judged.start()), limit)
        } else {
            take(merged(&topics, judged.start()), limit)
        };
        judged.into_page(events, more)
    }

    pub(super) fn trim(&mut self, selector: &Selector, through: u64) {
        for topic in self.names_of(selector) {
            while self
                .oldest(&topic)
                .is_some_and(|event| event.position.seq <= through)
            {
                self.trim_one(&topic);
            }
        }
        self.forget_idle();
    }

    pub(super) fn topics(
        &mut self,
        selector: &Selector,
        after: Option<&Topic>,
        limit: usize,
        now_ms: u64,
    ) -> Vec<TopicInfo> {
        self.tick(now_ms);
        let mut names = self.names_of(selector);
        if let Some(after) = after {
            names.retain(|name| name > after);
        }
        let info = |topic: Topic| {
            let log = self.topics.get(&topic)?;
            Some(TopicInfo {
                events: log.events.len() as u64,
                bytes: log.bytes,
                last: log.prev.unwrap_or(0),
                ended: log.ended,
                topic,
            })
        };
        names.into_iter().filter_map(info).take(limit).collect()
    }

    /// The known topics of the selector, sorted.
    fn names_of(&self, selector: &Selector) -> Vec<Topic> {
        let known = |topic: &&Topic| self.topics.contains_key(*topic);
        let mut names: Vec<_> = selector.topics().iter().filter(known).cloned().collect();
        for pattern in selector.wildcards() {
            let prefix = pattern.prefix();
            let from = self
                .names
                .range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
            names.extend(
                from.take_while(|name| name.as_str().starts_with(prefix))
                    .filter(|name| pattern.matches(name))
                    .cloned(),
            );
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The known topics of the selector, and the largest floor among all its topics.
    fn matching(&self, selector: &Selector) -> (Vec<&TopicLog>, u64) {
        let topics: Vec<_> = if selector.is_exact() {
            let known = selector.topics().iter();
            known.filter_map(|topic| self.topics.get(topic)).collect()
        } else {
            let known = self.names_of(selector).into_iter();
            known.filter_map(|topic| self.topics.get(&topic)).collect()
        };
        let unknown = !selector.is_exact() || topics.len() < selector.topics().len();
        let floors = topics.iter().map(|log| log.floor);
        let floor = floors.chain(unknown.then_some(self.forgotten)).max();
        (topics, floor.unwrap_or(0))
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
        let known = |append: &Append| {
            let known = self.keys.get(append);
            Ok(known.map(|known| (known.fingerprint, known.position)))
        };
        let ended = |topic: &Topic| {
            let ended = self.topics.get(topic).filter(|log| log.ended);
            Ok(ended.and_then(|log| log.prev).map(|seq| Position {
                epoch: self.epochs.of(seq),
                seq,
            }))
        };
        plan_batch(batch, capabilities, last, known, ended)
    }

    /// Appends an event, and says whether its topic is over its bounds then.
    fn push(&mut self, append: Append, position: Position) -> (Event, bool) {
        let mut entry = match self.topics.entry(append.topic.clone()) {
            Entry::Occupied(known) => known,
            Entry::Vacant(unknown) => {
                let topic = unknown.key().clone();
                let log = TopicLog {
                    events: VecDeque::new(),
                    bytes: 0,
                    floor: self.forgotten,
                    prev: (self.forgotten == 0).then_some(0),
                    bounds: self.rules.of(&topic, &self.retention),
                    due_ms: u64::MAX,
                    ended: false,
                };
                self.names.insert(topic);
                unknown.insert_entry(log)
            }
        };
        // All events of a topic share the text of its name.
        let topic = entry.key().clone();
        let log = entry.get_mut();
        if log.events.is_empty() {
            self.idle.remove(&log.floor);
        }
        if log.due_ms == u64::MAX {
            log.due_ms = log.bounds.expires_ms(self.now_ms);
            if log.due_ms < u64::MAX {
                self.expiries.push(Reverse((log.due_ms, topic.clone())));
            }
        }
        log.ended = append.is_end();
        let event = Event {
            position,
            prev: log.prev,
            topic,
            event: append.event,
            data: append.data,
            conflate_key: append.conflate_key,
            timestamp_ms: self.now_ms,
        };
        log.prev = Some(position.seq);
        log.bytes += event.cost();
        self.bytes += event.cost();
        log.events.push_back(event.clone());
        let is_full = log.is_full();
        self.order.push_back((position.seq, event.topic.clone()));
        (event, is_full)
    }

    /// Time passes: what is too old goes.
    fn tick(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        self.keys.expire(&self.window, self.now_ms);
        self.trim_log();
    }

    fn trim_topic(&mut self, topic: &Topic) {
        while self.topics.get(topic).is_some_and(TopicLog::is_full) {
            self.trim_one(topic);
        }
    }

    /// Trims what is too old, then the oldest events of the log while all of them are too big.
    fn trim_log(&mut self) {
        while self
            .expiries
            .peek()
            .is_some_and(|Reverse((due, _))| *due <= self.now_ms)
            && let Some(Reverse((due, topic))) = self.expiries.pop()
        {
            self.expire(due, &topic);
        }
        while let Some((seq, topic)) = self.order.front() {
            if self.dead == 0 && self.bytes <= self.retention.log_bytes {
                break;
            }
            let oldest = self
                .oldest(topic)
                .filter(|event| event.position.seq == *seq);
            if oldest.is_none() {
                self.order.pop_front();
                self.dead -= 1;
                continue;
            }
            if self.bytes <= self.retention.log_bytes {
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

    /// Trims what is too old in a topic whose entry was due, and notes when to look again.
    fn expire(&mut self, due_ms: u64, topic: &Topic) {
        let known = self.topics.get_mut(topic);
        // A topic that was forgotten and made again has an entry of its own.
        let Some(log) = known.filter(|log| log.due_ms == due_ms) else {
            return;
        };
        log.due_ms = u64::MAX;
        while let Some(log) = self.topics.get_mut(topic)
            && let Some(oldest) = log.events.front()
        {
            let expires = log.bounds.expires_ms(oldest.timestamp_ms);
            if expires > self.now_ms {
                log.due_ms = expires;
                self.expiries.push(Reverse((expires, topic.clone())));
                return;
            }
            self.trim_one(topic);
        }
    }

    fn forget_idle(&mut self) {
        while self.idle.len() > self.retention.idle_topics {
            let Some((floor, topic)) = self.idle.pop_first() else {
                break;
            };
            self.topics.remove(&topic);
            self.names.remove(&topic);
            self.forgotten = self.forgotten.max(floor);
        }
        // Keeps what is void from outgrowing the rest.
        if self.expiries.len() > 2 * self.topics.len() + 64 {
            let topics = &self.topics;
            self.expiries.retain(|Reverse((due, topic))| {
                topics.get(topic).is_some_and(|log| log.due_ms == *due)
            });
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
}

/// The retained events of these topics above `start`, in order.
fn merged<'a>(topics: &[&'a TopicLog], start: u64) -> impl Iterator<Item = &'a Event> + use<'a> {
    let beyond = |log: &&&TopicLog| log.prev.is_some_and(|last| last > start);
    let mut cursors: Vec<_> = topics
        .iter()
        .filter(beyond)
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

#[cfg(test)]
mod tests;
