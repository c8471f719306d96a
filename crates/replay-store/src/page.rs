//! Pages: what a store answers to one read.

use crate::{Epoch, Event, Gap, Position};

/// How much one read returns at most. At least one event is returned if there is one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limit {
    /// Events per page. 0 counts as 1.
    pub events: usize,
    /// Bytes of data per page. A page exceeds this only by being a single event.
    pub bytes: usize,
}

impl Default for Limit {
    /// 512 events or 256 KiB: what a replaying subscriber holds in memory at a time.
    fn default() -> Self {
        Self {
            events: 512,
            bytes: 256 * 1024,
        }
    }
}

/// The state of the log that a page was judged against.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// The current epoch.
    pub epoch: Epoch,
    /// The largest floor among the topics read: an event of theirs with this seq was trimmed, and
    /// none with a larger one. 0 if nothing was.
    pub floor: u64,
    /// The last seq of the whole log, whatever its topic; 0 if nothing was ever appended.
    pub tail: u64,
}

/// One consistent snapshot of the part of the log that follows a cursor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Page {
    /// The matching events after `from`, in log order.
    pub events: Vec<Event>,
    /// Where reading began: the cursor asked for, or where the gap continues.
    pub from: Position,
    /// No matching event between `from` and this seq is missing from `events`. Never below
    /// `from.seq`, and equal to `bounds.tail` unless the page is cut short: by the limit, after an
    /// event, or, if the selector has a wildcard, wherever the store has scanned enough. Then the
    /// page may be empty, but is past `from.seq`. The next page begins after
    /// `(bounds.epoch, scanned_to)`.
    pub scanned_to: u64,
    /// The state of the log in this snapshot.
    pub bounds: Bounds,
    /// What the reader could not be given.
    pub gap: Option<Gap>,
}

impl Page {
    /// The cursor that the next page is read after.
    #[must_use]
    pub const fn next(&self) -> Position {
        Position {
            epoch: self.bounds.epoch,
            seq: self.scanned_to,
        }
    }

    /// Did this page reach the end of the log?
    #[must_use]
    pub const fn is_last(&self) -> bool {
        self.scanned_to >= self.bounds.tail
    }
}
