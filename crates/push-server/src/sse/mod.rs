//! Server-Sent Events: the stream as a response.

mod body;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Response};

pub use self::body::{BodyError, EventBody};
use crate::form::Form;
use crate::http::HubBody;
use crate::hub::Hub;
use crate::subscriber::Subscriber;

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

pub(crate) fn body(hub: &Hub, subscriber: Subscriber, form: Form) -> EventBody {
    let retry_ms = hub.retry_ms();
    let mut preamble = Vec::new();
    form.preamble(retry_ms, &mut preamble);
    EventBody::new(
        subscriber,
        hub.heartbeat(None),
        Bytes::from(preamble),
        retry_ms,
    )
}
