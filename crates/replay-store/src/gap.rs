//! Gaps: what a subscriber must be told instead of a silent hole.

use std::fmt;

use crate::Position;

/// Events that a subscriber will not receive, and where delivery continues.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// The subscriber's cursor, if it had one.
    pub after: Option<Position>,
    /// Everything retained above this follows; the cursor to resume from.
    pub continue_at: Position,
    /// The largest floor among the topics read: events at or below this seq may be missing even
    /// above `continue_at`.
    pub floor: u64,
}

/// Why events are missing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum GapReason {
    /// The cursor belongs to a history that the store has no more, or has only the beginning of.
    EpochChanged,
    /// Retention removed events that follow the cursor.
    Trimmed,
    /// The cursor is beyond the end of the log: the subscriber knows more than the store.
    Ahead,
    /// The subscriber was too slow, and its policy drops.
    Lagged,
    /// What the subscriber sent is no cursor.
    Unknown,
}

impl GapReason {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EpochChanged => "epoch_changed",
            Self::Trimmed => "trimmed",
            Self::Ahead => "ahead",
            Self::Lagged => "lagged",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
