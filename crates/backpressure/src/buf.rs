//! A reader as bytes that are written bit by bit.

use core::fmt;
use core::mem::take;

use bytes::{Buf, Bytes};

use crate::mark::Mark;
use crate::{ReadError, Reader};

/// A [`Reader`] as [`Buf`]: for whoever writes to a socket that takes a part of an event at a time.
///
/// [`fill`](Self::fill) shows the next events as one slice of the log's own memory, and
/// [`advance`](Buf::advance) says how much of it was written. The reader follows event by event: what is
/// not wholly written counts as [lag](Reader::lag), and until its first byte is written an event may
/// still be skipped or jumped over. A write that ends inside an event is resumed there, whatever
/// becomes of the log meanwhile.
///
/// What the connection has to say itself, such as a heartbeat or a gap, may go only
/// [between two events](Self::at_boundary).
///
/// ```
/// use backpressure::{Log, LogConfig};
/// use bytes::Buf;
///
/// let log = Log::new(LogConfig::default(), 0);
/// let mut buf = log.subscribe().into_buf();
/// for (seq, event) in [(1, "one\n"), (2, "two\n"), (3, "three\n")] {
///     log.append(seq, event.as_bytes());
/// }
///
/// assert!(buf.fill(u64::MAX, 64 << 10)?);
/// assert_eq!(buf.chunk(), b"one\ntwo\nthree\n");
/// buf.advance(6); // the socket took no more
/// assert!(!buf.at_boundary());
/// assert_eq!(buf.get_ref().lag().events, 2);
///
/// // The subscriber is to get the newest only. First the event that it has half of.
/// assert!(buf.get_mut().is_none());
/// buf.retract();
/// assert_eq!(buf.chunk(), b"o\n");
/// buf.advance(2);
/// let reader = buf.get_mut().expect("between two events");
/// assert_eq!(reader.jump_to(2).events, 0);
/// assert_eq!(reader.lag().events, 1);
/// # Ok::<(), backpressure::ReadError>(())
/// ```
///
/// # Memory
///
/// 136 bytes. While anything is left of the slice, the segment that it is a part of: one of up to
/// 64 KiB, which is shared with all who have a part of it, or one larger event.
pub struct ReaderBuf {
    /// After the last event that is known to be wholly written.
    reader: Reader,
    /// What is not written yet, up to `end`.
    rest: Bytes,
    end: Mark,
    written: Written,
}

/// Where the writing is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Written {
    /// Between two events, at the reader's place.
    Whole,
    /// Inside of the event after the reader's place, which ends here.
    Half(Mark),
    /// Behind the reader's place. Where events end is not known, since their segment was evicted;
    /// only that one ends with `rest`.
    Unknown,
}

impl ReaderBuf {
    pub(crate) fn new(reader: Reader) -> Self {
        let end = reader.place();
        Self {
            reader,
            rest: Bytes::new(),
            end,
            written: Written::Whole,
        }
    }

    /// Shows the next events, unless something is left of those before: as many whole ones with a seq of
    /// at most `seq` as fit in `max_bytes` and lie in one segment, but at least one if there is any.
    /// Returns whether there is something to write.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if what comes next was evicted, or the log is closed. What was shown before stays.
    pub fn fill(&mut self, seq: u64, max_bytes: usize) -> Result<bool, ReadError> {
        while self.rest.is_empty() {
            let Some((rest, end)) = self.reader.look(seq, max_bytes)? else {
                return Ok(false);
            };
            (self.rest, self.end) = (rest, end);
            if self.rest.is_empty() {
                // Events of no bytes are written by being looked at.
                self.reader.move_to(end);
            }
        }
        Ok(true)
    }

    /// Whether the last byte written, if any, was the last of an event, so that other bytes may follow.
    ///
    /// After the log has evicted what is being written, the end of each event in it is no longer known,
    /// and this is so only at the end of what is left.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.written == Written::Whole
    }

    /// Gives everything that was shown back to the reader, except for what is left of an event that was
    /// written in part, so that the next boundary comes as soon as possible.
    ///
    /// Does nothing while the ends of the events are [not known](Self::at_boundary).
    pub fn retract(&mut self) {
        match self.written {
            Written::Whole => self.rest = Bytes::new(),
            Written::Half(end) => {
                self.rest.truncate((end.bytes - self.place()) as usize);
                self.end = end;
            }
            Written::Unknown => {}
        }
    }

    /// The reader. What was not wholly written counts as not read.
    #[must_use]
    pub const fn get_ref(&self) -> &Reader {
        &self.reader
    }

    /// The reader, to jump or to wait with, after everything that was shown was given back to it.
    /// `None` inside of an event, of which the rest has to be written first.
    pub fn get_mut(&mut self) -> Option<&mut Reader> {
        self.at_boundary().then(|| {
            self.retract();
            &mut self.reader
        })
    }

    /// The reader again, as by [`get_mut`](Self::get_mut): `None` inside of an event.
    #[must_use]
    pub fn into_reader(self) -> Option<Reader> {
        self.at_boundary().then_some(self.reader)
    }

    /// How many bytes of the log are written.
    fn place(&self) -> u64 {
        self.end.bytes - self.rest.len() as u64
    }

    /// Moves the reader over the events that are written.
    fn follow(&mut self) {
        if self.rest.is_empty() {
            take(&mut self.rest);
            self.reader.move_to(self.end);
            self.written = Written::Whole;
            return;
        }
        let place = self.place();
        if let Some((before, after)) = self.reader.marks_around(place) {
            self.reader.move_to(before);
            self.written = match after {
                Some(after) if before.bytes < place => Written::Half(after),
                _ => Written::Whole,
            };
            return;
        }
        self.written = match self.written {
            Written::Half(end) if place <= end.bytes => {
                if place == end.bytes {
                    self.reader.move_to(end);
                    Written::Whole
                } else {
                    Written::Half(end)
                }
            }
            _ => Written::Unknown,
        };
    }
}

impl Buf for ReaderBuf {
    fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.rest
    }

    /// Of what was shown, `count` bytes are written.
    ///
    /// # Panics
    ///
    /// If `count` is more than [`remaining`](Buf::remaining).
    fn advance(&mut self, count: usize) {
        if count > 0 {
            self.rest.advance(count);
            self.follow();
        }
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        let bytes = self.rest.copy_to_bytes(len);
        if len > 0 {
            self.follow();
        }
        bytes
    }
}

impl fmt::Debug for ReaderBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReaderBuf")
            .field("reader", &self.reader)
            .field("remaining", &self.rest.len())
            .field("at_boundary", &self.at_boundary())
            .finish()
    }
}
