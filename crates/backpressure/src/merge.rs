//! Several readers of one subscription.

use core::task::{Context, Poll};

use bytes::BytesMut;

use crate::{Chunk, Lag, ReadError, Reader};

/// Several readers, merged by seq.
#[derive(Debug, Default)]
pub struct Readers {
    readers: Vec<Reader>,
}

impl Readers {
    /// Merges `readers`.
    #[must_use]
    pub fn new(readers: Vec<Reader>) -> Self {
        Self { readers }
    }
    /// The readers again.
    #[must_use]
    pub fn into_vec(self) -> Vec<Reader> {
        self.readers
    }
    /// The next events with a seq of at most `seq`, merged by seq, each seq once.
    ///
    /// # Errors
    pub fn read_through(
        &mut self,
        _seq: u64,
        _max_bytes: usize,
        _scratch: &mut BytesMut,
    ) -> Result<Option<Chunk>, ReadError> {
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
    /// Sum of the readers' lags.
    #[must_use]
    pub fn lag(&self) -> Lag {
        unimplemented!()
    }
    /// Every reader is intact.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        unimplemented!()
    }
    /// Ready when a reader is.
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
