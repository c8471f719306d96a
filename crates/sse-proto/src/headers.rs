//! HTTP headers that an event stream needs, on both sides.

use core::time::Duration;

/// The media type of an event stream, for the response's `Content-Type` and the request's `Accept`.
pub const CONTENT_TYPE: &str = "text/event-stream";

/// The `Cache-Control` of an event stream: `no-transform` keeps proxies from compressing it, which
/// would hold events back.
pub const CACHE_CONTROL: &str = "no-cache, no-transform";

/// Name and value of the header that tells nginx and its relatives not to buffer the response.
pub const X_ACCEL_BUFFERING: (&str, &str) = ("x-accel-buffering", "no");

/// Name of the request header by which a client says what it received last.
pub const LAST_EVENT_ID: &str = "last-event-id";

/// Names, in lower case, and values of all headers that a response with an event stream needs.
pub const RESPONSE_HEADERS: [(&str, &str); 3] = [
    ("content-type", CONTENT_TYPE),
    ("cache-control", CACHE_CONTROL),
    X_ACCEL_BUFFERING,
];

/// For clients: the value of a `Last-Event-ID` header for `id`, as bytes of UTF-8, not all of them
/// ASCII.
///
/// `None` means to leave the header out: `id` is empty (HTML standard, section 9.2.3) or holds a
/// control character, which no header can (RFC 9110, section 5.5). An id with a space at either end
/// goes through, as in browsers, but HTTP trims it on the way.
#[must_use]
pub fn last_event_id_value(id: &str) -> Option<&[u8]> {
    let legal = |byte: &u8| !byte.is_ascii_control() || *byte == b'\t';
    Some(id.as_bytes()).filter(|id| !id.is_empty() && id.iter().all(legal))
}

/// For servers: what the client received last, from the value of its `Last-Event-ID` header.
///
/// `None` if the header is empty, which means the same as none. The bytes are whatever the client
/// sent: an id of yours is in there unchanged if [`EventId`](crate::EventId) let it pass.
#[must_use]
pub const fn read_last_event_id(value: &[u8]) -> Option<&[u8]> {
    match value.trim_ascii() {
        [] => None,
        id => Some(id),
    }
}

/// For clients: whether the value of a `Content-Type` header makes the body an event stream.
///
/// Compares the essence of the media type: case and parameters, `charset` included, do not matter
/// (HTML standard, section 9.2.2). Of several types, joined by commas, the last valid one counts
/// (Fetch standard, section 3.2).
#[must_use]
pub fn is_event_stream(content_type: &[u8]) -> bool {
    let mut quoted = false;
    let mut escaped = false;
    let comma = |byte: &u8| {
        let ends = *byte == b',' && !quoted;
        quoted ^= *byte == b'"' && !escaped;
        escaped = quoted && *byte == b'\\' && !escaped;
        ends
    };
    let essences = content_type.split(comma).map(essence);
    let last = essences.filter(|essence| is_media_type(essence)).last();
    last.is_some_and(|essence| essence.eq_ignore_ascii_case(CONTENT_TYPE.as_bytes()))
}

fn essence(value: &[u8]) -> &[u8] {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    value.split_at(end).0.trim_ascii()
}

/// Whether an essence is one: two tokens and a slash, and not the `*/*` that Fetch passes over.
fn is_media_type(essence: &[u8]) -> bool {
    let token = |part: &[u8]| {
        let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        !part.is_empty() && part.iter().all(legal)
    };
    let mut parts = essence.splitn(2, |byte| *byte == b'/');
    essence != b"*/*" && parts.next().is_some_and(token) && parts.next().is_some_and(token)
}

/// The value of a `Retry-After` header in seconds (RFC 9110, section 10.2.3); `None` for a date and
/// for what is neither.
pub(crate) fn retry_after(value: &[u8]) -> Option<Duration> {
    let value = value.trim_ascii();
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(value).ok().filter(|_| digits)?;
    // A number over `u64::MAX` seconds is for ever.
    Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
}
