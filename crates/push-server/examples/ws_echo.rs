//! A WebSocket echo server on `ws-proto` alone, the limits lifted: what the conformance suite talks
//! to. `cargo run -p push-server --example ws_echo -- 127.0.0.1:9001 --deflate`
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal"
)]

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

use http::{HeaderValue, Request, Response};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;
use ws_proto::handshake::{DeflateParams, OriginPolicy, check_request};
use ws_proto::{
    Assembler, Config, Connection, Deflater, Eof, Event, Inflater, Kind, Message, Server,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
    let (address, deflate) = match arguments[..] {
        [address] => (address, false),
        [address, "--deflate"] => (address, true),
        _ => return Err("usage: ws_echo ADDRESS [--deflate], ADDRESS as in 127.0.0.1:9001".into()),
    };
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(async move {
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(
                    TokioIo::new(socket),
                    service_fn(|request| upgrade(request, deflate)),
                )
                .with_upgrades();
            if let Err(error) = served.await {
                eprintln!("before the upgrade: {error}");
            }
        });
    }
}

async fn upgrade(
    mut request: Request<Incoming>,
    deflate: bool,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let origin = OriginPolicy::Any {
        reason: "it echoes, and knows nothing worth stealing",
    };
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
    let headers = headers.collect::<Vec<_>>();
    let agreed = if deflate {
        DeflateParams::default().accept(headers.iter().copied())
    } else {
        None
    };
    let mut response = Response::new(Empty::new());
    let (status, fields) = match check_request(
        request.method().as_str(),
        headers.iter().copied(),
        &origin,
        &[],
    ) {
        Ok(accepted) => (101, owned(accepted.response_headers())),
        Err(reject) => {
            let fields = reject.response_headers().iter();
            let fields = fields.map(|(name, value)| (*name, value.as_bytes()));
            (reject.status(), owned(fields))
        }
    };
    if let Ok(status) = status.try_into() {
        *response.status_mut() = status;
    }
    response.headers_mut().extend(fields);
    if status == 101 {
        if let Some((_, field)) = &agreed {
            let field = [("sec-websocket-extensions", &**field)];
            response.headers_mut().extend(owned(field.into_iter()));
        }
        let agreed = agreed.map(|(agreed, _)| agreed);
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            match upgraded.await {
                Ok(io) => match echo(TokioIo::new(io), agreed).await {
                    Ok(()) => {}
                    Err(error) => eprintln!("{error}"),
                },
                Err(error) => eprintln!("during the upgrade: {error}"),
            }
        });
    }
    Ok(response)
}

fn owned<'a>(
    fields: impl Iterator<Item = (&'static str, &'a [u8])>,
) -> Vec<(http::HeaderName, HeaderValue)> {
    let field = |(name, value)| {
        let value = HeaderValue::from_bytes(value).ok()?;
        Some((http::HeaderName::from_static(name), value))
    };
    fields.filter_map(field).collect()
}

/// Sends every message back whole, until the connection is closed.
async fn echo(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    agreed: Option<DeflateParams>,
) -> io::Result<()> {
    let start = Instant::now();
    let mut config = Config::default();
    config
        .max_frame(usize::MAX)
        .max_message(usize::MAX)
        .max_fragments(u32::MAX)
        .compressed(agreed.is_some());
    let mut connection = Connection::<Server>::server(config);
    let mut assembler = Assembler::new(usize::MAX);
    let mut deflater = None;
    if let Some(agreed) = agreed {
        let inflater = Inflater::new(agreed.client).max_ratio(u32::MAX);
        assembler = assembler.inflating(inflater);
        deflater = Some(Deflater::new(agreed.server));
    }
    let mut buffer = vec![0; 64 * 1024];
    let mut out = Vec::new();
    while connection.closed().is_none() {
        let length = match connection.poll_timeout() {
            None => io.read(&mut buffer).await?,
            Some(deadline) => {
                let left = deadline.saturating_sub(start.elapsed());
                match timeout(left, io.read(&mut buffer)).await {
                    Ok(length) => length?,
                    Err(_) => {
                        connection.handle_timeout(start.elapsed());
                        continue;
                    }
                }
            }
        };
        if length == 0 {
            connection.handle_eof(Eof::Clean);
            break;
        }
        let mut received = buffer.get_mut(..length).unwrap_or_default();
        while !received.is_empty() {
            let mut events = connection.push(received, start.elapsed());
            let message = match events.next() {
                Some(Ok(Event::Data(chunk))) => assembler.push(chunk).map_err(io::Error::other)?,
                Some(Ok(_)) | None => None,
                Some(Err(violation)) => {
                    eprintln!("the client broke {violation}");
                    None
                }
            };
            received = events.into_rest();
            let (kind, payload) = match &message {
                Some(Message::Text(text)) => (Kind::Text, text.as_bytes()),
                Some(Message::Binary(bytes)) => (Kind::Binary, &bytes[..]),
                None => (Kind::Binary, &[][..]),
            };
            let sent = match &mut deflater {
                _ if message.is_none() => Ok(()),
                None => connection.send(kind, payload, &mut out),
                Some(deflater) => connection.send_compressed(kind, payload, deflater, &mut out),
            };
            sent.map_err(io::Error::other)?;
            // After each event, so that every ping has its own pong: the suite counts them.
            connection.poll_transmit(&mut out);
        }
        io.write_all(&out).await?;
        out.clear();
    }
    finish(io, &mut buffer).await
}

/// Ends the transport so that the Close frame is not overtaken by a reset.
async fn finish(mut io: impl AsyncRead + AsyncWrite + Unpin, buffer: &mut [u8]) -> io::Result<()> {
    io.shutdown().await?;
    let drained = async { while io.read(buffer).await.is_ok_and(|length| length > 0) {} };
    let _patience_ended = timeout(Duration::from_secs(1), drained).await;
    Ok(())
}
