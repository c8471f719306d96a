//! Server-Sent Events: the stream as a response.

mod body;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Response, StatusCode};

pub use self::body::{BodyError, EventBody};
use crate::http::HubBody;

/// The response that carries a subscription: status 200 and the headers that keep caches and
/// proxies from holding events back.
pub(crate) fn response(body: HubBody) -> Response<HubBody> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(sse_proto::CONTENT_TYPE),
    );
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static(sse_proto::CACHE_CONTROL),
    );
    let (name, value) = sse_proto::X_ACCEL_BUFFERING;
    headers.insert(
        HeaderName::from_static(name),
        HeaderValue::from_static(value),
    );
    response
}

/// The answer to a client that has all there will ever be: a native `EventSource` does not come back
/// (HTML standard, section 9.2.3).
pub(crate) fn nothing_more() -> Response<HubBody> {
    let mut response = Response::new(HubBody::full(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}
