//! How far a reader is behind.

use core::iter::Sum;
use core::ops::Add;

/// An amount of events: how many, and how many bytes they take in their encoded form.
///
/// Used for how far a reader is behind, for how much a jump left out, and for the bound of a
/// [`Policy`](crate::Policy).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Hash)]
pub struct Lag {
    /// Number of events.
    pub events: u64,
    /// Their encoded bytes.
    pub bytes: u64,
}

impl Lag {
    /// Nothing.
    pub const ZERO: Self = Self {
        events: 0,
        bytes: 0,
    };

    /// Whether this is more than `bound` in events, in bytes, or in both.
    #[must_use]
    pub const fn exceeds(self, bound: Self) -> bool {
        self.events > bound.events || self.bytes > bound.bytes
    }
}

impl Add for Lag {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            events: self.events.saturating_add(other.events),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

impl Sum for Lag {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}
