//! What to do with a reader that is too far behind, as data.

use core::fmt;
use core::str::FromStr;

use crate::{Lag, ParsePolicyError};

/// What to do with a subscriber that reads slower than events arrive.
///
/// A policy is data: the log does nothing with it. Whoever writes to the subscriber asks
/// [`judge`](Self::judge) with the current [`lag`](crate::Reader::lag) and acts on the verdict.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// Nothing is left out: what the log evicted is read from a store. A subscriber further behind
    /// than `max` is disconnected, to resume later from its cursor.
    Replay {
        /// How far behind a subscriber may be.
        max: Lag,
    },
    /// A subscriber further behind than `max` loses the oldest of what it has not read yet, is told
    /// how many, and goes on with the newest, as many as `max` allows and memory still holds.
    DropOldest {
        /// How far behind a subscriber may be.
        max: Lag,
    },
}

/// What [`Policy::judge`] asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum Verdict {
    /// Nothing to do: the subscriber is within its bound.
    Keep,
    /// Disconnect the subscriber. It resumes from its cursor.
    Disconnect,
    /// Jump ([`Readers::jump_within`](crate::Readers::jump_within)) and report the gap.
    Jump,
}

impl Policy {
    /// The bound of a policy that was not given one: 100,000 events or 64 MiB.
    pub const DEFAULT_MAX: Lag = Lag {
        events: 100_000,
        bytes: 64 << 20,
    };

    /// `replay` with the default bound.
    #[must_use]
    pub const fn replay() -> Self {
        Self::Replay {
            max: Self::DEFAULT_MAX,
        }
    }

    /// `drop-oldest` with the default bound.
    #[must_use]
    pub const fn drop_oldest() -> Self {
        Self::DropOldest {
            max: Self::DEFAULT_MAX,
        }
    }

    /// What to do with a subscriber that is `lag` behind.
    ///
    /// A lag equal to the bound is still within it.
    #[must_use]
    pub const fn judge(&self, lag: Lag) -> Verdict {
        match self {
            Self::Replay { max } if lag.exceeds(*max) => Verdict::Disconnect,
            Self::DropOldest { max } if lag.exceeds(*max) => Verdict::Jump,
            Self::Replay { .. } | Self::DropOldest { .. } => Verdict::Keep,
        }
    }

    /// The bound.
    #[must_use]
    pub const fn max(&self) -> Lag {
        match self {
            Self::Replay { max } | Self::DropOldest { max } => *max,
        }
    }

    /// The same policy with another bound.
    #[must_use]
    pub const fn with_max(self, max: Lag) -> Self {
        match self {
            Self::Replay { .. } => Self::Replay { max },
            Self::DropOldest { .. } => Self::DropOldest { max },
        }
    }

    /// The name, as it is written in configurations and requests.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Replay { .. } => "replay",
            Self::DropOldest { .. } => "drop-oldest",
        }
    }
}

impl Default for Policy {
    /// [`Policy::replay`]: nothing is lost unless somebody asked for it.
    fn default() -> Self {
        Self::replay()
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Policy {
    type Err = ParsePolicyError;

    /// Reads a policy's name; the bound is the default one.
    fn from_str(name: &str) -> Result<Self, ParsePolicyError> {
        match name {
            "replay" => Ok(Self::replay()),
            "drop-oldest" => Ok(Self::drop_oldest()),
            _ => Err(ParsePolicyError),
        }
    }
}
