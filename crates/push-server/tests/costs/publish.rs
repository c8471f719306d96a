//! Allocations and writes of one publish, with few subscribers and with many.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use push_server::{Hub, HubConfig, Server, websocket};
use replay_store::{AnyStore, Append, Clock, Epoch, MemoryConfig, MemoryStore, Topic};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};
use ws_proto::{Client, Connection, Kind, MaskSource};

use crate::counting::{Writes, allocations};

const PATIENCE: Duration = Duration::from_secs(120);

/// Events that are counted.
const EVENTS: u64 = 10;

/// Events that are published at once.
const BACKLOG: usize = 20;

const GET: &[u8] = b"GET /events?topic=demo HTTP/1.1\r\nhost: localhost\r\n\r\n";

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Path {
    /// A socket of its own on a worker.
    Fast,
    /// hyper's connection, over a pipe.
    Hyper,
    /// A WebSocket session, over a pipe.
    WebSocket,
}

/// What one event cost, and one of [`BACKLOG`] that were published at once.
#[derive(Clone, Copy, Debug)]
struct Cost {
    allocations: f64,
    /// Of one event, for each subscriber; unknown for sockets.
    writes: Option<f64>,
    backlog_writes: Option<f64>,
}

pub(crate) async fn hub() -> Hub {
    let clock = Clock::new(|| 1_790_000_000_000);
    let store = MemoryStore::new(MemoryConfig::default(), Epoch(0xe), clock);
    let mut config = HubConfig::new();
    config.heartbeat(Duration::from_secs(30)).unwrap();
    Hub::start(config, AnyStore::new(store)).await.unwrap()
}

/// What all clients together have seen.
#[derive(Default)]
struct Seen {
    /// Clients that were told that they are live.
    ready: AtomicU64,
    events: AtomicU64,
}

/// A client that asks, and counts the events that come to it: they have a `#`, and nothing else has.
async fn client(mut io: impl AsyncRead + AsyncWrite + Unpin, ask: Vec<u8>, seen: Arc<Seen>) {
    io.write_all(&ask).await.unwrap();
    let mut told = Vec::new();
    while !told.windows(5).any(|bytes| bytes == b"ready") {
        assert_ne!(io.read_buf(&mut told).await.unwrap(), 0);
    }
    seen.ready.fetch_add(1, Ordering::Relaxed);
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = io.read(&mut buffer).await {
        let events = buffer[..length].iter().filter(|byte| **byte == b'#');
        seen.events
            .fetch_add(events.count() as u64, Ordering::Relaxed);
    }
}

struct NoMask;

impl MaskSource for NoMask {
    fn next_mask(&mut self) -> [u8; 4] {
        [1, 2, 3, 4]
    }
}

fn resume() -> Vec<u8> {
    let mut connection = Connection::<Client<_>>::client(ws_proto::Config::default(), NoMask);
    let mut out = Vec::new();
    let resume = br#"{"type":"resume","topics":["demo"]}"#;
    connection.send(Kind::Text, resume, &mut out).unwrap();
    out
}

async fn until(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < PATIENCE, "it takes too long");
        sleep(Duration::from_millis(1)).await;
    }
}

/// Publishes so many events at once, and waits until all have them.
async fn publish(hub: &Hub, events: usize, seen: &Seen, subscribers: usize) {
    let before = seen.events.load(Ordering::Relaxed);
    let topic = Topic::new("demo").unwrap();
    let event = Append::new(
        topic,
        "#0123456789012345678901234567890123456789012345678901234567890123",
    );
    hub.publish_batch(vec![event; events]).await.unwrap();
    let all = before + (events * subscribers) as u64;
    until(|| seen.events.load(Ordering::Relaxed) == all).await;
}

async fn measure(path: Path, subscribers: usize, clients: &Handle) -> Cost {
    let hub = hub().await;
    let (seen, writes) = (Arc::new(Seen::default()), Arc::new(AtomicU64::new(0)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(Server::new(hub.clone()).serve(listener, std::future::pending()));
    for n in 0..subscribers {
        let its = Arc::clone(&seen);
        let (ours, theirs) = tokio::io::duplex(16 * 1024);
        let theirs = Writes::new(theirs, &writes);
        match path {
            Path::Fast => {
                clients.spawn(async move {
                    let socket = TcpStream::connect(address).await.unwrap();
                    client(socket, GET.to_vec(), its).await;
                });
            }
            Path::Hyper => {
                let hub = hub.clone();
                clients.spawn(client(ours, GET.to_vec(), its));
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let hub = hub.clone();
                        async move { Ok::<_, Infallible>(hub.handle(request).await) }
                    });
                    let io = TokioIo::new(theirs);
                    let _ended = http1::Builder::new().serve_connection(io, service).await;
                });
            }
            Path::WebSocket => {
                clients.spawn(client(ours, resume(), its));
                tokio::spawn(websocket(hub.clone(), theirs, None));
            }
        }
        // A listener has room for so many at once.
        if n % 100 == 99 {
            until(|| seen.ready.load(Ordering::Relaxed) > n as u64).await;
        }
    }
    until(|| seen.ready.load(Ordering::Relaxed) == subscribers as u64).await;
    // Until each has had one and all that grows has grown.
    publish(&hub, BACKLOG, &seen, subscribers).await;
    for _ in 0..5 {
        publish(&hub, 1, &seen, subscribers).await;
    }
    let (before, written) = (allocations(), writes.load(Ordering::Relaxed));
    for _ in 0..EVENTS {
        publish(&hub, 1, &seen, subscribers).await;
    }
    let allocations = (allocations() - before) as f64 / EVENTS as f64;
    let per_delivery = |from: u64, events: u64| {
        let written = writes.load(Ordering::Relaxed) - from;
        (path != Path::Fast).then_some(written as f64 / (events * subscribers as u64) as f64)
    };
    let one = per_delivery(written, EVENTS);
    let written = writes.load(Ordering::Relaxed);
    publish(&hub, BACKLOG, &seen, subscribers).await;
    let backlog_writes = per_delivery(written, BACKLOG as u64);
    hub.close();
    serving.abort();
    Cost {
        allocations,
        writes: one,
        backlog_writes,
    }
}

/// Runs `measured` on this thread, with a runtime for clients on another.
fn beside_clients(measured: impl AsyncFnOnce(&Handle)) {
    let build = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let clients = build();
    let handle = clients.handle().clone();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let thread = std::thread::spawn(move || clients.block_on(stopped));
    build().block_on(measured(&handle));
    drop(stop);
    let _stopped = thread.join().unwrap();
}

#[test]
fn an_event_costs_the_same_allocations_for_one_subscriber_and_for_thousands_and_each_one_write() {
    beside_clients(async |clients| {
        // More by hand. Both ends of a socket take a descriptor.
        let many = std::env::var("TIDEGATE_SUBSCRIBERS").map(|it| it.parse().expect("a number"));
        let many = many.unwrap_or(1_000);
        for path in [Path::Fast, Path::Hyper, Path::WebSocket] {
            let mut costs = Vec::new();
            for subscribers in [1, 100, many] {
                let cost = measure(path, subscribers, clients).await;
                println!("{path:?}, {subscribers}: {cost:?}");
                costs.push(cost);
            }
            for cost in &costs {
                let more = cost.allocations - costs[0].allocations;
                assert!(more <= 2.0, "{path:?}: {costs:?}");
                assert!(
                    cost.writes.is_none_or(|it| it <= 1.0),
                    "{path:?}: {costs:?}"
                );
                let backlog = cost.backlog_writes;
                assert!(backlog.is_none_or(|it| it <= 0.1), "{path:?}: {costs:?}");
            }
        }
    });
}
