//! The server's side of the opening handshake (RFC 6455 section 4.2).

use core::error::Error;
use core::fmt;

use super::{
    ACCEPT, CONNECTION, KEY, PROTOCOL, Repeated, UPGRADE, VERSION, accept_key, elements,
    has_element, is_token, single,
};

/// Which web pages may connect.
///
/// A browser lets any page open a WebSocket to any server and sends the user's cookies along; only
/// the server can refuse, by the `Origin` field (RFC 6455 section 10.2). Requests without one do
/// not come from a browser and pass under every policy.
#[derive(Clone, Copy, Debug)]
pub enum OriginPolicy<'a> {
    /// Pages from the host and port that the request was sent to. The scheme is not compared, since
    /// a server behind a TLS proxy does not know its own.
    SameHost,
    /// Pages from these origins, each as browsers write it: `https://example.com`,
    /// `http://localhost:3000`.
    AllowList(&'a [&'a str]),
    /// Pages from anywhere.
    Any {
        /// Why that is safe here, for whoever reads the configuration.
        reason: &'a str,
    },
}

impl OriginPolicy<'_> {
    fn allows(&self, origin: &[u8], host: &[u8]) -> bool {
        match self {
            Self::SameHost => is_same_host(origin, host),
            Self::AllowList(origins) => origins
                .iter()
                .any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(origin)),
            Self::Any { .. } => true,
        }
    }
}

/// A request that may become a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted<'s> {
    /// The value of `Sec-WebSocket-Accept`; `None` for an extended CONNECT, which has none.
    pub accept: Option<[u8; 28]>,
    /// The subprotocol chosen: the first one that the client offered and the server supports.
    pub subprotocol: Option<&'s str>,
}

impl Accepted<'_> {
    /// The status of the response: 101 to an upgrade (RFC 6455 section 4.2.2), 200 to an extended
    /// CONNECT (RFC 8441 section 5).
    #[must_use]
    pub const fn status(&self) -> u16 {
        if self.accept.is_some() { 101 } else { 200 }
    }

    /// The fields of the response.
    pub fn response_headers(&self) -> impl Iterator<Item = (&'static str, &[u8])> + Clone {
        let accept = self.accept.as_ref().map(<[u8; 28]>::as_slice);
        [
            (UPGRADE, accept.map(|_| "websocket".as_bytes())),
            (CONNECTION, accept.map(|_| "Upgrade".as_bytes())),
            (ACCEPT, accept),
            (PROTOCOL, self.subprotocol.map(str::as_bytes)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// Why a request does not become a WebSocket. The client is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reject {
    /// The method is not GET.
    Method,
    /// No `Host`.
    MissingHost,
    /// No `Upgrade: websocket`: an ordinary request, or a proxy took the field out.
    MissingUpgrade,
    /// No `Connection: upgrade`: an ordinary request, or a proxy took the field out.
    MissingConnection,
    /// `Sec-WebSocket-Version` is not 13.
    Version,
    /// `Sec-WebSocket-Key` is missing or not 16 bytes in Base64.
    Key,
    /// `Sec-WebSocket-Protocol` is not a list of tokens.
    Subprotocol,
    /// A field came in several lines that must not: `Host`, `Origin`, `Sec-WebSocket-Key` or
    /// `Sec-WebSocket-Version`.
    RepeatedField,
    /// The policy does not allow the `Origin`.
    Origin,
    /// The `:protocol` of an extended CONNECT is not `websocket`.
    ConnectProtocol,
    /// An extended CONNECT whose `Sec-WebSocket-Version` is not 13. It has a status of its own, since
    /// HTTP/2 knows neither 426 nor the fields that go with it (RFC 9113 section 8.6).
    ConnectVersion,
}

impl Reject {
    /// The status of the response.
    #[must_use]
    pub const fn status(self) -> u16 {
        self.facts().0
    }

    /// The fields of the response that tell the client how to do better.
    #[must_use]
    pub const fn response_headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Method => &[("allow", "GET")],
            Self::MissingUpgrade | Self::MissingConnection | Self::Version => &[
                (UPGRADE, "websocket"),
                (CONNECTION, "Upgrade"),
                (VERSION, "13"),
            ],
            Self::ConnectVersion => &[(VERSION, "13")],
            _ => &[],
        }
    }

    /// The one map from reason to wire.
    const fn facts(self) -> (u16, &'static str) {
        match self {
            Self::Method => (405, "a WebSocket begins with GET"),
            Self::MissingHost => (400, "the Host field is missing"),
            Self::MissingUpgrade => (
                426,
                "this is a WebSocket endpoint and the field `Upgrade: websocket` is missing",
            ),
            Self::MissingConnection => (
                426,
                "the field `Connection: Upgrade` is missing; a proxy in between must pass it on",
            ),
            Self::Version => (426, "the field `Sec-WebSocket-Version` must be 13"),
            Self::Key => (
                400,
                "the field `Sec-WebSocket-Key` must be 16 bytes in Base64",
            ),
            Self::Subprotocol => (
                400,
                "the field `Sec-WebSocket-Protocol` must be a list of tokens",
            ),
            Self::RepeatedField => (
                400,
                "one of the fields `Host`, `Origin`, `Sec-WebSocket-Key` and \
                 `Sec-WebSocket-Version` came twice",
            ),
            Self::Origin => (403, "pages from this origin may not connect"),
            Self::ConnectProtocol => (501, "the only `:protocol` served here is `websocket`"),
            Self::ConnectVersion => (400, "the field `Sec-WebSocket-Version` must be 13"),
        }
    }
}

impl From<Repeated> for Reject {
    fn from(_: Repeated) -> Self {
        Self::RepeatedField
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts().1)
    }
}

impl Error for Reject {}

/// Judges a client's request to upgrade (RFC 6455 section 4.2.1) and chooses the subprotocol.
///
/// `supported` are the subprotocols of this server. If none of them is among those offered the
/// handshake still succeeds, without one (section 4.2.2); a server that insists looks at
/// [`Accepted::subprotocol`].
///
/// # Errors
/// [`Reject`] gives the response.
pub fn check_request<'n, 'v, 's>(
    method: &str,
    headers: impl Iterator<Item = (&'n str, &'v [u8])> + Clone,
    origin: &OriginPolicy<'_>,
    supported: &[&'s str],
) -> Result<Accepted<'s>, Reject> {
    if method != "GET" {
        return Err(Reject::Method);
    }
    if !has_element(headers.clone(), UPGRADE, "websocket") {
        return Err(Reject::MissingUpgrade);
    }
    if !has_element(headers.clone(), CONNECTION, "upgrade") {
        return Err(Reject::MissingConnection);
    }
    if single(headers.clone(), VERSION)? != Some(b"13") {
        return Err(Reject::Version);
    }
    let host = single(headers.clone(), "host")?.ok_or(Reject::MissingHost)?;
    check_origin(headers.clone(), origin, host)?;
    let key = single(headers.clone(), KEY)?
        .filter(|key| is_key(key))
        .ok_or(Reject::Key)?;
    Ok(Accepted {
        accept: Some(accept_key(key)),
        subprotocol: choose(headers, supported)?,
    })
}

/// Judges a client's extended CONNECT over HTTP/2 (RFC 8441 section 5) or HTTP/3 (RFC 9220), and
/// chooses the subprotocol, as [`check_request`] does for an upgrade.
///
/// `protocol` and `authority` are the pseudo-header fields of these names. The caller has seen that
/// the method is CONNECT and that there is a `:protocol`, and has announced
/// `SETTINGS_ENABLE_CONNECT_PROTOCOL`. There is no key and nothing to be upgraded: HTTP/2 itself
/// tells that both ends mean it. After the response the stream's DATA is the connection's bytes, and
/// its end that of the transport.
///
/// ```
/// use ws_proto::handshake::{OriginPolicy, check_connect};
///
/// let headers: [(&str, &[u8]); 3] = [
///     ("sec-websocket-version", b"13"),
///     ("sec-websocket-protocol", b"chat"),
///     ("origin", b"https://example.com"),
/// ];
/// let accepted = check_connect(
///     "websocket",
///     "example.com",
///     headers.into_iter(),
///     &OriginPolicy::SameHost,
///     &["chat"],
/// )?;
/// assert_eq!((accepted.status(), accepted.subprotocol), (200, Some("chat")));
/// # Ok::<(), ws_proto::handshake::Reject>(())
/// ```
///
/// # Errors
/// [`Reject`] gives the response.
pub fn check_connect<'n, 'v, 's>(
    protocol: &str,
    authority: &str,
    headers: impl Iterator<Item = (&'n str, &'v [u8])> + Clone,
    origin: &OriginPolicy<'_>,
    supported: &[&'s str],
) -> Result<Accepted<'s>, Reject> {
    if protocol != "websocket" {
        return Err(Reject::ConnectProtocol);
    }
    if single(headers.clone(), VERSION)? != Some(b"13") {
        return Err(Reject::ConnectVersion);
    }
    check_origin(headers.clone(), origin, authority.as_bytes())?;
    Ok(Accepted {
        accept: None,
        subprotocol: choose(headers, supported)?,
    })
}

fn check_origin<'n, 'v>(
    headers: impl Iterator<Item = (&'n str, &'v [u8])>,
    policy: &OriginPolicy<'_>,
    host: &[u8],
) -> Result<(), Reject> {
    match single(headers, "origin")? {
        Some(page) if !policy.allows(page, host) => Err(Reject::Origin),
        _ => Ok(()),
    }
}

fn choose<'n, 'v, 's>(
    headers: impl Iterator<Item = (&'n str, &'v [u8])> + Clone,
    supported: &[&'s str],
) -> Result<Option<&'s str>, Reject> {
    if !elements(headers.clone(), PROTOCOL).all(is_token) {
        return Err(Reject::Subprotocol);
    }
    let chosen = elements(headers, PROTOCOL)
        .find_map(|offered| supported.iter().find(|name| name.as_bytes() == offered));
    Ok(chosen.copied())
}

/// Whether this is Base64 of 16 bytes. The four bits left over are not looked at.
fn is_key(key: &[u8]) -> bool {
    let Some((digits, b"==")) = key.split_at_checked(22) else {
        return false;
    };
    digits
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

/// Whether an origin (`scheme://host[:port]`) and a `Host` (`host[:port]`) are the same host and
/// port, where a port left out is the default one of the origin's scheme.
fn is_same_host(origin: &[u8], host: &[u8]) -> bool {
    let schemes: [(&[u8], &[u8]); 2] = [(b"https://", b":443"), (b"http://", b":80")];
    schemes.into_iter().any(|(scheme, port)| {
        strip_scheme(origin, scheme).is_some_and(|authority| {
            let authority = authority.strip_suffix(port).unwrap_or(authority);
            let host = host.strip_suffix(port).unwrap_or(host);
            !host.is_empty() && authority.eq_ignore_ascii_case(host)
        })
    })
}

fn strip_scheme<'o>(origin: &'o [u8], scheme: &[u8]) -> Option<&'o [u8]> {
    let (head, authority) = origin.split_at_checked(scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then_some(authority)
}
