//! Whole messages out of chunks.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use crate::connection::Chunk;
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
/// Holds what has arrived of one unfinished message, never what a header merely announced: at most
/// twice `max_message` bytes, because a vector grows by doubling, and nothing between messages.
#[derive(Debug)]
pub struct Assembler {
    max_message: usize,
    buffer: Vec<u8>,
    /// How much the message may still grow; `None` once it was refused.
    room: Option<usize>,
}

impl Assembler {
    /// An assembler of messages of at most `max_message` bytes.
    #[must_use]
    pub const fn new(max_message: usize) -> Self {
        Self {
            max_message,
            buffer: Vec::new(),
            room: Some(max_message),
        }
    }

    /// Adds a chunk; returns the message if that was its last one.
    ///
    /// # Errors
    /// [`Rule::MessageTooBig`], also for whatever else comes of the same message, or
    /// [`Rule::InvalidUtf8`], which a connection has ruled out. The message is dropped;
    /// [close](crate::Connection::close) with the violation's code.
    pub fn push(&mut self, chunk: Chunk<'_>) -> Result<Option<Message>, Violation> {
        if chunk.first {
            self.buffer = Vec::new();
            self.room = Some(self.max_message);
        }
        self.room = self
            .room
            .and_then(|room| room.checked_sub(chunk.payload.len()));
        if self.room.is_none() {
            self.buffer = Vec::new();
            return Err(Rule::MessageTooBig.into());
        }
        self.buffer.extend_from_slice(chunk.payload);
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
}
