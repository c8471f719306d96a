//! The wakers of readers that wait.

use core::mem::replace;
use core::task::Waker;

/// The wakers of a log's readers, at most one each.
///
/// A reader owns a slot from subscribing to its end, so arming, disarming and taking all are free of
/// searches, and memory follows the largest number of readers at one time, not their coming and going.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    slots: Vec<Slot>,
    /// The first of the chain of free slots, or `slots.len()`.
    free: u32,
    readers: u32,
    armed: Vec<(SlotId, Waker)>,
    /// An empty vector that takes the place of `armed` while the wakers in it are called.
    spare: Vec<(SlotId, Waker)>,
}

/// The number of a reader's slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotId(u32);

#[derive(Clone, Copy, Debug)]
enum Slot {
    Free {
        next: u32,
    },
    Idle,
    /// Its waker is `armed[at]`.
    Armed {
        at: u32,
    },
}

impl Waiters {
    /// How many slots are owned.
    pub(crate) const fn readers(&self) -> usize {
        self.readers as usize
    }

    /// Gives a new reader its slot.
    pub(crate) fn insert(&mut self) -> SlotId {
        let id = SlotId(self.free);
        match self.slots.get_mut(id.index()) {
            Some(slot) => {
                if let Slot::Free { next } = replace(slot, Slot::Idle) {
                    self.free = next;
                }
            }
            None => {
                self.slots.push(Slot::Idle);
                self.free += 1;
            }
        }
        self.readers += 1;
        id
    }

    /// Takes a slot back. The caller drops the waker after unlocking: its drop is foreign code.
    #[must_use]
    pub(crate) fn remove(&mut self, id: SlotId) -> Option<Waker> {
        let waker = match self.slots[id.index()] {
            Slot::Armed { at } => {
                let (_, waker) = self.armed.swap_remove(at as usize);
                if let Some((moved, _)) = self.armed.get(at as usize) {
                    self.slots[moved.index()] = Slot::Armed { at };
                }
                Some(waker)
            }
            Slot::Free { .. } | Slot::Idle => None,
        };
        self.slots[id.index()] = Slot::Free { next: self.free };
        self.free = id.0;
        self.readers -= 1;
        if self.readers == 0 {
            *self = Self::default();
        }
        waker
    }

    /// Keeps a reader's waker until the next [`take`](Self::take), in place of one it had. The
    /// caller drops that one after unlocking.
    #[must_use]
    pub(crate) fn arm(&mut self, id: SlotId, waker: Waker) -> Option<Waker> {
        match self.slots[id.index()] {
            Slot::Armed { at } => Some(replace(&mut self.armed[at as usize].1, waker)),
            Slot::Free { .. } | Slot::Idle => {
                let at = self.armed.len() as u32;
                self.slots[id.index()] = Slot::Armed { at };
                self.armed.push((id, waker));
                None
            }
        }
    }

    /// Takes every waker. The caller calls them after unlocking and gives the vector back.
    #[must_use]
    pub(crate) fn take(&mut self) -> Vec<(SlotId, Waker)> {
        if self.armed.is_empty() {
            return Vec::new();
        }
        for (id, _) in &self.armed {
            self.slots[id.index()] = Slot::Idle;
        }
        let spare = core::mem::take(&mut self.spare);
        replace(&mut self.armed, spare)
    }

    /// Keeps the memory of a vector from [`take`](Self::take) for the next one.
    pub(crate) fn give_back(&mut self, emptied: Vec<(SlotId, Waker)>) {
        if self.readers > 0 && emptied.capacity() > self.spare.capacity() {
            self.spare = emptied;
        }
    }
}

impl SlotId {
    const fn index(self) -> usize {
        self.0 as usize
    }
}
