//! The client's side of the opening handshake (RFC 6455 section 4.1).

use core::error::Error;
use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::deflate::{DeflateParams, ExtensionField, InvalidAnswer};
use super::{
    ACCEPT, CONNECTION, EXTENSIONS, KEY, PROTOCOL, Repeated, UPGRADE, VERSION, accept_key,
    elements, has_element, is_token, single,
};

/// A client's opening handshake: what to ask, and whether the answer is right.
///
/// ```
/// use ws_proto::handshake::ClientHandshake;
///
/// let nonce = [7; 16]; // random, and another one for each connection
/// let handshake = ClientHandshake::new(nonce, "chat.v2, chat.v1").unwrap();
/// for (name, value) in handshake.request_headers() {
///     println!("{name}: {}", value.escape_ascii());
/// }
/// # let accept = ws_proto::handshake::accept_key(b"BwcHBwcHBwcHBwcHBwcHBw==");
/// let response: [(&str, &[u8]); 4] = [
///     ("Upgrade", b"websocket"),
///     ("Connection", b"Upgrade"),
///     ("Sec-WebSocket-Accept", &accept),
///     ("Sec-WebSocket-Protocol", b"chat.v1"),
/// ];
/// assert_eq!(handshake.verify(101, response.into_iter()), Ok(Some("chat.v1")));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ClientHandshake<'p> {
    key: [u8; 24],
    protocols: &'p str,
    /// What was wished for, and how that is asked for; an empty field if nothing was.
    deflate: DeflateParams,
    extensions: ExtensionField,
}

impl<'p> ClientHandshake<'p> {
    /// A handshake that offers the subprotocols in `protocols`, separated by commas, the preferred
    /// one first; none if it is empty. `nonce` is random, and chosen anew for each connection (RFC
    /// 6455 section 4.1).
    ///
    /// # Errors
    /// [`OfferError`] if a subprotocol is not a token.
    pub fn new(nonce: [u8; 16], protocols: &'p str) -> Result<Self, OfferError> {
        let mut key = [0; 24];
        let written = STANDARD.encode_slice(nonce, &mut key);
        debug_assert!(matches!(written, Ok(24)), "16 bytes are 24 in Base64");
        let this = Self {
            key,
            protocols,
            deflate: DeflateParams::default(),
            extensions: ExtensionField::new(),
        };
        if this.offered().all(|name| is_token(name.as_bytes())) {
            Ok(this)
        } else {
            Err(OfferError)
        }
    }

    /// Offers permessage-deflate (RFC 7692) as well. What the server made of it is told by
    /// [`verify_deflate`](Self::verify_deflate).
    #[must_use]
    pub fn with_deflate(mut self, wish: DeflateParams) -> Self {
        self.extensions = wish.offer();
        self.deflate = wish;
        self
    }

    /// The fields of the GET request, to which the caller adds `Host`.
    pub fn request_headers(&self) -> impl Iterator<Item = (&'static str, &[u8])> + Clone {
        [
            (UPGRADE, "websocket".as_bytes()),
            (CONNECTION, "Upgrade".as_bytes()),
            (KEY, self.key.as_slice()),
            (VERSION, "13".as_bytes()),
            (PROTOCOL, self.protocols.as_bytes()),
            (EXTENSIONS, self.extensions.as_slice()),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
    }

    /// The fields of an extended CONNECT (RFC 8441 section 5), to which the caller adds `:method:
    /// CONNECT`, `:protocol: websocket`, `:scheme`, `:authority` and `:path`. There is no key; the
    /// nonce is not used.
    pub fn connect_headers(&self) -> impl Iterator<Item = (&'static str, &[u8])> + Clone {
        self.request_headers()
            .filter(|(name, _)| ![UPGRADE, CONNECTION, KEY].contains(name))
    }

    /// Judges the server's answer (RFC 6455 section 4.1) and returns the subprotocol that it chose.
    ///
    /// # Errors
    /// [`HandshakeError`] if this is not the beginning of a WebSocket; close the transport.
    pub fn verify<'n, 'v>(
        &self,
        status: u16,
        headers: impl Iterator<Item = (&'n str, &'v [u8])> + Clone,
    ) -> Result<Option<&'p str>, HandshakeError> {
        if status != 101 {
            return Err(HandshakeError::Status(status));
        }
        let upgrade = single(headers.clone(), UPGRADE)?;
        if !upgrade.is_some_and(|value| value.eq_ignore_ascii_case(b"websocket")) {
            return Err(HandshakeError::Upgrade);
        }
        if !has_element(headers.clone(), CONNECTION, "upgrade") {
            return Err(HandshakeError::Connection);
        }
        if single(headers.clone(), ACCEPT)? != Some(&accept_key(&self.key)) {
            return Err(HandshakeError::Accept);
        }
        self.verify_choices(headers)
    }

    /// Judges the server's answer to an extended CONNECT (RFC 8441 section 5) and returns the
    /// subprotocol that it chose.
    ///
    /// # Errors
    /// [`HandshakeError`] if this is not the beginning of a WebSocket; reset the stream.
    pub fn verify_connect<'n, 'v>(
        &self,
        status: u16,
        headers: impl Iterator<Item = (&'n str, &'v [u8])> + Clone,
    ) -> Result<Option<&'p str>, HandshakeError> {
        if !(200..300).contains(&status) {
            return Err(HandshakeError::Status(status));
        }
        self.verify_choices(headers)
    }

    /// Whether extension and subprotocol were offered.
    fn verify_choices<'n, 'v>(
        &self,
        headers: impl Iterator<Item = (&'n str, &'v [u8])> + Clone,
    ) -> Result<Option<&'p str>, HandshakeError> {
        self.verify_deflate(headers.clone())?;
        match single(headers, PROTOCOL)? {
            None => Ok(None),
            Some(chosen) => self
                .offered()
                .find(|name| name.as_bytes() == chosen)
                .map(Some)
                .ok_or(HandshakeError::Subprotocol),
        }
    }

    /// Whether the answer, which [`verify`](Self::verify) judges, agrees to permessage-deflate, and
    /// to what.
    ///
    /// # Errors
    /// [`HandshakeError::Extension`] if the answer has an extension, or a parameter of one, that
    /// does not fit what was offered.
    pub fn verify_deflate<'n, 'v>(
        &self,
        headers: impl Iterator<Item = (&'n str, &'v [u8])> + Clone,
    ) -> Result<Option<DeflateParams>, HandshakeError> {
        if !self.extensions.is_empty() {
            let agreed = self.deflate.verify(headers);
            return agreed.map_err(|InvalidAnswer| HandshakeError::Extension);
        }
        match elements(headers, EXTENSIONS).next() {
            None => Ok(None),
            Some(_) => Err(HandshakeError::Extension),
        }
    }

    fn offered(&self) -> impl Iterator<Item = &'p str> + use<'p> {
        // One element of an empty list is the empty string.
        let count = if self.protocols.is_empty() {
            0
        } else {
            usize::MAX
        };
        self.protocols.split(',').take(count).map(str::trim_ascii)
    }
}

/// A subprotocol to be offered is not a token (RFC 9110 section 5.6.2): it is empty or has
/// characters beyond letters, digits and ``!#$%&'*+-.^_`|~``.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferError;

impl fmt::Display for OfferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a WebSocket subprotocol must be a token: letters, digits, no spaces")
    }
}

impl Error for OfferError {}

/// Why the answer to a client's opening handshake is no WebSocket. The server, or something in
/// between, is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The status is not 101, or not of the 200s to an extended CONNECT: an ordinary response, whose
    /// meaning is that of HTTP.
    Status(u16),
    /// No `Upgrade: websocket`.
    Upgrade,
    /// No `Connection: Upgrade`.
    Connection,
    /// `Sec-WebSocket-Accept` does not answer the key: something replayed an answer, or does not
    /// speak WebSocket.
    Accept,
    /// The server uses an extension that was not offered, or not like this.
    Extension,
    /// The server chose a subprotocol that was not offered.
    Subprotocol,
    /// A field came in several lines that must not.
    RepeatedField,
}

impl From<Repeated> for HandshakeError {
    fn from(_: Repeated) -> Self {
        Self::RepeatedField
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status(status) => {
                return write!(f, "the server answered {status}, which opens no WebSocket");
            }
            Self::Upgrade => "the answer lacks `Upgrade: websocket`",
            Self::Connection => "the answer lacks `Connection: Upgrade`",
            Self::Accept => "the answer's `Sec-WebSocket-Accept` does not match the key sent",
            Self::Extension => "the server uses an extension in a way that was not offered",
            Self::Subprotocol => "the server chose a subprotocol that was not offered",
            Self::RepeatedField => "a field of the answer came twice that must not",
        })
    }
}

impl Error for HandshakeError {}
