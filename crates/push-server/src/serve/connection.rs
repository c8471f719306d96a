//! One connection: HTTP/1 or HTTP/2, in plain text or over TLS.
//!
//! On HTTP/1 in plain text a response is taken off hyper if nothing but events will follow on its
//! connection and nobody could tell: see [`is_plain`] and [`is_stream`]. hyper's buffers are freed
//! then, 16 KiB and more.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, HOST, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::unconstrained;
use tokio::time::timeout;

use super::head_timer::HeadTimer;
use super::raw::RawStream;
use super::shard::Shards;
use super::socket::Socket;
use super::streams::Streams;
use super::tls::Tls;
use super::{CONNECTION_BUFFER, Pages, answer};
use crate::http::HubBody;
use crate::hub::Hub;
use crate::link::Peer;
use crate::progress::WriteProgress;

/// How long a client may take to send a request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// How often a connection that has sent a part of HTTP/2's preface is looked at, at least.
const PREFACE_RETRY: Duration = Duration::from_millis(250);

/// Streams that a client may have open on one HTTP/2 connection; browsers put all that they have
/// for a site on one.
const MAX_STREAMS: u32 = 256;

/// What a client may send on all streams of an HTTP/2 connection before it is read.
const H2_WINDOW: u32 = 1 << 20;

/// Where a request leaves the response that goes out without hyper.
type Taken = Arc<Mutex<Option<Response<HubBody>>>>;

/// What every connection of a listener needs.
pub(super) struct Context {
    pub(super) hub: Hub,
    pub(super) peer: Peer,
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) pages: Option<Arc<Pages>>,
    /// WebSocket over HTTP/2 is offered.
    pub(super) extended_connect: bool,
    /// The workers that take subscriptions off their connections' tasks, if any do.
    pub(super) shards: Option<Shards>,
    pub(super) closed: watch::Receiver<()>,
}

/// Serves one connection in plain text.
pub(super) async fn plain(stream: TcpStream, context: Context) {
    let mut closed = context.closed.clone();
    let first = tokio::select! {
        first = timeout(HEAD_TIMEOUT, is_h2(&stream)) => first,
        // Nothing was asked yet, so nothing is owed.
        _ = closed.changed() => return,
    };
    let Ok(Ok(h2)) = first else {
        return;
    };
    if h2 {
        return http2(stream, context).await;
    }
    let shards = context.shards.clone();
    if let Some((io, behind, response)) = http1(stream, context, shards.is_some()).await
        && let (head, body) = response.into_parts()
        && let (Some(shards), Ok(body)) = (shards, body.into_events())
    {
        let io = Socket::new(io);
        let mut stream = RawStream::new(io, &head, *body, behind);
        shards.take(|shard| {
            stream.set_shard(shard);
            stream
        });
    }
}

/// Serves one connection over TLS, with the protocol that was agreed on.
pub(super) async fn encrypted(stream: TcpStream, context: Context, tls: Tls) {
    let registry = Arc::clone(context.hub.registry());
    let mut closed = context.closed.clone();
    let accepted = tokio::select! {
        accepted = timeout(HEAD_TIMEOUT, tls.acceptor.accept(stream)) => accepted,
        _ = closed.changed() => return,
    };
    match accepted {
        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
            http2(stream, context).await;
        }
        Ok(Ok(stream)) => {
            http1(stream, context, false).await;
        }
        Ok(Err(error)) => {
            registry.tls_failure();
            tracing::debug!(%error, "a TLS handshake failed");
        }
        Err(_) => {
            registry.tls_failure();
            tracing::debug!("a TLS handshake took too long");
        }
    }
}

/// Does the client begin with the preface of HTTP/2 (RFC 9113 section 3.4)? No method of HTTP/1
/// does. Nothing is taken from the stream.
async fn is_h2(stream: &TcpStream) -> io::Result<bool> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0";
    let mut bytes = [0; PREFACE.len()];
    loop {
        let peeked = stream.peek(&mut bytes).await?;
        let seen = bytes.get(..peeked).unwrap_or_default();
        if peeked == 0 || !PREFACE.starts_with(seen) || peeked == PREFACE.len() {
            return Ok(seen == PREFACE);
        }
        // The rest of the preface is on its way. What has come stays readable, so it is forgotten
        // that it is: more wakes. What came just before that was forgotten is found a little later.
        let waiting = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let _forgotten = stream.try_io(Interest::READABLE, waiting);
        if let Ok(ready) = timeout(PREFACE_RETRY, stream.readable()).await {
            ready?;
        }
    }
}

async fn http2<IO>(stream: IO, context: Context)
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Context {
        hub,
        peer,
        permit,
        pages,
        extended_connect,
        shards,
        mut closed,
    } = context;
    let interval = hub.config().heartbeat;
    let io = TokioIo::new(WriteProgress::new(stream, peer.clone(), Some(permit)));
    let mut streams = Streams::default();
    let shard = streams.shard();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (hub, pages, shard) = (hub.clone(), pages.clone(), shard.clone());
        introduce(&peer, shards.as_ref(), &mut request);
        // In a box, since hyper would keep the room for it as long as the response's stream lives.
        Box::pin(async move {
            name_host(&mut request);
            let mut response = answer(&hub, pages.as_deref(), request).await;
            response.body_mut().set_shard(shard);
            Ok::<_, Infallible>(response)
        })
    });
    let mut builder = http2::Builder::new(streams.executor());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buf_size(CONNECTION_BUFFER)
        .initial_connection_window_size(H2_WINDOW)
        .max_header_list_size(16 * 1024)
        .keep_alive_interval(interval)
        .keep_alive_timeout(interval * 2);
    if extended_connect {
        builder.enable_connect_protocol();
    }
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut closing = pin!(closed.changed());
    let mut graceful = false;
    // The streams have their own way to give others their turn.
    let result = unconstrained(std::future::poll_fn(|cx| {
        if !graceful && closing.as_mut().poll(cx).is_ready() {
            graceful = true;
            connection.as_mut().graceful_shutdown();
        }
        streams.poll(cx, |cx| connection.as_mut().poll(cx))
    }))
    .await;
    if let Err(error) = result {
        tracing::debug!(%error, "an HTTP/2 connection was cut");
    }
}

/// Tells whoever answers a request from whom it is, if that opens a connection in our sense, and who
/// takes a WebSocket session.
fn introduce(peer: &Peer, shards: Option<&Shards>, request: &mut Request<Incoming>) {
    if matches!(*request.method(), Method::GET | Method::CONNECT) {
        request.extensions_mut().insert(peer.clone());
        if let Some(shards) = shards {
            request.extensions_mut().insert(shards.clone());
        }
    }
}

/// HTTP/2 says `:authority` where HTTP/1 says `Host`.
fn name_host(request: &mut Request<Incoming>) {
    let authority = request.uri().authority().map(|it| it.as_str());
    if let Some(Ok(host)) = authority.map(HeaderValue::from_str)
        && !request.headers().contains_key(HOST)
    {
        request.headers_mut().insert(HOST, host);
    }
}

/// Serves an HTTP/1 connection to its end, or until its response can go on without hyper: then
/// returns the stream, how many bytes were read from it behind the request, and that response.
async fn http1<IO>(
    stream: IO,
    context: Context,
    fast: bool,
) -> Option<(WriteProgress<IO>, usize, Response<HubBody>)>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Context {
        hub,
        peer,
        permit,
        pages,
        shards,
        mut closed,
        ..
    } = context;
    let io = WriteProgress::new(stream, peer.clone(), Some(permit));
    let taken = Taken::default();
    let service = {
        let (taken, peer) = (Arc::clone(&taken), peer.clone());
        service_fn(move |mut request| {
            introduce(&peer, shards.as_ref(), &mut request);
            let (hub, pages, taken) = (hub.clone(), pages.clone(), Arc::clone(&taken));
            // In a box, as over HTTP/2.
            Box::pin(async move {
                let plain = fast && is_plain(&request);
                let response = answer(&hub, pages.as_deref(), request).await;
                if plain && is_stream(&response) {
                    *lock(&taken) = Some(response);
                    // The connection is taken apart instead of this being answered.
                    return std::future::pending().await;
                }
                Ok::<_, Infallible>(response)
            })
        })
    };
    let mut connection = http1::Builder::new()
        .timer(HeadTimer::default())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(CONNECTION_BUFFER)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let result = {
        let signal = closed.clone();
        let mut closing = pin!(closed.changed());
        let (mut waits, mut graceful) = (false, false);
        std::future::poll_fn(|cx| {
            // This is polled for every request, and always by the same task: it need not say again
            // whom to wake.
            let ask = !graceful && (!waits || signal.has_changed().is_err());
            if ask && closing.as_mut().poll(cx).is_ready() {
                graceful = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            waits = true;
            let polled = Pin::new(&mut connection).poll(cx);
            // An earlier response may wait in hyper's buffer for a client that is slow.
            if polled.is_pending() && lock(&taken).is_some() && !peer.is_blocked() {
                return Poll::Ready(Ok(()));
            }
            polled
        })
        .await
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection was cut");
        return None;
    }
    let response = lock(&taken).take()?;
    let parts = connection.into_parts()?;
    Some((parts.io.into_inner(), parts.read_buf.len(), response))
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
