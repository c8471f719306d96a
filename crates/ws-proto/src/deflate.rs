//! Compression of messages (RFC 7692 section 7.2).

use alloc::vec::Vec;
use core::fmt;
use core::mem;

use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

use crate::connection::Chunk;
use crate::error::{Rule, Violation};
use crate::frame::Kind;
use crate::handshake::DeflateSide;
use crate::utf8::Utf8;

/// What ends a flushed block, and is left out at the end of each message (section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// A message that inflates to less is never refused for its ratio.
const RATIO_FLOOR: u64 = 64 * 1024;

/// The ratio is judged at each multiple of this in the compressed message, so that the verdict does
/// not depend on how the message arrives.
const RATIO_STEP: u64 = 256;

/// Up to here nothing is judged, and zlib may have all there is at once. What it has read then it may
/// not have written yet: a few bytes, each worth 2 KiB at most. So this is well below the floor.
const RATIO_FREE: u64 = RATIO_FLOOR / 2;

/// The most that one step compresses to.
const STEP: usize = 16 * 1024;

/// Compresses the messages that one end of one connection sends.
///
/// With context takeover it belongs to its connection: the peer's window must have seen exactly the
/// messages that this one compressed, in this order. Without, one may serve many connections.
///
/// It owns no heap until the first message. Then it owns 246 KiB with a window of 8 or 9 bits, 260 KiB
/// with 12 and 372 KiB with 15, at any level: zlib-rs's hash tables and pending output, which no
/// window makes smaller, and four times the window.
pub struct Deflater {
    state: Option<Deflate>,
    side: DeflateSide,
    level: u8,
}

/// The compressor did something that it never does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed;

impl Deflater {
    /// A compressor for what was agreed on for this end: [`DeflateParams::server`] at a server.
    ///
    /// [`DeflateParams::server`]: crate::handshake::DeflateParams::server
    #[must_use]
    pub const fn new(side: DeflateSide) -> Self {
        Self {
            state: None,
            side,
            level: 1,
        }
    }

    /// How hard to try, from 1 (the default, fast) to 9 (small). Takes effect with the first message
    /// at the latest.
    #[must_use]
    pub const fn level(mut self, level: u8) -> Self {
        self.level = match level {
            0 => 1,
            1..=9 => level,
            _ => 9,
        };
        self
    }

    pub(crate) const fn side(&self) -> DeflateSide {
        self.side
    }

    /// Appends the compressed form of the next part of a message to `out`. What is not the last part
    /// ends with a flush, so that the peer can inflate all of it without the next one.
    pub(crate) fn deflate(
        &mut self,
        part: &[u8],
        last: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Failed> {
        if part.is_empty() {
            // zlib writes nothing for a flush without input. A message ends within an empty block
            // (section 7.2.3.6), and whatever was before that ended on a whole byte.
            if last {
                out.push(0x00);
            }
        } else {
            self.compress(part, out)?;
            if last {
                out.truncate(out.len() - TAIL.len());
            }
        }
        if last
            && self.side.no_context_takeover
            && let Some(state) = &mut self.state
        {
            state.reset();
        }
        Ok(())
    }

    /// Appends what `part` is compressed to, which ends with the [`TAIL`].
    fn compress(&mut self, part: &[u8], out: &mut Vec<u8>) -> Result<(), Failed> {
        // zlib's own window must be larger than what it promises the peer: with 9 bits it reaches
        // back at most 512 - 262 bytes, and with 8 it does not work at all.
        let bits = self.side.max_window_bits.get().max(9);
        let level = self.level.into();
        let state = self
            .state
            .get_or_insert_with(|| Deflate::new(level, false, bits));
        let start = out.len();
        let mut rest = part;
        loop {
            let len = out.len();
            out.resize(len + (rest.len() / 4 + 64).min(STEP), 0);
            let free = out.get_mut(len..).unwrap_or_default();
            let room = free.len();
            let (read, written) = (state.total_in(), state.total_out());
            state
                .compress(rest, free, DeflateFlush::SyncFlush)
                .map_err(|_| Failed)?;
            let read = usize::try_from(state.total_in() - read).unwrap_or(usize::MAX);
            let written = usize::try_from(state.total_out() - written).unwrap_or(usize::MAX);
            rest = rest.get(read..).unwrap_or_default();
            out.truncate(len + written);
            if written < room {
                break;
            }
        }
        let ends = out.get(start..).is_some_and(|all| all.ends_with(&TAIL));
        if rest.is_empty() && ends {
            Ok(())
        } else {
            Err(Failed)
        }
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater")
            .field("side", &self.side)
            .field("level", &self.level)
            .field("holds_memory", &self.state.is_some())
            .finish()
    }
}

/// Inflates the messages that the peer compressed: whole ones for an
/// [`Assembler`](crate::Assembler), or [chunk by chunk](Self::push) as they arrive.
///
/// It owns no heap until the first compressed message, then 47 KiB: a window of 32 KiB, whatever was
/// agreed on, and zlib-rs's code tables. If the peer agreed to no context takeover, all of it is freed
/// after each message.
///
/// A block with BFINAL ends a DEFLATE stream: what comes behind it may not reach back before it, and
/// is refused if it does. Compressors that set the bit begin anew too.
pub struct Inflater {
    state: Option<Inflate>,
    side: DeflateSide,
    max_ratio: u32,
    max_message: u64,
    /// How much of the message was read so far, and what it came to.
    read: u64,
    written: u64,
    /// Whether no chunk of the message was given out.
    first: bool,
    /// How far its text was validated.
    utf8: Utf8,
}

impl Inflater {
    /// An inflater for what was agreed on for the peer: [`DeflateParams::client`] at a server.
    ///
    /// [`DeflateParams::client`]: crate::handshake::DeflateParams::client
    #[must_use]
    pub const fn new(side: DeflateSide) -> Self {
        Self {
            state: None,
            side,
            max_ratio: 256,
            max_message: 1 << 20,
            read: 0,
            written: 0,
            first: true,
            utf8: Utf8::new(),
        }
    }

    /// How many times its compressed size a message may inflate to, once it is over 64 KiB; 256 by
    /// default. DEFLATE reaches 1032 at most. More is refused with
    /// [`CloseCode::TOO_BIG`](crate::CloseCode::TOO_BIG). It is judged every 256 compressed bytes, so
    /// 258 KiB more may be inflated before that. It costs no memory of its own: that is bounded by
    /// [`max_message`](Self::max_message).
    #[must_use]
    pub const fn max_ratio(mut self, ratio: u32) -> Self {
        self.max_ratio = ratio;
        self
    }

    /// The most bytes that a message may inflate to; 1 MiB by default. The byte beyond is refused
    /// with [`CloseCode::TOO_BIG`](crate::CloseCode::TOO_BIG) and nothing behind it is inflated. An
    /// assembler sets its own limit here.
    #[must_use]
    pub const fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes as u64;
        self
    }

    /// Inflates a chunk as it arrives, through a buffer of any size but zero: that, and the window,
    /// is all the memory it takes. The pieces are chunks that are not compressed; their text is
    /// UTF-8 over all of a message, cut anywhere. A chunk that was not compressed comes back as it
    /// is.
    ///
    /// ```
    /// use core::time::Duration;
    /// use ws_proto::handshake::DeflateSide;
    /// use ws_proto::{Config, Connection, Event, Inflater};
    ///
    /// let mut config = Config::default();
    /// let mut client = Connection::client(*config.compressed(true), || [0; 4]);
    /// let mut inflater = Inflater::new(DeflateSide::default());
    /// let (mut text, mut buffer) = (Vec::new(), [0; 1024]);
    ///
    /// // The first three bytes of "Hello", compressed; the rest of the frame is on its way.
    /// let mut bytes = *b"\xc1\x07\xf2\x48\xcd";
    /// let mut events = client.push(&mut bytes, Duration::ZERO);
    /// while let Some(Ok(event)) = events.next() {
    ///     if let Event::Data(chunk) = event {
    ///         let mut pieces = inflater.push(chunk, &mut buffer);
    ///         while let Some(piece) = pieces.next() {
    ///             text.extend_from_slice(piece?.payload);
    ///         }
    ///     }
    /// }
    /// assert_eq!(text, b"He");
    /// # Ok::<(), ws_proto::Violation>(())
    /// ```
    ///
    /// # Panics
    /// If the chunk is compressed and the buffer has no room at all.
    pub fn push<'i, 'b>(&'i mut self, chunk: Chunk<'b>, buffer: &'b mut [u8]) -> Inflating<'i, 'b> {
        assert!(
            !(chunk.compressed && buffer.is_empty()),
            "a chunk is inflated into a buffer"
        );
        let input = self.begin(&chunk);
        Inflating {
            inflater: self,
            chunk,
            input,
            buffer,
            is_over: false,
        }
    }

    /// Takes note of a compressed chunk, to be inflated by [`step`](Self::step).
    pub(crate) fn begin<'b>(&mut self, chunk: &Chunk<'b>) -> Input<'b> {
        if chunk.first {
            (self.read, self.written) = (0, 0);
            self.first = true;
            self.utf8 = Utf8::new();
        }
        Input {
            rest: chunk.payload,
            is_drained: true,
            kind: chunk.kind,
            last: chunk.last,
        }
    }

    /// Inflates as much of the chunk as fits into `out`. Returns how much that was, and whether the
    /// chunk is used up. After an error the connection is to be closed.
    ///
    /// The verdict is the same however a message is cut into chunks and steps: whatever comes first in
    /// the message is what is told.
    pub(crate) fn step(
        &mut self,
        input: &mut Input<'_>,
        out: &mut [u8],
    ) -> Result<(usize, bool), Rule> {
        let mut len = 0;
        let outcome = loop {
            let free = out.get_mut(len..).unwrap_or_default();
            if free.is_empty() {
                break Ok(false);
            }
            match self.inflate(input, free) {
                Ok((written, is_over)) => {
                    len += written;
                    if is_over {
                        break Ok(true);
                    }
                }
                Err((written, rule)) => {
                    len += written;
                    break Err(rule);
                }
            }
        };
        let text = out.get(..len).unwrap_or_default();
        if input.kind == Kind::Text {
            self.utf8.push(text).map_err(|_| Rule::InvalidUtf8)?;
        }
        let is_over = outcome?;
        if is_over && input.last {
            self.finish()?;
            if input.kind == Kind::Text {
                self.utf8.finish().map_err(|_| Rule::InvalidUtf8)?;
            }
        }
        Ok((len, is_over))
    }

    /// Calls zlib once. Returns how much it wrote that is within the limits, and whether the input is
    /// used up; with an error, how much it wrote before that.
    fn inflate(
        &mut self,
        input: &mut Input<'_>,
        free: &mut [u8],
    ) -> Result<(usize, bool), (usize, Rule)> {
        // Once the limit of the message is the lower one, the ratio need not be judged any more.
        let allowed = RATIO_FLOOR.max(self.read.saturating_mul(self.max_ratio.into()));
        let is_free = self.written < RATIO_FREE;
        let is_judged = allowed < self.max_message;
        // One byte beyond the limit tells a message that is at it from one that is over it.
        let left = self.max_message.saturating_sub(self.written);
        let mut room = left.saturating_add(1);
        let mut part = input.rest;
        if !input.is_drained {
            part = &[];
        } else if is_judged && !is_free {
            let next = RATIO_STEP - self.read % RATIO_STEP;
            part = part.get(..clamp(next)).unwrap_or(part);
        }
        if is_judged && is_free {
            room = room.min(RATIO_FREE - self.written);
        }
        let room = free.len().min(clamp(room));
        let free = free.get_mut(..room).unwrap_or_default();

        let (read, mut written, status) = self.decompress(part, free, InflateFlush::SyncFlush);
        input.rest = input.rest.get(read..).unwrap_or_default();
        input.is_drained = written < room;
        self.read += read as u64;
        self.written += written as u64;
        if self.written > self.max_message {
            written = written.saturating_sub(1);
            return Err((written, Rule::MessageTooBig));
        }
        if status.is_none() || (!part.is_empty() && read == 0 && written == 0) {
            return Err((written, Rule::InvalidDeflate));
        }
        let is_over = input.rest.is_empty() && input.is_drained;
        let is_milestone = self.read.is_multiple_of(RATIO_STEP) || (is_over && input.last);
        let allowed = RATIO_FLOOR.max(self.read.saturating_mul(self.max_ratio.into()));
        if input.is_drained && is_milestone && self.written > allowed {
            return Err((written, Rule::RatioTooHigh));
        }
        Ok((written, is_over))
    }

    /// The message ends here, which must be within an empty block (RFC 7692 section 7.2.1). The
    /// inflater stops behind that, after exactly four bytes, unless something else was unfinished.
    fn finish(&mut self) -> Result<(), Rule> {
        const BEYOND: [u8; 8] = [0x00, 0x00, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00];
        let (read, written, status) = self.decompress(&BEYOND, &mut [0; 8], InflateFlush::Block);
        if (read, written) != (TAIL.len(), 0) || status.is_none() {
            return Err(Rule::InvalidDeflate);
        }
        if self.side.no_context_takeover {
            self.state = None;
        }
        Ok(())
    }

    /// How much zlib read and wrote, and no status if there is no sense in what it read.
    fn decompress(
        &mut self,
        part: &[u8],
        free: &mut [u8],
        flush: InflateFlush,
    ) -> (usize, usize, Option<Status>) {
        // The largest window, whatever was agreed on: zlib-rs needs the same memory for all, and
        // follows a distance beyond a smaller one all the same.
        let state = self.state.get_or_insert_with(|| Inflate::new(false, 15));
        let (read, written) = (state.total_in(), state.total_out());
        let status = state.decompress(part, free, flush).ok();
        let (read, written) = (state.total_in() - read, state.total_out() - written);
        if status == Some(Status::StreamEnd) {
            // A last block may end a part of a message (section 7.2.3.4); another stream begins.
            self.state = None;
        }
        (clamp(read), clamp(written), status)
    }
}

fn clamp(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// What is left of a compressed chunk.
#[derive(Debug)]
pub(crate) struct Input<'b> {
    rest: &'b [u8],
    /// Whether zlib has written all that it can of what it has read.
    is_drained: bool,
    kind: Kind,
    last: bool,
}

impl Input<'_> {
    /// How much compressed payload is left.
    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }
}

/// The pieces that a chunk inflates to, from [`Inflater::push`]: a lending iterator.
#[derive(Debug)]
#[must_use = "a chunk is only inflated as pieces are taken"]
pub struct Inflating<'i, 'b> {
    inflater: &'i mut Inflater,
    chunk: Chunk<'b>,
    input: Input<'b>,
    buffer: &'b mut [u8],
    is_over: bool,
}

impl Inflating<'_, '_> {
    /// The next piece: as much as the buffer holds. Take all of them before the next chunk.
    ///
    /// # Errors
    /// [`Rule::InvalidDeflate`], [`Rule::InvalidUtf8`], [`Rule::MessageTooBig`] or
    /// [`Rule::RatioTooHigh`]; [close](crate::Connection::close) the connection with the violation's
    /// code.
    #[expect(
        clippy::should_implement_trait,
        reason = "the piece borrows from the iterator"
    )]
    pub fn next(&mut self) -> Option<Result<Chunk<'_>, Violation>> {
        if self.is_over {
            return None;
        }
        if !self.chunk.compressed {
            self.is_over = true;
            return Some(Ok(self.chunk));
        }
        match self.inflater.step(&mut self.input, self.buffer) {
            Ok((len, is_over)) => {
                self.is_over = is_over;
                let last = is_over && self.chunk.last;
                if len == 0 && !last {
                    return None;
                }
                Some(Ok(Chunk {
                    kind: self.chunk.kind,
                    payload: self.buffer.get(..len).unwrap_or_default(),
                    compressed: false,
                    first: mem::replace(&mut self.inflater.first, false),
                    last,
                }))
            }
            Err(rule) => {
                self.is_over = true;
                Some(Err(rule.into()))
            }
        }
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("side", &self.side)
            .field("max_ratio", &self.max_ratio)
            .field("max_message", &self.max_message)
            .field("holds_memory", &self.state.is_some())
            .finish_non_exhaustive()
    }
}
