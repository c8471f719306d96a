//! Opcodes and frame headers (RFC 6455 section 5.2).

use crate::error::{Rule, Violation};
use crate::inline::InlineBytes;

/// What a frame is (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OpCode {
    /// A further fragment of the message begun before.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// The closing handshake.
    Close = 0x8,
    /// A ping.
    Ping = 0x9,
    /// A pong.
    Pong = 0xA,
}

impl OpCode {
    /// Whether this is Close, Ping or Pong (section 5.5).
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }

    const fn from_nibble(nibble: u8) -> Option<Self> {
        Some(match nibble {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

impl From<Kind> for OpCode {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text,
            Kind::Binary => Self::Binary,
        }
    }
}

/// The header of a frame (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// Whether this is the last frame of its message.
    pub fin: bool,
    /// RSV1: whether the message that begins here is compressed (RFC 7692 section 6).
    pub rsv1: bool,
    /// What the frame is.
    pub opcode: OpCode,
    /// The length of the payload in bytes, below 2^63.
    pub len: u64,
    /// The masking key, if the payload is masked.
    pub mask: Option<[u8; 4]>,
}

/// A header as bytes: at most 14.
pub type HeaderBytes = InlineBytes<14>;

/// What [`Header::parse`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A whole header, which took `used` bytes.
    Done {
        /// The header.
        header: Header,
        /// How many bytes it took.
        used: usize,
    },
    /// The header goes on: it is at least this many bytes long altogether.
    Need(usize),
}

impl Header {
    /// The header of an unfragmented, unmasked frame.
    #[must_use]
    pub const fn new(opcode: OpCode, len: u64) -> Self {
        Self {
            fin: true,
            rsv1: false,
            opcode,
            len,
            mask: None,
        }
    }

    /// Reads the header at the start of `bytes`, judging each byte that is there.
    ///
    /// # Errors
    /// The rules that one header can break alone: reserved bits and opcodes, control frames that
    /// are fragmented or over 125 bytes, lengths that are not minimal or over 63 bits. Which mask
    /// bit is right, whether a message may begin and be compressed depend on the connection.
    pub fn parse(bytes: &[u8]) -> Result<Parsed, Violation> {
        parse(bytes, &Expect::ANYTHING).map_err(Violation::from)
    }

    /// The header as bytes.
    #[must_use]
    #[inline]
    pub fn encode(&self) -> HeaderBytes {
        let fin = if self.fin { 0x80 } else { 0 };
        let rsv1 = if self.rsv1 { RSV1 } else { 0 };
        let first = fin | rsv1 | self.opcode as u8;
        let (mask_bit, mask_len) = if self.mask.is_some() {
            (0x80, 4)
        } else {
            (0, 0)
        };
        let [a, b, c, d] = self.mask.unwrap_or_default();
        let (bytes, len) = match (u8::try_from(self.len), u16::try_from(self.len)) {
            (Ok(len @ ..=125), _) => {
                let second = mask_bit | len;
                ([first, second, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0], 2)
            }
            (_, Ok(len)) => {
                let [k, l] = len.to_be_bytes();
                let second = mask_bit | 126;
                ([first, second, k, l, a, b, c, d, 0, 0, 0, 0, 0, 0], 4)
            }
            _ => {
                let [e, f, g, h, i, j, k, l] = self.len.to_be_bytes();
                let second = mask_bit | 127;
                ([first, second, e, f, g, h, i, j, k, l, a, b, c, d], 10)
            }
        };
        HeaderBytes::from_array(bytes, len + mask_len)
    }
}

/// The bit of the first byte that marks a compressed message.
const RSV1: u8 = 0x40;

/// What the connection allows the next header to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expect {
    /// What the mask bit must be, if that is known.
    pub(crate) masked: Option<bool>,
    /// Whether RSV1 may be set where a message begins.
    pub(crate) compressed: bool,
    pub(crate) next: Next,
    /// The longest data frame.
    pub(crate) max_frame: u64,
    /// How much the message may still grow.
    pub(crate) max_growth: u64,
}

/// Which data frame may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Any,
    /// The first frame of a message.
    Start,
    /// A further fragment.
    Continuation,
    /// A further fragment, but the message has had its share of them.
    Nothing,
}

impl Expect {
    const ANYTHING: Self = Self {
        masked: None,
        compressed: true,
        next: Next::Any,
        max_frame: u64::MAX,
        max_growth: u64::MAX,
    };
}

/// Judges in the order of the bytes, and as far as they go: so any cut gives the same verdict, at
/// the earliest byte, and nobody waits for a payload that is refused anyway.
pub(crate) fn parse(bytes: &[u8], expect: &Expect) -> Result<Parsed, Rule> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(Parsed::Need(2));
    };
    let rsv1 = first & RSV1 != 0;
    let begins = matches!(first & 0x0f, 0x1 | 0x2);
    if first & 0x30 != 0 || (rsv1 && !(begins && expect.compressed)) {
        return Err(Rule::ReservedBits);
    }
    let fin = first & 0x80 != 0;
    let opcode = OpCode::from_nibble(first & 0x0f).ok_or(Rule::ReservedOpCode)?;
    if opcode.is_control() && !fin {
        return Err(Rule::FragmentedControl);
    }
    match (opcode, expect.next) {
        (OpCode::Continuation, Next::Start) => return Err(Rule::UnexpectedContinuation),
        (OpCode::Continuation, Next::Nothing) => return Err(Rule::TooManyFragments),
        (OpCode::Text | OpCode::Binary, Next::Continuation | Next::Nothing) => {
            return Err(Rule::InterleavedMessage);
        }
        _ => {}
    }

    let Some((&second, rest)) = rest.split_first() else {
        return Ok(Parsed::Need(2));
    };
    let masked = second & 0x80 != 0;
    match expect.masked {
        Some(true) if !masked => return Err(Rule::MissingMask),
        Some(false) if masked => return Err(Rule::UnexpectedMask),
        _ => {}
    }
    let short = second & 0x7f;
    if opcode.is_control() && short > 125 {
        return Err(Rule::ControlTooLong);
    }

    let mask_len = if masked { 4 } else { 0 };
    let (len, rest) = match short {
        126 => {
            let Some((len, rest)) = rest.split_first_chunk() else {
                return Ok(Parsed::Need(4 + mask_len));
            };
            let len = u16::from_be_bytes(*len);
            if len < 126 {
                return Err(Rule::NonMinimalLength);
            }
            (u64::from(len), rest)
        }
        127 => {
            if rest.first().is_some_and(|byte| byte & 0x80 != 0) {
                return Err(Rule::LengthOverflow);
            }
            let Some((len, rest)) = rest.split_first_chunk() else {
                return Ok(Parsed::Need(10 + mask_len));
            };
            let len = u64::from_be_bytes(*len);
            if len <= u64::from(u16::MAX) {
                return Err(Rule::NonMinimalLength);
            }
            (len, rest)
        }
        len => (u64::from(len), rest),
    };
    if !opcode.is_control() {
        if len > expect.max_frame {
            return Err(Rule::FrameTooBig);
        }
        if len > expect.max_growth {
            return Err(Rule::MessageTooBig);
        }
    }

    let head = bytes.len() - rest.len();
    let mask = if masked {
        let Some(key) = rest.first_chunk() else {
            return Ok(Parsed::Need(head + mask_len));
        };
        Some(*key)
    } else {
        None
    };
    Ok(Parsed::Done {
        header: Header {
            fin,
            rsv1,
            opcode,
            len,
            mask,
        },
        used: head + mask_len,
    })
}

/// Appends one unmasked, unfragmented frame to `out`: the same bytes for every client of a
/// broadcast, so encode once and share.
///
/// The bytes go out beside a [`Connection`](crate::Connection), which knows nothing of them: only
/// between frames, never within a fragmented message, and not while
/// [`is_closing`](crate::Connection::is_closing). With [`OpCode::Text`] the payload must be UTF-8;
/// it is not looked at.
///
/// # Panics
/// If a control frame would have more than 125 bytes of payload.
#[cfg(feature = "alloc")]
pub fn encode_server_frame(opcode: OpCode, payload: &[u8], out: &mut alloc::vec::Vec<u8>) {
    assert!(
        !opcode.is_control() || payload.len() <= 125,
        "a control frame has at most 125 bytes of payload"
    );
    let header = Header::new(opcode, payload.len() as u64).encode();
    out.reserve(header.len() + payload.len());
    out.extend_from_slice(&header);
    out.extend_from_slice(payload);
}
