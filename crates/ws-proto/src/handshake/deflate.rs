//! Negotiation of permessage-deflate (RFC 7692 section 7.1), as pure functions of header fields.

use super::{EXTENSIONS, elements};
use crate::inline::InlineBytes;

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// The value of a `Sec-WebSocket-Extensions` field: at most 136 bytes.
pub type ExtensionField = InlineBytes<136>;

/// The size of an LZ77 window as a power of two: 8 (256 bytes) to 15 (32 KiB).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowBits(u8);

impl WindowBits {
    /// 256 bytes.
    pub const MIN: Self = Self(8);
    /// 32 KiB.
    pub const MAX: Self = Self(15);

    /// A window of 2^`bits` bytes, if that is 8 to 15.
    #[must_use]
    pub const fn new(bits: u8) -> Option<Self> {
        match bits {
            8..=15 => Some(Self(bits)),
            _ => None,
        }
    }

    /// The power of two.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// As it is written: one or two digits, no zero in front (RFC 7692 section 7.1.2).
    fn parse(value: &[u8]) -> Option<Self> {
        let bits = match value {
            [digit @ (b'8' | b'9')] => digit - b'0',
            [b'1', digit @ b'0'..=b'5'] => 10 + (digit - b'0'),
            _ => return None,
        };
        Self::new(bits)
    }

    fn write(self, out: &mut ExtensionField) {
        if self.0 >= 10 {
            out.push(b"1");
        }
        out.push(&[b'0' + self.0 % 10]);
    }
}

/// What one end compresses with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateSide {
    /// Whether every message is compressed by itself: worse compression, no memory between messages.
    pub no_context_takeover: bool,
    /// The largest window used.
    pub max_window_bits: WindowBits,
}

impl Default for DeflateSide {
    /// Context is kept, in a window of 32 KiB.
    fn default() -> Self {
        Self {
            no_context_takeover: false,
            max_window_bits: WindowBits::MAX,
        }
    }
}

/// permessage-deflate (RFC 7692): what an endpoint asks for, and what both agreed on.
///
/// As a wish, `no_context_takeover` insists on it and `max_window_bits` is the most that is
/// tolerated, for either direction. The default wishes for nothing: whatever the peer asks is done.
///
/// ```
/// use ws_proto::handshake::DeflateParams;
///
/// let request: [(&str, &[u8]); 1] = [(
///     "Sec-WebSocket-Extensions",
///     b"permessage-deflate; client_max_window_bits; server_max_window_bits=10",
/// )];
/// let (agreed, field) = DeflateParams::default().accept(request.into_iter()).unwrap();
/// assert_eq!(agreed.server.max_window_bits.get(), 10);
/// assert_eq!(&*field, b"permessage-deflate; server_max_window_bits=10");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeflateParams {
    /// What the server compresses with and the client inflates.
    pub server: DeflateSide,
    /// What the client compresses with and the server inflates.
    pub client: DeflateSide,
}

impl DeflateParams {
    /// For a server with this wish: takes the first offer in the request's header fields that it can
    /// agree to, and returns what holds then, with the `Sec-WebSocket-Extensions` of the response.
    ///
    /// `None` if there is no such offer; the connection then is uncompressed, and the response has
    /// no such field. Offers that are malformed are declined as RFC 7692 section 7.1 asks, as is one
    /// whose client cannot shrink its window as far as this wish wants it.
    #[must_use]
    pub fn accept<'n, 'v>(
        &self,
        headers: impl Iterator<Item = (&'n str, &'v [u8])>,
    ) -> Option<(Self, ExtensionField)> {
        elements(headers, EXTENSIONS).find_map(|offer| self.accept_one(&Parameters::parse(offer)?))
    }

    fn accept_one(&self, offer: &Parameters) -> Option<(Self, ExtensionField)> {
        let client_bits = match offer.client_max_window_bits {
            None => WindowBits::MAX,
            Some(most) => most
                .unwrap_or(WindowBits::MAX)
                .min(self.client.max_window_bits),
        };
        if client_bits > self.client.max_window_bits {
            return None;
        }
        let server_bits = offer
            .server_max_window_bits
            .unwrap_or(WindowBits::MAX)
            .min(self.server.max_window_bits);
        let agreed = Self {
            server: DeflateSide {
                no_context_takeover: self.server.no_context_takeover
                    || offer.server_no_context_takeover,
                max_window_bits: server_bits,
            },
            client: DeflateSide {
                // The client only hints that it will; holding it to that saves memory here.
                no_context_takeover: self.client.no_context_takeover
                    || offer.client_no_context_takeover,
                max_window_bits: client_bits,
            },
        };
        // The server's window must be confirmed if it was asked for, whatever its size.
        let confirmed = offer.server_max_window_bits.map(|_| server_bits);
        let client = (client_bits < WindowBits::MAX).then_some(Some(client_bits));
        Some((agreed, agreed.write(confirmed, client)))
    }

    /// For a client with this wish: the `Sec-WebSocket-Extensions` of the request.
    #[must_use]
    pub fn offer(&self) -> ExtensionField {
        let own = self.client.max_window_bits;
        // Without a value it says that the server may choose.
        let own = (own < WindowBits::MAX).then_some(own);
        self.write(None, Some(own))
    }

    /// For a client that sent the [`offer`](Self::offer) of this wish: what the response's fields
    /// agree to, `None` if the server declined.
    ///
    /// # Errors
    /// [`InvalidAnswer`] if the answer is not one to the offer (RFC 7692 section 7.1); fail the
    /// connection.
    pub fn verify<'n, 'v>(
        &self,
        headers: impl Iterator<Item = (&'n str, &'v [u8])>,
    ) -> Result<Option<Self>, InvalidAnswer> {
        let mut answers = elements(headers, EXTENSIONS);
        let Some(answer) = answers.next() else {
            return Ok(None);
        };
        if answers.next().is_some() {
            return Err(InvalidAnswer);
        }
        let answer = Parameters::parse(answer).ok_or(InvalidAnswer)?;
        let server_bits = answer.server_max_window_bits.unwrap_or(WindowBits::MAX);
        let client_bits = match answer.client_max_window_bits {
            None => self.client.max_window_bits,
            // A value that is larger than the offer's would have no meaning.
            Some(Some(bits)) if bits <= self.client.max_window_bits => bits,
            Some(_) => return Err(InvalidAnswer),
        };
        if server_bits > self.server.max_window_bits
            || (self.server.no_context_takeover && !answer.server_no_context_takeover)
        {
            return Err(InvalidAnswer);
        }
        Ok(Some(Self {
            server: DeflateSide {
                no_context_takeover: answer.server_no_context_takeover,
                max_window_bits: server_bits,
            },
            client: DeflateSide {
                no_context_takeover: self.client.no_context_takeover
                    || answer.client_no_context_takeover,
                max_window_bits: client_bits,
            },
        }))
    }

    /// The field; a window of the server is written if it is not the largest, or `confirmed`.
    fn write(
        &self,
        confirmed: Option<WindowBits>,
        client: Option<Option<WindowBits>>,
    ) -> ExtensionField {
        let mut out = ExtensionField::new();
        out.push(NAME.as_bytes());
        let mut add = |name: &str| {
            out.push(b"; ");
            out.push(name.as_bytes());
        };
        if self.server.no_context_takeover {
            add(SERVER_NO_CONTEXT_TAKEOVER);
        }
        if self.client.no_context_takeover {
            add(CLIENT_NO_CONTEXT_TAKEOVER);
        }
        let server = self.server.max_window_bits;
        let limit = (server < WindowBits::MAX).then_some(server);
        if let Some(bits) = confirmed.or(limit) {
            out.push(b"; ");
            out.push(SERVER_MAX_WINDOW_BITS.as_bytes());
            out.push(b"=");
            bits.write(&mut out);
        }
        if let Some(bits) = client {
            out.push(b"; ");
            out.push(CLIENT_MAX_WINDOW_BITS.as_bytes());
            if let Some(bits) = bits {
                out.push(b"=");
                bits.write(&mut out);
            }
        }
        out
    }
}

/// The server's answer to an offer of permessage-deflate is not one that the offer allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidAnswer;

impl core::fmt::Display for InvalidAnswer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the server's `Sec-WebSocket-Extensions` does not answer the offer")
    }
}

impl core::error::Error for InvalidAnswer {}

/// The parameters of one element, each at most once.
#[derive(Debug, Default)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<WindowBits>,
    /// In an offer it may stand without a value.
    client_max_window_bits: Option<Option<WindowBits>>,
}

impl Parameters {
    /// `None` if this is another extension, or has parameters that are unknown, come twice, lack a
    /// value or have a wrong one: all reasons to decline it (RFC 7692 section 7.1).
    fn parse(element: &[u8]) -> Option<Self> {
        let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        if parts.next() != Some(NAME.as_bytes()) {
            return None;
        }
        let mut parameters = Self::default();
        for part in parts {
            let mut halves = part.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
            let (name, value) = (halves.next()?, halves.next().map(unquote));
            // Each arm sees whether the parameter was there before, so none comes twice.
            let again = match (core::str::from_utf8(name).ok()?, value) {
                (SERVER_NO_CONTEXT_TAKEOVER, None) => {
                    core::mem::replace(&mut parameters.server_no_context_takeover, true)
                }
                (CLIENT_NO_CONTEXT_TAKEOVER, None) => {
                    core::mem::replace(&mut parameters.client_no_context_takeover, true)
                }
                (SERVER_MAX_WINDOW_BITS, Some(value)) => {
                    let bits = WindowBits::parse(value)?;
                    parameters.server_max_window_bits.replace(bits).is_some()
                }
                (CLIENT_MAX_WINDOW_BITS, value) => {
                    let bits = match value {
                        None => None,
                        Some(value) => Some(WindowBits::parse(value)?),
                    };
                    parameters.client_max_window_bits.replace(bits).is_some()
                }
                _ => return None,
            };
            if again {
                return None;
            }
        }
        Some(parameters)
    }
}

/// A value may be written as a quoted string, whose content must be a token all the same (RFC 6455
/// section 9.1), so there is no comma or semicolon in it that would have been cut at.
fn unquote(value: &[u8]) -> &[u8] {
    value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""))
        .unwrap_or(value)
}
