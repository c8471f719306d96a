//! The opening handshake, as a pure function of header fields: the upgrade of HTTP/1.1 (RFC 6455
//! section 4) and the extended CONNECT of HTTP/2 and HTTP/3 (RFC 8441, RFC 9220), with one set of
//! types.
//!
//! | | HTTP/1.1 | HTTP/2, HTTP/3 |
//! |---|---|---|
//! | the server judges | [`check_request`] | [`check_connect`] |
//! | the client asks with | [`ClientHandshake::request_headers`] | [`ClientHandshake::connect_headers`] |
//! | the client judges | [`ClientHandshake::verify`] | [`ClientHandshake::verify_connect`] |
//! | the status | 101 | 200 |
//! | compression | [`DeflateParams`] | the same |
//!
//! Header fields are `(name, value)` pairs from any HTTP implementation. Names are compared without
//! case, a field may come in several lines, and lists are read as lists, in time linear in their
//! length and without heap. The caller sees to the rest of HTTP: version, header size limits, no
//! request body.
//!
//! Frames may follow the peer's last header byte immediately: hand what was read beyond it to
//! [`Connection::push`](crate::Connection::push) first.

mod client;
mod deflate;
mod server;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

pub use client::{ClientHandshake, HandshakeError, OfferError};
pub use deflate::{DeflateParams, DeflateSide, ExtensionField, InvalidAnswer, WindowBits};
pub use server::{Accepted, OriginPolicy, Reject, check_connect, check_request};

const UPGRADE: &str = "upgrade";
const CONNECTION: &str = "connection";
const ACCEPT: &str = "sec-websocket-accept";
const EXTENSIONS: &str = "sec-websocket-extensions";
const KEY: &str = "sec-websocket-key";
const PROTOCOL: &str = "sec-websocket-protocol";
const VERSION: &str = "sec-websocket-version";

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (RFC 6455 section 4.2.2).
#[must_use]
pub fn accept_key(key: &[u8]) -> [u8; 28] {
    let digest = Sha1::new()
        .chain_update(key)
        .chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        .finalize();
    let mut accept = [0; 28];
    let written = STANDARD.encode_slice(digest, &mut accept);
    debug_assert!(matches!(written, Ok(28)), "20 bytes are 28 in Base64");
    accept
}

/// The values of all lines of one field, without the white space around them.
fn values<'n, 'v>(
    headers: impl Iterator<Item = (&'n str, &'v [u8])>,
    name: &str,
) -> impl Iterator<Item = &'v [u8]> {
    headers
        .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim_ascii())
}

/// The elements of a field that is a list (RFC 9110 section 5.6.1), over all its lines.
fn elements<'n, 'v>(
    headers: impl Iterator<Item = (&'n str, &'v [u8])>,
    name: &str,
) -> impl Iterator<Item = &'v [u8]> {
    values(headers, name)
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Whether a list has an element, compared without case.
fn has_element<'n, 'v>(
    headers: impl Iterator<Item = (&'n str, &'v [u8])>,
    name: &str,
    wanted: &str,
) -> bool {
    elements(headers, name).any(|element| element.eq_ignore_ascii_case(wanted.as_bytes()))
}

/// A field came in several lines that must not.
#[derive(Clone, Copy, Debug)]
struct Repeated;

/// The value of a field that may come in one line only.
fn single<'n, 'v>(
    headers: impl Iterator<Item = (&'n str, &'v [u8])>,
    name: &str,
) -> Result<Option<&'v [u8]>, Repeated> {
    let mut values = values(headers, name);
    let value = values.next();
    if values.next().is_some() {
        Err(Repeated)
    } else {
        Ok(value)
    }
}

/// Whether this is a token (RFC 9110 section 5.6.2).
fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}
