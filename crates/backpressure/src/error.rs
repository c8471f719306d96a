//! What can go wrong, as closed enums.

use core::error::Error;
use core::fmt;

/// Why a reader has nothing to give, now and until it is told to jump.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum ReadError {
    /// Events that this reader had not read were evicted to keep the log within its bounds.
    ///
    /// The reader says so until it jumps ([`Reader::jump_to`](crate::Reader::jump_to),
    /// [`Reader::jump_to_head`](crate::Reader::jump_to_head)). Fetch what was missed from a store,
    /// or tell the far end about the gap.
    Evicted,
    /// The log was closed. Subscribe to another one.
    Closed,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Evicted => "unread events were evicted from the log, jump or read them elsewhere",
            Self::Closed => "the log is closed",
        })
    }
}

impl Error for ReadError {}

/// Why a publisher was not admitted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum AdmitError {
    /// A blocking reader was still too far behind when the deadline came. Refuse the event, or
    /// append it all the same and let the readers' policies act.
    TimedOut,
    /// The log was closed.
    Closed,
}

impl fmt::Display for AdmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "a blocking reader is too far behind, try again later",
            Self::Closed => "the log is closed",
        })
    }
}

impl Error for AdmitError {}

/// A policy name that this crate does not know.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
#[non_exhaustive]
pub struct ParsePolicyError;

impl fmt::Display for ParsePolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown policy, use `replay`, `disconnect`, `drop-oldest` or `conflate`")
    }
}

impl Error for ParsePolicyError {}
