//! A WebSocket client that echoes, on `ws-proto` alone, the limits lifted: what the conformance
//! suite talks to. It runs every case that the suite's server has, then asks for the report.
//! `cargo run -p push-client --example ws_echo_client -- ws://127.0.0.1:9002`
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
use ws_proto::handshake::ClientHandshake;
use ws_proto::{Assembler, Client, Config, Connection, Eof, Event, Kind, Message};

type AnyError = Box<dyn Error + Send + Sync>;

/// How the suite names what it judged.
const AGENT: &str = "ws-proto";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), AnyError> {
    let Some(url) = std::env::args().nth(1) else {
        return Err("usage: ws_echo_client URL, for example ws://127.0.0.1:9002".into());
    };
    let url = Url::parse(&url)?;
    let mut count = String::new();
    // The suite's own messages must not be answered: it does not wait for that.
    let heard = |message| {
        if let Message::Text(text) = message {
            count = text;
        }
        None
    };
    run(&url, "/getCaseCount", heard).await?;
    let cases = count.trim().parse::<u32>()?;
    println!("{cases} cases");
    for case in 1..=cases {
        let path = format!("/runCase?case={case}&agent={AGENT}");
        if let Err(error) = run(&url, &path, Some).await {
            eprintln!("case {case}: {error}");
        }
    }
    run(&url, &format!("/updateReports?agent={AGENT}"), |_| None).await
}

/// Opens a connection to `path` and answers until it is closed.
async fn run(
    url: &Url,
    path: &str,
    answer: impl FnMut(Message) -> Option<Message>,
) -> Result<(), AnyError> {
    let io = connect(url, path).await?;
    talk(TokioIo::new(io), answer).await?;
    Ok(())
}

async fn connect(url: &Url, path: &str) -> Result<Upgraded, AnyError> {
    let authority = url.authority();
    let socket = TcpStream::connect(&*url.socket_addrs(|| Some(80))?).await?;
    socket.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(socket)).await?;
    tokio::spawn(connection.with_upgrades());

    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce)?;
    let handshake = ClientHandshake::new(nonce, "")?;
    let mut request = Request::get(path).header(header::HOST, authority);
    for (name, value) in handshake.request_headers() {
        request = request.header(name, value);
    }
    let response = sender.send_request(request.body(Empty::new())?).await?;
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
    let headers = headers.collect::<Vec<_>>();
    handshake.verify(response.status().as_u16(), headers.into_iter())?;
    Ok(hyper::upgrade::on(response).await?)
}

/// Answers every message whole, until the connection is closed.
async fn talk(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    mut answer: impl FnMut(Message) -> Option<Message>,
) -> io::Result<()> {
    let start = Instant::now();
    let mut config = Config::default();
    config
        .max_frame(usize::MAX)
        .max_message(usize::MAX)
        .max_fragments(u32::MAX);
    let mut connection = Connection::<Client<_>>::client(config, || {
        let mut key = [0; 4];
        getrandom::fill(&mut key).expect("the system has random bytes");
        key
    });
    let mut assembler = Assembler::new(usize::MAX);
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
                Some(Ok(_) | Err(_)) | None => None,
            };
            received = events.into_rest();
            let sent = match message.and_then(&mut answer) {
                Some(Message::Text(text)) => connection.send(Kind::Text, text.as_bytes(), &mut out),
                Some(Message::Binary(bytes)) => connection.send(Kind::Binary, &bytes, &mut out),
                None => Ok(()),
            };
            sent.map_err(io::Error::other)?;
            // After each event, so that every ping has its own pong: the suite counts them.
            connection.poll_transmit(&mut out);
        }
        io.write_all(&out).await?;
        out.clear();
    }
    // Read on until the server ends the transport, so that no reset overtakes the Close frame.
    io.shutdown().await?;
    let drained = async { while io.read(&mut buffer).await.is_ok_and(|length| length > 0) {} };
    let _patience_ended = timeout(Duration::from_secs(1), drained).await;
    Ok(())
}
