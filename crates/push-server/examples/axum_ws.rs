//! WebSocket sessions in an axum application, after its own sign-in.
//!
//! The handshake is the hub's: axum passes on the connection's upgrade like hyper does, so there is
//! no need for axum's `ws` feature. Clients speak `tidegate.v1+json` (`docs/resume-protocol.md`).
//!
//! ```sh
//! cargo run -p push-server --example axum_ws
//! curl -d hello 'http://127.0.0.1:8080/live/events?topic=rooms/lobby' -H 'cookie: session=letmein'
//! ```
//!
//! ```js
//! // From a page of this server that has the cookie.
//! const socket = new WebSocket('/live/ws', 'tidegate.v1+json')
//! socket.onopen = () => socket.send('{"type":"resume","topics":["rooms/lobby"]}')
//! socket.onmessage = ({ data }) => console.log(data)
//! ```
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use push_server::{Access, Hub, HubConfig};
use replay_store::{AnyStore, Clock, Epoch, MemoryConfig, MemoryStore};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:8080");
    let hub = start_hub().await?;

    let live = Router::new()
        .fallback(live)
        .layer(from_fn(signed_in))
        .with_state(hub.clone());
    let app = Router::new()
        .route("/", get(async || "the application's own page\n"))
        .nest("/live", live);

    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let listener = listener.tap_io(|socket| _ = socket.set_nodelay(true));
    let stopping = hub.clone();
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            let _interrupted = tokio::signal::ctrl_c().await;
            stopping.drain().await;
            stopping.close();
        })
        .await?;
    // Sessions are tasks of their own, which axum knows nothing of.
    hub.ended().await;
    Ok(())
}

async fn start_hub() -> Result<Hub, Box<dyn Error>> {
    let clock = Clock::new(|| UNIX_EPOCH.elapsed().map_or(0, |it| it.as_millis() as u64));
    // A store in memory begins anew with the process; a random epoch tells clients so.
    let epoch = Epoch(getrandom::u64()?);
    let store = AnyStore::new(MemoryStore::new(MemoryConfig::default(), epoch, clock));
    let mut config = HubConfig::new();
    config
        // CORS does not apply to WebSocket: without this, any website could connect with the cookie
        // of who visits it.
        .access(Access::SameHost)
        .drain(Duration::from_secs(2));
    Ok(Hub::start(config, store).await?)
}

/// `/live/ws`, `/live/events` and so on.
async fn live(State(hub): State<Hub>, request: Request) -> Response {
    hub.handle(request).await.map(Body::new)
}

async fn signed_in(request: Request, next: Next) -> Response {
    let cookies = request.headers().get_all(header::COOKIE).iter();
    let mut cookies = cookies.flat_map(|it| it.to_str().unwrap_or_default().split("; "));
    if cookies.any(|it| it == "session=letmein") {
        next.run(request).await
    } else {
        (StatusCode::UNAUTHORIZED, "sign in first\n").into_response()
    }
}
