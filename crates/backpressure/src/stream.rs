//! A reader as a `Stream`.

use core::pin::Pin;
use core::task::{Context, Poll, ready};

use futures_core::Stream;

use crate::{Chunk, ReadError, Reader};

/// The chunks of one reader, from [`Reader::into_chunks`].
///
/// After an error the stream ends; [`into_reader`](Self::into_reader) gives the reader back to jump
/// or to ask for its lag.
#[derive(Debug)]
pub struct Chunks {
    reader: Reader,
    max_bytes: usize,
    failed: bool,
}

impl Chunks {
    pub(crate) const fn new(reader: Reader, max_bytes: usize) -> Self {
        Self {
            reader,
            max_bytes,
            failed: false,
        }
    }

    /// The reader again, after the last chunk that was given.
    #[must_use]
    pub fn into_reader(self) -> Reader {
        self.reader
    }
}

impl Stream for Chunks {
    type Item = Result<Chunk, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.failed {
            return Poll::Ready(None);
        }
        let max_bytes = self.max_bytes;
        let read = match ready!(self.reader.poll_ready(cx)) {
            Ok(()) => self.reader.read(max_bytes).transpose(),
            Err(error) => Some(Err(error)),
        };
        self.failed = !matches!(read, Some(Ok(_)));
        Poll::Ready(read)
    }
}
