//! Stands between a store and Redis: counts, holds answers back, leads elsewhere.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    to: AtomicU16,
    held: watch::Sender<bool>,
    /// Changes when all connections are to be cut.
    cut: watch::Sender<u64>,
    connections: AtomicUsize,
    calls: AtomicUsize,
}

impl Proxy {
    /// Leads to a port on this machine.
    pub(crate) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            to: AtomicU16::new(to),
            held: watch::Sender::new(false),
            cut: watch::Sender::new(0),
            connections: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                tokio::spawn(async move {
                    shared.connections.fetch_add(1, Ordering::SeqCst);
                    shared.carry(client).await;
                    shared.connections.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Leads new connections elsewhere, and cuts the old ones.
    pub(crate) fn lead_to(&self, port: u16) {
        self.shared.to.store(port, Ordering::SeqCst);
        self.shared.cut.send_modify(|cut| *cut += 1);
    }

    /// Holds answers back, or lets them go.
    pub(crate) fn hold(&self, held: bool) {
        self.shared.held.send_replace(held);
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Script calls that went to Redis.
    pub(crate) fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::SeqCst)
    }
}

impl Shared {
    async fn carry(&self, client: TcpStream) {
        let to = (Ipv4Addr::LOCALHOST, self.to.load(Ordering::SeqCst));
        let mut cut = self.cut.subscribe();
        cut.mark_unchanged();
        let Ok(server) = TcpStream::connect(to).await else {
            return;
        };
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let questions = async {
            let mut buffer = vec![0; 65536];
            // What a call begins with may be cut in two.
            let mut before = Vec::new();
            while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
                before.extend_from_slice(&buffer[..count]);
                let found = before.windows(7).filter(|it| it == b"EVALSHA").count();
                self.calls.fetch_add(found, Ordering::SeqCst);
                before.drain(..before.len().saturating_sub(6));
                if to_server.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
            }
        };
        let answers = async {
            let mut held = self.held.subscribe();
            let mut buffer = vec![0; 65536];
            while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
                let released = held.wait_for(|held| !held).await.is_ok();
                if !released || to_client.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = questions => {}
            () = answers => {}
            _ = cut.changed() => {}
        }
    }
}
