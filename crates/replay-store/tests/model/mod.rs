//! A slow, obvious store: everything that ever happened, in one vector. The oracle of the tests.

use std::collections::HashMap;
use std::time::Duration;

use replay_store::{
    After, Append, Appended, Bounds, Epoch, Event, Gap, GapReason, Limit, Page, Position,
    Retention, Selector, Topic,
};

/// One event that was appended at some time.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) event: Event,
    /// Retention removed it.
    pub(crate) trimmed: bool,
    /// Its history ended before it.
    pub(crate) lost: bool,
}

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) facts: Vec<Fact>,
    pub(crate) births: Vec<(Epoch, u64)>,
    /// For each epoch there ever was, its history from the first event on: indices into `facts`.
    pub(crate) chains: HashMap<Epoch, Vec<usize>>,
    /// Starts with the next append.
    pub(crate) pending: Option<Epoch>,
    pub(crate) retention: Retention,
    pub(crate) now_ms: u64,
    topics: HashMap<Topic, Known>,
    pub(crate) forgotten: u64,
}

#[derive(Debug)]
struct Known {
    /// What the log had forgotten when this topic was created.
    floor: u64,
    /// Facts before this one belong to an earlier, forgotten life of the topic.
    created: usize,
}

impl Model {
    pub(crate) fn new(seed: Epoch, retention: Retention) -> Self {
        Self {
            facts: Vec::new(),
            births: vec![(seed, 1)],
            chains: HashMap::from([(seed, Vec::new())]),
            pending: None,
            retention,
            now_ms: 0,
            topics: HashMap::new(),
            forgotten: 0,
        }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.births.last().expect("never empty").0
    }

    pub(crate) fn tail(&self) -> u64 {
        self.surviving()
            .last()
            .map_or(0, |fact| fact.event.position.seq)
    }

    pub(crate) fn append(&mut self, batch: Vec<Append>) -> Vec<Appended> {
        let mut appended = Vec::new();
        for append in batch {
            let seq = self.tail() + 1;
            if let Some(epoch) = self.pending.take() {
                self.births.retain(|(_, birth)| *birth <= seq);
                self.births.push((epoch, seq));
                let shared = (0..self.facts.len())
                    .filter(|i| !self.facts[*i].lost)
                    .collect();
                self.chains.insert(epoch, shared);
            }
            let position = Position {
                epoch: self.epoch(),
                seq,
            };
            let created = Known {
                floor: self.forgotten,
                created: self.facts.len(),
            };
            let known = self.topics.entry(append.topic.clone()).or_insert(created);
            let first = (known.floor == 0).then_some(0);
            let earlier = self.facts[known.created..].iter().rev();
            let prev = earlier
                .filter(|fact| !fact.lost && fact.event.topic == append.topic)
                .map(|fact| Some(fact.event.position.seq))
                .next()
                .unwrap_or(first);
            let event = Event {
                position,
                prev,
                topic: append.topic,
                event: append.event,
                data: append.data,
                conflate_key: append.conflate_key,
                timestamp_ms: self.now_ms,
            };
            self.chains
                .get_mut(&position.epoch)
                .expect("listed")
                .push(self.facts.len());
            self.facts.push(Fact {
                event,
                trimmed: false,
                lost: false,
            });
            appended.push(Appended {
                position,
                duplicate: false,
            });
        }
        self.apply_retention();
        appended
    }

    pub(crate) fn apply_retention(&mut self) {
        let Retention {
            events,
            bytes,
            log_bytes,
            age,
            idle_topics,
        } = self.retention;
        let oldest_ms = self
            .now_ms
            .saturating_sub(age.min(Duration::from_secs(1 << 40)).as_millis() as u64);
        let mut kept: HashMap<Topic, (usize, u64)> = HashMap::new();
        let mut kept_in_log = 0;
        for fact in self
            .facts
            .iter_mut()
            .rev()
            .filter(|fact| !fact.lost && !fact.trimmed)
        {
            let topic = kept.entry(fact.event.topic.clone()).or_default();
            *topic = (topic.0 + 1, topic.1 + fact.event.cost());
            fact.trimmed =
                topic.0 > events || topic.1 > bytes || fact.event.timestamp_ms < oldest_ms;
        }
        for fact in self
            .facts
            .iter_mut()
            .rev()
            .filter(|fact| !fact.lost && !fact.trimmed)
        {
            kept_in_log += fact.event.cost();
            fact.trimmed = kept_in_log > log_bytes;
        }
        let mut idle: Vec<_> = self
            .topics
            .keys()
            .filter(|topic| !self.retained().any(|event| event.topic == **topic))
            .map(|topic| (self.floor(topic), topic.clone()))
            .collect();
        idle.sort();
        for (_, topic) in idle.iter().take(idle.len().saturating_sub(idle_topics)) {
            self.forget(topic);
        }
    }

    pub(crate) fn trim(&mut self, selector: &Selector, through: u64) {
        for fact in self.facts.iter_mut().filter(|fact| !fact.lost) {
            let event = &fact.event;
            fact.trimmed |= selector.matches(&event.topic) && event.position.seq <= through;
        }
        self.apply_retention();
    }

    /// Trims the whole topic and drops what is known of it.
    pub(crate) fn forget(&mut self, topic: &Topic) {
        for fact in self.facts.iter_mut().filter(|fact| !fact.lost) {
            fact.trimmed |= fact.event.topic == *topic;
        }
        if self.topics.contains_key(topic) {
            self.forgotten = self.forgotten.max(self.floor(topic));
            self.topics.remove(topic);
        }
    }

    /// The last `events` are gone, as after a promotion. A new epoch starts with the next append.
    pub(crate) fn lose(&mut self, events: usize, epoch: Epoch) {
        let doomed: Vec<usize> = (0..self.facts.len())
            .rev()
            .filter(|i| !self.facts[*i].lost)
            .take(events)
            .collect();
        for i in doomed {
            self.facts[i].lost = true;
        }
        let tail = self.tail();
        // An epoch is written down with its first event, and lost with it.
        let oldest = self.births[0];
        self.births.retain(|(_, birth)| *birth <= tail);
        if self.births.is_empty() {
            self.births.push(oldest);
        }
        self.forgotten = self.forgotten.min(tail);
        for known in self.topics.values_mut() {
            known.floor = known.floor.min(tail);
        }
        self.pending = Some(epoch);
    }

    pub(crate) fn floor(&self, topic: &Topic) -> u64 {
        let Some(known) = self.topics.get(topic) else {
            return self.forgotten;
        };
        self.surviving()
            .filter(|fact| fact.trimmed && fact.event.topic == *topic)
            .map(|fact| fact.event.position.seq)
            .max()
            .unwrap_or(0)
            .max(known.floor)
    }

    pub(crate) fn read(&self, selector: &Selector, after: After, limit: Limit) -> Page {
        let floor = if selector.is_all() {
            let trimmed = self.surviving().filter(|fact| fact.trimmed);
            trimmed
                .map(|fact| fact.event.position.seq)
                .max()
                .unwrap_or(0)
        } else {
            let known = self.topics.keys().filter(|it| selector.matches(it));
            let floors = known.chain(selector.topics()).map(|it| self.floor(it));
            let unknown = (!selector.is_exact()).then_some(self.forgotten);
            floors.chain(unknown).max().expect("not empty")
        };
        let bounds = Bounds {
            epoch: self.epoch(),
            floor,
            tail: self.tail(),
        };
        let here = |seq| Position {
            epoch: bounds.epoch,
            seq,
        };
        let matching: Vec<_> = self
            .retained()
            .filter(|event| selector.matches(&event.topic))
            .collect();
        let oldest = matching
            .first()
            .map_or(bounds.tail, |event| event.position.seq - 1);
        let (from, reason) = match after {
            After::Earliest => (here(0), None),
            After::Latest => (here(bounds.tail), None),
            After::Unknown => (here(oldest), Some(GapReason::Unknown)),
            After::Position(cursor) => {
                let listed = self
                    .births
                    .iter()
                    .position(|(epoch, _)| *epoch == cursor.epoch);
                let lost_from = match listed {
                    None => Some(self.births.last().expect("never empty").1),
                    Some(i) => self.births.get(i + 1).map(|(_, birth)| *birth),
                };
                match lost_from {
                    Some(birth) if listed.is_none() || cursor.seq >= birth => {
                        (here(birth - 1), Some(GapReason::EpochChanged))
                    }
                    _ if cursor.seq > bounds.tail => (here(bounds.tail), Some(GapReason::Ahead)),
                    _ if cursor.seq < floor => (cursor, Some(GapReason::Trimmed)),
                    _ => (cursor, None),
                }
            }
        };
        let mut events: Vec<Event> = Vec::new();
        let mut bytes = 0;
        let mut scanned_to = bounds.tail;
        for event in matching
            .into_iter()
            .filter(|event| event.position.seq > from.seq)
        {
            bytes += event.data.len();
            if let Some(last) = events.last()
                && (events.len() >= limit.events || bytes > limit.bytes)
            {
                scanned_to = last.position.seq;
                break;
            }
            events.push(event.clone());
        }
        let after = if let After::Position(cursor) = after {
            Some(cursor)
        } else {
            None
        };
        let gap = reason.map(|reason| Gap {
            reason,
            after,
            continue_at: from,
            floor,
        });
        Page {
            events,
            from,
            scanned_to,
            bounds,
            gap,
        }
    }

    fn surviving(&self) -> impl DoubleEndedIterator<Item = &Fact> {
        self.facts.iter().filter(|fact| !fact.lost)
    }

    fn retained(&self) -> impl Iterator<Item = &Event> {
        self.surviving()
            .filter(|fact| !fact.trimmed)
            .map(|fact| &fact.event)
    }
}
