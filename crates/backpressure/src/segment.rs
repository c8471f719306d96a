//! A run of events in one piece of memory.

use core::mem::{size_of, take};
use core::ops::Range;

use bytes::Bytes;

use crate::mark::Mark;

/// What a segment's buffer starts with. It doubles from there to the segment's limit, which is no
/// less.
pub(crate) const FIRST_CAPACITY: usize = 1 << 10;

/// Consecutive events, encoded one after another in one buffer.
#[derive(Debug)]
pub(crate) struct Segment {
    start: Mark,
    /// One entry an event, in order, never empty once the segment is in a log.
    index: Vec<Entry>,
    buffer: Buffer,
    /// How many readers have their next event in this segment.
    pub(crate) readers: usize,
}

#[derive(Debug)]
struct Entry {
    seq: u64,
    /// Where the event ends in the buffer; the next one begins there.
    end: usize,
}

#[derive(Debug)]
enum Buffer {
    /// Still appended to.
    Open {
        bytes: Vec<u8>,
        /// A copy of `bytes[offset..]` for everybody who reads before the next append.
        copy: Option<(usize, Bytes)>,
    },
    /// Complete, shared by slices.
    Sealed(Bytes),
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
    /// An empty open segment that begins at `start`.
    pub(crate) const fn new(start: Mark) -> Self {
        let buffer = Buffer::Open {
            bytes: Vec::new(),
            copy: None,
        };
        Self {
            start,
            index: Vec::new(),
            buffer,
            readers: 0,
        }
    }

    /// Whether an event of `len` bytes may be pushed without going over the limits.
    pub(crate) fn has_room(&self, len: usize, max_bytes: usize, max_events: usize) -> bool {
        matches!(self.buffer, Buffer::Open { .. })
            && self.len().saturating_add(len) <= max_bytes
            && self.index.len() < max_events
    }

    /// Appends an event, without growing the buffer over `max_bytes` for later ones.
    ///
    /// Only for an open segment.
    pub(crate) fn push(&mut self, seq: u64, encoded: &[u8], max_bytes: usize) {
        let Buffer::Open { bytes, copy } = &mut self.buffer else {
            unreachable!("events are pushed only to the open segment");
        };
        let needed = bytes.len() + encoded.len();
        if needed > bytes.capacity() {
            let doubled = (2 * bytes.capacity()).clamp(FIRST_CAPACITY, max_bytes);
            bytes.reserve_exact(doubled.max(needed) - bytes.len());
        }
        bytes.extend_from_slice(encoded);
        *copy = None;
        self.index.push(Entry { seq, end: needed });
    }

    /// Completes the segment: from now on its bytes are shared without copying.
    pub(crate) fn seal(&mut self) {
        if let Buffer::Open { bytes, .. } = &mut self.buffer {
            self.buffer = Buffer::Sealed(Bytes::from(take(bytes).into_boxed_slice()));
        }
    }

    /// The place before the first event.
    pub(crate) const fn start(&self) -> Mark {
        self.start
    }

    /// The place after the last event.
    pub(crate) fn end(&self) -> Mark {
        self.mark(self.index.len())
    }

    /// The place after the last event with a seq of at most `seq`.
    pub(crate) fn mark_through(&self, seq: u64) -> Mark {
        self.mark(self.index.partition_point(|entry| entry.seq <= seq))
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
        let fitting =
            unread.partition_point(|event| event.seq <= through && event.end - from <= max_bytes);
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
            Buffer::Sealed(bytes) => &bytes[range],
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
            Buffer::Sealed(bytes) => bytes.slice(range),
            Buffer::Open { bytes, copy } => {
                let offset = if copy.is_some() { 0 } else { range.start };
                let (_, copied) = copy.insert((offset, Bytes::copy_from_slice(&bytes[offset..])));
                copied.slice(range.start - offset..range.end - offset)
            }
        }
    }

    /// Memory that the segment takes: itself, its buffer, its index, and its copy for readers.
    pub(crate) fn memory(&self) -> usize {
        let buffer = match &self.buffer {
            Buffer::Open { bytes, copy } => {
                bytes.capacity() + copy.as_ref().map_or(0, |(_, copied)| copied.len())
            }
            Buffer::Sealed(bytes) => bytes.len(),
        };
        size_of::<Self>() + buffer + self.index.capacity() * size_of::<Entry>()
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
