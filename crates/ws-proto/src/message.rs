//! Whole messages out of chunks.

#[cfg(feature = "deflate")]
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use crate::connection::Chunk;
#[cfg(feature = "deflate")]
use crate::deflate::Inflater;
use crate::error::{Rule, Violation};
use crate::frame::Kind;

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
}

/// Puts messages together from the chunks of a [`Connection`](crate::Connection).
///
/// Holds what has arrived of one unfinished message, never what a header merely announced, and a
/// quarter more at most (4 KiB, if that is more and the message compressed), and nothing between
/// messages.
#[derive(Debug)]
pub struct Assembler {
    max_message: usize,
    buffer: Vec<u8>,
    /// How much the message may still grow; `None` once it was refused.
    room: Option<usize>,
    #[cfg(feature = "deflate")]
    inflater: Option<Box<Inflater>>,
}

impl Assembler {
    /// An assembler of messages of at most `max_message` bytes.
    #[must_use]
    pub const fn new(max_message: usize) -> Self {
        Self {
            max_message,
            buffer: Vec::new(),
            room: Some(max_message),
            #[cfg(feature = "deflate")]
            inflater: None,
        }
    }

    /// The same, for a connection that agreed on permessage-deflate: `max_message` then limits what
    /// messages inflate to.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn inflating(mut self, inflater: Inflater) -> Self {
        self.inflater = Some(Box::new(inflater.max_message(self.max_message)));
        self
    }

    /// Adds a chunk; returns the message if that was its last one.
    ///
    /// # Errors
    /// [`Rule::MessageTooBig`], also for whatever else comes of the same message. For text that is
    /// not compressed, a connection has ruled [`Rule::InvalidUtf8`] out. A message that is compressed
    /// may break [`Rule::InvalidDeflate`] and [`Rule::RatioTooHigh`] too, and [`Rule::ReservedBits`]
    /// if this assembler does not inflate. The message is dropped;
    /// [close](crate::Connection::close) with the violation's code.
    pub fn push(&mut self, chunk: Chunk<'_>) -> Result<Option<Message>, Violation> {
        if chunk.first {
            self.buffer = Vec::new();
            self.room = Some(self.max_message);
        }
        if let Err(rule) = self.append(&chunk) {
            self.room = None;
            self.buffer = Vec::new();
            return Err(rule.into());
        }
        if !chunk.last {
            return Ok(None);
        }
        let payload = mem::take(&mut self.buffer);
        match chunk.kind {
            Kind::Text => match String::from_utf8(payload) {
                Ok(text) => Ok(Some(Message::Text(text))),
                Err(_) => Err(Rule::InvalidUtf8.into()),
            },
            Kind::Binary => Ok(Some(Message::Binary(payload))),
        }
    }

    fn append(&mut self, chunk: &Chunk<'_>) -> Result<(), Rule> {
        let room = self.room.ok_or(Rule::MessageTooBig)?;
        if chunk.compressed {
            return self.inflate(chunk);
        }
        let left = room.checked_sub(chunk.payload.len());
        self.room = left;
        if left.is_none() {
            return Err(Rule::MessageTooBig);
        }
        reserve(&mut self.buffer, chunk.payload.len());
        self.buffer.extend_from_slice(chunk.payload);
        Ok(())
    }

    #[cfg(feature = "deflate")]
    fn inflate(&mut self, chunk: &Chunk<'_>) -> Result<(), Rule> {
        let inflater = self.inflater.as_mut().ok_or(Rule::ReservedBits)?;
        let mut input = inflater.begin(chunk);
        loop {
            let len = self.buffer.len();
            let guess = input.len().saturating_mul(4);
            let step = guess.clamp(256, 4096.max(len / 4));
            reserve(&mut self.buffer, step);
            self.buffer.resize(len + step, 0);
            let free = self.buffer.get_mut(len..).unwrap_or_default();
            let outcome = inflater.step(&mut input, free);
            let (written, is_over) = outcome.inspect_err(|_| self.buffer.truncate(len))?;
            self.buffer.truncate(len + written);
            if is_over {
                return Ok(());
            }
        }
    }

    #[cfg(not(feature = "deflate"))]
    fn inflate(&self, _: &Chunk<'_>) -> Result<(), Rule> {
        Err(Rule::ReservedBits)
    }
}

/// Makes room for some more bytes. A vector by itself would double, and then hold up to twice what
/// has arrived.
fn reserve(buffer: &mut Vec<u8>, more: usize) {
    if buffer.capacity() - buffer.len() < more {
        buffer.reserve_exact(more.max(buffer.len() / 4));
    }
}
