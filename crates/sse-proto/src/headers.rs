//! HTTP headers that an event stream needs.

/// The media type of an event stream, for the response's `Content-Type` and the request's `Accept`.
pub const CONTENT_TYPE: &str = "text/event-stream";

/// The `Cache-Control` of an event stream: `no-transform` keeps proxies from compressing it, which
/// would hold events back.
pub const CACHE_CONTROL: &str = "no-cache, no-transform";

/// Name and value of the header that tells nginx and its relatives not to buffer the response.
pub const X_ACCEL_BUFFERING: (&str, &str) = ("x-accel-buffering", "no");

/// Name of the request header by which a client says what it received last.
pub const LAST_EVENT_ID: &str = "last-event-id";
