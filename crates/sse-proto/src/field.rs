//! Types and ids of events that can be sent as they are.

use core::fmt;

/// The type of an event: what `addEventListener` listens for.
///
/// The empty name is legal and means the default, `message`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct EventName<'a>(&'a str);

impl<'a> EventName<'a> {
    /// Checks that `name` can be sent as it is.
    ///
    /// # Errors
    /// [`FieldError::LineBreak`] and [`FieldError::Nul`].
    pub const fn new(name: &'a str) -> Result<Self, FieldError> {
        match forbidden(name.as_bytes()) {
            Some(error) => Err(error),
            None => Ok(Self(name)),
        }
    }

    /// The name itself.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.0
    }
}

/// The id of an event: what a client sends back as `Last-Event-ID` to resume.
///
/// Refuses whatever a client could not send back unchanged. The empty id is legal and resets the
/// client's last event ID, which is not the same as sending none.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct EventId<'a>(&'a str);

impl<'a> EventId<'a> {
    /// Checks that `id` can be sent, and sent back in a header, as it is.
    ///
    /// # Errors
    /// Every variant of [`FieldError`].
    pub const fn new(id: &'a str) -> Result<Self, FieldError> {
        let bytes = id.as_bytes();
        if let Some(error) = forbidden(bytes) {
            return Err(error);
        }
        if let [b' ' | b'\t', ..] | [.., b' ' | b'\t'] = bytes {
            return Err(FieldError::OuterWhitespace);
        }
        let mut rest = bytes;
        while let [byte, tail @ ..] = rest {
            if byte.is_ascii_control() && *byte != b'\t' {
                return Err(FieldError::Control);
            }
            rest = tail;
        }
        Ok(Self(id))
    }

    /// The id itself.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.0
    }

    /// Whether a browser can send this id back to another origin without a preflight request: at
    /// most 128 bytes, none of them a CORS-unsafe request-header byte (Fetch standard, section
    /// 2.2.2).
    #[must_use]
    pub const fn is_cors_safe(&self) -> bool {
        let mut rest = self.0.as_bytes();
        if rest.len() > 128 {
            return false;
        }
        while let [byte, tail @ ..] = rest {
            if matches!(byte, b'"' | b'(' | b')' | b':' | b'<' | b'>' | b'?' | b'@')
                || matches!(byte, b'[' | b'\\' | b']' | b'{' | b'}')
            {
                return false;
            }
            rest = tail;
        }
        true
    }
}

/// Why a string cannot be an [`EventName`] or an [`EventId`]. The string's author is at fault.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum FieldError {
    /// A carriage return or line feed would end the field and begin another.
    LineBreak,
    /// U+0000: a client ignores an id that holds one.
    Nul,
    /// A space or tab at either end of an id is trimmed from the `Last-Event-ID` header.
    OuterWhitespace,
    /// A control character in an id is not legal in the `Last-Event-ID` header.
    Control,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LineBreak => "contains a line break: remove CR and LF",
            Self::Nul => "contains U+0000: remove it",
            Self::OuterWhitespace => "begins or ends with a space or tab: trim it",
            Self::Control => "contains a control character: remove it",
        })
    }
}

impl core::error::Error for FieldError {}

const fn forbidden(mut bytes: &[u8]) -> Option<FieldError> {
    while let [byte, tail @ ..] = bytes {
        match byte {
            b'\n' | b'\r' => return Some(FieldError::LineBreak),
            0 => return Some(FieldError::Nul),
            _ => bytes = tail,
        }
    }
    None
}
