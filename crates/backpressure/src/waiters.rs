//! The wakers of readers that wait, by shard.

use core::mem::{replace, take};
use core::task::Waker;

use crate::shard::ShardHandle;

/// The wakers of a log's readers, at most one each, grouped by the shard that wakes them.
///
/// A log of many has one reader as a rule, which takes no memory of its own here.
#[derive(Debug)]
pub(crate) enum Waiters {
    One(One),
    /// There is more than one reader, or there was.
    Many(Box<Many>),
}

/// The only reader, if there is one. Its slot and its group are the first.
#[derive(Debug, Default)]
pub(crate) struct One {
    shard: Option<ShardHandle>,
    waker: Option<Waker>,
    reader: bool,
    /// Its shard was not told about the waker.
    armed: bool,
}

/// Any number of readers.
///
/// A reader owns a slot from subscribing to its end, so arming, disarming and taking all are free of
/// searches, and memory follows the largest number of readers at one time, not their coming and going.
#[derive(Debug, Default)]
pub(crate) struct Many {
    slots: Vec<Slot>,
    /// The first of the chain of free slots, or `slots.len()`.
    free: u32,
    readers: u32,
    groups: Vec<Group>,
    /// A bit for every group with wakers that its shard was not told about. The last bit is shared
    /// by all groups from its number on.
    armed: u64,
}

/// A reader's slot, which is its own while it lives, and the group of its shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaiterId {
    pub(crate) slot: u32,
    group: u32,
}

/// Wakers, each with the slot it is of.
type Wakers = Vec<(u32, Waker)>;

/// Wakers that were taken, to be called after unlocking.
pub(crate) enum Taken {
    None,
    One(Waker),
    /// The vector is [given back](Waiters::give_back).
    Many(Wakers),
}

#[derive(Clone, Copy, Debug)]
enum Slot {
    Free {
        next: u32,
    },
    Idle,
    /// Its waker is `wakers[at]` of its group.
    Armed {
        at: u32,
    },
}

/// The readers of one shard, or those without one, which are woken by whoever wakes the log.
#[derive(Debug, Default)]
struct Group {
    shard: Option<ShardHandle>,
    readers: u32,
    wakers: Wakers,
    /// An empty vector that takes the place of `wakers` while those in it are called.
    spare: Wakers,
}

/// Whom to wake next.
pub(crate) enum Due {
    /// These, here and now.
    Readers(Taken),
    /// Those of this shard, by telling it.
    Shard(ShardHandle),
}

impl Waiters {
    /// How many slots are owned.
    pub(crate) const fn readers(&self) -> usize {
        match self {
            Self::One(one) => one.reader as usize,
            Self::Many(many) => many.readers as usize,
        }
    }

    /// Gives a new reader its slot.
    pub(crate) fn insert(&mut self, shard: Option<&ShardHandle>) -> WaiterId {
        if let Self::One(one) = self {
            if !one.reader {
                one.reader = true;
                one.shard = shard.cloned();
                return FIRST;
            }
            *self = Self::Many(Box::new(take(one).into_many()));
        }
        match self {
            Self::Many(many) => many.insert(shard),
            Self::One(_) => FIRST,
        }
    }

    /// Takes a slot back. The caller drops the waker after unlocking: its drop is foreign code.
    #[must_use]
    pub(crate) fn remove(&mut self, id: WaiterId) -> Option<Waker> {
        match self {
            Self::One(one) => take(one).waker,
            Self::Many(many) => {
                let waker = many.remove(id);
                if many.readers == 0 {
                    *self = Self::default();
                }
                waker
            }
        }
    }

    /// Keeps a reader's waker until it is taken, in place of one it had. The caller drops that one
    /// after unlocking.
    #[must_use]
    pub(crate) fn arm(&mut self, id: WaiterId, waker: Waker) -> Option<Waker> {
        match self {
            Self::One(one) => {
                one.armed = true;
                one.waker.replace(waker)
            }
            Self::Many(many) => many.arm(id, waker),
        }
    }

    /// The groups that have something to be woken for: each is given to
    /// [`next_due`](Self::next_due) once, and a reader that arms meanwhile waits for the next time.
    pub(crate) fn take_armed(&mut self) -> Armed {
        let bits = match self {
            Self::One(one) => u64::from(take(&mut one.armed)),
            Self::Many(many) => take(&mut many.armed),
        };
        Armed { bits, at: 0 }
    }

    /// Whom to wake of the next group in `armed`.
    pub(crate) fn next_due(&mut self, armed: &mut Armed) -> Option<Due> {
        match self {
            Self::One(one) => one.next_due(armed),
            Self::Many(many) => many.next_due(armed),
        }
    }

    /// Takes the wakers of a shard.
    pub(crate) fn take_shard(&mut self, shard: &ShardHandle) -> Taken {
        match self {
            Self::One(one) if one.shard.as_ref() == Some(shard) => one.take(),
            Self::One(_) => Taken::None,
            Self::Many(many) => Taken::Many(many.take_shard(shard)),
        }
    }

    /// Keeps the memory of a vector that was taken for the next time.
    pub(crate) fn give_back(&mut self, shard: Option<&ShardHandle>, emptied: Wakers) {
        if let Self::Many(many) = self {
            many.give_back(shard, emptied);
        }
    }
}

impl Default for Waiters {
    fn default() -> Self {
        Self::One(One::default())
    }
}

impl One {
    /// With room for more; the reader keeps its slot.
    fn into_many(self) -> Many {
        let mut many = Many::default();
        let id = many.insert(self.shard.as_ref());
        if let Some(waker) = self.waker {
            many.arm(id, waker);
            many.armed = self.armed.into();
        }
        many
    }

    fn next_due(&mut self, armed: &mut Armed) -> Option<Due> {
        if !replace(armed, Armed::NONE).is_next(0) || self.waker.is_none() {
            return None;
        }
        Some(match &self.shard {
            Some(shard) => Due::Shard(shard.clone()),
            None => Due::Readers(self.take()),
        })
    }

    fn take(&mut self) -> Taken {
        self.waker.take().map_or(Taken::None, Taken::One)
    }
}

/// Of the first reader.
const FIRST: WaiterId = WaiterId { slot: 0, group: 0 };

impl Many {
    fn insert(&mut self, shard: Option<&ShardHandle>) -> WaiterId {
        let group = self.group_of(shard);
        self.groups[group].readers += 1;
        let slot = self.free;
        match self.slots.get_mut(slot as usize) {
            Some(entry) => {
                if let Slot::Free { next } = replace(entry, Slot::Idle) {
                    self.free = next;
                }
            }
            None => {
                self.slots.push(Slot::Idle);
                self.free += 1;
            }
        }
        self.readers += 1;
        let group = group as u32;
        WaiterId { slot, group }
    }

    fn remove(&mut self, id: WaiterId) -> Option<Waker> {
        let group = &mut self.groups[id.group as usize];
        let waker = match self.slots[id.slot as usize] {
            Slot::Armed { at } => {
                let (_, waker) = group.wakers.swap_remove(at as usize);
                if let Some((moved, _)) = group.wakers.get(at as usize) {
                    self.slots[*moved as usize] = Slot::Armed { at };
                }
                Some(waker)
            }
            Slot::Free { .. } | Slot::Idle => None,
        };
        group.readers -= 1;
        if group.readers == 0 {
            *group = Group::default();
        }
        self.slots[id.slot as usize] = Slot::Free { next: self.free };
        self.free = id.slot;
        self.readers -= 1;
        waker
    }

    fn arm(&mut self, id: WaiterId, waker: Waker) -> Option<Waker> {
        self.armed |= bit(id.group as usize);
        let wakers = &mut self.groups[id.group as usize].wakers;
        match self.slots[id.slot as usize] {
            Slot::Armed { at } => Some(replace(&mut wakers[at as usize].1, waker)),
            Slot::Free { .. } | Slot::Idle => {
                let at = wakers.len() as u32;
                self.slots[id.slot as usize] = Slot::Armed { at };
                wakers.push((id.slot, waker));
                None
            }
        }
    }

    fn next_due(&mut self, armed: &mut Armed) -> Option<Due> {
        while !armed.is_empty() && armed.at < self.groups.len() {
            let at = armed.at;
            armed.at += 1;
            if armed.bits & bit(at) == 0 {
                continue;
            }
            if at < 63 {
                armed.bits &= !bit(at);
            }
            if self.groups[at].wakers.is_empty() {
                continue;
            }
            return Some(match &self.groups[at].shard {
                Some(shard) => Due::Shard(shard.clone()),
                None => Due::Readers(Taken::Many(self.take_group(at))),
            });
        }
        None
    }

    fn take_shard(&mut self, shard: &ShardHandle) -> Wakers {
        match self.find(Some(shard)) {
            Some(group) => self.take_group(group),
            None => Wakers::new(),
        }
    }

    fn give_back(&mut self, shard: Option<&ShardHandle>, emptied: Wakers) {
        if let Some(group) = self.find(shard)
            && emptied.capacity() > self.groups[group].spare.capacity()
        {
            self.groups[group].spare = emptied;
        }
    }

    fn take_group(&mut self, group: usize) -> Wakers {
        let group = &mut self.groups[group];
        if group.wakers.is_empty() {
            return Wakers::new();
        }
        for (slot, _) in &group.wakers {
            self.slots[*slot as usize] = Slot::Idle;
        }
        replace(&mut group.wakers, take(&mut group.spare))
    }

    fn find(&self, shard: Option<&ShardHandle>) -> Option<usize> {
        self.groups
            .iter()
            .position(|group| group.readers > 0 && group.shard.as_ref() == shard)
    }

    /// The group of a shard, a new one or one that nobody uses any more if there was none.
    fn group_of(&mut self, shard: Option<&ShardHandle>) -> usize {
        if let Some(group) = self.find(shard) {
            return group;
        }
        let unused = self.groups.iter().position(|group| group.readers == 0);
        let group = unused.unwrap_or(self.groups.len());
        if unused.is_none() {
            // A log has few shards, often one, and there may be very many logs.
            self.groups.reserve_exact(1);
            self.groups.push(Group::default());
        }
        self.groups[group].shard = shard.cloned();
        group
    }
}

/// A walk over the groups that were armed; see [`Waiters::take_armed`].
pub(crate) struct Armed {
    bits: u64,
    at: usize,
}

impl Armed {
    const NONE: Self = Self { bits: 0, at: 0 };

    pub(crate) const fn is_empty(&self) -> bool {
        self.bits == 0
    }

    /// Whether this group was armed, and the walk has not passed it.
    const fn is_next(&self, group: usize) -> bool {
        self.at <= group && self.bits & bit(group) != 0
    }
}

const fn bit(group: usize) -> u64 {
    1 << if group < 63 { group } else { 63 }
}
