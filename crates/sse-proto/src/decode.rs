//! The decoder: bytes in, items out.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use crate::event::{EventRef, Item};
use crate::limits::{Excess, Limits, Part};

/// Reads an event stream in whatever pieces it arrives (HTML standard, section 9.2.6).
///
/// The items found do not depend on how the stream is cut into pieces, an event is given out as
/// soon as the byte that completes it is there, and the time taken is linear in the bytes read.
/// Once the buffers have grown to the size of the events, decoding allocates nothing.
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
    /// What has arrived of the current line; `line.len() <= limits.max_line`.
    line: Vec<u8>,
    /// The current line exceeded the limit: its remainder is dropped.
    in_long_line: bool,
    /// The current event exceeded a limit: its type and data are dropped.
    skipping: bool,
    /// `Excess::Stop` came to pass.
    stopped: bool,

    /// Type of the current event as sent.
    event: String,
    /// Data of the current event, each line followed by LF; without the last LF once dispatched.
    data: String,
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
            line: Vec::new(),
            in_long_line: false,
            skipping: false,
            stopped: false,
            event: String::new(),
            data: String::new(),
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
        let cut = !self.line.is_empty() || self.in_long_line || self.stopped;
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
        self.line.clear();
        self.in_long_line = false;
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

    /// Reads up to the end of one line, or all there is.
    fn advance(&mut self, rest: &mut &[u8]) -> Step {
        if mem::take(&mut self.after_cr)
            && let [b'\n', tail @ ..] = rest
        {
            *rest = tail;
            return Step::Quiet;
        }
        let end = memchr::memchr2(b'\n', b'\r', rest);
        let (piece, tail) = rest.split_at(end.unwrap_or(rest.len()));
        let eol = tail.first();
        *rest = tail.get(1..).unwrap_or_default();
        self.after_cr = eol == Some(&b'\r');
        if self.in_long_line {
            self.in_long_line = eol.is_none();
            return Step::Quiet;
        }
        if piece.len() > self.limits.max_line - self.line.len() {
            self.in_long_line = eol.is_none();
            self.at_start = false;
            self.line.clear();
            return self.exceed(Part::Line);
        }
        if eol.is_some() && self.line.is_empty() {
            return self.process_line(piece);
        }
        self.line.extend_from_slice(piece);
        if eol.is_none() {
            return Step::Quiet;
        }
        let mut line = mem::take(&mut self.line);
        let step = self.process_line(&line);
        line.clear();
        self.line = line;
        step
    }

    fn process_line(&mut self, line: &[u8]) -> Step {
        let line = if mem::take(&mut self.at_start) {
            line.strip_prefix(BOM).unwrap_or(line)
        } else {
            line
        };
        let (name, value) = match memchr::memchr(b':', line) {
            Some(at) => {
                let (name, value) = line.split_at(at);
                (name, value.strip_prefix(b":").unwrap_or(value))
            }
            None if line.is_empty() => return self.dispatch(),
            None => (line, &b""[..]),
        };
        if name.is_empty() {
            return self.process_comment(value);
        }
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" | b"event" if self.skipping => Step::Quiet,
            b"data" => self.process_data(value),
            b"event" => self.process_event(value),
            b"id" => self.process_id(value),
            b"retry" => self.process_retry(value),
            _ => Step::Quiet,
        }
    }

    fn process_comment(&mut self, text: &[u8]) -> Step {
        if !self.comments {
            return Step::Quiet;
        }
        self.comment.clear();
        self.comment.extend_from_slice(text);
        Step::Comment
    }

    fn process_data(&mut self, value: &[u8]) -> Step {
        let used = self.event.len() + self.data.len();
        let room = self.limits.max_event.checked_sub(used);
        if !room.is_some_and(|room| append_text(&mut self.data, value, room)) {
            return self.exceed(Part::Event);
        }
        self.data.push('\n');
        Step::Quiet
    }

    fn process_event(&mut self, value: &[u8]) -> Step {
        self.event.clear();
        let data = self.data.len().saturating_sub(1);
        if !append_text(&mut self.event, value, self.limits.max_event - data) {
            return self.exceed(Part::Event);
        }
        Step::Quiet
    }

    fn process_id(&mut self, value: &[u8]) -> Step {
        if memchr::memchr(0, value).is_some() {
            return Step::Quiet;
        }
        let held = self.id.len();
        if !append_text(&mut self.id, value, self.limits.max_id) {
            return self.exceed(Part::Id);
        }
        self.id.drain(..held);
        self.id_set = true;
        Step::Quiet
    }

    fn process_retry(&mut self, value: &[u8]) -> Step {
        // `u64::from_str` alone would accept a sign. A number over `u64::MAX` is ignored.
        let digits = value.iter().all(u8::is_ascii_digit);
        let ms = str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse().ok());
        let (true, Some(ms)) = (digits, ms) else {
            return Step::Quiet;
        };
        let delay = Duration::from_millis(ms);
        self.retry = Some(delay);
        Step::Retry(delay)
    }

    fn dispatch(&mut self) -> Step {
        self.skipping = false;
        let id_set = mem::take(&mut self.id_set);
        if id_set {
            mem::swap(&mut self.last_event_id, &mut self.id);
        }
        if self.data.pop().is_some() {
            self.dispatched = true;
            return Step::Event;
        }
        self.event.clear();
        if id_set { Step::Id } else { Step::Quiet }
    }

    fn exceed(&mut self, part: Part) -> Step {
        self.event.clear();
        self.data.clear();
        match self.limits.on_excess {
            Excess::Stop => self.stopped = true,
            Excess::SkipEvent => {
                if mem::replace(&mut self.skipping, true) {
                    return Step::Quiet;
                }
            }
        }
        Step::TooLarge(part)
    }

    fn forget_dispatched(&mut self) {
        if mem::take(&mut self.dispatched) {
            self.event.clear();
            self.data.clear();
        }
    }

    fn item(&self, step: Step) -> Option<Item<'_>> {
        Some(match step {
            Step::Quiet => return None,
            Step::Event => Item::Event(EventRef {
                event: if self.event.is_empty() {
                    "message"
                } else {
                    &self.event
                },
                data: &self.data,
                id: &self.last_event_id,
            }),
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
    pub fn next(&mut self) -> Option<Item<'_>> {
        self.decoder.forget_dispatched();
        let mut step = Step::Quiet;
        while matches!(step, Step::Quiet) && !self.decoder.stopped && !self.rest.is_empty() {
            step = self.decoder.advance(&mut self.rest);
        }
        self.decoder.item(step)
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

/// Appends `bytes` as UTF-8, each maximal invalid subpart as U+FFFD; appends nothing and returns
/// false if that takes more than `room` bytes. Line by line this gives what decoding the stream as
/// a whole would: a line break ends any truncated sequence.
fn append_text(out: &mut String, bytes: &[u8], room: usize) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let fits = text.len() <= room;
    if fits {
        out.push_str(&text);
    }
    fits
}

const BOM: &[u8] = b"\xef\xbb\xbf";
