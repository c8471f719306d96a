//! A served hub, and a client that shows every byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use push_server::{Hub, HubConfig, Server};
use replay_store::{AnyStore, Append, Clock, Epoch, MemoryConfig, MemoryStore, Topic};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use ws_proto::apply_mask;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Served {
    pub(crate) hub: Hub,
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn start(config: HubConfig, fast: bool) -> Self {
        Self::start_with(config, |server| server.fast_path(fast)).await
    }

    pub(crate) async fn start_with(config: HubConfig, set: impl FnOnce(Server) -> Server) -> Self {
        let clock = Clock::new(|| 1_790_000_000_000);
        let store = MemoryStore::new(MemoryConfig::default(), Epoch(0xe), clock);
        let hub = Hub::start(config, AnyStore::new(store)).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = set(Server::new(hub.clone()));
        let serving = tokio::spawn(server.serve(listener, async {
            let _stopped = stopped.await;
        }));
        Self {
            hub,
            address,
            stop: Some(stop),
            serving,
        }
    }

    pub(crate) async fn publish(&self, topic: &str, data: &str) {
        let event = Append::new(Topic::new(topic).unwrap(), data.to_owned());
        self.hub.publish(event).await.unwrap();
    }

    pub(crate) async fn publish_keyed(&self, topic: &str, key: &str, data: &str) {
        let event = Append {
            conflate_key: Some(key.into()),
            ..Append::new(Topic::new(topic).unwrap(), data.to_owned())
        };
        self.hub.publish(event).await.unwrap();
    }

    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        timeout(PATIENCE, self.serving).await.unwrap().unwrap();
    }

    /// A client that has sent this.
    pub(crate) async fn send(&self, request: &str) -> Client {
        let mut client = Client::connect(self.address).await;
        client.write(request).await;
        client
    }
}

/// Time that passes only while this program runs, for what must not take long: a machine that holds it
/// up for seconds takes one tick of it.
pub(crate) struct Awake {
    micros: Arc<AtomicU64>,
    ticking: JoinHandle<()>,
}

impl Awake {
    pub(crate) fn start() -> Self {
        const TICK: Duration = Duration::from_millis(5);
        let micros = Arc::new(AtomicU64::new(0));
        let passed = Arc::clone(&micros);
        let ticking = tokio::spawn(async move {
            loop {
                let began = Instant::now();
                sleep(TICK).await;
                let tick = began.elapsed().min(4 * TICK);
                passed.fetch_add(tick.as_micros() as u64, Ordering::Relaxed);
            }
        });
        Self { micros, ticking }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.ticking.abort();
    }
}

/// The defaults, but that draining takes no time.
pub(crate) fn config() -> HubConfig {
    let mut config = HubConfig::new();
    config.drain(Duration::ZERO);
    config
}

/// The opening handshake of a WebSocket.
pub(crate) const UPGRADE: &str = "GET /ws HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n\
    connection: upgrade\r\nsec-websocket-version: 13\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A text frame of a client.
pub(crate) fn text_frame(text: &str) -> Vec<u8> {
    assert!(text.len() < 126, "the long form would be due");
    let key = [1, 2, 3, 4];
    let mut frame = vec![0x81, 0x80 | text.len() as u8];
    frame.extend_from_slice(&key);
    let mut payload = text.as_bytes().to_vec();
    apply_mask(&mut payload, key, 0);
    frame.extend_from_slice(&payload);
    frame
}

pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    received: Vec<u8>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    Closed,
    Reset,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self {
            socket: TcpStream::connect(address).await.unwrap(),
            received: Vec::new(),
        }
    }

    /// One that takes in little by itself.
    pub(crate) async fn connect_small(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(2 * 1024).unwrap();
        Self {
            socket: socket.connect(address).await.unwrap(),
            received: Vec::new(),
        }
    }

    pub(crate) async fn write(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).await.unwrap();
    }

    /// Becomes a WebSocket, and sends this text.
    pub(crate) async fn upgrade(&mut self, text: &str) {
        self.write(UPGRADE).await;
        self.until("\r\n\r\n").await;
        self.socket.write_all(&text_frame(text)).await.unwrap();
    }

    /// Reads until this text has come; everything that came since the last call.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        let found = timeout(PATIENCE, async {
            loop {
                let so_far = String::from_utf8_lossy(&self.received).into_owned();
                if so_far.contains(text) {
                    return so_far;
                }
                let read = self.socket.read_buf(&mut self.received).await.unwrap();
                assert_ne!(read, 0, "the end came before {text:?}: {so_far}");
            }
        });
        let found = found.await.unwrap_or_else(|_| {
            panic!(
                "no {text:?} in {:?}",
                String::from_utf8_lossy(&self.received)
            )
        });
        self.received.clear();
        found
    }

    /// Reads to the end; everything that came since the last call.
    pub(crate) async fn rest(&mut self) -> (String, End) {
        timeout(PATIENCE, async {
            let end = loop {
                match self.socket.read_buf(&mut self.received).await {
                    Ok(0) => break End::Closed,
                    Ok(_) => {}
                    Err(_) => break End::Reset,
                }
            };
            let rest = String::from_utf8_lossy(&self.received).into_owned();
            (rest, end)
        })
        .await
        .expect("the connection ends")
    }
}
