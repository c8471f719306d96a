//! The hub over HTTP: requests in, responses out, for any server that speaks the `http` crate's
//! types.

mod batch;
pub(crate) mod events;
mod history;
pub(crate) mod problem;
mod query;

use std::pin::Pin;
use std::task::{Context, Poll};

use backpressure::ShardHandle;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response};
use http_body::{Body, Frame, SizeHint};

use self::problem::Problem;
use crate::hub::Hub;
use crate::sse::{BodyError, EventBody};
use crate::ws;

/// The body of every response of the hub.
#[derive(Debug)]
pub struct HubBody(Kind);

#[derive(Debug)]
enum Kind {
    Full(Option<Bytes>),
    Events(Box<EventBody>),
    /// Headers alone, without a length: the answer to `HEAD` for a stream.
    Headless,
}

impl HubBody {
    /// A complete body.
    #[must_use]
    pub fn full(bytes: Bytes) -> Self {
        Self(Kind::Full((!bytes.is_empty()).then_some(bytes)))
    }

    pub(crate) fn events(body: EventBody) -> Self {
        Self(Kind::Events(Box::new(body)))
    }

    /// Is this an event stream?
    pub(crate) const fn is_events(&self) -> bool {
        matches!(self.0, Kind::Events(_))
    }

    /// See [`Subscriber::set_shard`](crate::Subscriber::set_shard); nothing but event streams waits.
    pub(crate) fn set_shard(&mut self, shard: ShardHandle) {
        if let Kind::Events(body) = &mut self.0 {
            body.set_shard(shard);
        }
    }

    /// The event stream, if this is one.
    pub(crate) fn into_events(self) -> Result<Box<EventBody>, Self> {
        match self.0 {
            Kind::Events(body) => Ok(body),
            other => Err(Self(other)),
        }
    }

    pub(crate) fn headless() -> Self {
        Self(Kind::Headless)
    }
}

impl Body for HubBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Events(body) => Pin::new(&mut **body).poll_frame(cx),
            Kind::Headless => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Full(bytes) => bytes.is_none(),
            Kind::Events(body) => body.is_end_stream(),
            Kind::Headless => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Events(_) | Kind::Headless => SizeHint::default(),
        }
    }
}

impl Hub {
    /// Answers one request: `/events` (subscribe, publish, purge), `/batch`, `/end`, `/history`,
    /// `/topics` and `/ws`.
    ///
    /// WebSocket needs a server that puts hyper's `OnUpgrade` into the request's extensions, as
    /// hyper and axum do; the session runs on a task of its own.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<HubBody>
    where
        B: Body<Data: Send> + Send,
    {
        match self.route(request).await {
            Ok(response) => response,
            Err(problem) => {
                tracing::debug!(code = problem.code(), "refused a request");
                self.registry().refused(&problem);
                problem.into_response()
            }
        }
    }

    async fn route<B>(&self, request: Request<B>) -> Result<Response<HubBody>, Problem>
    where
        B: Body<Data: Send> + Send,
    {
        let path = Path::of(request.uri().path()).ok_or(Problem::NotFound)?;
        self.config().access.check(request.headers())?;
        // What has no use for a body lets go of it: one that is not `Sync`, such as axum's, must not
        // be borrowed over an await, or the future could not be sent.
        match (path, request.method()) {
            (Path::Ws, _) => ws::upgrade(self, request),
            (Path::Events, &Method::GET | &Method::HEAD) => {
                events::subscribe(self, &request.map(drop)).await
            }
            (Path::Events, &Method::POST) => events::publish(self, request).await,
            (Path::Events, &Method::DELETE) => events::purge(self, &request.map(drop)).await,
            (Path::Batch, &Method::POST) => batch::publish(self, request).await,
            (Path::End, &Method::POST) => events::end(self, &request.map(drop)).await,
            (Path::History, &Method::GET | &Method::HEAD) => {
                history::events(self, &request.map(drop)).await
            }
            (Path::Topics, &Method::GET | &Method::HEAD) => {
                history::topics(self, &request.map(drop)).await
            }
            _ => Err(Problem::MethodNotAllowed {
                allow: path.methods(),
            }),
        }
    }
}

/// What the hub serves.
#[derive(Clone, Copy)]
enum Path {
    Batch,
    End,
    Events,
    History,
    Topics,
    Ws,
}

impl Path {
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/batch" => Self::Batch,
            "/end" => Self::End,
            "/events" => Self::Events,
            "/history" => Self::History,
            "/topics" => Self::Topics,
            "/ws" => Self::Ws,
            _ => return None,
        })
    }

    /// The `Allow` header of a refusal.
    const fn methods(self) -> &'static str {
        match self {
            Self::Batch | Self::End => "POST",
            Self::Events => "GET, HEAD, POST, DELETE",
            Self::History | Self::Topics => "GET, HEAD",
            Self::Ws => "GET",
        }
    }
}

/// An answer that no cache keeps.
fn json_response(value: &serde_json::Value) -> Response<HubBody> {
    json_bytes(format!("{value}\n").into_bytes())
}

fn json_bytes(json: Vec<u8>) -> Response<HubBody> {
    let mut response = Response::new(HubBody::full(json.into()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
