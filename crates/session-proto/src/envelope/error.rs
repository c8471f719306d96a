//! Why a message could not be read.

use core::fmt;

/// Why a message could not be read. Its sender is at fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The text is not one JSON value.
    NotJson {
        /// Where reading stopped, counted from 1.
        line: usize,
        /// Where reading stopped in that line, counted from 1.
        column: usize,
    },
    /// The text is JSON, perhaps, but not an object.
    NotAnObject,
    /// The `type` is none that this end understands. A client that ignores such messages gets
    /// along with a newer hub.
    UnknownType {
        /// The types understood.
        expected: &'static str,
    },
    /// A field that the message needs is not there, or null.
    MissingField {
        /// Its name.
        field: &'static str,
    },
    /// A field holds another kind of JSON value than it must.
    WrongType {
        /// Its name.
        field: &'static str,
        /// What it must hold.
        expected: &'static str,
    },
    /// A field holds none of the strings that it may.
    UnknownValue {
        /// Its name.
        field: &'static str,
        /// The strings that it may hold.
        expected: &'static str,
    },
}

impl EnvelopeError {
    /// A name for programs, stable across versions; the `code` of an `error` message.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotJson { .. } => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::UnknownType { .. } => "unknown_type",
            Self::MissingField { .. } => "missing_field",
            Self::WrongType { .. } => "wrong_type",
            Self::UnknownValue { .. } => "unknown_value",
        }
    }
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson { line, column } => write!(
                f,
                "not JSON at line {line} column {column}: send one JSON object per message"
            ),
            Self::NotAnObject => f.write_str("not a JSON object: send one JSON object per message"),
            Self::UnknownType { expected } => {
                write!(f, "unknown message type: `type` must be one of {expected}")
            }
            Self::MissingField { field } => write!(f, "the field `{field}` is missing: add it"),
            Self::WrongType { field, expected } => {
                write!(f, "the field `{field}` must be {expected}")
            }
            Self::UnknownValue { field, expected } => {
                write!(f, "the field `{field}` must be one of {expected}")
            }
        }
    }
}

impl core::error::Error for EnvelopeError {}
