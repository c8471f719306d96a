//! A run of events in one piece of memory.

use core::mem::{size_of, take};
use core::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

use crate::mark::Mark;
#[cfg(not(all(test, loom)))]
use crate::pool;

/// What a segment's buffer starts with. It doubles from there to the segment's limit, which is no
/// less.
pub(crate) const FIRST_CAPACITY: usize = 1 << 10;

/// The largest limit of a segment.
pub(crate) const LAST_CAPACITY: usize = 64 << 10;

/// The length of events for which an index is kept; that of shorter ones is cut down before.
const USUAL_EVENT: usize = 64;

/// Consecutive events, encoded one after another in one buffer.
#[derive(Debug)]
pub(crate) struct Segment {
    start: Mark,
    /// When its first event was appended.
    since: u64,
    /// One entry an event, in order, never empty once the segment is in a log.
    index: Vec<Entry>,
    /// As many entries as the index may have from former uses. What a log holds is judged by it, not
    /// by how many they are, which would let other logs have a part in it.
    index_before: usize,
    buffer: Buffer,
    /// The bytes that the buffer's memory holds, or held before some of them were shared.
    capacity: usize,
    /// How many readers have their next event in this segment.
    pub(crate) readers: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    seq: u64,
    /// Where the event ends in the buffer; the next one begins there.
    end: usize,
}

#[derive(Debug)]
enum Buffer {
    /// Still appended to.
    Open {
        bytes: BytesMut,
        /// A copy of `bytes[offset..]` for everybody who reads before the next append.
        copy: Option<(usize, Bytes)>,
    },
    /// Complete, shared by slices.
    Sealed {
        bytes: Bytes,
        /// What is left of the memory behind `bytes`. By it all of that memory is had back when
        /// nobody shares it any more.
        #[cfg_attr(all(test, loom), expect(dead_code))]
        rest: BytesMut,
    },
}

/// What a reader takes in one go.
#[derive(Debug)]
pub(crate) struct Run {
    /// Where it lies in the segment's buffer.
    pub(crate) range: Range<usize>,
    /// The place after its last event.
    pub(crate) end: Mark,
}

impl Segment {
    /// An empty open segment that begins at `start`, at the time `since`.
    pub(crate) fn begin(start: Mark, since: u64, capacity: usize) -> Box<Self> {
        let mut segment = Self::take(capacity);
        segment.start = start;
        segment.since = since;
        segment
    }

    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let buffer = Buffer::Open {
            bytes: BytesMut::with_capacity(capacity),
            copy: None,
        };
        Self {
            start: Mark::start(0),
            since: 0,
            index: Vec::new(),
            index_before: Self::usual_index(capacity),
            buffer,
            capacity,
            readers: 0,
        }
    }

    /// The capacity for `len` bytes in a segment of at most `max_bytes`, or of one larger event.
    pub(crate) fn capacity_for(len: usize, max_bytes: usize) -> usize {
        if len > max_bytes {
            len
        } else {
            len.next_power_of_two().clamp(FIRST_CAPACITY, max_bytes)
        }
    }

    /// Whether an event of `len` bytes may be pushed without going over the limits.
    pub(crate) fn has_room(&self, len: usize, max_bytes: usize, max_events: usize) -> bool {
        matches!(self.buffer, Buffer::Open { .. })
            && self.len().saturating_add(len) <= max_bytes
            && self.index.len() < max_events
    }

    /// Makes room for an event of `len` bytes, which a segment of at most `max_bytes` has.
    pub(crate) fn reserve(self: &mut Box<Self>, len: usize, max_bytes: usize) {
        let needed = self.len() + len;
        if needed <= self.capacity {
            return;
        }
        let capacity = Self::capacity_for(needed, max_bytes);
        let mut larger = Self::begin(self.start, self.since, capacity);
        if let (Buffer::Open { bytes, .. }, Buffer::Open { bytes: from, .. }) =
            (&mut larger.buffer, &self.buffer)
        {
            bytes.extend_from_slice(from);
        }
        larger.index.reserve_exact(self.index_for());
        larger.index.extend_from_slice(&self.index);
        larger.readers = self.readers;
        core::mem::replace(self, larger).end_of_use();
    }

    /// Appends an event, for which there is room.
    ///
    /// Only for an open segment.
    pub(crate) fn push(&mut self, seq: u64, encoded: &[u8]) {
        let Buffer::Open { bytes, copy } = &mut self.buffer else {
            unreachable!("events are pushed only to the open segment");
        };
        bytes.extend_from_slice(encoded);
        *copy = None;
        self.index.push(Entry {
            seq,
            end: bytes.len(),
        });
    }

    /// Completes the segment: from now on its bytes are shared without copying.
    pub(crate) fn seal(&mut self) {
        if let Buffer::Open { bytes, .. } = &mut self.buffer {
            let mut rest = take(bytes);
            let bytes = rest.split().freeze();
            self.buffer = Buffer::Sealed { bytes, rest };
        }
    }

    /// Gives back what its index does not need.
    pub(crate) fn trim(&mut self) {
        self.index_before = 0;
        self.index.shrink_to(self.index_for());
    }

    /// The place before the first event.
    pub(crate) const fn start(&self) -> Mark {
        self.start
    }

    /// When the first event was appended.
    pub(crate) const fn since(&self) -> u64 {
        self.since
    }

    /// The place after the last event.
    pub(crate) fn end(&self) -> Mark {
        self.mark(self.index.len())
    }

    /// The place after the last event with a seq of at most `seq`.
    pub(crate) fn mark_through(&self, seq: u64) -> Mark {
        self.mark(self.index.partition_point(|entry| entry.seq <= seq))
    }

    /// The last place between two events with no more than `bytes` before it, counted from the
    /// log's beginning, and the place after the event that follows.
    pub(crate) fn marks_around(&self, bytes: u64) -> (Mark, Option<Mark>) {
        let offset = (bytes - self.start.bytes) as usize;
        let before = self.index.partition_point(|entry| entry.end <= offset);
        let after = (before < self.index.len()).then(|| self.mark(before + 1));
        (self.mark(before), after)
    }

    /// The seq of the event that follows `cursor`.
    pub(crate) fn next_seq(&self, cursor: Mark) -> Option<u64> {
        self.index.get(self.ordinal(cursor)).map(|entry| entry.seq)
    }

    /// The events from `cursor` on that have a seq of at most `through` and fit in `max_bytes`;
    /// the first one is taken whatever its size.
    pub(crate) fn run(&self, cursor: Mark, through: u64, max_bytes: usize) -> Option<Run> {
        let first = self.ordinal(cursor);
        let from = self.offset(first);
        let unread = &self.index[first..];
        if unread.first()?.seq > through {
            return None;
        }
        let fits = |event: &Entry| event.seq <= through && event.end - from <= max_bytes;
        let fitting = match unread.last() {
            // Usually everything is taken.
            Some(last) if fits(last) => unread.len(),
            _ => unread.partition_point(fits),
        };
        let last = first + fitting.max(1);
        Some(Run {
            range: from..self.offset(last),
            end: self.mark(last),
        })
    }

    /// The bytes of a run.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        match &self.buffer {
            Buffer::Open { bytes, .. } => &bytes[range],
            Buffer::Sealed { bytes, .. } => &bytes[range],
        }
    }

    /// The bytes of a run, shared with everybody else who reads them.
    ///
    /// An open segment is copied once for all who read the same bytes before the next append: from
    /// the first such reader's place on, and once more from the start if another reader is further
    /// back. So there are at most two copies an append, however many readers there are.
    ///
    /// If the segment is `alone` in its log and read from its start, which is usual since readers at
    /// the head leave the log empty, it is sealed instead, which copies nothing. Among others that
    /// would leave a log of short segments to a slow reader.
    pub(crate) fn share(&mut self, range: Range<usize>, alone: bool) -> Bytes {
        if let Buffer::Open {
            copy: Some((offset, copied)),
            ..
        } = &self.buffer
            && *offset <= range.start
        {
            return copied.slice(range.start - offset..range.end - offset);
        }
        if alone && range.start == 0 {
            self.seal();
        }
        match &mut self.buffer {
            Buffer::Sealed { bytes, .. } => bytes.slice(range),
            Buffer::Open { bytes, copy } => {
                let offset = if copy.is_some() { 0 } else { range.start };
                let (_, copied) = copy.insert((offset, Bytes::copy_from_slice(&bytes[offset..])));
                copied.slice(range.start - offset..range.end - offset)
            }
        }
    }

    /// The bytes of a run, for the last reader to leave a segment that is then dropped.
    pub(crate) fn share_last(&mut self, range: Range<usize>) -> Bytes {
        let mut bytes = match &mut self.buffer {
            Buffer::Open { copy: Some(_), .. } => return self.share(range, false),
            Buffer::Open { bytes, .. } => bytes.split().freeze(),
            Buffer::Sealed { bytes, .. } => take(bytes),
        };
        bytes.truncate(range.end);
        bytes.advance(range.start);
        bytes
    }

    /// Memory that the segment takes: itself, its buffer, its index, and its copy for readers.
    pub(crate) fn memory(&self) -> usize {
        let copy = match &self.buffer {
            Buffer::Open { copy, .. } => copy.as_ref().map_or(0, |(_, copied)| copied.len()),
            Buffer::Sealed { .. } => 0,
        };
        let index = self.index_for().max(self.index_before);
        size_of::<Self>() + self.capacity + copy + index * size_of::<Entry>()
    }

    /// What an index of these events may take, in entries. It grows by doubling, from four on.
    fn index_for(&self) -> usize {
        self.index.len().next_power_of_two().max(4)
    }

    /// How many entries an index may have from former uses.
    const fn usual_index(capacity: usize) -> usize {
        capacity / USUAL_EVENT
    }

    /// The bytes that its buffer holds.
    #[cfg(not(all(test, loom)))]
    pub(crate) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets its events.
    #[cfg(not(all(test, loom)))]
    pub(crate) fn clear(&mut self) {
        self.index.clear();
        self.index_before = Self::usual_index(self.capacity);
        self.index.shrink_to(self.index_before.max(4));
        self.readers = 0;
        let bytes = match &mut self.buffer {
            Buffer::Open { bytes, .. } => take(bytes),
            Buffer::Sealed { rest, .. } => take(rest),
        };
        self.buffer = Buffer::Open { bytes, copy: None };
    }

    /// Has a cleared segment's buffer all to itself again, unless a reader still shares it.
    #[cfg(not(all(test, loom)))]
    pub(crate) fn reclaim(&mut self) -> bool {
        let Buffer::Open { bytes, .. } = &mut self.buffer else {
            return false;
        };
        bytes.clear();
        bytes.try_reclaim(self.capacity)
    }

    /// A segment that is not needed any more.
    #[cfg(not(all(test, loom)))]
    pub(crate) fn end_of_use(self: Box<Self>) {
        pool::give(self);
    }

    #[cfg(not(all(test, loom)))]
    fn take(capacity: usize) -> Box<Self> {
        pool::take(capacity)
    }

    /// Loom explores the same program again and again, which nothing may outlive.
    #[cfg(all(test, loom))]
    pub(crate) fn end_of_use(self: Box<Self>) {}

    #[cfg(all(test, loom))]
    fn take(capacity: usize) -> Box<Self> {
        Box::new(Self::with_capacity(capacity))
    }

    fn len(&self) -> usize {
        self.offset(self.index.len())
    }

    /// The number of the event after `cursor`, counted within the segment.
    fn ordinal(&self, cursor: Mark) -> usize {
        (cursor.events - self.start.events) as usize
    }

    /// Where the event of this number begins.
    fn offset(&self, ordinal: usize) -> usize {
        if ordinal == 0 {
            0
        } else {
            self.index[ordinal - 1].end
        }
    }

    /// The place before the event of this number.
    fn mark(&self, ordinal: usize) -> Mark {
        if ordinal == 0 {
            return self.start;
        }
        let before = &self.index[ordinal - 1];
        Mark {
            events: self.start.events + ordinal as u64,
            bytes: self.start.bytes + before.end as u64,
            seq: before.seq,
        }
    }
}
