//! Connections as an operator sees them: numbered, counted, and over for a reason.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use http::{Request, Version};

use crate::hub::Hub;
use crate::metrics::{Closed, Registry, Transport, Via};
use crate::subscriber::SubscriberError;

/// One event stream or WebSocket session, from its request until it is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    hub: Hub,
    id: u64,
    transport: Transport,
    via: Via,
    peer: Option<Peer>,
    begun: bool,
    /// The hub waits for it to end, since nobody else does.
    held: bool,
    reason: Option<Closed>,
}

impl Link {
    /// A connection whose request is being answered. It counts once it has [begun](Self::begin).
    pub(crate) fn of_request<B>(hub: &Hub, transport: Transport, request: &Request<B>) -> Self {
        let via = match request.version() {
            Version::HTTP_2 => Via::Http2,
            Version::HTTP_09 | Version::HTTP_10 | Version::HTTP_11 => Via::Http1,
            _ => Via::Other,
        };
        let peer = request.extensions().get::<Peer>().cloned();
        Self::new(hub, hub.next_connection(), transport, via, peer)
    }

    pub(crate) fn new(
        hub: &Hub,
        id: u64,
        transport: Transport,
        via: Via,
        peer: Option<Peer>,
    ) -> Self {
        Self {
            id,
            hub: hub.clone(),
            transport,
            via,
            peer,
            begun: false,
            held: false,
            reason: None,
        }
    }

    pub(crate) const fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Names this connection in the log.
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    /// An event stream got a socket of its own, before it began.
    pub(crate) fn on_own_socket(&mut self) {
        self.via = Via::Socket;
        self.hold();
    }

    /// It is on a task that nobody else waits for.
    pub(crate) fn hold(&mut self) {
        if !std::mem::replace(&mut self.held, true) {
            self.hub.count_session(1);
        }
    }

    /// The first bytes go out, unless they did before; then this answers `false`.
    pub(crate) fn begin(&mut self) -> bool {
        if std::mem::replace(&mut self.begun, true) {
            return false;
        }
        self.hub.registry().opened(self.transport, self.via);
        tracing::debug!(
            connection = self.id,
            peer = %self.peer_name(),
            transport = self.transport.as_str(),
            via = self.via.as_str(),
            "opened"
        );
        true
    }

    /// It will be over for this reason, if there was none before.
    pub(crate) const fn end(&mut self, reason: Closed) {
        if self.reason.is_none() {
            self.reason = Some(reason);
        }
    }

    /// Whether there is a reason why it is over.
    pub(crate) const fn is_over(&self) -> bool {
        self.reason.is_some()
    }

    /// Why a subscription ended that did not fail.
    pub(crate) fn reason_of_end(&self) -> Closed {
        if self.hub.is_closed() {
            Closed::Shutdown
        } else if self.hub.is_draining() {
            Closed::Drain
        } else {
            Closed::Ended
        }
    }

    fn peer_name(&self) -> String {
        let address = self.peer.as_ref().map(|it| it.0.address.to_string());
        address.unwrap_or_else(|| "unknown".to_owned())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.held {
            self.hub.count_session(-1);
        }
        if !self.begun {
            return;
        }
        let cut = self.peer.as_ref().is_some_and(Peer::is_cut);
        let reason = match self.reason {
            Some(reason) => reason,
            None if cut => Closed::Stalled,
            None => Closed::Client,
        };
        self.hub.registry().closed(self.transport, self.via, reason);
        let (connection, peer) = (self.id, self.peer_name());
        match reason {
            Closed::Slow => {
                tracing::warn!(connection, %peer, "closed: the subscriber was too slow")
            }
            Closed::Stalled => {
                tracing::warn!(connection, %peer, "closed: it took nothing for two heartbeats");
            }
            Closed::Silent => {
                tracing::warn!(connection, %peer, "closed: it said nothing for two heartbeats");
            }
            _ => tracing::debug!(connection, %peer, reason = reason.as_str(), "closed"),
        }
    }
}

impl From<&SubscriberError> for Closed {
    fn from(error: &SubscriberError) -> Self {
        match error {
            SubscriberError::TooSlow => Self::Slow,
            SubscriberError::Store(_) => Self::Store,
            SubscriberError::Dropped => Self::Dropped,
        }
    }
}

/// The other end of a TCP connection, and how its writing goes. Clones are of the same connection,
/// which counts as open until the last is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Peer(Arc<PeerState>);

#[derive(Debug)]
struct PeerState {
    registry: Arc<Registry>,
    address: SocketAddr,
    /// In milliseconds, rounded up: what else there is leaves room for no more.
    patience: u32,
    writing: AtomicU8,
}

const FREE: u8 = 0;
const BLOCKED: u8 = 1;
const CUT: u8 = 2;

impl Peer {
    /// `patience` is how long the peer may take nothing of what is to be written, up to 49 days.
    pub(crate) fn new(registry: Arc<Registry>, address: SocketAddr, patience: Duration) -> Self {
        registry.tcp_opened();
        Self(Arc::new(PeerState {
            registry,
            address,
            patience: u32::try_from(patience.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX),
            writing: AtomicU8::new(FREE),
        }))
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_millis(self.0.patience.into())
    }

    /// Whether the last thing that was to be written is not all written.
    pub(crate) fn set_blocked(&self, blocked: bool) {
        let writing = if blocked { BLOCKED } else { FREE };
        self.0.writing.store(writing, Ordering::Relaxed);
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.0.writing.load(Ordering::Relaxed) == BLOCKED
    }

    /// The connection is cut because nothing was taken.
    pub(crate) fn set_cut(&self) {
        self.0.writing.store(CUT, Ordering::Relaxed);
    }

    fn is_cut(&self) -> bool {
        self.0.writing.load(Ordering::Relaxed) == CUT
    }
}

impl Drop for PeerState {
    fn drop(&mut self) {
        self.registry.tcp_closed();
    }
}
