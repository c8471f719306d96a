//! Several logs read as one.

use core::slice;
use core::task::{Context, Poll};

use bytes::BytesMut;

use crate::{Chunk, Lag, ReadError, Reader};

/// The readers of one subscription, each in a log of its own, read as one.
///
/// Events come in the order of their seqs, over all logs. An event that is in several of them, which
/// is known by its seq, comes once.
///
/// That order needs a watermark: events may only be read up to a seq that the writer published after
/// it had appended everything up to it to every log, and that the caller took before it reads. What
/// is above may still be on its way to one log while it is already in another.
///
/// Without any reader there is never anything to read.
#[derive(Debug)]
pub struct Readers {
    kind: Kind,
}

/// Most subscriptions have one reader, which then lies in them.
#[derive(Debug)]
enum Kind {
    One(Reader),
    Many(Many),
}

#[derive(Debug, Default)]
struct Many {
    readers: Vec<Reader>,
    /// What each reader has next; kept to spare an allocation a read.
    next: Vec<Option<u64>>,
}

impl Default for Readers {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Readers {
    /// Reads `readers` as one.
    #[must_use]
    pub fn new(readers: Vec<Reader>) -> Self {
        let kind = match <[Reader; 1]>::try_from(readers) {
            Ok([reader]) => Kind::One(reader),
            Err(readers) => Kind::Many(Many {
                readers,
                next: Vec::new(),
            }),
        };
        Self { kind }
    }

    /// The readers again, in the same order.
    #[must_use]
    pub fn into_vec(self) -> Vec<Reader> {
        match self.kind {
            Kind::One(reader) => vec![reader],
            Kind::Many(many) => many.readers,
        }
    }

    /// How many readers they are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there is no reader.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    const fn as_slice(&self) -> &[Reader] {
        match &self.kind {
            Kind::One(reader) => slice::from_ref(reader),
            Kind::Many(many) => many.readers.as_slice(),
        }
    }

    const fn as_mut_slice(&mut self) -> &mut [Reader] {
        match &mut self.kind {
            Kind::One(reader) => slice::from_mut(reader),
            Kind::Many(many) => many.readers.as_mut_slice(),
        }
    }

    /// Takes the next events with a seq of at most `seq`, which the caller read from the watermark
    /// before: as many whole ones as fit in `max_bytes`, but at least one if there is any. `None` if
    /// there is none. A chunk may end early, so call again until there is none.
    ///
    /// Where only one reader has any, its chunk is returned without copying. Otherwise the events
    /// are copied together in `scratch`, whose content is lost; its memory is used again once the
    /// chunks cut from it are gone, so keep one for all subscriptions of a worker.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if what comes next in one of the logs was evicted, or the log is closed. What
    /// was taken before it was noticed is returned first.
    pub fn read_through(
        &mut self,
        seq: u64,
        max_bytes: usize,
        scratch: &mut BytesMut,
    ) -> Result<Option<Chunk>, ReadError> {
        match &mut self.kind {
            Kind::One(reader) => reader.read_through(seq, max_bytes),
            Kind::Many(many) => many.read_through(seq, max_bytes, scratch),
        }
    }

    /// Leaves out the unread events with a seq of at most `seq` in every log, and returns how many
    /// they were. See [`Reader::skip_through`].
    pub fn skip_through(&mut self, seq: u64) -> Lag {
        self.as_mut_slice()
            .iter_mut()
            .map(|reader| reader.skip_through(seq))
            .sum()
    }

    /// Leaves out the unread events with a seq of at most `seq` in every log, evicted or not, and
    /// returns how many they were. See [`Reader::jump_to`]; pass the watermark.
    pub fn jump_to(&mut self, seq: u64) -> Lag {
        self.as_mut_slice()
            .iter_mut()
            .map(|reader| reader.jump_to(seq))
            .sum()
    }

    /// Leaves out the oldest unread events of all logs, up to one seq: as few as it takes for the
    /// rest to be in memory and within `max`, but none above `through`, for which pass the
    /// watermark. Returns that seq, and how many events were left out.
    ///
    /// This is what `drop-oldest` does with a subscriber that is too slow. An evicted reader keeps
    /// nothing in memory by itself: what is left of its log is what other readers still need. It
    /// takes about 53 looks at every log.
    pub fn jump_within(&mut self, max: Lag, through: u64) -> (u64, Lag) {
        // The rest only shrinks as the seq grows, so the least seq that fits is found by halving.
        let (mut low, mut high) = (0, through);
        while low < high {
            let middle = low.midpoint(high);
            if self.fits_after(middle, max) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        (high, self.jump_to(high))
    }

    fn fits_after(&self, seq: u64, max: Lag) -> bool {
        let rest: Option<Lag> = self.as_slice().iter().map(|it| it.lag_after(seq)).sum();
        rest.is_some_and(|rest| !rest.exceeds(max))
    }

    /// How far the readers are behind, all together. An event in several logs counts in each.
    #[must_use]
    pub fn lag(&self) -> Lag {
        self.as_slice().iter().map(Reader::lag).sum()
    }

    /// Whether every reader is [intact](Reader::is_intact).
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.as_slice().iter().all(Reader::is_intact)
    }

    /// Ready when one of the readers is. See [`Reader::poll_ready`].
    ///
    /// # Errors
    ///
    /// As for [`read_through`](Self::read_through).
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReadError>> {
        self.poll_ready_through(cx, || u64::MAX).map_ok(|_| ())
    }

    /// Ready with a watermark when there is something to read at or below it. See
    /// [`Reader::poll_ready_through`].
    ///
    /// # Errors
    ///
    /// As for [`read_through`](Self::read_through).
    pub fn poll_ready_through(
        &mut self,
        cx: &mut Context<'_>,
        watermark: impl Fn() -> u64,
    ) -> Poll<Result<u64, ReadError>> {
        let ready = self.check(watermark());
        if ready.is_ready() {
            return ready;
        }
        for reader in self.as_slice() {
            reader.arm(cx.waker());
        }
        self.check(watermark())
    }

    fn check(&self, watermark: u64) -> Poll<Result<u64, ReadError>> {
        self.as_slice()
            .iter()
            .map(|reader| reader.check(watermark))
            .find(Poll::is_ready)
            .unwrap_or(Poll::Pending)
    }
}

impl Many {
    fn read_through(
        &mut self,
        seq: u64,
        max_bytes: usize,
        scratch: &mut BytesMut,
    ) -> Result<Option<Chunk>, ReadError> {
        self.next.clear();
        for reader in &self.readers {
            self.next.push(reader.peek()?.filter(|next| *next <= seq));
        }
        let mut pending = self
            .next
            .iter()
            .enumerate()
            .filter(|(_, next)| next.is_some());
        match (pending.next(), pending.next()) {
            (None, _) => Ok(None),
            (Some((only, _)), None) => self.readers[only].read_through(seq, max_bytes),
            _ => self.merge_through(seq, max_bytes, scratch),
        }
    }

    /// Copies the pending events of two or more readers together; `self.next` says what they are.
    fn merge_through(
        &mut self,
        seq: u64,
        max_bytes: usize,
        scratch: &mut BytesMut,
    ) -> Result<Option<Chunk>, ReadError> {
        scratch.clear();
        let mut batch = Batch {
            bytes: scratch,
            max_bytes,
            events: 0,
            last: 0,
            full: false,
        };
        while !batch.full
            && let Some((at, through)) = self.next_run(seq)
        {
            let copied = self.readers[at]
                .copy_through(through, &mut batch)
                .and_then(|next| {
                    self.next[at] = next.filter(|next| *next <= seq);
                    self.skip_duplicates(batch.last, seq)
                });
            match copied {
                Ok(()) => {}
                // What was taken comes first; the error stays for the next call.
                Err(_) if batch.events > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(batch.into_chunk())
    }

    /// The reader with the lowest seq, and how far it may be read: up to the next one's first event,
    /// which it may have too.
    fn next_run(&self, seq: u64) -> Option<(usize, u64)> {
        let mut lowest: Option<(usize, u64)> = None;
        let mut through = seq;
        for (at, next) in self.next.iter().enumerate() {
            let Some(next) = *next else { continue };
            match lowest {
                Some((_, lowest)) if lowest <= next => through = through.min(next),
                _ => {
                    through = lowest.map_or(seq, |(_, second)| second);
                    lowest = Some((at, next));
                }
            }
        }
        lowest.map(|(at, _)| (at, through))
    }

    /// Leaves out the event `last`, which was just taken from one log, where others have it too.
    fn skip_duplicates(&mut self, last: u64, seq: u64) -> Result<(), ReadError> {
        for (reader, next) in self.readers.iter_mut().zip(&mut self.next) {
            if *next == Some(last) {
                reader.skip_through(last);
                *next = reader.peek()?.filter(|next| *next <= seq);
            }
        }
        Ok(())
    }
}

/// Events that are copied together.
pub(crate) struct Batch<'a> {
    pub(crate) bytes: &'a mut BytesMut,
    pub(crate) max_bytes: usize,
    pub(crate) events: usize,
    /// The seq of the last event, once there is one.
    pub(crate) last: u64,
    /// An event was left because it did not fit.
    pub(crate) full: bool,
}

impl Batch<'_> {
    fn into_chunk(self) -> Option<Chunk> {
        let Self {
            bytes,
            last,
            events,
            ..
        } = self;
        (events > 0).then(|| Chunk {
            bytes: bytes.split().freeze(),
            last,
            events,
        })
    }
}
