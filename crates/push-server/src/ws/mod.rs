//! WebSocket: the upgrade, and the session behind it.

mod publish;
mod session;

use http::header::{HeaderName, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::upgrade::{Parts, Upgraded};
use hyper_util::rt::TokioIo;
use session_proto::envelope::SUBPROTOCOL;
use tokio::net::TcpStream;
use ws_proto::handshake::{OriginPolicy, Reject, check_connect, check_request};

pub(crate) use self::publish::append;
use self::session::Setup;
pub use self::session::websocket;
use crate::http::HubBody;
use crate::http::problem::Problem;
use crate::hub::Hub;
use crate::link::Link;
use crate::metrics::Transport;
use crate::progress::WriteProgress;
use crate::serve::{Shards, Socket};

/// Answers a WebSocket handshake and leaves the session to a worker, or to a task of its own.
pub(crate) fn upgrade<B>(hub: &Hub, mut request: Request<B>) -> Result<Response<HubBody>, Problem> {
    if hub.is_closed() || hub.is_draining() {
        return Err(Problem::ShuttingDown);
    }
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect::<Vec<_>>();
    let origin = OriginPolicy::Any {
        reason: "the hub's access rule has judged Host and Origin already",
    };
    let fields = headers.iter().copied();
    let accepted = match request.extensions().get::<hyper::ext::Protocol>() {
        Some(protocol) if *request.method() == Method::CONNECT => {
            let authority = request.uri().authority().map_or("", |it| it.as_str());
            check_connect(
                protocol.as_str(),
                authority,
                fields,
                &origin,
                &[SUBPROTOCOL],
            )
        }
        _ => check_request(request.method().as_str(), fields, &origin, &[SUBPROTOCOL]),
    }
    .map_err(problem)?;
    let deflate = hub.config().compression.wish();
    let deflate = deflate.and_then(|wish| wish.accept(headers.iter().copied()));
    let offered = request.headers().contains_key(SEC_WEBSOCKET_PROTOCOL);
    if offered && accepted.subprotocol.is_none() {
        return Err(Problem::UpgradeInvalid {
            reason: format!("offer the subprotocol {SUBPROTOCOL}, or none"),
        });
    }
    let mut response = Response::new(HubBody::full(bytes::Bytes::new()));
    *response.status_mut() = StatusCode::from_u16(accepted.status()).unwrap_or(StatusCode::OK);
    for (name, value) in accepted.response_headers() {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            response.headers_mut().append(name, value);
        }
    }
    let deflate = deflate.and_then(|(agreed, field)| {
        let value = HeaderValue::from_bytes(&field).ok()?;
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_EXTENSIONS, value);
        Some(agreed)
    });
    let mut link = Link::of_request(hub, Transport::WebSocket, &request);
    link.hold();
    let session = Setup { link, deflate };
    let upgraded = hyper::upgrade::on(&mut request);
    let shards = request.extensions().get::<Shards>().cloned();
    // The upgrade has a task of its own for as long as it takes, and nothing of it is kept.
    tokio::spawn(async move {
        match (upgraded.await, shards) {
            (Ok(upgraded), Some(shards)) => leave_to(&shards, upgraded, session),
            (Ok(upgraded), None) => session.over(TokioIo::new(upgraded), None).await,
            (Err(error), _) => tracing::debug!(%error, "the client left during the upgrade"),
        }
    });
    Ok(response)
}

/// Leaves a session to the worker that has the fewest. A socket is taken out of what hyper keeps around
/// it, along with what the client said before it was answered.
fn leave_to(shards: &Shards, upgraded: Upgraded, session: Setup) {
    match upgraded.downcast::<TokioIo<WriteProgress<TcpStream>>>() {
        Ok(Parts { io, read_buf, .. }) => shards.take(|shard| {
            let io = Socket::new(io.into_inner());
            let mut session = session.over(io, Some(shard));
            if !read_buf.is_empty() {
                session.receive(&mut read_buf.to_vec());
            }
            session
        }),
        Err(upgraded) => {
            shards.take(|shard| session.over(TokioIo::new(upgraded), Some(shard)));
        }
    }
}

fn problem(reject: Reject) -> Problem {
    match reject.status() {
        426 => Problem::UpgradeRequired,
        403 => Problem::OriginForbidden,
        405 => Problem::MethodNotAllowed { allow: "GET" },
        _ => Problem::UpgradeInvalid {
            reason: reject.to_string(),
        },
    }
}
