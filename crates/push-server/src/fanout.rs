//! The RAM tail behind the feed: one segment log per topic and wire form in use.
//!
//! An event is encoded once per form that has a subscriber, whatever their number. Logs are
//! appended to first, then the watermark moves, then readers are woken: whoever reads the
//! watermark and then finds its readers empty has seen everything up to it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backpressure::{Log, LogConfig, Readers};
use replay_store::feed::{Attachment, Tail};
use replay_store::{Event, Position, Selector, Topic};

use crate::form::Form;

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
    logs: HashMap<Topic, Forms>,
    /// The number of topics at which the next sweep for unused logs is due.
    sweep_at: usize,
}

#[derive(Debug, Default)]
struct Forms {
    logs: [Option<Log>; Form::ALL.len()],
    /// Whether this topic was appended to since readers were last woken.
    dirty: bool,
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
        let logs = std::mem::take(&mut self.lock().logs);
        for log in logs.values().flat_map(|forms| forms.logs.iter().flatten()) {
            log.close();
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
        if self.logs.len() < self.sweep_at {
            return;
        }
        self.logs
            .retain(|_, forms| forms.logs.iter().flatten().any(|log| log.readers() > 0));
        self.sweep_at = (self.logs.len() * 2).max(FIRST_SWEEP);
    }
}

/// The live end of a subscription: a reader in each of its topics' logs.
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
        let readers = selector
            .topics()
            .iter()
            .map(|topic| {
                let forms = state.logs.entry(topic.clone()).or_default();
                forms.logs[*form as usize]
                    .get_or_insert_with(|| Log::new(self.shared.config, watermark.seq))
                    .subscribe()
            })
            .collect();
        Attached {
            readers: Readers::new(readers),
        }
    }

    fn append(&mut self, events: &[Event], watermark: Position) {
        let mut woken = Vec::new();
        let mut encoded = Vec::new();
        let mut state = self.lock();
        for event in events {
            let Some(forms) = state.logs.get_mut(&event.topic) else {
                continue;
            };
            for form in Form::ALL {
                let slot = &mut forms.logs[form as usize];
                let Some(log) = slot else { continue };
                if log.readers() == 0 {
                    *slot = None;
                    continue;
                }
                encoded.clear();
                form.event(event, &mut encoded);
                log.append(event.position.seq, &encoded);
                forms.dirty = true;
            }
        }
        state.watermark = watermark;
        for event in events {
            if let Some(forms) = state.logs.get_mut(&event.topic)
                && std::mem::take(&mut forms.dirty)
            {
                woken.extend(forms.logs.iter().flatten().cloned());
            }
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
