//! Frames and parts of messages out of bytes that are cut anywhere.

use core::mem;

use crate::config::Limits;
use crate::connection::Chunk;
use crate::error::Rule;
use crate::frame::{self, Expect, Header, HeaderBytes, Kind, Next, OpCode, Parsed};
use crate::lifecycle::Lifecycle;
use crate::mask::{apply_mask, rotated, unmask_text};
use crate::utf8::{self, InvalidUtf8, Utf8};

/// The first byte of an unfragmented message that is not compressed.
const WHOLE_TEXT: u8 = 0x80 | OpCode::Text as u8;
const WHOLE_BINARY: u8 = 0x80 | OpCode::Binary as u8;

/// Frames out of bytes, in 32 bytes. What a cut leaves over is kept: a header of at most 13 bytes
/// and the head of a character of at most 3 in here, a control payload of at most 124 in the
/// [`Lifecycle`].
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    /// Payload bytes of the message that its headers announced so far; at most `max_message`.
    len: u64,
    /// Frames of the message so far; at most `max_fragments`.
    fragments: u32,
    /// What the message is, if there is one.
    message: Option<Coding>,
    /// How far its text was validated.
    utf8: Utf8,
}

/// What comes next.
#[derive(Debug)]
enum State {
    /// A header, of which this has come.
    Header(HeaderBytes),
    /// The payload of a frame.
    Payload {
        /// How much of it is still to come.
        remaining: u64,
        /// Turned so that it begins at the next byte of the payload.
        mask: [u8; 4],
        opcode: OpCode,
        fin: bool,
        /// Whether no chunk of the message was given out.
        first: bool,
    },
}

/// What a message is, and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Text,
    Binary,
    DeflatedText,
    DeflatedBinary,
}

impl Coding {
    pub(crate) const fn new(kind: Kind, compressed: bool) -> Self {
        match (kind, compressed) {
            (Kind::Text, false) => Self::Text,
            (Kind::Binary, false) => Self::Binary,
            (Kind::Text, true) => Self::DeflatedText,
            (Kind::Binary, true) => Self::DeflatedBinary,
        }
    }

    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Text | Self::DeflatedText => Kind::Text,
            Self::Binary | Self::DeflatedBinary => Kind::Binary,
        }
    }

    pub(crate) const fn is_compressed(self) -> bool {
        matches!(self, Self::DeflatedText | Self::DeflatedBinary)
    }
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
    /// In the lifecycle, until the next call of [`Decoder::next`].
    Gathered,
}

/// What a connection demands of frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demands<'c> {
    pub(crate) limits: &'c Limits,
    pub(crate) masked: bool,
    pub(crate) compressed: bool,
}

impl Decoder {
    pub(crate) const fn new() -> Self {
        Self {
            state: State::Header(HeaderBytes::new()),
            len: 0,
            fragments: 0,
            message: None,
            utf8: Utf8::new(),
        }
    }

    /// Whether the next byte begins a message.
    #[inline]
    pub(crate) fn is_between_messages(&self) -> bool {
        matches!(&self.state, State::Header(begun) if begun.is_empty()) && self.message.is_none()
    }

    /// Takes the next piece off the front of `input`; `None` when that is used up.
    pub(crate) fn next<'b>(
        &mut self,
        input: &mut &'b mut [u8],
        demands: Demands<'_>,
        lifecycle: &mut Lifecycle,
    ) -> Result<Option<Piece<'b>>, Rule> {
        if let State::Header(_) = self.state {
            lifecycle.drop_gathered();
            match self.read_header(input, demands)? {
                Some(header) => self.begin(&header),
                None => return Ok(None),
            }
        }
        let State::Payload {
            remaining,
            mask,
            opcode,
            fin,
            first,
        } = &mut self.state
        else {
            return Ok(None);
        };
        if *remaining > 0 && input.is_empty() {
            return Ok(None);
        }

        let payload = split_off(input, usize::try_from(*remaining).unwrap_or(usize::MAX));
        let text = !opcode.is_control() && self.message == Some(Coding::Text);
        let utf8 = if text { Some(&mut self.utf8) } else { None };
        unmask(payload, demands.masked.then_some(*mask), utf8).map_err(|_| Rule::InvalidUtf8)?;
        *mask = rotated(*mask, payload.len());
        let payload = &*payload;
        *remaining -= payload.len() as u64;
        let (ended, opcode, fin) = (*remaining == 0, *opcode, *fin);
        let first = mem::replace(first, false);
        if ended {
            self.state = State::Header(HeaderBytes::new());
        }

        if opcode.is_control() {
            if ended && lifecycle.gathered().is_empty() {
                return Ok(Some(Piece::Control(opcode, Body::Whole(payload))));
            }
            lifecycle.gather(payload);
            return Ok(ended.then_some(Piece::Control(opcode, Body::Gathered)));
        }
        let coding = self.message.ok_or(Rule::UnexpectedContinuation)?;
        let last = ended && fin;
        if coding == Coding::Text && last {
            self.utf8.finish().map_err(|_| Rule::InvalidUtf8)?;
        }
        if last {
            self.message = None;
        }
        Ok(Some(Piece::Data(Chunk {
            kind: coding.kind(),
            payload,
            compressed: coding.is_compressed(),
            first,
            last,
        })))
    }

    /// Whether the bytes so far end within a message or a frame.
    pub(crate) fn is_unfinished(&self) -> bool {
        let within_frame = match &self.state {
            State::Header(bytes) => !bytes.is_empty(),
            State::Payload { .. } => true,
        };
        within_frame || self.message.is_some()
    }

    fn read_header(
        &mut self,
        input: &mut &mut [u8],
        demands: Demands<'_>,
    ) -> Result<Option<Header>, Rule> {
        let expect = self.expect(demands);
        let State::Header(begun) = &mut self.state else {
            return Ok(None);
        };
        if begun.is_empty()
            && let Parsed::Done { header, used } = frame::parse(input, &expect)?
        {
            split_off(input, used);
            return Ok(Some(header));
        }
        loop {
            match frame::parse(begun, &expect)? {
                Parsed::Done { header, .. } => return Ok(Some(header)),
                Parsed::Need(len) => {
                    let more = split_off(input, len - begun.len());
                    if more.is_empty() {
                        return Ok(None);
                    }
                    begun.push(more);
                }
            }
        }
    }

    fn expect(&self, demands: Demands<'_>) -> Expect {
        let limits = demands.limits;
        let (next, len) = match self.message {
            None => (Next::Start, 0),
            Some(_) if self.fragments < limits.max_fragments => (Next::Continuation, self.len),
            Some(_) => (Next::Nothing, self.len),
        };
        Expect {
            masked: Some(demands.masked),
            compressed: demands.compressed,
            next,
            max_frame: limits.max_frame,
            max_growth: limits.max_message.saturating_sub(len),
        }
    }

    /// A frame begins with a header that was judged.
    fn begin(&mut self, header: &Header) {
        let kind = match header.opcode {
            OpCode::Text => Some(Kind::Text),
            OpCode::Binary => Some(Kind::Binary),
            _ => None,
        };
        if let Some(kind) = kind {
            self.message = Some(Coding::new(kind, header.rsv1));
            (self.len, self.fragments) = (header.len, 1);
            self.utf8 = Utf8::new();
        } else if header.opcode == OpCode::Continuation {
            self.len += header.len;
            self.fragments += 1;
        }
        self.state = State::Payload {
            remaining: header.len,
            mask: header.mask.unwrap_or_default(),
            opcode: header.opcode,
            fin: header.fin,
            first: kind.is_some(),
        };
    }
}

/// Takes a message off the front of `input`, where one begins, that lies there whole, in one frame
/// below 64 KiB that is not compressed: most messages do. `None` for everything else, for payloads of
/// `below` bytes or more, and for all that is wrong with a header; [`Decoder::next`] takes that, with
/// the same outcome.
#[inline]
pub(crate) fn next_whole<'b>(
    input: &mut &'b mut [u8],
    masked: bool,
    below: usize,
) -> Option<Result<Chunk<'b>, Rule>> {
    let (&[first, second, third, fourth], _) = input.split_first_chunk()?;
    let kind = match first {
        WHOLE_TEXT => Kind::Text,
        WHOLE_BINARY => Kind::Binary,
        _ => return None,
    };
    let (mask_bit, mask_len) = if masked { (0x80, 4) } else { (0, 0) };
    let (len, body) = match second ^ mask_bit {
        len @ ..126 => (usize::from(len), 2 + mask_len),
        126 if third > 0 || fourth >= 126 => {
            let len = u16::from_be_bytes([third, fourth]);
            (usize::from(len), 4 + mask_len)
        }
        _ => return None,
    };
    if len >= below || input.len() < body + len {
        return None;
    }
    let (frame, rest) = mem::take(input).split_at_mut_checked(body + len)?;
    *input = rest;
    let (header, payload) = frame.split_at_mut_checked(body)?;
    let is_ascii = match header.last_chunk() {
        Some(key) if masked => unmask_text(payload, *key),
        _ => false,
    };
    if kind == Kind::Text && !is_ascii && !utf8::is_valid(payload) {
        return Some(Err(Rule::InvalidUtf8));
    }
    Some(Ok(Chunk {
        kind,
        payload,
        compressed: false,
        first: true,
        last: true,
    }))
}

/// Unmasks the next part of a payload, and validates it if it is text.
#[inline]
fn unmask(
    payload: &mut [u8],
    key: Option<[u8; 4]>,
    text: Option<&mut Utf8>,
) -> Result<(), InvalidUtf8> {
    match (key, text) {
        (Some(key), Some(utf8)) => utf8.push_masked(payload, key)?,
        (Some(key), None) => {
            apply_mask(payload, key, 0);
        }
        (None, Some(utf8)) => utf8.push(payload)?,
        (None, None) => {}
    }
    Ok(())
}

/// Takes at most `len` bytes off the front of `input`.
#[inline]
fn split_off<'b>(input: &mut &'b mut [u8], len: usize) -> &'b mut [u8] {
    let len = len.min(input.len());
    let (head, tail) = mem::take(input).split_at_mut(len);
    *input = tail;
    head
}
