//! Event streams with plain hyper 1: the hub's paths beside the application's own, its own sign-in.
//!
//! ```sh
//! cargo run -p push-server --example hyper_sse
//! curl -N -H 'authorization: Bearer letmein' 'http://127.0.0.1:8080/events?topic=rooms/lobby'
//! curl -H 'authorization: Bearer letmein' -d hello 'http://127.0.0.1:8080/events?topic=rooms/lobby'
//! ```
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal"
)]

use std::convert::Infallible;
use std::error::Error;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use push_server::{Access, Hub, HubBody, HubConfig};
use replay_store::{AnyStore, Clock, Epoch, MemoryConfig, MemoryStore};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:8080");
    let hub = start_hub().await?;
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);

    let mut connections = JoinSet::new();
    let drained = async {
        let _interrupted = tokio::signal::ctrl_c().await;
        hub.drain().await;
    };
    let mut drained = std::pin::pin!(drained);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => _ = connections.spawn(serve(socket, hub.clone())),
                Err(error) => {
                    eprintln!("cannot accept: {error}");
                    // Out of descriptors, perhaps; trying at once would not help.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            () = &mut drained => break,
            // What has ended is forgotten.
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    hub.close();
    Ok(())
}

async fn serve(socket: TcpStream, hub: Hub) {
    if let Err(error) = socket.set_nodelay(true) {
        eprintln!("{error}");
    }
    let service = service_fn(move |request| {
        let hub = hub.clone();
        async move { Ok::<_, Infallible>(answer(&hub, request).await) }
    });
    let served = http1::Builder::new()
        // Without a timer, the limit on how long a request head may take is off.
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(socket), service)
        // For `/ws`.
        .with_upgrades();
    if let Err(error) = served.await {
        eprintln!("a connection was cut: {error}");
    }
}

async fn answer(hub: &Hub, request: Request<Incoming>) -> Response<HubBody> {
    if request.uri().path() == "/" {
        let page = Bytes::from_static(b"the application's own page\n");
        return Response::new(HubBody::full(page));
    }
    let token = request.headers().get(header::AUTHORIZATION);
    if token.is_none_or(|it| it != "Bearer letmein") {
        let hint = Bytes::from_static(b"sign in first\n");
        let mut refusal = Response::new(HubBody::full(hint));
        *refusal.status_mut() = StatusCode::UNAUTHORIZED;
        return refusal;
    }
    hub.handle(request).await
}

async fn start_hub() -> Result<Hub, Box<dyn Error>> {
    let clock = Clock::new(|| UNIX_EPOCH.elapsed().map_or(0, |it| it.as_millis() as u64));
    // A store in memory begins anew with the process; a random epoch tells clients so.
    let epoch = Epoch(getrandom::u64()?);
    let store = AnyStore::new(MemoryStore::new(MemoryConfig::default(), epoch, clock));
    let mut config = HubConfig::new();
    config
        .access(Access::SameHost)
        .drain(Duration::from_secs(2));
    Ok(Hub::start(config, store).await?)
}
