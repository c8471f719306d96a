//! A listener for the hub: HTTP/1.1 and HTTP/2, in plain text or over TLS.

mod connection;
mod head_timer;
mod prefetch;
mod raw;
mod seats;
mod shard;
mod socket;
mod streams;
mod ticket;
mod tls;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::connection::Context;
pub(crate) use self::shard::{Shards, Work};
pub(crate) use self::socket::Socket;
pub(crate) use self::ticket::Ticket;
pub use self::tls::{Tls, TlsError};
use crate::http::HubBody;
use crate::http::problem::Problem;
use crate::hub::Hub;
use crate::link::Peer;

/// How long connections have to end once the hub closes; what is left then is cut.
const GRACE: Duration = Duration::from_secs(5);

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
    fast: bool,
    extended_connect: bool,
    max_connections: usize,
    tls: Option<Tls>,
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
        Self {
            hub,
            pages: None,
            fast: true,
            extended_connect: false,
            max_connections: Semaphore::MAX_PERMITS,
            tls: None,
        }
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

    /// Whether event streams over HTTP/1 in plain text get a socket of their own instead of staying
    /// with hyper, and WebSocket sessions share a few tasks instead of having one each, which is the
    /// default: it takes less memory and time, and nothing else differs but that such a stream ends
    /// with its connection.
    #[must_use]
    pub const fn fast_path(mut self, fast: bool) -> Self {
        self.fast = fast;
        self
    }

    /// Speaks TLS, with HTTP/2 and HTTP/1.1, instead of plain text.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Whether WebSocket over HTTP/2 is offered (RFC 8441), which is off by default. Browsers then
    /// open WebSockets on the connection they have, which costs about 4 KB for each instead of a
    /// connection.
    #[must_use]
    pub const fn extended_connect(mut self, offered: bool) -> Self {
        self.extended_connect = offered;
        self
    }

    /// How many connections may be open at a time; by default as many as the process has descriptors
    /// for. Whoever comes then waits in the kernel's queue until another leaves, and is refused by the
    /// kernel where that queue is full. `usize::MAX` is no limit. An idle connection takes 1.5 to 20 KB,
    /// by its protocol, besides what the kernel keeps for it.
    #[must_use]
    pub const fn max_connections(mut self, max: usize) -> Self {
        self.max_connections = if max > Semaphore::MAX_PERMITS {
            Semaphore::MAX_PERMITS
        } else {
            max
        };
        self
    }

    /// Serves connections until `shutdown` completes, and while the hub [drains](Hub::drain) then;
    /// closes the hub at last and gives connections five seconds to end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cuts all connections, but for WebSocket sessions without the
    /// [fast path](Self::fast_path), which end with the hub.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let (closing, closed) = watch::channel(());
        let mut connections = JoinSet::new();
        let mut workers = JoinSet::new();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shards = self.fast.then(|| Shards::start(cores, &mut workers));
        let (pages, extended_connect) = (self.pages, self.extended_connect);
        let permits = Arc::new(Semaphore::new(self.max_connections));
        let context = |peer, permit| Context {
            hub: self.hub.clone(),
            peer,
            permit,
            pages: pages.clone(),
            extended_connect,
            shards: shards.clone(),
            closed: closed.clone(),
        };
        let hub = self.hub.clone();
        let drained = async {
            shutdown.await;
            hub.drain().await;
        };
        let mut drained = std::pin::pin!(drained);
        let mut was_full = false;
        loop {
            if permits.available_permits() == 0 && !std::mem::replace(&mut was_full, true) {
                let max = self.max_connections;
                tracing::warn!(
                    max,
                    "no more connections are allowed; others wait until one ends"
                );
            }
            let accepted = async {
                // Nobody closes the semaphore.
                let permit = Arc::clone(&permits).acquire_owned().await;
                let permit = permit.map_err(io::Error::other)?;
                let (stream, address) = listener.accept().await?;
                Ok((stream, address, permit))
            };
            tokio::select! {
                // Whom the kernel has let in already is told when to come back, too.
                biased;
                accepted = accepted => match accepted {
                    Ok((stream, address, permit)) => {
                        prepare(&stream);
                        let patience = hub.config().heartbeat * 2;
                        let peer = Peer::new(Arc::clone(hub.registry()), address, patience);
                        let context = context(peer, permit);
                        match &self.tls {
                            Some(tls) => {
                                let tls = tls.clone();
                                connections.spawn(connection::encrypted(stream, context, tls))
                            }
                            None => {
                                connections.spawn(connection::plain(stream, context))
                            }
                        };
                    }
                    Err(error) => wait_after(&error, &hub).await,
                },
                () = &mut drained => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
            }
        }
        drop(listener);
        hub.close();
        drop((closing, closed));
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
            workers.shutdown().await;
        }
    }
}

async fn answer(hub: &Hub, pages: Option<&Pages>, request: Request<Incoming>) -> Response<HubBody> {
    if let Some(pages) = pages {
        if let Err(refusal) = hub.config().access.check(request.headers()) {
            let problem = Problem::from(refusal);
            hub.registry().refused(&problem);
            return problem.into_response();
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
async fn wait_after(error: &io::Error, hub: &Hub) {
    let left = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    );
    if !left {
        hub.registry().accept_failure();
        tracing::warn!(%error, "cannot accept connections; trying again in 100 ms");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
