use core::str;

use crate::inline::InlineBytes;

/// A UTF-8 validator that is fed piece by piece and fails at the first byte that cannot be right.
///
/// A character cut by the end of a piece is carried over, so a piece may end anywhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Utf8 {
    /// A proper prefix of one character: at most 3 bytes between calls.
    carry: InlineBytes<4>,
}

/// The bytes are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidUtf8;

impl Utf8 {
    pub(crate) const fn new() -> Self {
        Self {
            carry: InlineBytes::new(),
        }
    }

    pub(crate) fn push(&mut self, mut piece: &[u8]) -> Result<(), InvalidUtf8> {
        while !self.carry.is_empty() {
            let Some((first, rest)) = piece.split_first() else {
                return Ok(());
            };
            self.carry.push(&[*first]);
            piece = rest;
            match str::from_utf8(&self.carry) {
                Ok(_) => self.carry.clear(),
                Err(error) if error.error_len().is_some() => return Err(InvalidUtf8),
                Err(_) => {}
            }
        }
        match str::from_utf8(piece) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(InvalidUtf8),
            Err(error) => {
                self.carry
                    .push(piece.get(error.valid_up_to()..).unwrap_or_default());
                Ok(())
            }
        }
    }

    /// The text ends here.
    pub(crate) fn finish(&self) -> Result<(), InvalidUtf8> {
        if self.carry.is_empty() {
            Ok(())
        } else {
            Err(InvalidUtf8)
        }
    }
}
