//! What to do with a reader that is too far behind, as data.

use core::fmt;
use core::str::FromStr;

use crate::{Lag, ParsePolicyError};

/// What to do with a subscriber that reads slower than events arrive.
///
/// A policy is data: the log does nothing with it. Whoever writes to the subscriber asks
/// [`judge`](Self::judge) with the current [`lag`](crate::Reader::lag) over all of its readers, and
/// [`judge_evicted`](Self::judge_evicted) when one of them says
/// [`Evicted`](crate::ReadError::Evicted), and acts on the verdict.
///
/// | policy | promises | reports | within its bound | beyond it |
/// |---|---|---|---|---|
/// | `replay` | every event, in order | nothing to report | what was evicted is read from a store | disconnect |
/// | `disconnect` | every event, in order, or the end | nothing to report | memory only, no store | disconnect |
/// | `drop-oldest` | order, the newest events | one gap a jump, with the number of events | every event | jump |
/// | `conflate` | order, the latest event of each key | how many were superseded; a gap beyond the bound | the latest of each key | the oldest are dropped, with a gap |
///
/// Two more are not for one subscriber and combine with any of these: [`FlushWindow`](crate::FlushWindow)
/// writes less often (`batch`), and [`Admission`](crate::Admission) makes publishers wait (`block`).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// Nothing is left out: what the log evicted is read from a store. A subscriber further behind
    /// than `max` is disconnected, to resume later from its cursor.
    Replay {
        /// How far behind a subscriber may be.
        max: Lag,
    },
    /// Nothing is left out, and nothing is read from a store: a subscriber further behind than
    /// `max`, or than memory holds, is disconnected.
    Disconnect {
        /// How far behind a subscriber may be.
        max: Lag,
    },
    /// A subscriber further behind than `max` loses the oldest of what it has not read yet, is told
    /// how many, and goes on with the newest, as many as `max` allows and memory still holds.
    DropOldest {
        /// How far behind a subscriber may be.
        max: Lag,
    },
    /// A subscriber that is behind gets only the latest event of each key; see
    /// [`Conflation`](crate::Conflation), which is made with `max`.
    Conflate {
        /// How many events, each the latest of its key or without one, are kept for a subscriber, and
        /// how many bytes of them.
        max: Lag,
    },
}

/// What a [`Policy`] asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// Nothing to do: the subscriber is within its bound.
    Keep,
    /// Disconnect the subscriber. It resumes from its cursor.
    Disconnect,
    /// Jump ([`Readers::jump_within`](crate::Readers::jump_within)) and report the gap.
    Jump,
    /// Read what was evicted from a store, and subscribe again.
    FallBack,
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

    /// `disconnect` with the default bound.
    #[must_use]
    pub const fn disconnect() -> Self {
        Self::Disconnect {
            max: Self::DEFAULT_MAX,
        }
    }

    /// `conflate` with the default bound of 1,000 events and 1 MiB, which is memory for each
    /// subscriber.
    #[must_use]
    pub const fn conflate() -> Self {
        Self::Conflate {
            max: Lag {
                events: 1_000,
                bytes: 1 << 20,
            },
        }
    }

    /// What to do with a subscriber that is `lag` behind.
    ///
    /// A lag equal to the bound is still within it. `conflate` is never asked to do anything here: a
    /// [`Conflation`](crate::Conflation) keeps its bound by itself.
    #[must_use]
    pub const fn judge(&self, lag: Lag) -> Verdict {
        match self {
            Self::Replay { max } | Self::Disconnect { max } if lag.exceeds(*max) => {
                Verdict::Disconnect
            }
            Self::DropOldest { max } if lag.exceeds(*max) => Verdict::Jump,
            // A conflation judges what it keeps, not what it has yet to look at.
            Self::Replay { .. }
            | Self::Disconnect { .. }
            | Self::DropOldest { .. }
            | Self::Conflate { .. } => Verdict::Keep,
        }
    }

    /// What to do with a subscriber whose unread events were evicted.
    #[must_use]
    pub const fn judge_evicted(&self) -> Verdict {
        match self {
            Self::Replay { .. } => Verdict::FallBack,
            Self::Disconnect { .. } => Verdict::Disconnect,
            Self::DropOldest { .. } | Self::Conflate { .. } => Verdict::Jump,
        }
    }

    /// The bound.
    #[must_use]
    pub const fn max(&self) -> Lag {
        match self {
            Self::Replay { max }
            | Self::Disconnect { max }
            | Self::DropOldest { max }
            | Self::Conflate { max } => *max,
        }
    }

    /// The same policy with another bound.
    #[must_use]
    pub const fn with_max(self, max: Lag) -> Self {
        match self {
            Self::Replay { .. } => Self::Replay { max },
            Self::Disconnect { .. } => Self::Disconnect { max },
            Self::DropOldest { .. } => Self::DropOldest { max },
            Self::Conflate { .. } => Self::Conflate { max },
        }
    }

    /// The name, as it is written in configurations and requests.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Replay { .. } => "replay",
            Self::Disconnect { .. } => "disconnect",
            Self::DropOldest { .. } => "drop-oldest",
            Self::Conflate { .. } => "conflate",
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
            "disconnect" => Ok(Self::disconnect()),
            "drop-oldest" => Ok(Self::drop_oldest()),
            "conflate" => Ok(Self::conflate()),
            _ => Err(ParsePolicyError),
        }
    }
}
