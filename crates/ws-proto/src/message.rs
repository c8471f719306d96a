//! Whole messages out of chunks.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use crate::connection::Chunk;
#[cfg(feature = "deflate")]
use crate::deflate::Inflater;
use crate::error::{Rule, Violation};
use crate::frame::Kind;
#[cfg(feature = "deflate")]
use crate::utf8::Utf8;

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
/// Holds what has arrived of one unfinished message, never what a header merely announced: at most
/// twice `max_message` bytes, because a vector grows by doubling, and nothing between messages.
#[derive(Debug)]
pub struct Assembler {
    max_message: usize,
    buffer: Vec<u8>,
    /// How much the message may still grow; `None` once it was refused.
    room: Option<usize>,
    #[cfg(feature = "deflate")]
    inflater: Option<Inflater>,
    /// Of text that is inflated here; other text was validated before.
    #[cfg(feature = "deflate")]
    utf8: Utf8,
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
            #[cfg(feature = "deflate")]
            utf8: Utf8::new(),
        }
    }

    /// The same, for a connection that agreed on permessage-deflate: `max_message` then limits what
    /// messages inflate to.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn inflating(mut self, inflater: Inflater) -> Self {
        self.inflater = Some(inflater);
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
        let left = if chunk.compressed {
            self.inflate(chunk, room)?
        } else {
            let left = room.checked_sub(chunk.payload.len());
            self.buffer.extend_from_slice(match left {
                Some(_) => chunk.payload,
                None => &[],
            });
            left
        };
        self.room = left;
        left.map(drop).ok_or(Rule::MessageTooBig)
    }

    #[cfg(feature = "deflate")]
    fn inflate(&mut self, chunk: &Chunk<'_>, room: usize) -> Result<Option<usize>, Rule> {
        let inflater = self.inflater.as_mut().ok_or(Rule::ReservedBits)?;
        if chunk.first {
            self.utf8 = Utf8::new();
        }
        let start = self.buffer.len();
        inflater.inflate(chunk.payload, chunk.last, room, &mut self.buffer)?;
        let text = self.buffer.get(start..).unwrap_or_default();
        if chunk.kind == Kind::Text {
            self.utf8.push(text).map_err(|_| Rule::InvalidUtf8)?;
        }
        Ok(room.checked_sub(text.len()))
    }

    #[cfg(not(feature = "deflate"))]
    fn inflate(&self, _: &Chunk<'_>, _: usize) -> Result<Option<usize>, Rule> {
        Err(Rule::ReservedBits)
    }
}
