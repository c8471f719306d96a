//! A listener for the hub: HTTP/1.1 in plain text.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::http::HubBody;
use crate::hub::Hub;
use crate::progress::WriteProgress;

/// How long connections have to end once the hub closes; what is left then is cut.
const GRACE: Duration = Duration::from_secs(5);

/// How long a client may take to send a request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// The most that hyper buffers for one connection in either direction, unless one chunk of events
/// is larger. It bounds what a slow subscriber holds beyond the hub's own log.
const CONNECTION_BUFFER: usize = 32 * 1024;

/// Unsent bytes that the kernel may hold for one connection before it stops asking for more.
/// Policies act only on what is not in the kernel yet.
const NOTSENT_LOWAT: u32 = 16 * 1024;

/// Answers a request for a path that is not the hub's, or gives it back.
pub type Pages = dyn Fn(&Request<Incoming>, &Hub) -> Option<Response<HubBody>> + Send + Sync;

/// A hub behind a listener.
pub struct Server {
    hub: Hub,
    pages: Option<Arc<Pages>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("hub", &self.hub)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server for this hub.
    #[must_use]
    pub fn new(hub: Hub) -> Self {
        Self { hub, pages: None }
    }

    /// Serves what `pages` answers before the hub's own paths. The hub's access rule is applied
    /// first.
    #[must_use]
    pub fn pages(
        mut self,
        pages: impl Fn(&Request<Incoming>, &Hub) -> Option<Response<HubBody>> + Send + Sync + 'static,
    ) -> Self {
        self.pages = Some(Arc::new(pages));
        self
    }

    /// Serves connections until `shutdown` completes, then closes the hub and gives connections
    /// five seconds to end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cuts all connections but WebSocket sessions, which end with the hub.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let (closing, closed) = watch::channel(());
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        prepare(&stream);
                        connections.spawn(connection(
                            stream,
                            self.hub.clone(),
                            self.pages.clone(),
                            closed.clone(),
                        ));
                    }
                    Err(error) => wait_after(&error).await,
                },
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
            }
        }
        drop(listener);
        self.hub.close();
        drop(closing);
        let hub = self.hub;
        let all_ended = async {
            while connections.join_next().await.is_some() {}
            hub.ended().await;
        };
        if timeout(GRACE, all_ended).await.is_err() {
            tracing::warn!(
                left = connections.len(),
                "cut connections that did not end in time"
            );
            connections.shutdown().await;
        }
    }
}

async fn connection(
    stream: TcpStream,
    hub: Hub,
    pages: Option<Arc<Pages>>,
    mut closed: watch::Receiver<()>,
) {
    let patience = hub.config().heartbeat * 2;
    let io = TokioIo::new(WriteProgress::new(stream, patience));
    let service = service_fn(move |request| {
        let (hub, pages) = (hub.clone(), pages.clone());
        async move { Ok::<_, Infallible>(answer(&hub, pages.as_deref(), request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(CONNECTION_BUFFER)
        .serve_connection(io, service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        _ = closed.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection was cut");
    }
}

async fn answer(hub: &Hub, pages: Option<&Pages>, request: Request<Incoming>) -> Response<HubBody> {
    if let Some(pages) = pages {
        if let Err(refusal) = hub.config().access.check(request.headers()) {
            return crate::http::problem::Problem::from(refusal).into_response();
        }
        if let Some(response) = pages(&request, hub) {
            return response;
        }
    }
    hub.handle(request).await
}

fn prepare(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    let result = socket
        .set_tcp_nodelay(true)
        .and_then(|()| set_notsent_lowat(&socket));
    if let Err(error) = result {
        tracing::debug!(%error, "a socket option was refused");
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_notsent_lowat(socket: &socket2::Socket) -> io::Result<()> {
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn set_notsent_lowat(_socket: &socket2::Socket) -> io::Result<()> {
    Ok(())
}

/// A client that left while it waited costs nothing; running out of descriptors must not spin.
async fn wait_after(error: &io::Error) {
    let left = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    );
    if !left {
        tracing::warn!(%error, "cannot accept connections; trying again in 100 ms");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
