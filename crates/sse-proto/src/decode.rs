//! The decoder: bytes in, items out.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use crate::event::{EventRef, Item};
use crate::frame::KEEP_ALIVE;
use crate::limits::{Excess, Limits, Part};
use crate::text::utf8;

/// Reads an event stream in whatever pieces it arrives (HTML standard, section 9.2.6).
///
/// The items found do not depend on how the stream is cut into pieces, an event is given out as
/// soon as the byte that completes it is there, and the time taken is linear in the bytes read: each
/// is looked at no more than twice. An event that lies in one piece, on one `data` line, is borrowed
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

    /// Reads one whole block off `rest` if there is one of the usual kind: the keep-alives before it,
    /// then `event` and `id` in any order, one line of `data` and the blank line. Gives its type and
    /// its data. Of anything else it reads nothing and leaves it to [`advance`](Self::advance).
    #[inline]
    fn whole_event<'c>(&mut self, rest: &mut &'c [u8]) -> Option<(&'c str, &'c str)> {
        if self.at_start || self.after_cr {
            self.at_start &= rest.first().is_none_or(|byte| BOM.first() == Some(byte));
            if self.at_start || self.after_cr {
                return None;
            }
        }
        while !self.comments
            && let Some(tail) = rest.strip_prefix(KEEP_ALIVE)
        {
            *rest = tail;
        }
        let mut event = &b""[..];
        let mut id = None;
        let mut tail = *rest;
        loop {
            let (name, line) = match tail {
                [b'd', b'a', b't', b'a', b':', line @ ..] => (Name::Data, line),
                [b'e', b'v', b'e', b'n', b't', b':', line @ ..] => (Name::Event, line),
                [b'i', b'd', b':', line @ ..] => (Name::Id, line),
                _ => return None,
            };
            let value = line.strip_prefix(b" ").unwrap_or(line);
            let Some(end) = line_end(value) else {
                let usual = matches!(name, Name::Data) && event.is_empty() && id.is_none();
                if usual && !line.is_empty() {
                    self.begin_data(rest, value);
                }
                return None;
            };
            let (value, end) = value.split_at(end);
            // Counted without the name: longer lines, and some shorter ones, take the other way.
            if value.len() > self.limits.max_line.saturating_sub("event: ".len()) {
                return None;
            }
            tail = match end {
                [b'\r', b'\n', tail @ ..] | [b'\n', tail @ ..] => tail,
                _ => return None,
            };
            match name {
                Name::Event if event.is_empty() => event = value,
                Name::Id if id.is_none() => id = Some(value),
                Name::Event | Name::Id => return None,
                Name::Data => {
                    let ([b'\r', b'\n', tail @ ..] | [b'\n', tail @ ..]) = tail else {
                        return None;
                    };
                    if event.len() + value.len() > self.limits.max_event {
                        return None;
                    }
                    let event = match event {
                        [] => DEFAULT_TYPE,
                        event => utf8(event)?,
                    };
                    let data = utf8(value)?;
                    if let Some(id) = id {
                        self.commit(id)?;
                    }
                    *rest = tail;
                    return Some((event, data));
                }
            }
        }
    }

    /// Reads all of `rest`, the beginning of a block that begins with a line of data, whose value is
    /// `value` so far.
    fn begin_data(&mut self, rest: &mut &[u8], value: &[u8]) {
        if rest.len() <= self.limits.max_line && value.len() <= self.limits.max_event {
            self.fresh = false;
            self.line = Line::Data;
            self.line_len = rest.len();
            self.data.extend_from_slice(value);
            *rest = &[];
        }
    }

    /// Makes `id` the last event ID if it can be as it is.
    fn commit(&mut self, id: &[u8]) -> Option<()> {
        if id.len() > self.limits.max_id || memchr::memchr(0, id).is_some() {
            return None;
        }
        let id = utf8(id)?;
        self.last_event_id.clear();
        self.last_event_id.push_str(id);
        Some(())
    }

    /// Reads on in a line of data: all there is, or up to the end of the event if both ends are there.
    /// Of anything else it reads nothing and leaves it to [`advance`](Self::advance).
    #[inline]
    fn stream_data(&mut self, rest: &mut &[u8]) -> Option<Step> {
        let (piece, tail) = rest.split_at(line_end(rest).unwrap_or(rest.len()));
        let tail = match tail {
            [] => None,
            [b'\n', b'\n', tail @ ..] => Some(tail),
            _ => return None,
        };
        let used = self.event.len() + self.data.len();
        if piece.len() > self.limits.max_line - self.line_len
            || piece.len() > self.limits.max_event.saturating_sub(used)
        {
            return None;
        }
        self.data.extend_from_slice(piece);
        *rest = tail.unwrap_or_default();
        if tail.is_none() {
            self.line_len += piece.len();
            return Some(Step::Quiet);
        }
        self.data.push(b'\n');
        self.end_line();
        Some(self.dispatch())
    }

    /// Reads the lines of data, ended by LF, that `rest` begins with.
    fn gather_data(&mut self, rest: &mut &[u8]) {
        while let [b'd', b'a', b't', b'a', b':', line @ ..] = *rest {
            let value = line.strip_prefix(b" ").unwrap_or(line);
            let Some(end) = line_end(value) else {
                return;
            };
            let Some((value, tail)) = value.split_at_checked(end + 1) else {
                return;
            };
            let used = self.event.len() + self.data.len() + end;
            // The name and the space are 6 bytes: what comes near the limit takes the other way.
            if !value.ends_with(b"\n")
                || end > self.limits.max_line.saturating_sub(6)
                || used > self.limits.max_event
            {
                return;
            }
            self.data.extend_from_slice(value);
            *rest = tail;
        }
    }

    /// Reads up to the end of one line, or all there is.
    fn advance(&mut self, rest: &mut &[u8]) -> Step {
        if mem::take(&mut self.after_cr)
            && let [b'\n', tail @ ..] = rest
        {
            *rest = tail;
            return Step::Quiet;
        }
        self.fresh = false;
        if self.line == Line::Held && self.line_len == 0 && !self.at_start && !self.skipping {
            self.gather_data(rest);
        }
        let (piece, tail) = rest.split_at(line_end(rest).unwrap_or(rest.len()));
        let eol = tail.first();
        *rest = tail.get(1..).unwrap_or_default();
        self.after_cr = eol == Some(&b'\r');
        let ended = eol.is_some();

        if self.line == Line::TooLong {
            if ended {
                self.end_line();
            }
            return Step::Quiet;
        }
        if piece.len() > self.limits.max_line - self.line_len {
            self.at_start = false;
            self.end_line();
            if !ended {
                self.line = Line::TooLong;
            }
            return self.exceed(Part::Line);
        }
        if ended && self.line_len == 0 {
            return self.process_line(piece);
        }
        self.line_len += piece.len();
        self.continue_line(piece);
        if ended {
            self.finish_line()
        } else {
            Step::Quiet
        }
    }

    fn continue_line(&mut self, piece: &[u8]) {
        match self.line {
            Line::Held if self.held.is_empty() => match self.begin_line(piece) {
                Line::Held => self.held.extend_from_slice(piece),
                line => self.line = line,
            },
            Line::Held => {
                let mut held = mem::take(&mut self.held);
                held.extend_from_slice(piece);
                self.line = self.begin_line(&held);
                if self.line != Line::Held {
                    held.clear();
                }
                self.held = held;
            }
            Line::Data => self.continue_data(piece),
            Line::Passed | Line::TooMuch | Line::TooLong => {}
        }
    }

    /// Decides what becomes of a line that begins with `begun`: data goes where it belongs at once,
    /// and what means nothing nowhere.
    fn begin_line(&mut self, begun: &[u8]) -> Line {
        match begun {
            _ if self.at_start => Line::Held,
            [b':', ..] if !self.comments => Line::Passed,
            [b'd', b'a', b't', b'a', b':', value @ ..] if !value.is_empty() => {
                if self.skipping {
                    return Line::Passed;
                }
                self.line = Line::Data;
                self.continue_data(value.strip_prefix(b" ").unwrap_or(value));
                self.line
            }
            _ => Line::Held,
        }
    }

    fn continue_data(&mut self, piece: &[u8]) {
        if self.event.len() + self.data.len() + piece.len() > self.limits.max_event {
            self.line = Line::TooMuch;
        } else {
            self.data.extend_from_slice(piece);
        }
    }

    fn finish_line(&mut self) -> Step {
        let line = self.line;
        let mut held = mem::take(&mut self.held);
        self.end_line();
        let step = match line {
            Line::Held => self.process_line(&held),
            Line::Data => {
                self.data.push(b'\n');
                Step::Quiet
            }
            Line::TooMuch => self.exceed(Part::Event),
            Line::Passed | Line::TooLong => Step::Quiet,
        };
        held.clear();
        self.held = held;
        step
    }

    /// What comes next begins a line.
    fn end_line(&mut self) {
        self.line = Line::Held;
        self.held.clear();
        self.line_len = 0;
    }

    fn process_line(&mut self, line: &[u8]) -> Step {
        let line = if mem::take(&mut self.at_start) {
            line.strip_prefix(BOM).unwrap_or(line)
        } else {
            line
        };
        if let [b'd', b'a', b't', b'a', b':', value @ ..] = line {
            return self.process_data(value.strip_prefix(b" ").unwrap_or(value));
        }
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
            b"data" => self.process_data(value),
            b"event" if !self.skipping => self.process_event(value),
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
        if self.skipping {
            return Step::Quiet;
        }
        if self.event.len() + self.data.len() + value.len() > self.limits.max_event {
            return self.exceed(Part::Event);
        }
        self.data.extend_from_slice(value);
        self.data.push(b'\n');
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
        self.fresh = true;
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

    fn item(&mut self, step: Step) -> Option<Item<'_>> {
        Some(match step {
            Step::Quiet => return None,
            Step::Event => Item::Event(EventRef {
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
    #[inline]
    pub fn next(&mut self) -> Option<Item<'_>> {
        self.decoder.forget_dispatched();
        if self.decoder.line == Line::Data
            && let Some(step) = self.decoder.stream_data(&mut self.rest)
        {
            return self.decoder.item(step);
        }
        loop {
            if self.decoder.fresh
                && let Some((event, data)) = self.decoder.whole_event(&mut self.rest)
            {
                let id = &self.decoder.last_event_id;
                return Some(Item::Event(EventRef { event, data, id }));
            }
            if self.decoder.stopped || self.rest.is_empty() {
                return None;
            }
            let step = self.decoder.advance(&mut self.rest);
            if !matches!(step, Step::Quiet) {
                return self.decoder.item(step);
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

/// What becomes of a line of which only the beginning has arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Line {
    /// Kept until its end: short, as a rule, or not yet known to be something else.
    Held,
    /// A `data` line: its value goes to the data of the event at once.
    Data,
    /// It means nothing: only its end is looked for.
    Passed,
    /// A `data` line that exceeds [`Limits::max_event`]; said at its end, for it may yet turn out
    /// too long.
    TooMuch,
    /// It exceeded [`Limits::max_line`], which has been said.
    TooLong,
}

/// The fields of the usual block.
#[derive(Clone, Copy, Debug)]
enum Name {
    Data,
    Event,
    Id,
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
/// false if that takes more than `room` bytes.
fn append_text(out: &mut String, bytes: &[u8], room: usize) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let fits = text.len() <= room;
    if fits {
        out.push_str(&text);
    }
    fits
}

/// The type of an event that names none.
const DEFAULT_TYPE: &str = "message";

/// Where the line ends that `bytes` begin with.
#[inline]
fn line_end(bytes: &[u8]) -> Option<usize> {
    let ends = |byte: &u8| matches!(byte, b'\n' | b'\r');
    // For a few bytes the way into the vector code is longer than the way past them.
    if bytes.len() < SHORT {
        bytes.iter().position(ends)
    } else {
        memchr::memchr2(b'\n', b'\r', bytes)
    }
}

/// As measured: see the row A4 in `docs/benchmarks.md`.
const SHORT: usize = 16;

const BOM: &[u8] = b"\xef\xbb\xbf";
