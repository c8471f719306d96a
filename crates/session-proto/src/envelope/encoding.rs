//! How data that is not text stands in JSON.

/// How `data` stands in the JSON. Where a message names none, it is the data itself.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Encoding {
    /// Base64 with padding (RFC 4648, section 4), for data that is not UTF-8.
    Base64,
}

impl Encoding {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Base64 => "base64",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        (name == Self::Base64.as_str()).then_some(Self::Base64)
    }
}
