//! Why and how a connection closes (RFC 6455 section 7).

use core::fmt;
use core::str;

use crate::error::Rule;

/// Why a connection is closed, as a number (RFC 6455 section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// A server goes down, or a browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// The peer sent a kind of data that this end cannot take.
    pub const UNSUPPORTED: Self = Self(1003);
    /// There was a Close frame and no code in it. Never on the wire.
    pub const NO_STATUS: Self = Self(1005);
    /// There was no Close frame. Never on the wire.
    pub const ABNORMAL: Self = Self(1006);
    /// The content of a message does not match its type, for example text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// The peer broke a rule of this end that has no code of its own.
    pub const POLICY: Self = Self(1008);
    /// A message is too big to be processed.
    pub const TOO_BIG: Self = Self(1009);
    /// The server did not negotiate an extension that the client insists on.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// The server ran into a condition it did not expect.
    pub const INTERNAL: Self = Self(1011);
    /// The server restarts; reconnect after a while.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// The server is overloaded; reconnect later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// The code as a number.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// Whether the code may stand in a Close frame: one of 1000-1003, 1007-1014 (those that RFC
    /// 6455 section 7.4.1 and the IANA registry give a meaning on the wire) or 3000-4999 (left to
    /// libraries and applications).
    #[must_use]
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a Close frame says (RFC 6455 section 5.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseFrame<'b> {
    /// The code; [`CloseCode::NO_STATUS`] if the frame was empty.
    pub code: CloseCode,
    /// At most 123 bytes, not necessarily meant for people.
    pub reason: &'b str,
}

impl<'b> CloseFrame<'b> {
    pub(crate) fn parse(payload: &'b [u8]) -> Result<Self, Rule> {
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            return if payload.is_empty() {
                Ok(Self {
                    code: CloseCode::NO_STATUS,
                    reason: "",
                })
            } else {
                Err(Rule::CloseTooShort)
            };
        };
        let code = CloseCode(u16::from_be_bytes(*code));
        if !code.is_sendable() {
            return Err(Rule::InvalidCloseCode);
        }
        let reason = str::from_utf8(reason).map_err(|_| Rule::InvalidCloseReason)?;
        Ok(Self { code, reason })
    }
}

/// How a connection ended: the whole truth, once it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Who began to close.
    pub initiator: Initiator,
    /// The connection's close code (RFC 6455 section 7.1.5): that of the Close frame received,
    /// [`CloseCode::NO_STATUS`] if it was empty, [`CloseCode::ABNORMAL`] if there was none.
    pub code: CloseCode,
    /// The code of the Close frame that this end handed out for sending, if it did.
    pub sent: Option<CloseCode>,
    /// How it came to an end.
    pub ending: Ending,
    /// How many bytes never left this end: control frames that were still queued, and what the
    /// caller said of those handed out (see
    /// [`Connection::handle_eof_unsent`](crate::Connection::handle_eof_unsent)).
    pub unsent: u64,
}

impl Closed {
    /// Whether both ends said Close to each other: what browsers call `wasClean`.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.ending == Ending::Clean
    }
}

/// Which end began to close a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initiator {
    /// This end: it queued a Close frame before one arrived.
    Local,
    /// The peer, by a Close frame or by ending the transport.
    Remote,
}

/// How a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Both ends exchanged Close frames (RFC 6455 section 7.1.4).
    Clean,
    /// This end failed the connection (section 7.1.7) because the peer broke this rule.
    Failed(Rule),
    /// The closing handshake was not over within [`Config::close_timeout`](crate::Config::close_timeout).
    TimedOut,
    /// The transport ended before the closing handshake did.
    Transport(Eof),
}

/// How a transport ended, for [`Connection::handle_eof`](crate::Connection::handle_eof).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eof {
    /// In order: a TCP FIN, a TLS `close_notify`, an `END_STREAM`.
    Clean,
    /// TLS ended without `close_notify`: possibly cut by somebody else.
    Truncated,
    /// A reset, or any other error of the transport.
    Reset,
}
