//! Frames and parts of messages out of bytes that are cut anywhere.

use core::mem;

use crate::config::Config;
use crate::connection::Chunk;
use crate::error::Rule;
use crate::frame::{self, Expect, Header, HeaderBytes, Kind, Next, OpCode, Parsed};
use crate::mask::{apply_mask, rotated};
use crate::slot::Slot;
use crate::utf8::Utf8;

/// Frames out of bytes. What a cut leaves over is kept inside: a header of at most 13 bytes, a
/// control payload of at most 124, the head of a character of at most 3.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The header so far, if it came in pieces. Empty while `frame` is set.
    header: HeaderBytes,
    /// The frame whose payload comes next.
    frame: Option<Frame>,
    /// The message to be continued, while `frame` is not a fragment of it.
    message: Option<Message>,
    /// The payload of a control frame that came in pieces.
    control: Slot,
}

#[derive(Debug)]
struct Frame {
    content: Content,
    fin: bool,
    /// How much of the payload is still to come.
    remaining: u64,
    /// Turned so that it begins at the next byte of the payload.
    mask: Option<[u8; 4]>,
}

#[derive(Debug)]
enum Content {
    Control(OpCode),
    Data(Message),
}

#[derive(Debug)]
struct Message {
    kind: Kind,
    /// Payload bytes announced by the headers so far; at most `max_message`.
    len: u64,
    /// Frames so far; at most `max_fragments`.
    fragments: u32,
    /// Whether a chunk of it was given out.
    begun: bool,
    /// Whether the payload is to be inflated.
    compressed: bool,
    utf8: Utf8,
}

/// Something whole enough to act upon.
#[derive(Debug)]
pub(crate) enum Piece<'b> {
    Data(Chunk<'b>),
    Control(OpCode, Body<'b>),
}

/// Where the payload of a control frame is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body<'b> {
    /// In the input.
    Whole(&'b [u8]),
    /// In the decoder, until the next call of [`Decoder::next`].
    Gathered,
}

impl Decoder {
    /// Takes the next piece off the front of `input`; `None` when that is used up.
    pub(crate) fn next<'b>(
        &mut self,
        input: &mut &'b mut [u8],
        config: &Config,
        masked: bool,
    ) -> Result<Option<Piece<'b>>, Rule> {
        let mut frame = match self.frame.take() {
            Some(frame) => frame,
            None => {
                self.control.clear();
                match self.read_header(input, config, masked)? {
                    Some(header) => self.begin(&header)?,
                    None => return Ok(None),
                }
            }
        };
        if frame.remaining > 0 && input.is_empty() {
            self.frame = Some(frame);
            return Ok(None);
        }

        let payload = split_off(
            input,
            usize::try_from(frame.remaining).unwrap_or(usize::MAX),
        );
        if let Some(key) = &mut frame.mask {
            let phase = apply_mask(payload, *key, 0);
            *key = rotated(*key, phase);
        }
        let payload = &*payload;
        frame.remaining -= payload.len() as u64;
        let ended = frame.remaining == 0;

        match frame.content {
            Content::Control(opcode) if ended && self.control.as_slice().is_empty() => {
                Ok(Some(Piece::Control(opcode, Body::Whole(payload))))
            }
            Content::Control(opcode) => {
                self.control.append(payload);
                if ended {
                    return Ok(Some(Piece::Control(opcode, Body::Gathered)));
                }
                self.frame = Some(frame);
                Ok(None)
            }
            Content::Data(mut message) => {
                let chunk = message.chunk(payload, ended && frame.fin)?;
                if !ended {
                    let content = Content::Data(message);
                    self.frame = Some(Frame { content, ..frame });
                } else if !frame.fin {
                    self.message = Some(message);
                }
                Ok(Some(Piece::Data(chunk)))
            }
        }
    }

    /// Whether the bytes so far end within a message or a frame.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.message.is_some() || self.frame.is_some() || !self.header.is_empty()
    }

    /// The payload of the control frame last returned.
    pub(crate) fn payload<'a>(&'a self, body: Body<'a>) -> &'a [u8] {
        match body {
            Body::Whole(payload) => payload,
            Body::Gathered => self.control.as_slice(),
        }
    }

    fn read_header(
        &mut self,
        input: &mut &mut [u8],
        config: &Config,
        masked: bool,
    ) -> Result<Option<Header>, Rule> {
        let expect = self.expect(config, masked);
        if self.header.is_empty()
            && let Parsed::Done { header, used } = frame::parse(input, &expect)?
        {
            split_off(input, used);
            return Ok(Some(header));
        }
        loop {
            match frame::parse(&self.header, &expect)? {
                Parsed::Done { header, .. } => {
                    self.header.clear();
                    return Ok(Some(header));
                }
                Parsed::Need(len) => {
                    let more = split_off(input, len - self.header.len());
                    if more.is_empty() {
                        return Ok(None);
                    }
                    self.header.push(more);
                }
            }
        }
    }

    fn expect(&self, config: &Config, masked: bool) -> Expect {
        let (next, len) = match &self.message {
            None => (Next::Start, 0),
            Some(message) if message.fragments < config.max_fragments => {
                (Next::Continuation, message.len)
            }
            Some(message) => (Next::Nothing, message.len),
        };
        Expect {
            masked: Some(masked),
            compressed: config.compressed,
            next,
            max_frame: config.max_frame,
            max_growth: config.max_message.saturating_sub(len),
        }
    }

    fn begin(&mut self, header: &Header) -> Result<Frame, Rule> {
        let content = match header.opcode {
            OpCode::Text => Content::Data(Message::new(Kind::Text, header)),
            OpCode::Binary => Content::Data(Message::new(Kind::Binary, header)),
            OpCode::Continuation => {
                let mut message = self.message.take().ok_or(Rule::UnexpectedContinuation)?;
                message.len += header.len;
                message.fragments += 1;
                Content::Data(message)
            }
            control => Content::Control(control),
        };
        Ok(Frame {
            content,
            fin: header.fin,
            remaining: header.len,
            mask: header.mask,
        })
    }
}

impl Message {
    const fn new(kind: Kind, header: &Header) -> Self {
        Self {
            kind,
            len: header.len,
            fragments: 1,
            begun: false,
            compressed: header.rsv1,
            utf8: Utf8::new(),
        }
    }

    fn chunk<'b>(&mut self, payload: &'b [u8], last: bool) -> Result<Chunk<'b>, Rule> {
        if self.kind == Kind::Text && !self.compressed {
            self.utf8.push(payload).map_err(|_| Rule::InvalidUtf8)?;
            if last {
                self.utf8.finish().map_err(|_| Rule::InvalidUtf8)?;
            }
        }
        let first = !mem::replace(&mut self.begun, true);
        Ok(Chunk {
            kind: self.kind,
            payload,
            compressed: self.compressed,
            first,
            last,
        })
    }
}

/// Takes at most `len` bytes off the front of `input`.
fn split_off<'b>(input: &mut &'b mut [u8], len: usize) -> &'b mut [u8] {
    let len = len.min(input.len());
    let (head, tail) = mem::take(input).split_at_mut(len);
    *input = tail;
    head
}
