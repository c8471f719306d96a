//! The RAM tail behind the feed: one segment log per pattern and wire form in use.
//!
//! An event is encoded once per form that has a subscriber, whatever their number. Logs are
//! appended to first, then the watermark moves, then readers are woken: whoever reads the
//! watermark and then finds its readers empty has seen everything up to it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backpressure::{Log, LogConfig, Reader, Readers};
use replay_store::feed::{Attachment, Tail};
use replay_store::{Event, Position, Selector, Topic};

use crate::form::Form;
use crate::patterns::Patterns;

/// The [`Tail`] of a hub. Clones share the same logs.
#[derive(Clone, Debug)]
pub(crate) struct Fanout {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: LogConfig,
    state: Mutex<State>,
    /// Counts how often all connections were told to end; see [`Fanout::drop_readers`].
    generation: AtomicU64,
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

#[derive(Debug, Default)]
struct Forms {
    logs: [Option<Log>; Form::ALL.len()],
    /// Whether these logs were appended to since readers were last woken.
    dirty: bool,
}

impl Forms {
    /// A reader of the log of one form, which begins at `seq` if it is new.
    fn subscribe(&mut self, form: Form, config: LogConfig, seq: u64) -> Reader {
        self.logs[form as usize]
            .get_or_insert_with(|| Log::new(config, seq))
            .subscribe()
    }

    /// Appends an event, in each form that has a reader.
    fn append(&mut self, event: &mut Encoded<'_>) {
        for form in Form::ALL {
            let slot = &mut self.logs[form as usize];
            let Some(log) = slot else { continue };
            if log.readers() == 0 {
                *slot = None;
                continue;
            }
            log.append(event.event.position.seq, event.get(form));
            self.dirty = true;
        }
    }

    fn is_read(&self) -> bool {
        self.logs.iter().flatten().any(|log| log.readers() > 0)
    }

    fn close(&self) {
        for log in self.logs.iter().flatten() {
            log.close();
        }
    }
}

/// An event in the forms that were asked for, each encoded once however many patterns match.
struct Encoded<'e> {
    event: &'e Event,
    forms: &'e mut [Vec<u8>; Form::ALL.len()],
}

impl Encoded<'_> {
    fn get(&mut self, form: Form) -> &[u8] {
        let bytes = &mut self.forms[form as usize];
        if bytes.is_empty() {
            form.event(self.event, bytes);
        }
        bytes
    }
}

const FIRST_SWEEP: usize = 1024;

impl Fanout {
    pub(crate) fn new(config: LogConfig) -> Self {
        let watermark = Position {
            epoch: replay_store::Epoch(0),
            seq: 0,
        };
        Self {
            shared: Arc::new(Shared {
                config,
                state: Mutex::new(State {
                    watermark,
                    logs: HashMap::new(),
                    wildcards: Patterns::default(),
                    sweep_at: FIRST_SWEEP,
                }),
                generation: AtomicU64::new(0),
            }),
        }
    }

    /// Everything at or below this position is in the logs.
    pub(crate) fn watermark(&self) -> Position {
        self.lock().watermark
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
        // No code that holds the lock can leave the state half changed in a way that matters.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
    type Form = Form;
    type Attachment = Attached;

    fn attach(&mut self, selector: &Selector, form: &Form, watermark: Position) -> Attached {
        let mut state = self.lock();
        state.sweep();
        let (config, seq) = (self.shared.config, watermark.seq);
        let mut readers = Vec::new();
        for topic in selector.topics() {
            let forms = state.logs.entry(topic.clone()).or_default();
            readers.push(forms.subscribe(*form, config, seq));
        }
        for pattern in selector.wildcards() {
            let forms = state.wildcards.get_or_insert_with(pattern, Forms::default);
            readers.push(forms.subscribe(*form, config, seq));
        }
        Attached {
            readers: Readers::new(readers),
        }
    }

    fn append(&mut self, events: &[Event], watermark: Position) {
        let mut woken = Vec::new();
        let mut forms = [const { Vec::new() }; Form::ALL.len()];
        let mut state = self.lock();
        for event in events {
            forms.iter_mut().for_each(Vec::clear);
            let mut encoded = Encoded {
                event,
                forms: &mut forms,
            };
            state.for_each_match(&event.topic, |forms| forms.append(&mut encoded));
        }
        state.watermark = watermark;
        for event in events {
            state.for_each_match(&event.topic, |forms| {
                if std::mem::take(&mut forms.dirty) {
                    woken.extend(forms.logs.iter().flatten().cloned());
                }
            });
        }
        drop(state);
        for log in woken {
            log.wake();
        }
    }

    fn reset(&mut self, watermark: Position) {
        self.lock().watermark = watermark;
        self.close_all();
    }
}
