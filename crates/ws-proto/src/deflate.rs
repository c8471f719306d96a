//! Compression of messages (RFC 7692 section 7.2).

use alloc::vec::Vec;
use core::fmt;

use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

use crate::error::Rule;
use crate::handshake::DeflateSide;

/// What ends a flushed block, and is left out at the end of each message (section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// A message that inflates to less is never refused for its ratio.
const RATIO_FLOOR: u64 = 64 * 1024;

/// The most that one step inflates or compresses to.
const STEP: usize = 16 * 1024;

/// Compresses the messages that one end of one connection sends.
///
/// With context takeover it belongs to its connection: the peer's window must have seen exactly the
/// messages that this one compressed, in this order. Without, one may serve many connections.
///
/// It owns no heap until the first message. Then it owns what zlib-rs needs for the window, four times
/// its size, and for hash tables and pending output, which no window makes smaller.
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

    /// Appends the compressed form of a whole message to `out`.
    pub(crate) fn deflate(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<(), Failed> {
        if message.is_empty() {
            // Section 7.2.3.6; zlib writes nothing for a flush without input.
            out.push(0x00);
            return Ok(());
        }
        // zlib's own window must be larger than what it promises the peer: with 9 bits it reaches
        // back at most 512 - 262 bytes, and with 8 it does not work at all.
        let bits = self.side.max_window_bits.get().max(9);
        let level = self.level.into();
        let state = self
            .state
            .get_or_insert_with(|| Deflate::new(level, false, bits));
        let start = out.len();
        let mut rest = message;
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
        if self.side.no_context_takeover {
            state.reset();
        }
        let len = out.len();
        if !rest.is_empty() || len < start + TAIL.len() || !out.ends_with(&TAIL) {
            return Err(Failed);
        }
        out.truncate(len - TAIL.len());
        Ok(())
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

/// Inflates the messages that the peer compressed, for an [`Assembler`](crate::Assembler).
///
/// It owns no heap until the first compressed message, then the window and zlib-rs's code tables.
/// If the peer agreed to no context takeover, all of it is freed after each message.
pub struct Inflater {
    state: Option<Inflate>,
    side: DeflateSide,
    max_ratio: u32,
    /// How much of the message was read so far, and what it came to.
    read: u64,
    written: u64,
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
            read: 0,
            written: 0,
        }
    }

    /// How many times its compressed size a message may inflate to, once it is over 64 KiB; 256 by
    /// default. DEFLATE reaches 1032 at most. More is refused with
    /// [`CloseCode::TOO_BIG`](crate::CloseCode::TOO_BIG). It costs no memory of its own: that is
    /// bounded by `max_message`.
    #[must_use]
    pub const fn max_ratio(mut self, ratio: u32) -> Self {
        self.max_ratio = ratio;
        self
    }

    /// Appends what the next part of a message inflates to, which may be at most `room` bytes.
    /// After an error the connection is to be closed.
    pub(crate) fn inflate(
        &mut self,
        part: &[u8],
        last: bool,
        room: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Rule> {
        let most = out.len().saturating_add(room);
        self.read += part.len() as u64;
        self.inflate_part(part, most, out)?;
        if last {
            self.inflate_part(&TAIL, most, out)?;
            (self.read, self.written) = (0, 0);
            if self.side.no_context_takeover {
                self.state = None;
            }
        }
        Ok(())
    }

    fn inflate_part(
        &mut self,
        mut part: &[u8],
        most: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Rule> {
        let bits = self.side.max_window_bits.get();
        loop {
            let state = self.state.get_or_insert_with(|| Inflate::new(false, bits));
            let len = out.len();
            // One byte beyond the limit tells a message that is at it from one that is over it.
            let room = (most - len)
                .saturating_add(1)
                .min(part.len().saturating_mul(4).clamp(256, STEP));
            out.resize(len + room, 0);
            let free = out.get_mut(len..).unwrap_or_default();
            let (read, written) = (state.total_in(), state.total_out());
            let status = state
                .decompress(part, free, InflateFlush::SyncFlush)
                .map_err(|_| Rule::InvalidDeflate);
            let (read, written) = (state.total_in() - read, state.total_out() - written);
            self.written += written;
            let read = usize::try_from(read).unwrap_or(usize::MAX);
            let written = usize::try_from(written).unwrap_or(usize::MAX);
            part = part.get(read..).unwrap_or_default();
            out.truncate(len + written);
            let status = status?;
            if out.len() > most {
                return Err(Rule::MessageTooBig);
            }
            let ratio = self.read.saturating_mul(u64::from(self.max_ratio));
            if self.written > RATIO_FLOOR.max(ratio) {
                return Err(Rule::RatioTooHigh);
            }
            match status {
                // A last block may end a part of a message (section 7.2.3.4); another stream begins.
                Status::StreamEnd => self.state = None,
                _ if read == 0 && written == 0 && !part.is_empty() => {
                    return Err(Rule::InvalidDeflate);
                }
                _ => {}
            }
            if part.is_empty() && written < room {
                return Ok(());
            }
        }
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("side", &self.side)
            .field("max_ratio", &self.max_ratio)
            .field("holds_memory", &self.state.is_some())
            .finish_non_exhaustive()
    }
}
