//! What operators and their machines ask: is it alive, is it ready, what does it count, what does it
//! do.

mod process;
mod status;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::access::Access;
use crate::http::HubBody;
use crate::http::problem::Problem;
use crate::hub::Hub;
use crate::metrics::{Format, Kind, Text};
use crate::ready::NotReady;

/// How many connections are served at a time; others wait in the listener's queue.
const MAX_CONNECTIONS: usize = 64;

/// How long one connection is kept, and how long its last answer may take then.
const KEEP: Duration = Duration::from_secs(120);
const GRACE: Duration = Duration::from_secs(10);

const TEXT: &str = "text/plain; charset=utf-8";

/// The pages of an operator, for a listener of their own that the public does not reach:
///
/// | path | answer |
/// |---|---|
/// | `/livez` | 200 as long as the process answers |
/// | `/readyz` | 200 if [`Hub::ready`] says so, otherwise 503 and the reason |
/// | `/metrics` | [`Metrics`](crate::Metrics) and those of the process, for Prometheus or in OpenMetrics |
/// | `/status` | what the hub does now, as JSON, or as text to a client that prefers `text/html` or `text/plain` |
///
/// It can be asked before there is a hub: it is not ready then. Clones are the same.
#[derive(Clone)]
pub struct Admin {
    inner: Arc<Inner>,
}

struct Inner {
    version: String,
    access: Access,
    started: Instant,
    started_at: SystemTime,
    hub: OnceLock<(Hub, String)>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("version", &self.inner.version)
            .finish_non_exhaustive()
    }
}

impl Admin {
    /// Pages of a program of this version that starts now, for requests that `access` lets in.
    /// Where the listener is on loopback, let that be [`Access::Loopback`], so that no website can
    /// ask by means of a name of its own.
    #[must_use]
    pub fn new(version: impl Into<String>, access: Access) -> Self {
        Self {
            inner: Arc::new(Inner {
                version: version.into(),
                access,
                started: Instant::now(),
                started_at: SystemTime::now(),
                hub: OnceLock::new(),
            }),
        }
    }

    /// The hub is up, on a store that is named like this. The first hub counts.
    pub fn set_hub(&self, hub: Hub, store: impl Into<String>) {
        let _first = self.inner.hub.set((hub, store.into()));
    }

    fn hub(&self) -> Option<&Hub> {
        self.inner.hub.get().map(|(hub, _)| hub)
    }

    /// Answers one request.
    ///
    /// # Cancel safety
    ///
    /// Nothing happened.
    pub async fn handle<B>(&self, request: &Request<B>) -> Response<HubBody> {
        if let Err(refusal) = self.inner.access.check(request.headers()) {
            return Problem::from(refusal).into_response();
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "use GET\n");
            let allow = HeaderValue::from_static("GET, HEAD");
            refused.headers_mut().insert(ALLOW, allow);
            return refused;
        }
        let mut response = match request.uri().path() {
            "/livez" => answer(StatusCode::OK, TEXT, "alive\n"),
            "/readyz" => self.ready().await,
            "/metrics" => self.metrics(request).await,
            "/status" => self.status(request).await,
            _ => {
                let text = "nothing is served at this path; there are /livez, /readyz, /metrics and /status\n";
                answer(StatusCode::NOT_FOUND, TEXT, text)
            }
        };
        if *request.method() == Method::HEAD {
            *response.body_mut() = HubBody::full(Bytes::new());
        }
        response
    }

    async fn readiness(&self) -> Result<(), NotReady> {
        match self.hub() {
            Some(hub) => hub.ready().await,
            None => Err(NotReady::Starting),
        }
    }

    async fn ready(&self) -> Response<HubBody> {
        match self.readiness().await {
            Ok(()) => answer(StatusCode::OK, TEXT, "ready\n"),
            Err(reason) => answer(
                StatusCode::SERVICE_UNAVAILABLE,
                TEXT,
                format!("not ready: {reason}\n"),
            ),
        }
    }

    async fn metrics<B>(&self, request: &Request<B>) -> Response<HubBody> {
        let open = accepts(request, "application/openmetrics-text");
        let format = if open {
            Format::OpenMetrics
        } else {
            Format::Prometheus
        };
        let mut text = Text::new(format);
        if let Some(hub) = self.hub() {
            // So that what is said of the store is of this moment, if it answers.
            let _unreadable = hub.probe().await;
            hub.metrics().write(&mut text);
        }
        text.family(
            "tidegate_build_info",
            Kind::Gauge,
            "Always 1; the version that runs is in the label.",
        )
        .sample("", &[("version", &self.inner.version)], 1);
        process::write(self.inner.started_at, &mut text);
        answer(StatusCode::OK, format.content_type(), text.finish())
    }

    async fn status<B>(&self, request: &Request<B>) -> Response<HubBody> {
        let status = status::of(&self.inner, &self.readiness().await);
        if accepts(request, "text/html") || accepts(request, "text/plain") {
            return answer(StatusCode::OK, TEXT, status::to_text(&status));
        }
        answer(StatusCode::OK, "application/json", format!("{status}\n"))
    }

    /// Serves the pages over HTTP/1.1 for ever, to at most 64 connections at a time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cuts all connections.
    pub async fn serve(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                    match accepted {
                        Ok((stream, _)) => {
                            connections.spawn(serve_one(self.clone(), stream));
                        }
                        // Running out of descriptors must not spin.
                        Err(_) => sleep(Duration::from_millis(100)).await,
                    }
                }
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
            }
        }
    }
}

async fn serve_one(admin: Admin, stream: TcpStream) {
    let service = service_fn(move |request: Request<Incoming>| {
        let admin = admin.clone();
        async move { Ok::<_, std::convert::Infallible>(admin.handle(&request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = sleep(KEEP) => {
            connection.as_mut().graceful_shutdown();
            timeout(GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection to the admin listener was cut");
    }
}

fn accepts<B>(request: &Request<B>, kind: &str) -> bool {
    let values = request.headers().get_all(ACCEPT);
    let mut texts = values.iter().filter_map(|value| value.to_str().ok());
    texts.any(|text| text.contains(kind))
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<HubBody> {
    let mut response = Response::new(HubBody::full(body.into()));
    *response.status_mut() = status;
    let headers: [(HeaderName, &'static str); 3] = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in headers {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
