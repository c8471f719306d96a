//! Epochs, positions, and the cursor that carries a position over the wire.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// One unbroken history of a log: 64 random bits chosen when the history begins.
///
/// Sequence numbers compare only within an epoch. Shown as 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Where an event stands in the log, or up to where a subscriber has seen it.
///
/// Written as a cursor `<epoch hex>-<seq>`, for example `00c0ffee00c0ffee-42`. That text is safe as
/// the `id` of a Server-Sent Event and as the value of a CORS-safelisted header. A position has
/// exactly one cursor: no upper-case digits, no leading zeros in `seq`.
///
/// ```
/// use replay_store::{Epoch, Position};
///
/// let position = Position { epoch: Epoch(0xc0ffee), seq: 42 };
/// assert_eq!(position.to_string(), "0000000000c0ffee-42");
/// assert_eq!("0000000000c0ffee-42".parse(), Ok(position));
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Position {
    /// The history that `seq` counts in.
    pub epoch: Epoch,
    /// Strictly increasing over the log, not necessarily dense; 0 stands before the first event.
    pub seq: u64,
}

impl Position {
    /// The largest sequence number: every one is exact in a JavaScript number.
    pub const MAX_SEQ: u64 = (1 << 53) - 1;

    /// The longest cursor that is looked at, in bytes. Anything longer is malformed.
    pub const MAX_CURSOR: usize = 128;

    /// Joins an epoch and a sequence number.
    #[must_use]
    pub const fn new(epoch: Epoch, seq: u64) -> Self {
        Self { epoch, seq }
    }

    /// Its cursor: the same text as [`Display`](fmt::Display) shows, without an allocation.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        let mut cursor = Cursor {
            bytes: [b'-'; Cursor::MAX_LEN],
            len: Cursor::EPOCH_LEN + 1,
        };
        let mut epoch = self.epoch.0;
        for digit in cursor.bytes.iter_mut().take(Cursor::EPOCH_LEN).rev() {
            *digit = b"0123456789abcdef"[(epoch % 16) as usize];
            epoch /= 16;
        }
        let digits = self.seq.checked_ilog10().unwrap_or(0) as usize + 1;
        let mut seq = self.seq;
        cursor.len += digits;
        for digit in cursor.bytes[..cursor.len].iter_mut().rev().take(digits) {
            *digit = b'0' + (seq % 10) as u8;
            seq /= 10;
        }
        cursor
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cursor().as_str())
    }
}

/// The text of a cursor, by itself.
#[derive(Clone, Copy)]
pub struct Cursor {
    bytes: [u8; Self::MAX_LEN],
    len: usize,
}

impl Cursor {
    const EPOCH_LEN: usize = 16;

    /// With the longest `u64`.
    const MAX_LEN: usize = Self::EPOCH_LEN + 1 + 20;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Nothing but digits and a hyphen.
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The text, in ASCII.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cursor").field(&self.as_str()).finish()
    }
}

impl FromStr for Position {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        if text.len() > Self::MAX_CURSOR {
            return Err(CursorError::TooLong { len: text.len() });
        }
        let (epoch, seq) = text.split_once('-').ok_or(CursorError::Malformed)?;
        let canonical_epoch = epoch.len() == 16
            && epoch
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let canonical_seq = seq.bytes().all(|b| b.is_ascii_digit())
            && !seq.is_empty()
            && (seq == "0" || !seq.starts_with('0'));
        if !canonical_epoch || !canonical_seq {
            return Err(CursorError::Malformed);
        }
        let malformed = |_: ParseIntError| CursorError::Malformed;
        let epoch = u64::from_str_radix(epoch, 16).map_err(malformed)?;
        // Digits only, so the one way to fail is a number over `u64`.
        let seq = seq
            .parse()
            .map_err(|_: ParseIntError| CursorError::SeqTooLarge)?;
        if seq > Self::MAX_SEQ {
            return Err(CursorError::SeqTooLarge);
        }
        Ok(Self {
            epoch: Epoch(epoch),
            seq,
        })
    }
}

/// Why a text is not a cursor. Whoever sent it is at fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CursorError {
    /// Longer than [`Position::MAX_CURSOR`].
    #[error("a cursor has at most {max} bytes, this one has {len}", max = Position::MAX_CURSOR)]
    TooLong {
        /// Bytes received.
        len: usize,
    },
    /// Not 16 lower-case hexadecimal digits, `-`, and a number without leading zeros.
    #[error("a cursor looks like 00c0ffee00c0ffee-42")]
    Malformed,
    /// The number is over [`Position::MAX_SEQ`].
    #[error("a cursor's number is at most 2^53 - 1")]
    SeqTooLarge,
}

/// Where a subscriber wants to continue: strictly after this.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum After {
    /// Everything retained.
    Earliest,
    /// Only what is appended from now on.
    Latest,
    /// What follows this position.
    Position(Position),
    /// The subscriber sent something that is no cursor; answered with a gap
    /// [`Unknown`](crate::GapReason::Unknown) and everything retained.
    Unknown,
}

impl After {
    /// Reads what a peer sent where a cursor is expected: `earliest`, `latest`, or a cursor.
    /// Everything else, the empty text included, is [`After::Unknown`].
    #[must_use]
    pub fn parse(sent: &[u8]) -> Self {
        match sent {
            b"earliest" => Self::Earliest,
            b"latest" => Self::Latest,
            _ => std::str::from_utf8(sent)
                .ok()
                .and_then(|text| text.parse().ok())
                .map_or(Self::Unknown, Self::Position),
        }
    }
}

impl From<Position> for After {
    fn from(position: Position) -> Self {
        Self::Position(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cursor: &str, expected: Result<(u64, u64), CursorError>) {
        let expected = expected.map(|(epoch, seq)| Position::new(Epoch(epoch), seq));
        assert_eq!(cursor.parse(), expected);
        match expected {
            Ok(position) => {
                assert_eq!(position.to_string(), cursor);
                assert_eq!(After::parse(cursor.as_bytes()), After::Position(position));
            }
            Err(_) => assert_eq!(After::parse(cursor.as_bytes()), After::Unknown),
        }
    }

    #[test]
    fn a_position_has_one_cursor() {
        check("0000000000000000-0", Ok((0, 0)));
        check("ffffffffffffffff-1", Ok((u64::MAX, 1)));
        check("00c0ffee00c0ffee-42", Ok((0x00c0_ffee_00c0_ffee, 42)));
        check(
            "0123456789abcdef-9007199254740991",
            Ok((0x0123_4567_89ab_cdef, Position::MAX_SEQ)),
        );
    }

    #[test]
    fn the_text_of_any_position_is_its_two_numbers() {
        for seq in (0..20).flat_map(|exponent| {
            let power = 10_u64.pow(exponent);
            [power - 1, power, power + 1, u64::MAX / power]
        }) {
            for epoch in [0, 1, seq.wrapping_mul(0x9e37_79b9_7f4a_7c15), u64::MAX] {
                let position = Position::new(Epoch(epoch), seq);
                assert_eq!(position.to_string(), format!("{epoch:016x}-{seq}"));
                assert_eq!(position.cursor().as_str(), position.to_string());
            }
        }
    }

    #[test]
    fn what_is_almost_a_cursor_is_none() {
        for cursor in [
            "",
            "-",
            "0",
            "0000000000000000",
            "0000000000000000-",
            "-0",
            "000000000000000-0",
            "00000000000000000-0",
            "0000000000000000-00",
            "0000000000000000-01",
            "0000000000000000-+1",
            "0000000000000000--1",
            "0000000000000000-1-",
            "0000000000000000-1 ",
            " 0000000000000000-1",
            "0000000000000000-1\n",
            "000000000000000A-1",
            "000000000000000g-1",
            "+000000000000000-1",
            "0000000000000000-1e3",
            "0000000000000000\u{2010}1",
            "0000000000000000-\u{0661}",
        ] {
            check(cursor, Err(CursorError::Malformed));
        }
    }

    #[test]
    fn a_cursor_is_bounded() {
        check(
            "0000000000000000-9007199254740992",
            Err(CursorError::SeqTooLarge),
        );
        check(
            "0000000000000000-18446744073709551616",
            Err(CursorError::SeqTooLarge),
        );
        let longest = format!("0000000000000000-1{}", "0".repeat(110));
        check(&longest, Err(CursorError::SeqTooLarge));
        check(
            &format!("{longest}0"),
            Err(CursorError::TooLong { len: 129 }),
        );
    }

    #[test]
    fn after_reads_words_too_and_never_fails() {
        assert_eq!(After::parse(b"earliest"), After::Earliest);
        assert_eq!(After::parse(b"latest"), After::Latest);
        for sent in [
            &b""[..],
            b"Earliest",
            b"latest ",
            b"\xff",
            b"\0",
            &[b'0'; 100_000],
        ] {
            assert_eq!(After::parse(sent), After::Unknown);
        }
    }
}
