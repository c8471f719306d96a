//! A WebSocket client that echoes, on `ws-proto` alone, the limits lifted: what the conformance
//! suite talks to. It runs every case that the suite's server has, then asks for the report.
//! `cargo run -p push-client --example ws_echo_client -- ws://127.0.0.1:9002 --deflate`
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal"
)]

use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

use http::{Request, header};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;
use ws_proto::handshake::{ClientHandshake, DeflateParams};
use ws_proto::{
    Assembler, Client, Config, Connection, Deflater, Eof, Event, Inflater, Kind, Message,
};

type AnyError = Box<dyn Error + Send + Sync>;

/// How the suite names what it judged.
const AGENT: &str = "ws-proto";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), AnyError> {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
    let (url, wish) = match arguments[..] {
        [url] => (Url::parse(url)?, None),
        [url, "--deflate"] => (Url::parse(url)?, Some(DeflateParams::default())),
        [url, "--deflate", "--no-context-takeover"] => {
            let mut wish = DeflateParams::default();
            wish.client.no_context_takeover = true;
            (Url::parse(url)?, Some(wish))
        }
        _ => {
            let usage = "ws_echo_client ws://HOST:PORT [--deflate [--no-context-takeover]]";
            return Err(format!("usage: {usage}").into());
        }
    };
    let mut count = String::new();
    // The suite's own messages must not be answered: it does not wait for that.
    let heard = |message| {
        if let Message::Text(text) = message {
            count = text;
        }
        None
    };
    run(&url, "/getCaseCount", wish, heard).await?;
    let cases = count.trim().parse::<u32>()?;
    println!("{cases} cases");
    for case in 1..=cases {
        let path = format!("/runCase?case={case}&agent={AGENT}");
        if let Err(error) = run(&url, &path, wish, Some).await {
            eprintln!("case {case}: {error}");
        }
    }
    run(&url, &format!("/updateReports?agent={AGENT}"), wish, |_| {
        None
    })
    .await
}

/// Opens a connection to `path` and answers until it is closed.
async fn run(
    url: &Url,
    path: &str,
    wish: Option<DeflateParams>,
    answer: impl FnMut(Message) -> Option<Message>,
) -> Result<(), AnyError> {
    let (io, agreed) = connect(url, path, wish).await?;
    talk(TokioIo::new(io), agreed, answer).await?;
    Ok(())
}

async fn connect(
    url: &Url,
    path: &str,
    wish: Option<DeflateParams>,
) -> Result<(Upgraded, Option<DeflateParams>), AnyError> {
    let authority = url.authority();
    let socket = TcpStream::connect(&*url.socket_addrs(|| Some(80))?).await?;
    socket.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(socket)).await?;
    tokio::spawn(connection.with_upgrades());

    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce)?;
    let mut handshake = ClientHandshake::new(nonce, "")?;
    if let Some(wish) = wish {
        handshake = handshake.with_deflate(wish);
    }
    let mut request = Request::get(path).header(header::HOST, authority);
    for (name, value) in handshake.request_headers() {
        request = request.header(name, value);
    }
    let response = sender.send_request(request.body(Empty::new())?).await?;
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
    let headers = headers.collect::<Vec<_>>();
    handshake.verify(response.status().as_u16(), headers.iter().copied())?;
    let agreed = handshake.verify_deflate(headers.into_iter())?;
    Ok((hyper::upgrade::on(response).await?, agreed))
}

/// Answers every message whole, until the connection is closed.
async fn talk(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    agreed: Option<DeflateParams>,
    mut answer: impl FnMut(Message) -> Option<Message>,
) -> io::Result<()> {
    let start = Instant::now();
    let mut config = Config::default();
    config
        .max_frame(usize::MAX)
        .max_message(usize::MAX)
        .max_fragments(u32::MAX)
        .compressed(agreed.is_some());
    let mut connection = Connection::<Client<_>>::client(config, || {
        let mut key = [0; 4];
        getrandom::fill(&mut key).expect("the system has random bytes");
        key
    });
    let mut assembler = Assembler::new(usize::MAX);
    let mut deflater = None;
    if let Some(agreed) = agreed {
        let inflater = Inflater::new(agreed.server).max_ratio(u32::MAX);
        assembler = assembler.inflating(inflater);
        deflater = Some(Deflater::new(agreed.client));
    }
    let mut buffer = vec![0; 64 * 1024];
    let mut out = Vec::new();
    while connection.closed().is_none() {
        let due = connection.poll_timeout().unwrap_or(Duration::MAX);
        let left = due.saturating_sub(start.elapsed());
        let length = match timeout(left, io.read(&mut buffer)).await {
            Err(_) => {
                connection.handle_timeout(start.elapsed());
                continue;
            }
            Ok(Ok(0)) => {
                connection.handle_eof(Eof::Clean);
                break;
            }
            Ok(Ok(length)) => length,
            // The suite's server does not always read our Close before it ends the transport.
            Ok(Err(_)) if connection.is_closing() => {
                connection.handle_eof(Eof::Reset);
                break;
            }
            Ok(Err(error)) => return Err(error),
        };
        let mut received = buffer.get_mut(..length).unwrap_or_default();
        while !received.is_empty() {
            let mut events = connection.push(received, start.elapsed());
            let message = match events.next() {
                Some(Ok(Event::Data(chunk))) => assembler.push(chunk).map_err(io::Error::other)?,
                Some(Ok(_) | Err(_)) | None => None,
            };
            received = events.into_rest();
            let message = message.and_then(&mut answer);
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
    // Read on until the server ends the transport, so that no reset overtakes the Close frame.
    let _ended_already = io.shutdown().await;
    let drained = async { while io.read(&mut buffer).await.is_ok_and(|length| length > 0) {} };
    let _patience_ended = timeout(Duration::from_secs(1), drained).await;
    Ok(())
}
