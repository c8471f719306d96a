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

/// A policy name that this crate does not know.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
#[non_exhaustive]
pub struct ParsePolicyError;

impl fmt::Display for ParsePolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown policy, use `replay` or `drop-oldest`")
    }
}

impl Error for ParsePolicyError {}
