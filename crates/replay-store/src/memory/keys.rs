//! The idempotency keys of a memory store.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::{Append, Fingerprint, KeyWindow, Position, Topic};

/// The keys of the window, by topic and key.
#[derive(Debug, Default)]
pub(super) struct Keys {
    known: HashMap<Name, Known>,
    /// The names in `known`, oldest first, each once.
    order: VecDeque<Name>,
}

type Name = (Topic, Arc<str>);

#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) fingerprint: Fingerprint,
    pub(super) position: Position,
    at_ms: u64,
}

impl Keys {
    pub(super) fn get(&self, append: &Append) -> Option<&Known> {
        self.known.get(&name(append)?)
    }

    pub(super) fn insert(&mut self, append: &Append, position: Position, at_ms: u64) {
        if let Some(name) = name(append) {
            let known = Known {
                fingerprint: Fingerprint::of(append),
                position,
                at_ms,
            };
            self.known.insert(name.clone(), known);
            self.order.push_back(name);
        }
    }

    /// Forgets what has left the window.
    pub(super) fn expire(&mut self, window: &KeyWindow, now_ms: u64) {
        let oldest = window.oldest_ms(now_ms);
        while let Some(name) = self.order.front() {
            let stale = self
                .known
                .get(name)
                .is_none_or(|known| known.at_ms < oldest);
            if !stale && self.order.len() <= window.count {
                break;
            }
            self.known.remove(name);
            self.order.pop_front();
        }
    }
}

fn name(append: &Append) -> Option<Name> {
    append
        .idempotency_key
        .as_ref()
        .map(|key| (append.topic.clone(), Arc::clone(key)))
}
