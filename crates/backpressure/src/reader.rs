//! A reader's place in a log.

use core::task::{Context, Poll};

use bytes::Bytes;

use crate::{Lag, ReadError};

/// Whole events, one after another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chunk {
    /// Their encoded bytes.
    pub bytes: Bytes,
    /// The seq of the last of them.
    pub last: u64,
    /// How many there are, at least one.
    pub events: usize,
}

/// A place in a [`Log`](crate::Log).
#[derive(Debug)]
pub struct Reader {}

impl Reader {
    /// The next events.
    ///
    /// # Errors
    pub fn read(&mut self, max_bytes: usize) -> Result<Option<Chunk>, ReadError> {
        self.read_through(u64::MAX, max_bytes)
    }
    /// The next events with a seq of at most `seq`.
    ///
    /// # Errors
    pub fn read_through(
        &mut self,
        _seq: u64,
        _max_bytes: usize,
    ) -> Result<Option<Chunk>, ReadError> {
        unimplemented!()
    }
    /// The seq of the next event.
    ///
    /// # Errors
    pub fn peek(&self) -> Result<Option<u64>, ReadError> {
        unimplemented!()
    }
    /// Leaves out unread events with a seq of at most `seq`, and says how many.
    pub fn skip_through(&mut self, _seq: u64) -> Lag {
        unimplemented!()
    }
    /// Like `skip_through`, over evicted events too.
    pub fn jump_to(&mut self, _seq: u64) -> Lag {
        unimplemented!()
    }
    /// Jumps over everything unread; returns the head.
    pub fn jump_to_head(&mut self) -> u64 {
        unimplemented!()
    }
    /// How far this reader is behind the head.
    #[must_use]
    pub fn lag(&self) -> Lag {
        unimplemented!()
    }
    /// Nothing unread was evicted and the log is open.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        unimplemented!()
    }
    /// Ready when something is pending, was evicted, or the log is closed.
    pub fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ReadError>> {
        unimplemented!()
    }
    /// Ready with `through()` when an event at or below it is pending.
    pub fn poll_ready_through(
        &mut self,
        _cx: &mut Context<'_>,
        _through: impl Fn() -> u64,
    ) -> Poll<Result<u64, ReadError>> {
        unimplemented!()
    }
}
