//! UTF-8 validation of text that comes in pieces (RFC 6455 section 8.1).

use core::str;

use crate::inline::InlineBytes;
use crate::mask::unmask_text;

/// A UTF-8 validator that is fed piece by piece and fails at the first byte that cannot be right.
///
/// A character cut by the end of a piece is carried over, so a piece may end anywhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Utf8 {
    /// A proper prefix of one character, and zeros, which are in no such prefix.
    carry: [u8; 3],
}

/// The bytes are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidUtf8;

impl Utf8 {
    pub(crate) const fn new() -> Self {
        Self { carry: [0; 3] }
    }

    pub(crate) fn push(&mut self, mut piece: &[u8]) -> Result<(), InvalidUtf8> {
        while self.is_cut() {
            let Some((first, rest)) = piece.split_first() else {
                return Ok(());
            };
            self.complete(*first)?;
            piece = rest;
        }
        match valid_up_to(piece) {
            Ok(len) if len == piece.len() => Ok(()),
            Err(InvalidUtf8) => Err(InvalidUtf8),
            Ok(len) => {
                let prefix = piece.get(len..).unwrap_or_default();
                for (to, byte) in self.carry.iter_mut().zip(prefix) {
                    *to = *byte;
                }
                Ok(())
            }
        }
    }

    /// Unmasks a piece in place and takes it, in one pass where it is ASCII, otherwise block by block
    /// while it is in the first level cache.
    pub(crate) fn push_masked(
        &mut self,
        piece: &mut [u8],
        key: [u8; 4],
    ) -> Result<(), InvalidUtf8> {
        // A multiple of four, so that the key begins anew in each.
        const BLOCK: usize = 16 * 1024;
        for block in piece.chunks_mut(BLOCK) {
            if !unmask_text(block, key) || self.is_cut() {
                self.push(block)?;
            }
        }
        Ok(())
    }

    /// The text ends here.
    #[inline]
    pub(crate) fn finish(&self) -> Result<(), InvalidUtf8> {
        if self.is_cut() {
            Err(InvalidUtf8)
        } else {
            Ok(())
        }
    }

    #[inline]
    fn is_cut(&self) -> bool {
        self.carry != [0; 3]
    }

    /// Takes one more byte of the character that was cut.
    fn complete(&mut self, byte: u8) -> Result<(), InvalidUtf8> {
        let mut character = InlineBytes::<4>::new();
        character.push(self.carry.split(|byte| *byte == 0).next().unwrap_or(&[]));
        character.push(&[byte]);
        self.carry = [0; 3];
        match str::from_utf8(&character) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(InvalidUtf8),
            Err(_) => {
                for (to, byte) in self.carry.iter_mut().zip(&*character) {
                    *to = *byte;
                }
                Ok(())
            }
        }
    }
}

/// Below this `str` is faster than simdutf8.
#[cfg(feature = "simdutf8")]
const FEW: usize = 64;

/// Whether `text` is UTF-8 from its beginning to its end.
pub(crate) fn is_valid(text: &[u8]) -> bool {
    #[cfg(feature = "simdutf8")]
    if text.len() >= FEW {
        return simdutf8::basic::from_utf8(text).is_ok();
    }
    str::from_utf8(text).is_ok()
}

/// How much of `piece` is whole characters, if the rest is a proper prefix of one.
fn valid_up_to(piece: &[u8]) -> Result<usize, InvalidUtf8> {
    #[cfg(feature = "simdutf8")]
    if piece.len() >= FEW {
        // What it takes to be told where an error is costs more than to look for the cut.
        let (whole, cut) = piece.split_at(piece.len() - cut_len(piece));
        return match valid_up_to_by_core(cut) {
            Ok(0) if is_valid(whole) => Ok(whole.len()),
            _ => Err(InvalidUtf8),
        };
    }
    valid_up_to_by_core(piece)
}

fn valid_up_to_by_core(piece: &[u8]) -> Result<usize, InvalidUtf8> {
    match str::from_utf8(piece) {
        Ok(_) => Ok(piece.len()),
        Err(error) if error.error_len().is_some() => Err(InvalidUtf8),
        Err(error) => Ok(error.valid_up_to()),
    }
}

/// How many bytes at the end look like a character that goes on behind it; at most 3.
#[cfg(feature = "simdutf8")]
fn cut_len(piece: &[u8]) -> usize {
    for (byte, len) in piece.iter().rev().zip(1..=3) {
        let whole = match byte {
            0x80..0xc0 => continue,
            0xc0..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0.. => 4,
            _ => 1,
        };
        return if len < whole { len } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;

    /// What `pieces` come to: valid, cut within a character, or bad from this byte on.
    fn validate<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Result<(), Option<usize>> {
        let mut utf8 = Utf8::new();
        let mut seen = 0;
        for piece in pieces {
            utf8.push(piece).map_err(|_| Some(seen))?;
            seen += piece.len();
        }
        utf8.finish().map_err(|_| None)
    }

    /// The same, by trying every prefix.
    fn oracle(bytes: &[u8]) -> Result<(), Option<usize>> {
        for len in 0..=bytes.len() {
            match str::from_utf8(&bytes[..len]) {
                Err(error) if error.error_len().is_some() => return Err(Some(len - 1)),
                _ => {}
            }
        }
        str::from_utf8(bytes).map(drop).map_err(|_| None)
    }

    /// Bytes that are nearly text: characters of every length, cut, joined and spoilt.
    fn nearly_text() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            8 => "[a\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}]{1,3}"
                .prop_map(|text| text.into_bytes()),
            1 => vec(any::<u8>(), 1..3),
            1 => vec(0x80..0xc0_u8, 1..2),
            1 => prop::sample::select(std::vec![
                &b"\xc0\x80"[..], b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xf0\x8f\xbf\xbf",
                b"\xf4\x90\x80\x80", b"\xf5", b"\xe2\x82", b"\xf0\x9f\x8c", b"\xff",
            ]).prop_map(<[u8]>::to_vec),
        ];
        vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }

    /// simdutf8 does not say whether a character is only cut.
    #[test]
    fn behind_many_bytes_a_cut_is_what_core_calls_one() {
        let bytes = [
            0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xdf, 0xe0, 0xe1, 0xed,
            0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xff,
        ];
        for len in [61, 64, 65, 130] {
            let mut text = std::vec![b'a'; len];
            let mut cuts = 0;
            for (first, second, third) in bytes.iter().flat_map(|first| {
                let pairs = bytes.iter().flat_map(|a| bytes.iter().map(move |b| (a, b)));
                pairs.map(move |(second, third)| (first, second, third))
            }) {
                text.truncate(len);
                text.extend([first, second, third]);
                let expected = valid_up_to_by_core(&text);
                assert_eq!(valid_up_to(&text), expected, "{first} {second} {third}");
                cuts += usize::from(expected.is_ok_and(|valid| valid < text.len()));
            }
            assert!(cuts > 100);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

        #[test]
        fn byte_by_byte_fails_at_the_first_byte_that_core_calls_bad(bytes in nearly_text()) {
            prop_assert_eq!(validate(bytes.chunks(1)), oracle(&bytes));
        }

        #[test]
        fn any_two_cuts_give_the_verdict_of_the_whole(
            bytes in nearly_text(),
            first: prop::sample::Index,
            second: prop::sample::Index,
        ) {
            let (first, second) = (first.index(bytes.len() + 1), second.index(bytes.len() + 1));
            let (first, second) = (first.min(second), first.max(second));
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            let verdict = validate(pieces);
            match oracle(&bytes) {
                // The piece with the bad byte is the one that fails.
                Err(Some(at)) => {
                    let start = [second, first, 0].into_iter().find(|start| *start <= at);
                    prop_assert_eq!(verdict, Err(start));
                }
                other => prop_assert_eq!(verdict, other),
            }
        }
    }
}
