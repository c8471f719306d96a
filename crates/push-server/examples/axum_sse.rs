//! Event streams in an axum application: its own route, its own sign-in, its own CORS headers, and the
//! hub's whole interface mounted under a prefix.
//!
//! ```sh
//! cargo run -p push-server --example axum_sse
//! curl -N -H 'cookie: session=letmein' http://127.0.0.1:8080/rooms/lobby/events
//! curl -H 'cookie: session=letmein' -d hello 'http://127.0.0.1:8080/hub/events?topic=rooms/lobby'
//! ```
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use backpressure::Policy;
use push_server::{Access, EventBody, Form, Hub, HubConfig};
use replay_store::{After, AnyStore, Clock, Epoch, MemoryConfig, MemoryStore, Selector, Topic};
use tokio::net::TcpListener;

/// The website that may read and publish.
const SITE: &str = "https://app.example";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:8080");
    let hub = start_hub().await?;

    let mounted = Router::new().fallback(mounted);
    let app = Router::new()
        .route("/rooms/{room}/events", get(subscribe))
        .nest("/hub", mounted)
        .layer(from_fn(signed_in))
        .layer(from_fn(cors))
        .with_state(hub.clone());

    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    // An event should not wait for more to fill a segment.
    let listener = listener.tap_io(|socket| _ = socket.set_nodelay(true));
    // A server that ends in order waits for its responses, and an event stream never ends by itself:
    // the hub ends them, and tells each client when to come back.
    let stopped = async move {
        let _interrupted = tokio::signal::ctrl_c().await;
        hub.drain().await;
        hub.close();
    };
    axum::serve(listener, app)
        .with_graceful_shutdown(stopped)
        .await?;
    Ok(())
}

async fn start_hub() -> Result<Hub, Box<dyn Error>> {
    let clock = Clock::new(|| UNIX_EPOCH.elapsed().map_or(0, |it| it.as_millis() as u64));
    // A store in memory begins anew with the process; a random epoch tells clients so.
    let epoch = Epoch(getrandom::u64()?);
    let store = AnyStore::new(MemoryStore::new(MemoryConfig::default(), epoch, clock));
    let mut config = HubConfig::new();
    config
        .access(Access::Origins(vec![SITE.to_owned()]))
        .drain(Duration::from_secs(2));
    Ok(Hub::start(config, store).await?)
}

/// `/rooms/lobby/events`: one topic, named by the path.
async fn subscribe(
    State(hub): State<Hub>,
    Path(room): Path<String>,
    headers: HeaderMap,
) -> Result<Response, StatusCode> {
    let topic = Topic::new(&format!("rooms/{room}")).map_err(|_| StatusCode::BAD_REQUEST)?;
    // What a browser sends when it comes back; without it, the stream begins now.
    let after = headers
        .get("last-event-id")
        .map_or(After::Latest, |id| After::parse(id.as_bytes()));
    let policy = Policy::default();
    let subscriber = hub.subscribe(Selector::from(topic), Form::SseRaw, policy, after);
    let response = EventBody::new(subscriber).into_response();
    Ok(response.map(Body::new))
}

/// Everything else the hub can do, at the paths it documents: `/hub/events`, `/hub/history` and so on.
/// It judges `Origin` by itself.
async fn mounted(State(hub): State<Hub>, request: Request) -> Response {
    hub.handle(request).await.map(Body::new)
}

/// `EventSource` sends cookies and no other credentials.
async fn signed_in(request: Request, next: Next) -> Response {
    let cookies = request.headers().get_all(header::COOKIE).iter();
    let mut cookies = cookies.flat_map(|it| it.to_str().unwrap_or_default().split("; "));
    if cookies.any(|it| it == "session=letmein") {
        next.run(request).await
    } else {
        (StatusCode::UNAUTHORIZED, "sign in first\n").into_response()
    }
}

/// Lets pages of one other site read, with cookies. Outermost, so that refusals are readable too.
async fn cors(request: Request, next: Next) -> Response {
    let ours = request.headers().get(header::ORIGIN).map(|it| it == SITE);
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    if ours == Some(true) {
        let headers = response.headers_mut();
        let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
        set(header::ACCESS_CONTROL_ALLOW_ORIGIN, SITE);
        set(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        set(header::ACCESS_CONTROL_ALLOW_HEADERS, "last-event-id");
        set(header::VARY, "origin");
    }
    response
}
