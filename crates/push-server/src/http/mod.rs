//! The hub over HTTP: requests in, responses out, for any server that speaks the `http` crate's
//! types.

pub(crate) mod events;
pub(crate) mod problem;
mod query;

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
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
    /// Answers one request: `/events` (subscribe, publish) and `/ws`.
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
                problem.into_response()
            }
        }
    }

    async fn route<B>(&self, request: Request<B>) -> Result<Response<HubBody>, Problem>
    where
        B: Body<Data: Send> + Send,
    {
        let path = request.uri().path();
        if path != "/events" && path != "/ws" {
            return Err(Problem::NotFound);
        }
        self.config().access.check(request.headers())?;
        if path == "/ws" {
            return ws::upgrade(self, request);
        }
        match *request.method() {
            Method::GET | Method::HEAD => events::subscribe(self, &request),
            Method::POST => events::publish(self, request).await,
            _ => Err(Problem::MethodNotAllowed {
                allow: "GET, HEAD, POST",
            }),
        }
    }
}
