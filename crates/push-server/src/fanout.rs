//! The RAM tail behind the feed: one segment log per pattern and wire form in use.
//!
//! An event is encoded once per form that has a subscriber, whatever their number. Logs are
//! appended to first, then the watermark moves, then readers are woken: whoever reads the
//! watermark and then finds its readers empty has seen everything up to it.

mod forms;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::mem::replace;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backpressure::{Budget, Log, LogConfig, Readers};
use replay_store::feed::{Attachment, Tail};
use replay_store::{Event, Position, Selector, Topic};

use self::forms::{Encoded, Forms};
pub(crate) use self::forms::{Encoding, Seat};
use crate::config::HubConfig;
use crate::patterns::Patterns;

/// The [`Tail`] of a hub. Clones share the same logs.
#[derive(Debug)]
pub(crate) struct Fanout {
    shared: Arc<Shared>,
    scratch: Scratch,
}

/// What the feed's clone uses for every event again.
#[derive(Debug, Default)]
struct Scratch {
    buffers: [Vec<u8>; Encoding::COUNT],
    woken: Vec<Log>,
}

impl Scratch {
    /// The most room that stays, of a buffer in bytes, and for logs.
    const KEPT: usize = 16 * 1024;

    /// Whether the event was large or had many logs is forgotten.
    fn shrink(&mut self) {
        for buffer in &mut self.buffers {
            if buffer.capacity() > Self::KEPT {
                *buffer = Vec::new();
            }
        }
        if self.woken.capacity() > Self::KEPT {
            self.woken = Vec::new();
        }
    }
}

impl Clone for Fanout {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            scratch: Scratch::default(),
        }
    }
}

#[derive(Debug)]
struct Shared {
    config: LogConfig,
    budget: Budget,
    /// Readers are counted for publishers that wait for them.
    blocking: bool,
    state: Mutex<State>,
    /// That of the watermark, for those who look at nothing else.
    seq: AtomicU64,
    /// That of the last end of a topic that went to a log; 0 for none. It may be above the watermark.
    last_end: AtomicU64,
    /// Counts how often all connections were told to end; see [`Fanout::drop_readers`].
    generation: AtomicU64,
    /// Counts how often events were purged.
    purges: AtomicU64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave the state half changed in a way that matters.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_watermark(&self, state: &mut State, watermark: Position) {
        state.watermark = watermark;
        self.seq.store(watermark.seq, Ordering::Release);
    }
}

#[derive(Debug)]
struct State {
    watermark: Position,
    /// By topics that are subscribed to by name.
    logs: HashMap<Topic, Forms>,
    /// By patterns with a wildcard.
    wildcards: Patterns<Forms>,
    /// The number of patterns at which the next sweep for unused logs is due.
    sweep_at: usize,
}

/// What is subscribed to.
#[derive(Debug)]
pub(crate) struct Subscribed {
    /// Different topics, and patterns with a wildcard.
    pub(crate) topics: usize,
    pub(crate) wildcards: usize,
    /// Those with the most subscriptions, and how many, the most first.
    pub(crate) most: Vec<(String, usize)>,
}

const FIRST_SWEEP: usize = 1024;

impl Fanout {
    pub(crate) fn new(config: &HubConfig) -> Self {
        let watermark = Position {
            epoch: replay_store::Epoch(0),
            seq: 0,
        };
        Self {
            shared: Arc::new(Shared {
                config: config.tail,
                budget: Budget::new(config.tails_bytes),
                blocking: config.block.is_some(),
                state: Mutex::new(State {
                    watermark,
                    logs: HashMap::new(),
                    wildcards: Patterns::default(),
                    sweep_at: FIRST_SWEEP,
                }),
                seq: AtomicU64::new(watermark.seq),
                last_end: AtomicU64::new(0),
                generation: AtomicU64::new(0),
                purges: AtomicU64::new(0),
            }),
            scratch: Scratch::default(),
        }
    }

    /// Everything at or below this position is in the logs.
    pub(crate) fn watermark(&self) -> Position {
        self.lock().watermark
    }

    /// The seq of the watermark, without a lock. Who is woken because it moved sees it moved: logs have
    /// a lock of their own, under which a reader arms before it looks here, and is woken after.
    pub(crate) fn watermark_seq(&self) -> u64 {
        self.shared.seq.load(Ordering::Acquire)
    }

    /// The seq of the last end of a topic that went to a log, 0 for none. Those at or below a watermark
    /// that was taken before are taken into account; it may itself be above.
    pub(crate) fn last_end(&self) -> u64 {
        self.shared.last_end.load(Ordering::Relaxed)
    }

    /// The topics among `topics` whose end is in the logs, at or below `through`.
    pub(crate) fn ended_of(&self, topics: &[Topic], through: u64) -> Vec<Topic> {
        let state = self.lock();
        let end = |topic: &Topic| state.logs.get(topic)?.end;
        let has_ended = |topic: &&Topic| end(topic).is_some_and(|end| end.get() <= through);
        topics.iter().filter(has_ended).cloned().collect()
    }

    /// How often events were purged: what a subscription has read before the last time must not be
    /// handed out.
    pub(crate) fn purges(&self) -> u64 {
        self.shared.purges.load(Ordering::Acquire)
    }

    pub(crate) fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// Starts a new generation and wakes every live reader, so that subscribers of an earlier
    /// generation end.
    pub(crate) fn drop_readers(&self) {
        self.shared.generation.fetch_add(1, Ordering::AcqRel);
        self.close_all();
    }

    /// Wakes every live reader by closing its log; a reader whose hub goes on joins again.
    pub(crate) fn wake_readers(&self) {
        self.close_all();
    }

    /// What is subscribed to, with the `most` patterns that have the most subscriptions. Visits every
    /// pattern, with the feed held up meanwhile.
    pub(crate) fn subscribed(&self, most: usize) -> Subscribed {
        let (mut topics, mut wildcards) = (0, 0);
        let mut order = BinaryHeap::new();
        // The least of the most is on top, and makes way.
        let mut rank = |readers: usize, name: &str| {
            let least = order.peek().map(|Reverse((least, _))| *least);
            if order.len() < most || least.is_some_and(|least| readers > least) {
                order.push(Reverse((readers, name.to_owned())));
                if order.len() > most {
                    order.pop();
                }
            }
        };
        let state = self.lock();
        for (topic, forms) in &state.logs {
            let readers = forms.readers();
            if readers > 0 {
                topics += 1;
                rank(readers, topic.as_str());
            }
        }
        state.wildcards.for_each_named(|pattern, forms| {
            let readers = forms.readers();
            if readers > 0 {
                wildcards += 1;
                rank(readers, pattern);
            }
        });
        drop(state);
        let most = order.into_sorted_vec().into_iter();
        Subscribed {
            topics,
            wildcards,
            most: most.map(|Reverse((count, name))| (name, count)).collect(),
        }
    }

    pub(crate) fn memory(&self) -> usize {
        self.shared.budget.memory()
    }

    /// Wakes every waiting reader, which finds nothing to read.
    pub(crate) fn rouse_readers(&self) {
        let mut logs = Vec::new();
        {
            let mut state = self.lock();
            let State {
                logs: topics,
                wildcards,
                ..
            } = &mut *state;
            let mut add = |forms: &Forms| logs.extend(forms.logs().cloned());
            topics.values().for_each(&mut add);
            wildcards.for_each(&mut add);
        }
        for log in logs {
            log.wake();
        }
    }

    /// The logs on this node that an event of `topic` would go to.
    pub(crate) fn logs_of(&self, topic: &Topic) -> Vec<Log> {
        let mut logs = Vec::new();
        self.lock().for_each_match(topic, |forms| {
            logs.extend(forms.logs().cloned());
        });
        logs
    }

    fn close_all(&self) {
        let (logs, wildcards) = {
            let mut state = self.lock();
            (std::mem::take(&mut state.logs), state.wildcards.drain())
        };
        for forms in logs.into_values().chain(wildcards) {
            forms.close();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }
}

impl State {
    /// Forgets logs that nobody reads any more, in time proportional to the logs made since the
    /// last sweep.
    fn sweep(&mut self) {
        if self.logs.len() + self.wildcards.len() < self.sweep_at {
            return;
        }
        self.logs.retain(|_, forms| forms.is_read());
        self.wildcards.retain(|forms| forms.is_read());
        self.sweep_at = ((self.logs.len() + self.wildcards.len()) * 2).max(FIRST_SWEEP);
    }

    /// Calls `visit` with the logs of every pattern that matches.
    fn for_each_match(&mut self, topic: &Topic, mut visit: impl FnMut(&mut Forms)) {
        if let Some(forms) = self.logs.get_mut(topic) {
            visit(forms);
        }
        self.wildcards.for_each_match(topic, visit);
    }
}

/// The live end of a subscription: a reader in each of its patterns' logs.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) readers: Readers,
}

impl Attachment for Attached {
    fn is_intact(&self) -> bool {
        self.readers.is_intact()
    }
}

impl Tail for Fanout {
    type Form = Seat;
    type Attachment = Attached;

    fn attach(&mut self, selector: &Selector, seat: &Seat, watermark: Position) -> Attached {
        let mut state = self.lock();
        state.sweep();
        let seq = watermark.seq;
        let mut readers = Vec::with_capacity(selector.topics().len() + selector.wildcards().len());
        for topic in selector.topics() {
            let forms = state.logs.entry(topic.clone()).or_default();
            readers.push(forms.subscribe(seat, &self.shared, seq));
        }
        for pattern in selector.wildcards() {
            let forms = state.wildcards.get_or_insert_with(pattern, Forms::default);
            readers.push(forms.subscribe(seat, &self.shared, seq));
        }
        Attached {
            readers: Readers::new(readers),
        }
    }

    fn append(&mut self, events: &[Event], watermark: Position) {
        let Self { shared, scratch } = self;
        let Scratch { buffers, woken } = scratch;
        let mut state = shared.lock();
        // A log is woken once, however many of the events are appended to it.
        let several = events.len() > 1;
        for event in events {
            buffers.iter_mut().for_each(Vec::clear);
            let mut encoded = Encoded { event, buffers };
            let mut append = |forms: &mut Forms| {
                if forms.append(&mut encoded) && !(several && replace(&mut forms.dirty, true)) {
                    woken.extend(forms.logs().cloned());
                }
            };
            let State {
                logs, wildcards, ..
            } = &mut *state;
            if let Some(forms) = logs.get_mut(&event.topic) {
                append(forms);
                forms.end = NonZeroU64::new(event.position.seq).filter(|_| event.is_end());
                if let Some(end) = forms.end {
                    // The watermark, which moves after it, publishes it.
                    shared.last_end.store(end.get(), Ordering::Relaxed);
                }
            }
            wildcards.for_each_match(&event.topic, append);
        }
        if several {
            for event in events {
                state.for_each_match(&event.topic, |forms| forms.dirty = false);
            }
        }
        shared.set_watermark(&mut state, watermark);
        drop(state);
        for log in woken.drain(..) {
            log.wake();
        }
        scratch.shrink();
    }

    fn reset(&mut self, watermark: Position) {
        // In this order: whoever takes the watermark of another history finds the logs closed, and
        // takes nothing of the old one for something at or below it.
        self.close_all();
        self.shared.last_end.store(0, Ordering::Relaxed);
        self.shared.set_watermark(&mut self.lock(), watermark);
    }

    fn purge(&mut self, selector: &Selector, _watermark: Position) {
        // Before the logs are closed: who joins again because of that reads a trimmed store.
        self.shared.purges.fetch_add(1, Ordering::AcqRel);
        let mut closed: Vec<Log> = Vec::new();
        {
            let mut state = self.lock();
            for (topic, forms) in &mut state.logs {
                if selector.matches(topic) {
                    // That the topic has ended stays known.
                    closed.extend(forms.take());
                }
            }
            // Whether two patterns have a topic in common is not worth finding out.
            let wildcards = state.wildcards.drain();
            closed.extend(wildcards.into_iter().flat_map(|mut forms| forms.take()));
        }
        for log in closed {
            log.close();
        }
    }
}
