//! A place between two events of a log.

use crate::Lag;

/// A place between two events of a log, by everything that was appended before it.
///
/// The counters run from the creation of the log and never go back. So the distance of two marks
/// is a subtraction, whatever became of the events between them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Mark {
    /// Events before this place.
    pub(crate) events: u64,
    /// Encoded bytes before this place.
    pub(crate) bytes: u64,
    /// The seq of the event before this place, or the seq the log was created with.
    pub(crate) seq: u64,
}

impl Mark {
    /// The beginning of a log that holds nothing at or below `seq`.
    pub(crate) const fn start(seq: u64) -> Self {
        Self {
            events: 0,
            bytes: 0,
            seq,
        }
    }

    /// The place after one more event.
    pub(crate) const fn after(self, seq: u64, len: usize) -> Self {
        Self {
            events: self.events + 1,
            bytes: self.bytes + len as u64,
            seq,
        }
    }

    /// What lies between `self` and the later place `end`.
    pub(crate) const fn lag(self, end: Self) -> Lag {
        Lag {
            events: end.events - self.events,
            bytes: end.bytes - self.bytes,
        }
    }
}
