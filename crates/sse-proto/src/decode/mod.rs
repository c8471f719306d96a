//! The decoder: bytes in, items out.

mod block;
mod line;

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use crate::event::{Event, EventRef, Item};
use crate::limits::{Limits, Part};
use crate::text::{into_utf8, utf8};
use line::Line;

/// Reads an event stream in whatever pieces it arrives (HTML standard, section 9.2.6).
///
/// The items found do not depend on how the stream is cut into pieces, an event is given out as
/// soon as the byte that completes it is there, and the time taken is linear in the bytes read: each
/// is searched for the end of its line at most three times. An event that lies in one piece, on one `data` line, is borrowed
/// from that piece; others are gathered in buffers, which are kept, so that once they have grown to
/// the size of the events, decoding allocates nothing.
///
/// ```
/// use sse_proto::{Decoder, Item};
///
/// let mut decoder = Decoder::new();
/// let mut seen = Vec::new();
/// for chunk in [&b"id: 7\ndata: hel"[..], b"lo\r", b"\n\r\n"] {
///     let mut items = decoder.push(chunk);
///     while let Some(item) = items.next() {
///         if let Item::Event(event) = item {
///             seen.push(event.to_owned());
///         }
///     }
/// }
/// assert_eq!(seen[0].data, "hello");
/// assert_eq!(decoder.last_event_id(), "7");
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    limits: Limits,
    comments: bool,

    /// The first line has not ended yet: it may begin with a byte order mark.
    at_start: bool,
    /// The line before ended in CR: an LF that follows belongs to it.
    after_cr: bool,
    /// Nothing of the current block has been read, apart from what `at_start` and `after_cr` say.
    fresh: bool,
    /// What becomes of the current line.
    line: Line,
    /// What has arrived of the current line while it is [`Line::Held`]; else empty.
    held: Vec<u8>,
    /// What has arrived of the current line; `line_len <= limits.max_line`.
    line_len: usize,
    /// The current event exceeded a limit: its type and data are dropped.
    skipping: bool,
    /// `Excess::Stop` came to pass.
    stopped: bool,

    /// Type of the current event as sent.
    event: String,
    /// Data of the current event as received, each line followed by LF; without the last LF once
    /// dispatched. `event.len() + data.len() <= limits.max_event + 1`, the last LF being the 1.
    data: Vec<u8>,
    /// `data` of the event given out last, if it was not UTF-8.
    replaced: String,
    /// `event` and `data` belong to an event that was given out; cleared before reading on.
    dispatched: bool,
    /// With `id_set`, the id that becomes `last_event_id` with the next blank line.
    id: String,
    /// The current block has set an id.
    id_set: bool,
    last_event_id: String,
    retry: Option<Duration>,
    /// The last comment, if comments were asked for.
    comment: Vec<u8>,
}

impl Decoder {
    /// A decoder with default [`Limits`].
    #[must_use]
    pub const fn new() -> Self {
        Self::with_limits(Limits::new())
    }

    /// A decoder with limits of your own.
    #[must_use]
    pub const fn with_limits(limits: Limits) -> Self {
        Self {
            limits,
            comments: false,
            at_start: true,
            after_cr: false,
            fresh: true,
            line: Line::Held,
            held: Vec::new(),
            line_len: 0,
            skipping: false,
            stopped: false,
            event: String::new(),
            data: Vec::new(),
            replaced: String::new(),
            dispatched: false,
            id: String::new(),
            id_set: false,
            last_event_id: String::new(),
            retry: None,
            comment: Vec::new(),
        }
    }

    /// Whether comments are given out as [`Item::Comment`]. Default: no.
    #[must_use]
    pub const fn with_comments(mut self, comments: bool) -> Self {
        self.comments = comments;
        self
    }

    /// Sets the last event ID, as if the stream had. For a client that resumes where an earlier one
    /// stopped.
    pub fn seed_last_event_id(&mut self, id: &str) {
        self.last_event_id.clear();
        self.last_event_id.push_str(id);
        self.id_set = false;
    }

    /// Takes the next piece of the stream, of any size. Call [`Items::next`] until it is `None`:
    /// nothing is read before.
    #[must_use = "nothing is read until the items are taken"]
    pub const fn push<'d, 'c>(&'d mut self, chunk: &'c [u8]) -> Items<'d, 'c> {
        Items {
            decoder: self,
            rest: chunk,
        }
    }

    /// The stream has ended. An event without its blank line is dropped and its id does not count,
    /// as the standard demands; the answer tells whether there was one. The decoder is then ready
    /// for the next connection, as after [`reset_connection`](Self::reset_connection).
    pub fn finish(&mut self) -> Incomplete {
        self.forget_dispatched();
        let cut = self.line_len > 0 || self.line != Line::Held || self.stopped;
        let cut = cut || !self.event.is_empty() || !self.data.is_empty();
        let cut = cut || self.id_set || self.skipping;
        self.reset_connection();
        if cut { Incomplete::Yes } else { Incomplete::No }
    }

    /// A new connection begins. Keeps the last event ID and the reconnection time and forgets the
    /// rest of the old stream.
    pub fn reset_connection(&mut self) {
        self.at_start = true;
        self.after_cr = false;
        self.fresh = true;
        self.end_line();
        self.skipping = false;
        self.stopped = false;
        self.event.clear();
        self.data.clear();
        self.dispatched = false;
        self.id_set = false;
    }

    /// What to send as `Last-Event-ID` when reconnecting; empty: send no such header.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The reconnection time that the server asked for last. Any value is legal here, zero and
    /// centuries included: a client needs bounds of its own.
    #[must_use]
    pub const fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// What `step` led to; `event` gives the event out that was gathered.
    fn item<'d, E>(
        &'d mut self,
        step: Step,
        event: impl FnOnce(&'d mut Self) -> E,
    ) -> Option<Item<'d, E>> {
        Some(match step {
            Step::Quiet => return None,
            Step::Event => Item::Event(event(self)),
            Step::Id => Item::Id(&self.last_event_id),
            Step::Retry(delay) => Item::Retry(delay),
            Step::Comment => Item::Comment(&self.comment),
            Step::TooLarge(part) => Item::TooLarge {
                part,
                max: match part {
                    Part::Line => self.limits.max_line,
                    Part::Event => self.limits.max_event,
                    Part::Id => self.limits.max_id,
                },
            },
        })
    }

    fn gathered(&mut self) -> EventRef<'_> {
        EventRef {
            event: match &*self.event {
                "" => DEFAULT_TYPE,
                event => event,
            },
            // Decoded as a whole, this gives what decoding the stream would: no sequence
            // reaches over the LF that ends a line.
            data: match utf8(&self.data) {
                Some(data) => data,
                None => {
                    self.replaced = String::from_utf8_lossy(&self.data).into_owned();
                    &self.replaced
                }
            },
            id: &self.last_event_id,
        }
    }

    /// As [`gathered`](Self::gathered). A buffer that the data fill at least by half is handed over
    /// and a new one takes its place: one allocation, as for a copy, but nothing is copied. Of a
    /// larger one, the event would hold on to more than twice its size.
    fn take_gathered(&mut self) -> Event {
        if self.data.len() < self.data.capacity() / 2 {
            return self.gathered().to_owned();
        }
        match into_utf8(mem::take(&mut self.data)) {
            Ok(data) => {
                self.data = Vec::with_capacity(data.capacity());
                // Without the data, what is gathered is the type and the id.
                Event {
                    data,
                    ..self.gathered().to_owned()
                }
            }
            Err(data) => {
                self.data = data;
                self.gathered().to_owned()
            }
        }
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

/// The items that one piece of the stream completes. Made by [`Decoder::push`].
///
/// It reads on demand: after dropping it early, push [`remaining`](Self::remaining) before anything
/// else, or that part of the stream is lost.
#[derive(Debug)]
pub struct Items<'d, 'c> {
    decoder: &'d mut Decoder,
    rest: &'c [u8],
}

impl<'c> Items<'_, 'c> {
    /// The next item, or `None` once the whole piece has been read. The item must be let go before
    /// the next one is asked for, so this cannot be an [`Iterator`].
    #[expect(
        clippy::should_implement_trait,
        reason = "the items borrow from the decoder, which Iterator cannot express"
    )]
    #[inline]
    pub fn next(&mut self) -> Option<Item<'_>> {
        match self.find()? {
            Found::Whole(event, data) => Some(Item::Event(EventRef {
                event,
                data,
                id: &self.decoder.last_event_id,
            })),
            Found::Step(step) => self.decoder.item(step, Decoder::gathered),
        }
    }

    /// As [`next`](Self::next), but events are owned; both may be called in turns. An event that the
    /// decoder had to gather, because it arrived in several pieces or has several lines of data, is
    /// not copied: it takes the decoder's buffer along, and the decoder makes itself another one of
    /// the same capacity. The capacity of the data is at most about twice their length.
    ///
    /// ```
    /// use sse_proto::{Decoder, Event, Item};
    ///
    /// let mut decoder = Decoder::new();
    /// let mut events: Vec<Event> = Vec::new();
    /// for chunk in ["data: hello\n\ndata: wor", "ld\n\n"] {
    ///     let mut items = decoder.push(chunk.as_bytes());
    ///     while let Some(item) = items.next_owned() {
    ///         if let Item::Event(event) = item {
    ///             events.push(event);
    ///         }
    ///     }
    /// }
    /// assert_eq!(events[1].data, "world");
    /// ```
    #[inline]
    pub fn next_owned(&mut self) -> Option<Item<'_, Event>> {
        match self.find()? {
            Found::Whole(event, data) => {
                let id = &self.decoder.last_event_id;
                Some(Item::Event(EventRef { event, data, id }.to_owned()))
            }
            Found::Step(step) => self.decoder.item(step, Decoder::take_gathered),
        }
    }

    /// Reads up to the next item; `None` at the end of the piece.
    #[inline]
    fn find(&mut self) -> Option<Found<'c>> {
        self.decoder.forget_dispatched();
        if self.decoder.line == Line::Data
            && let Some(step) = self.decoder.stream_data(&mut self.rest)
        {
            return match step {
                Step::Quiet => None,
                step => Some(Found::Step(step)),
            };
        }
        loop {
            if self.decoder.fresh
                && let Some((event, data)) = self.decoder.whole_event(&mut self.rest)
            {
                return Some(Found::Whole(event, data));
            }
            if self.decoder.stopped || self.rest.is_empty() {
                return None;
            }
            let step = self.decoder.advance(&mut self.rest);
            if !matches!(step, Step::Quiet) {
                return Some(Found::Step(step));
            }
        }
    }

    /// What has not been read yet.
    #[must_use]
    pub const fn remaining(&self) -> &'c [u8] {
        self.rest
    }
}

/// Whether the end of a stream cut something off; see [`Decoder::finish`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Incomplete {
    /// The stream ended between two blocks.
    No,
    /// The stream ended inside a block, which was dropped.
    Yes,
}

/// Where reading came to an end.
enum Found<'c> {
    /// At the end of an event that lies in the piece: its type and its data.
    Whole(&'c str, &'c str),
    /// At the end of anything else.
    Step(Step),
}

/// What reading a line led to. Holds no borrow, so that reading can go on in a loop.
#[derive(Clone, Copy, Debug)]
enum Step {
    Quiet,
    Event,
    Id,
    Retry(Duration),
    Comment,
    TooLarge(Part),
}

/// The type of an event that names none.
const DEFAULT_TYPE: &str = "message";

const BOM: &[u8] = b"\xef\xbb\xbf";
