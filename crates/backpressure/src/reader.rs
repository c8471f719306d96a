//! The reading end.

use core::fmt;
use core::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::log::{Shared, State};
use crate::mark::Mark;
use crate::merge::Batch;
use crate::shard::ShardHandle;
use crate::sync::Arc;
use crate::waiters::WaiterId;
use crate::{Chunks, Lag, ReadError, ReaderBuf};

/// Whole events, one after another, as they were appended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chunk {
    /// Their encoded bytes.
    ///
    /// While they live, so does what they are a part of: a segment of up to 64 KiB, one larger event,
    /// or the scratch buffer of [`Readers::read_through`](crate::Readers::read_through).
    pub bytes: Bytes,
    /// The seq of the last of them.
    pub last: u64,
    /// How many they are, at least one.
    pub events: usize,
}

/// One reader's place in a [`Log`](crate::Log).
///
/// A reader that is behind costs the others nothing. Every operation takes time independent of how
/// far behind it is (but for a logarithm of the number of segments).
pub struct Reader {
    log: Arc<Shared>,
    waiter: WaiterId,
    /// Everything before this was read, skipped or jumped over.
    cursor: Mark,
    /// Publishers wait for it.
    blocking: bool,
}

impl Reader {
    pub(crate) fn new(log: Arc<Shared>, shard: Option<&ShardHandle>) -> Self {
        let mut state = log.lock();
        let waiter = state.waiters.insert(shard);
        let cursor = state.tail.enter_at_head();
        drop(state);
        Self {
            log,
            waiter,
            cursor,
            blocking: false,
        }
    }

    /// Takes the next events: as many whole ones as fit in `max_bytes` and lie in one segment, but
    /// at least one if there is any. `None` if there is none.
    ///
    /// What is pending comes in one chunk unless it is longer than a segment; call again until there
    /// is none.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if what comes next was evicted, or the log is closed.
    pub fn read(&mut self, max_bytes: usize) -> Result<Option<Chunk>, ReadError> {
        self.read_through(u64::MAX, max_bytes)
    }

    /// Like [`read`](Self::read), but takes only events with a seq of at most `seq`.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    pub fn read_through(&mut self, seq: u64, max_bytes: usize) -> Result<Option<Chunk>, ReadError> {
        if self.is_at_head() {
            return Ok(None);
        }
        self.advance(|state, cursor| {
            if state.closed {
                return Err(ReadError::Closed);
            }
            state.tail.read(cursor, seq, max_bytes)
        })
    }

    /// The seq of the next event, if there is one.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    pub fn peek(&self) -> Result<Option<u64>, ReadError> {
        if self.is_at_head() {
            return Ok(None);
        }
        let state = self.log.lock();
        if state.closed {
            return Err(ReadError::Closed);
        }
        state.tail.next_seq(self.cursor)
    }

    /// Leaves out the unread events with a seq of at most `seq`, and returns how many they were.
    ///
    /// For what the subscriber already has from elsewhere. An evicted reader stays where it is.
    pub fn skip_through(&mut self, seq: u64) -> Lag {
        self.advance(|state, cursor| state.tail.skip_through(cursor, seq))
    }

    /// Leaves out the unread events with a seq of at most `seq`, whether they are still in the log
    /// or not, and returns how many they were.
    ///
    /// This is what makes an evicted reader whole again, provided that `seq` is not below the last
    /// event that was evicted: otherwise an event that was not to be left out is lost already, so
    /// the reader stays where it is and says [`ReadError::Evicted`] again.
    pub fn jump_to(&mut self, seq: u64) -> Lag {
        self.advance(|state, cursor| state.tail.jump_to(cursor, seq))
    }

    /// What [`jump_to`](Self::jump_to) with this seq would leave unread; `None` if it would do
    /// nothing, because an event above `seq` was evicted unread.
    #[must_use]
    pub fn lag_after(&self, seq: u64) -> Option<Lag> {
        self.log.lock().tail.lag_after(self.cursor, seq)
    }

    /// Leaves out everything unread, and returns the seq of the head.
    ///
    /// To know exactly how much was left out while others append, use [`jump_to`](Self::jump_to)
    /// with [`Log::head`](crate::Log::head) or the watermark.
    pub fn jump_to_head(&mut self) -> u64 {
        self.advance(|state, cursor| {
            let head = state.tail.head().seq;
            state.tail.jump_to(cursor, head);
            head
        })
    }

    /// How far this reader is behind the head, also if it was evicted or the log was closed.
    #[must_use]
    pub fn lag(&self) -> Lag {
        if self.is_at_head() {
            return Lag::ZERO;
        }
        self.cursor.lag(self.log.lock().tail.head())
    }

    /// Whether nothing unread was evicted, and the log is open.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        if self.is_at_head() {
            return true;
        }
        let state = self.log.lock();
        !state.closed && state.tail.is_intact(self.cursor)
    }

    /// Ready when there is something to read. Otherwise the task is woken by the next
    /// [`Log::wake`](crate::Log::wake), or when the log is closed.
    ///
    /// Where events become readable only with a watermark, use
    /// [`poll_ready_through`](Self::poll_ready_through): this one would be ready for events that
    /// [`read_through`](Self::read_through) does not give yet.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReadError>> {
        self.poll_ready_through(cx, || u64::MAX).map_ok(|_| ())
    }

    /// Ready with a watermark when there is something to read at or below it. Otherwise the task is
    /// woken by the next [`Log::wake`](crate::Log::wake), or when the log is closed.
    ///
    /// `watermark` is asked before and again after the waker is registered. So no wake is lost if
    /// the writer appends, publishes the watermark, and then wakes. The task may also be woken when
    /// nothing is ready. A reader keeps only the waker of the last call.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    pub fn poll_ready_through(
        &mut self,
        cx: &mut Context<'_>,
        watermark: impl Fn() -> u64,
    ) -> Poll<Result<u64, ReadError>> {
        let ready = self.check(watermark());
        if ready.is_ready() {
            return ready;
        }
        self.arm(cx.waker());
        self.check(watermark())
    }

    /// Everything this reader gets, as a [`Stream`](futures_core::Stream) of chunks of at most
    /// `max_bytes` (or one larger event).
    ///
    /// # Cancel safety
    ///
    /// Dropping a future that waits for the next chunk loses nothing.
    #[must_use]
    pub const fn into_chunks(self, max_bytes: usize) -> Chunks {
        Chunks::new(self, max_bytes)
    }

    /// This reader as [`bytes::Buf`], for writes that end anywhere in an event.
    #[must_use]
    pub fn into_buf(self) -> ReaderBuf {
        ReaderBuf::new(self)
    }

    /// Whether publishers that ask for [admission](crate::Log::admit) wait for this reader. By default
    /// they do not.
    pub fn set_blocking(&mut self, blocking: bool) {
        if blocking == self.blocking {
            return;
        }
        let cursor = Some(self.cursor);
        let (before, after) = if blocking {
            (None, cursor)
        } else {
            (cursor, None)
        };
        self.blocking = blocking;
        let mut state = self.log.lock();
        let released = state.block_again(self.waiter, before, after);
        drop(state);
        released.into_iter().for_each(Waker::wake);
    }

    /// Without a lock, and so that a reader at the head of a busy log does not hold up its writer.
    fn is_at_head(&self) -> bool {
        self.log.is_head(self.cursor.events)
    }

    pub(crate) fn arm(&self, waker: &Waker) {
        let waker = waker.clone();
        let mut state = self.log.lock();
        let replaced = state.waiters.arm(self.waiter, waker);
        drop(state);
        drop(replaced);
    }

    /// The next events as [`read_through`](Self::read_through) takes them, and the place after them.
    pub(crate) fn look(
        &self,
        seq: u64,
        max_bytes: usize,
    ) -> Result<Option<(Bytes, Mark)>, ReadError> {
        if self.is_at_head() {
            return Ok(None);
        }
        let mut state = self.log.lock();
        if state.closed {
            return Err(ReadError::Closed);
        }
        state.tail.look(self.cursor, seq, max_bytes)
    }

    /// See [`Tail::marks_around`](crate::tail::Tail::marks_around).
    pub(crate) fn marks_around(&self, bytes: u64) -> Option<(Mark, Option<Mark>)> {
        self.log.lock().tail.marks_around(self.cursor, bytes)
    }

    pub(crate) const fn place(&self) -> Mark {
        self.cursor
    }

    /// Goes to a later place that was had from the log.
    pub(crate) fn move_to(&mut self, place: Mark) {
        if place != self.cursor {
            self.advance(|state, cursor| state.tail.advance(cursor, place));
        }
    }

    pub(crate) fn check(&self, watermark: u64) -> Poll<Result<u64, ReadError>> {
        match self.peek() {
            Ok(Some(next)) if next <= watermark => Poll::Ready(Ok(watermark)),
            Ok(_) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Copies the next events to the end of `batch`, and returns the seq of the one that follows.
    pub(crate) fn copy_through(
        &mut self,
        seq: u64,
        batch: &mut Batch<'_>,
    ) -> Result<Option<u64>, ReadError> {
        self.advance(|state, cursor| {
            if state.closed {
                return Err(ReadError::Closed);
            }
            state.tail.copy(cursor, seq, batch)?;
            state.tail.next_seq(*cursor)
        })
    }

    /// Changes the place of this reader, and releases publishers that waited for that.
    pub(crate) fn advance<R>(&mut self, change: impl FnOnce(&mut State, &mut Mark) -> R) -> R {
        let mut state = self.log.lock();
        let before = self.cursor;
        let result = change(&mut state, &mut self.cursor);
        if self.blocking && before != self.cursor {
            let released = state.block_again(self.waiter, Some(before), Some(self.cursor));
            drop(state);
            released.into_iter().for_each(Waker::wake);
        }
        result
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.set_blocking(false);
        let mut state = self.log.lock();
        state.tail.remove(self.cursor);
        let waker = state.waiters.remove(self.waiter);
        drop(state);
        drop(waker);
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("after", &self.cursor.seq)
            .field("lag", &self.lag())
            .field("intact", &self.is_intact())
            .finish()
    }
}
