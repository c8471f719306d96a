//! The events of a log that are still in memory, and where its readers are in them.

use core::mem::take;
use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;

use crate::mark::Mark;
use crate::merge::Batch;
use crate::segment::{Run, Segment};
use crate::{Chunk, Lag, LogConfig, ReadError};

/// The segments of a log, oldest first, without a lock.
///
/// Every reader is counted in one place: in the segment that holds its next event, at the head, or
/// nowhere once that segment was evicted. A segment that no reader needs any more is dropped as soon
/// as there is none before it, so `front.readers > 0` whenever there is a front.
#[derive(Debug)]
pub(crate) struct Tail {
    config: LogConfig,
    head: Mark,
    /// The segments before the newest one. Boxed, since few logs have any.
    older: Option<Box<Older>>,
    /// The only segment that may be open. Boxed, since an idle log has none.
    newest: Option<Box<Segment>>,
    /// Readers that have read everything.
    at_head: usize,
    /// The latest time that the log was told, in nanoseconds.
    now: u64,
}

/// Sealed segments, oldest first.
#[derive(Debug, Default)]
struct Older {
    segments: VecDeque<Box<Segment>>,
    memory: usize,
}

impl Older {
    fn push(&mut self, segment: Box<Segment>) {
        self.memory += segment.memory();
        self.segments.push_back(segment);
    }

    /// Takes the oldest one out.
    fn pop(&mut self) -> Option<Box<Segment>> {
        let front = self.segments.pop_front()?;
        self.memory -= front.memory();
        Some(front)
    }
}

/// A time in nanoseconds; 584 years at most.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Where a reader's next event is.
enum Place {
    /// Not appended yet.
    Head,
    /// In the segment of this number.
    Segment(usize),
    /// No longer in memory.
    Evicted,
}

impl Tail {
    pub(crate) const fn new(config: LogConfig, start: u64) -> Self {
        Self {
            config,
            head: Mark::start(start),
            older: None,
            newest: None,
            at_head: 0,
            now: 0,
        }
    }

    /// The place after the last event.
    pub(crate) const fn head(&self) -> Mark {
        self.head
    }

    /// Memory that the segments take.
    pub(crate) fn memory(&self) -> usize {
        let older = self.older.as_ref().map_or(0, |older| older.memory);
        older + self.newest.as_ref().map_or(0, |newest| newest.memory())
    }

    /// Appends an event whose seq is above the head's, and evicts what is then over the bounds.
    pub(crate) fn append(&mut self, seq: u64, encoded: &[u8]) {
        let start = self.head;
        self.head = start.after(seq, encoded.len());
        if self.at_head == 0 && self.is_empty() {
            return;
        }
        let (max_bytes, max_events) = self.config.segment_bounds();
        let oldest = self.now.saturating_sub(self.config.max_age / 8);
        if let Some(mut full) = self.newest.take_if(|newest| {
            newest.since() < oldest || !newest.has_room(encoded.len(), max_bytes, max_events)
        }) {
            full.seal();
            full.trim();
            self.older.get_or_insert_default().push(full);
        }
        let newest = self.newest.get_or_insert_with(|| {
            let capacity = Segment::capacity_for(encoded.len(), max_bytes);
            Segment::begin(start, self.now, capacity)
        });
        newest.reserve(encoded.len(), max_bytes);
        newest.push(seq, encoded);
        newest.readers += take(&mut self.at_head);
        if encoded.len() > max_bytes {
            newest.seal();
        }
        self.evict_over_bounds();
    }

    /// It is `now`: evicts what is too old. An earlier time than before changes nothing.
    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        self.now = self.now.max(nanos(now));
        if self.expires_at().is_none_or(|at| self.now < at) {
            return;
        }
        while self.expires_at().is_some_and(|at| at <= self.now) {
            self.drop_front();
        }
        self.drop_read();
    }

    /// When the oldest events become too old.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        self.expires_at().map(Duration::from_nanos)
    }

    fn expires_at(&self) -> Option<u64> {
        let age = Some(self.config.max_age).filter(|age| *age < u64::MAX)?;
        self.front().map(|front| front.since().saturating_add(age))
    }

    /// Puts a new reader at the head.
    pub(crate) const fn enter_at_head(&mut self) -> Mark {
        self.at_head += 1;
        self.head
    }

    /// Forgets a reader.
    pub(crate) fn remove(&mut self, cursor: Mark) {
        self.leave(cursor);
        self.drop_read();
    }

    /// The seq of the event after `cursor`.
    pub(crate) fn next_seq(&self, cursor: Mark) -> Result<Option<u64>, ReadError> {
        match self.place(cursor) {
            Place::Head => Ok(None),
            Place::Evicted => Err(ReadError::Evicted),
            Place::Segment(at) => Ok(self.segment(at).next_seq(cursor)),
        }
    }

    /// Whether nothing after `cursor` was evicted.
    pub(crate) fn is_intact(&self, cursor: Mark) -> bool {
        !matches!(self.place(cursor), Place::Evicted)
    }

    /// Takes the next events, shared.
    pub(crate) fn read(
        &mut self,
        cursor: &mut Mark,
        through: u64,
        max_bytes: usize,
    ) -> Result<Option<Chunk>, ReadError> {
        let Some((at, Run { range, end })) = self.next_run(*cursor, through, max_bytes)? else {
            return Ok(None);
        };
        let alone = self.segments() == 1;
        let segment = self.segment_mut(at);
        let bytes = if at == 0 && segment.readers == 1 && segment.end() == end {
            segment.share_last(range)
        } else {
            segment.share(range, alone)
        };
        let events = cursor.lag(end).events as usize;
        self.advance(cursor, end);
        Ok(Some(Chunk {
            bytes,
            last: end.seq,
            events,
        }))
    }

    /// The next events, shared, and the place after them, which the reader does not go to.
    pub(crate) fn look(
        &mut self,
        cursor: Mark,
        through: u64,
        max_bytes: usize,
    ) -> Result<Option<(Bytes, Mark)>, ReadError> {
        let Some((at, run)) = self.next_run(cursor, through, max_bytes)? else {
            return Ok(None);
        };
        let alone = self.segments() == 1;
        let bytes = self.segment_mut(at).share(run.range, alone);
        Ok(Some((bytes, run.end)))
    }

    /// The last place between two events that is no further than `bytes` from the log's beginning,
    /// and the place after the event that follows, both in the segment of `cursor`. `None` if that
    /// was evicted.
    pub(crate) fn marks_around(&self, cursor: Mark, bytes: u64) -> Option<(Mark, Option<Mark>)> {
        match self.place(cursor) {
            Place::Segment(at) => Some(self.segment(at).marks_around(bytes)),
            Place::Head | Place::Evicted => None,
        }
    }

    /// Takes the next events by copying them to the end of `batch`, or finds that it is full.
    pub(crate) fn copy(
        &mut self,
        cursor: &mut Mark,
        through: u64,
        batch: &mut Batch<'_>,
    ) -> Result<(), ReadError> {
        let room = batch.max_bytes.saturating_sub(batch.bytes.len());
        let Some((at, run)) = self.next_run(*cursor, through, room)? else {
            return Ok(());
        };
        if batch.events > 0 && batch.bytes.len() + run.range.len() > batch.max_bytes {
            batch.full = true;
            return Ok(());
        }
        batch
            .bytes
            .extend_from_slice(self.segment(at).bytes(run.range));
        batch.events += cursor.lag(run.end).events as usize;
        batch.last = run.end.seq;
        self.advance(cursor, run.end);
        Ok(())
    }

    /// Leaves out the unread events with a seq of at most `seq`.
    pub(crate) fn skip_through(&mut self, cursor: &mut Mark, seq: u64) -> Lag {
        if self.is_intact(*cursor) {
            self.jump_to(cursor, seq)
        } else {
            Lag::ZERO
        }
    }

    /// Leaves out the unread events with a seq of at most `seq`, evicted ones included. Does
    /// nothing if an event above `seq` was evicted unread.
    pub(crate) fn jump_to(&mut self, cursor: &mut Mark, seq: u64) -> Lag {
        if !self.is_intact(*cursor) && seq < self.start().seq {
            return Lag::ZERO;
        }
        let target = self.mark_through(seq);
        if target.events <= cursor.events {
            return Lag::ZERO;
        }
        let skipped = cursor.lag(target);
        self.advance(cursor, target);
        skipped
    }

    /// What a jump to `seq` would leave unread; `None` if it would do nothing, because an event above
    /// `seq` was evicted unread.
    pub(crate) fn lag_after(&self, cursor: Mark, seq: u64) -> Option<Lag> {
        if !self.is_intact(cursor) && seq < self.start().seq {
            return None;
        }
        let target = self.mark_through(seq);
        let from = if target.events > cursor.events {
            target
        } else {
            cursor
        };
        Some(from.lag(self.head))
    }

    /// Evicts the oldest segments until at most `max_bytes` of memory are taken.
    pub(crate) fn evict_to(&mut self, max_bytes: usize) {
        while !self.is_empty() && self.memory() > max_bytes {
            self.drop_front();
        }
        self.drop_read();
    }

    fn evict_over_bounds(&mut self) {
        let LogConfig {
            max_bytes,
            max_events,
            ..
        } = self.config;
        while self.segments() > 1
            && (self.memory() > max_bytes || self.held().events > max_events as u64)
        {
            self.drop_front();
        }
        self.drop_read();
    }

    /// Drops the segments at the front that every reader has passed.
    fn drop_read(&mut self) {
        while self.front().is_some_and(|front| front.readers == 0) {
            self.drop_front();
        }
    }

    fn drop_front(&mut self) {
        let older = self.older.as_mut().and_then(|older| older.pop());
        if let Some(front) = older.or_else(|| self.newest.take()) {
            front.end_of_use();
        }
        // A log without segments holds nothing, and one of few no list for many.
        let newest = self.newest.is_some();
        self.older.take_if(|older| {
            let segments = &older.segments;
            segments.is_empty() && (!newest || segments.capacity() > FEW)
        });
    }

    fn next_run(
        &self,
        cursor: Mark,
        through: u64,
        max_bytes: usize,
    ) -> Result<Option<(usize, Run)>, ReadError> {
        match self.place(cursor) {
            Place::Head => Ok(None),
            Place::Evicted => Err(ReadError::Evicted),
            Place::Segment(at) => Ok(self
                .segment(at)
                .run(cursor, through, max_bytes)
                .map(|run| (at, run))),
        }
    }

    /// Moves a reader.
    pub(crate) fn advance(&mut self, cursor: &mut Mark, to: Mark) {
        self.leave(*cursor);
        *cursor = to;
        match self.place(to) {
            Place::Head => self.at_head += 1,
            Place::Segment(at) => self.segment_mut(at).readers += 1,
            Place::Evicted => {}
        }
        self.drop_read();
    }

    fn leave(&mut self, cursor: Mark) {
        match self.place(cursor) {
            Place::Head => self.at_head -= 1,
            Place::Segment(at) => self.segment_mut(at).readers -= 1,
            Place::Evicted => {}
        }
    }

    fn place(&self, cursor: Mark) -> Place {
        if cursor.events == self.head.events {
            Place::Head
        } else if cursor.events < self.start().events {
            Place::Evicted
        } else {
            Place::Segment(self.passed(|segment| segment.end().events <= cursor.events))
        }
    }

    /// The place after the last event with a seq of at most `seq`, no earlier than the start.
    fn mark_through(&self, seq: u64) -> Mark {
        if seq >= self.head.seq || self.is_empty() {
            return self.head;
        }
        let at = self.passed(|segment| segment.end().seq <= seq);
        self.segment(at).mark_through(seq)
    }

    /// The place before the oldest event in memory.
    fn start(&self) -> Mark {
        self.front().map_or(self.head, Segment::start)
    }

    fn held(&self) -> Lag {
        self.start().lag(self.head)
    }

    /// How many of the older segments, which are the first of them, `is_before` is true of.
    fn passed(&self, is_before: impl Fn(&Segment) -> bool) -> usize {
        let older = self.older.as_ref();
        older.map_or(0, |older| {
            older.segments.partition_point(|segment| is_before(segment))
        })
    }

    fn front(&self) -> Option<&Segment> {
        let older = self.older.as_ref().and_then(|it| it.segments.front());
        older.or(self.newest.as_ref()).map(|it| &**it)
    }

    fn is_empty(&self) -> bool {
        self.front().is_none()
    }

    fn segments(&self) -> usize {
        let older = self.older.as_ref().map_or(0, |older| older.segments.len());
        older + usize::from(self.newest.is_some())
    }

    fn segment(&self, at: usize) -> &Segment {
        let older = self.older.as_ref().and_then(|it| it.segments.get(at));
        older.or(self.newest.as_ref()).expect(IN_A_SEGMENT)
    }

    fn segment_mut(&mut self, at: usize) -> &mut Segment {
        let older = self.older.as_mut().and_then(|it| it.segments.get_mut(at));
        older.or(self.newest.as_mut()).expect(IN_A_SEGMENT)
    }
}

/// As many segments as a list may be kept for while it is empty.
const FEW: usize = 64;

const IN_A_SEGMENT: &str = "an event between the start and the head is in a segment";
