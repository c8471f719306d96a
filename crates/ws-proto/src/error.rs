//! The rules a peer can break and the calls a caller can get wrong, with their wire reactions.

use core::error::Error;
use core::fmt;

use crate::close::CloseCode;

/// A rule that a peer can break. Each is the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// RSV1, RSV2 or RSV3 is set and no extension gave it a meaning (RFC 6455 section 5.2), or RSV1
    /// where no message begins (RFC 7692 section 6).
    ReservedBits,
    /// The opcode is reserved: 0x3 to 0x7 or 0xB to 0xF (section 5.2).
    ReservedOpCode,
    /// A control frame is fragmented (section 5.5).
    FragmentedControl,
    /// A control frame has more than 125 bytes of payload (section 5.5).
    ControlTooLong,
    /// A client sent a frame that is not masked (section 5.1).
    MissingMask,
    /// A server sent a frame that is masked (section 5.1).
    UnexpectedMask,
    /// A length is not written in the fewest bytes (section 5.2).
    NonMinimalLength,
    /// The most significant bit of a 64-bit length is set (section 5.2).
    LengthOverflow,
    /// A continuation frame with no message to continue (section 5.4).
    UnexpectedContinuation,
    /// A message began within another one (section 5.4).
    InterleavedMessage,
    /// A text message is not UTF-8 (section 8.1).
    InvalidUtf8,
    /// The payload of a Close frame is one byte (section 5.5.1).
    CloseTooShort,
    /// The code in a Close frame must not be there (section 7.4).
    InvalidCloseCode,
    /// The reason in a Close frame is not UTF-8 (section 5.5.1).
    InvalidCloseReason,
    /// A frame exceeds [`Config::max_frame`](crate::Config::max_frame) (section 10.4).
    FrameTooBig,
    /// A message exceeds [`Config::max_message`](crate::Config::max_message) (section 10.4).
    MessageTooBig,
    /// A message exceeds [`Config::max_fragments`](crate::Config::max_fragments) (section 10.4).
    TooManyFragments,
    /// More pings and pongs in a second than [`Config::max_pings`](crate::Config::max_pings)
    /// (section 10.4).
    TooManyPings,
    /// A message was not finished within
    /// [`Config::message_timeout`](crate::Config::message_timeout) (section 10.4).
    MessageTimeout,
    /// A compressed message cannot be inflated (RFC 7692 section 7.2.2).
    InvalidDeflate,
    /// A message inflates to more than the limit times its compressed size (RFC 6455 section 10.4).
    RatioTooHigh,
}

impl Rule {
    /// The close code that tells the peer.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        self.facts().0
    }

    /// The section that the rule is from: of RFC 7692 for [`InvalidDeflate`](Self::InvalidDeflate),
    /// of RFC 6455 for all others.
    #[must_use]
    pub const fn clause(self) -> &'static str {
        self.facts().1
    }

    /// What is wrong, short enough for the reason of a Close frame.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.facts().2
    }

    /// The one map from rule to wire.
    const fn facts(self) -> (CloseCode, &'static str, &'static str) {
        const PROTOCOL: CloseCode = CloseCode::PROTOCOL;
        match self {
            Self::ReservedBits => (PROTOCOL, "5.2", "reserved bit set"),
            Self::ReservedOpCode => (PROTOCOL, "5.2", "reserved opcode"),
            Self::FragmentedControl => (PROTOCOL, "5.5", "fragmented control frame"),
            Self::ControlTooLong => (PROTOCOL, "5.5", "control frame over 125 bytes"),
            Self::MissingMask => (PROTOCOL, "5.1", "client frame not masked"),
            Self::UnexpectedMask => (PROTOCOL, "5.1", "server frame masked"),
            Self::NonMinimalLength => (PROTOCOL, "5.2", "length not in its shortest form"),
            Self::LengthOverflow => (PROTOCOL, "5.2", "length over 63 bits"),
            Self::UnexpectedContinuation => (PROTOCOL, "5.4", "continuation without a message"),
            Self::InterleavedMessage => (PROTOCOL, "5.4", "message within another message"),
            Self::InvalidUtf8 => (CloseCode::INVALID_PAYLOAD, "8.1", "text is not UTF-8"),
            Self::CloseTooShort => (PROTOCOL, "5.5.1", "close frame of one byte"),
            Self::InvalidCloseCode => (PROTOCOL, "7.4", "invalid close code"),
            Self::InvalidCloseReason => (
                CloseCode::INVALID_PAYLOAD,
                "5.5.1",
                "close reason is not UTF-8",
            ),
            Self::FrameTooBig => (CloseCode::TOO_BIG, "10.4", "frame over the limit"),
            Self::MessageTooBig => (CloseCode::TOO_BIG, "10.4", "message over the limit"),
            Self::TooManyFragments => (
                CloseCode::POLICY,
                "10.4",
                "message in more fragments than the limit",
            ),
            Self::TooManyPings => (CloseCode::POLICY, "10.4", "more pings than the limit"),
            Self::MessageTimeout => (CloseCode::POLICY, "10.4", "message took too long"),
            Self::InvalidDeflate => (
                CloseCode::INVALID_PAYLOAD,
                "7.2.2",
                "message cannot be inflated",
            ),
            Self::RatioTooHigh => (
                CloseCode::TOO_BIG,
                "10.4",
                "message inflates beyond the limit",
            ),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rfc = match self {
            Self::InvalidDeflate => 7692,
            _ => 6455,
        };
        write!(f, "{} (RFC {rfc} section {})", self.as_str(), self.clause())
    }
}

/// The peer broke a rule; the connection fails with `code` (RFC 6455 section 7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Which one.
    pub rule: Rule,
    /// The code to close with: always [`Rule::close_code`] of `rule`.
    pub code: CloseCode,
}

impl From<Rule> for Violation {
    fn from(rule: Rule) -> Self {
        Self {
            rule,
            code: rule.close_code(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rule.fmt(f)
    }
}

impl Error for Violation {}

/// Why a data frame was not sent. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// A Close frame was queued or has arrived, or the connection is closed: nothing may follow
    /// (RFC 6455 section 5.5.1).
    Closing,
    /// A fragmented message is not finished; send its last fragment first (section 5.4).
    MessageUnfinished,
    /// The fragment is of another kind than the message it would continue, or compressed where that
    /// is not.
    KindChanged,
    /// The payload of a text message is not UTF-8 (section 5.6).
    InvalidUtf8,
    /// The compressor failed, so that the peer could not follow what it would send from now on.
    /// Close the connection with [`CloseCode::INTERNAL`].
    Compression,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closing => "the connection is closing",
            Self::MessageUnfinished => "a fragmented message is not finished",
            Self::KindChanged => "the fragment is of another kind than its message",
            Self::InvalidUtf8 => "text to send is not UTF-8",
            Self::Compression => "the compressor failed",
        })
    }
}

impl Error for SendError {}

/// Why a Ping or a Close was not queued. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlError {
    /// A Close frame was queued or has arrived, or the connection is closed.
    Closing,
    /// More than 125 bytes of payload, or 123 bytes of reason (RFC 6455 section 5.5).
    TooLong,
    /// The code is not one that may be sent (section 7.4), or there is a reason and no code.
    InvalidCloseCode,
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closing => "the connection is closing",
            Self::TooLong => "the payload of a control frame is over 125 bytes",
            Self::InvalidCloseCode => "the close code may not be sent",
        })
    }
}

impl Error for ControlError {}
