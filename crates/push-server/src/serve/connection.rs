//! One HTTP/1 connection, until its socket is taken for an event stream.
//!
//! A response is taken off hyper if nothing but events will follow on its connection and nobody could
//! tell: see [`Call::is_plain`] and [`is_stream`]. hyper's buffers are freed then, 16 KiB and more.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::raw::RawStream;
use super::shard::Shards;
use super::{CONNECTION_BUFFER, Pages, answer};
use crate::http::HubBody;
use crate::hub::Hub;
use crate::progress::WriteProgress;

/// How long a client may take to send a request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// Where a request leaves the response that goes out without hyper.
type Taken = Arc<Mutex<Option<Response<HubBody>>>>;

/// Serves one connection in plain text. `shards` takes its event stream, if it has one.
pub(super) async fn plain(
    stream: TcpStream,
    hub: Hub,
    pages: Option<Arc<Pages>>,
    shards: Option<Shards>,
    mut closed: watch::Receiver<()>,
) {
    let patience = hub.config().heartbeat * 2;
    let io = WriteProgress::new(stream, patience);
    let blocked = io.blocked();
    let taken = Taken::default();
    let fast = shards.is_some();
    let service = {
        let (hub, taken) = (hub.clone(), Arc::clone(&taken));
        service_fn(move |request| {
            let (hub, pages, taken) = (hub.clone(), pages.clone(), Arc::clone(&taken));
            async move {
                let plain = fast && is_plain(&request);
                let response = answer(&hub, pages.as_deref(), request).await;
                if plain && is_stream(&response) {
                    *lock(&taken) = Some(response);
                    // The connection is taken apart instead of this being answered.
                    return std::future::pending().await;
                }
                Ok::<_, Infallible>(response)
            }
        })
    };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(CONNECTION_BUFFER)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let result = {
        let mut closing = pin!(closed.changed());
        let mut graceful = false;
        std::future::poll_fn(|cx| {
            if !graceful && closing.as_mut().poll(cx).is_ready() {
                graceful = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            let polled = Pin::new(&mut connection).poll(cx);
            // An earlier response may wait in hyper's buffer for a client that is slow.
            if polled.is_pending() && lock(&taken).is_some() && !blocked.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
            polled
        })
        .await
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection was cut");
        return;
    }
    let response = lock(&taken).take();
    if let (Some(shards), Some(response), Some(parts)) = (shards, response, connection.into_parts())
    {
        let (head, body) = response.into_parts();
        let io = parts.io.into_inner();
        if let Ok(body) = body.into_events() {
            shards.take(RawStream::new(
                io,
                &head,
                body,
                parts.read_buf.len(),
                hub.session(),
            ));
        }
    }
}

/// Is there nothing about this request that HTTP/1 would have to care for after its response has
/// begun?
fn is_plain(request: &Request<Incoming>) -> bool {
    let headers = request.headers();
    request.method() == Method::GET
        && matches!(request.version(), Version::HTTP_10 | Version::HTTP_11)
        && ![CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT, UPGRADE]
            .iter()
            .any(|name| headers.contains_key(name))
}

/// Is this an event stream that nothing was put around?
fn is_stream(response: &Response<HubBody>) -> bool {
    response.status() == StatusCode::OK
        && !response.headers().contains_key(CONTENT_ENCODING)
        && response.body().is_events()
}

fn lock(taken: &Taken) -> std::sync::MutexGuard<'_, Option<Response<HubBody>>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}
