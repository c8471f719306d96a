//! What a user of axum, tokio-websockets or fastwebsockets would write: a `broadcast` channel per
//! topic, a task per connection.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use base64::Engine;
use futures::{SinkExt, Stream, stream};
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::{self, Receiver, Sender};

/// Messages a subscriber may be behind before it loses some.
const CAPACITY: usize = 16 * 1024;

#[derive(Clone, Default)]
struct Topics(Arc<Mutex<HashMap<String, Sender<Bytes>>>>);

impl Topics {
    fn of(&self, name: &str) -> Sender<Bytes> {
        let mut topics = self.0.lock().expect("nobody panics with it");
        if let Some(topic) = topics.get(name) {
            return topic.clone();
        }
        let topic = broadcast::channel(CAPACITY).0;
        topics.insert(name.to_owned(), topic.clone());
        topic
    }
}

pub fn run(name: &str) -> io::Result<()> {
    // The server has one core.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let name = name.to_owned();
    runtime.block_on(async {
        let served = tokio::spawn(async move { serve(&name).await });
        served.await.expect("serving does not panic")
    })
}

async fn serve(name: &str) -> io::Result<()> {
    let topics = Topics::default();
    let publish = Router::new().route("/pub/{topic}", post(publish));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = match name {
        "axum-sse" => publish.route("/sub/{topic}", get(sse)),
        "axum-ws" => publish.route("/sub/{topic}", get(ws)),
        _ => {
            let subscribers = TcpListener::bind("127.0.0.1:0").await?;
            println!("listening {address} {}", subscribers.local_addr()?);
            let fast = name == "fastwebsockets";
            tokio::spawn(accept(subscribers, topics.clone(), fast));
            publish
        }
    };
    if name.starts_with("axum") {
        println!("listening {address}");
    }
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router.with_state(topics)).await
}

async fn publish(
    State(topics): State<Topics>,
    Path(topic): Path<String>,
    body: Bytes,
) -> StatusCode {
    // Nobody listening is no failure.
    let _ = topics.of(&topic).send(body);
    StatusCode::NO_CONTENT
}

async fn sse(
    State(topics): State<Topics>,
    Path(topic): Path<String>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = stream::unfold(topics.of(&topic).subscribe(), |mut events| async {
        // One that lags behind loses messages, and the generator will say so.
        let data = next(&mut events).await?;
        let event = Event::default().data(String::from_utf8_lossy(&data));
        Some((Ok(event), events))
    });
    Sse::new(events)
}

async fn next(events: &mut Receiver<Bytes>) -> Option<Bytes> {
    loop {
        match events.recv().await {
            Ok(data) => return Some(data),
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return None,
        }
    }
}

async fn ws(
    State(topics): State<Topics>,
    Path(topic): Path<String>,
    upgrade: WebSocketUpgrade,
) -> axum::response::Response {
    let mut events = topics.of(&topic).subscribe();
    upgrade.on_upgrade(async move |mut socket: WebSocket| {
        while let Some(data) = next(&mut events).await {
            let text = axum::extract::ws::Utf8Bytes::try_from(data).expect("the payload is text");
            if socket.send(Message::Text(text)).await.is_err() {
                return;
            }
        }
    })
}

async fn accept(listener: TcpListener, topics: Topics, fast: bool) {
    while let Ok((stream, _)) = listener.accept().await {
        let topics = topics.clone();
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let Ok((stream, topic)) = handshake(stream).await else {
                return;
            };
            let events = topics.of(&topic).subscribe();
            if fast {
                fastwebsockets(stream, events).await;
            } else {
                tokio_websockets(stream, events).await;
            }
        });
    }
}

/// Answers the upgrade, and says the topic.
async fn handshake(mut stream: TcpStream) -> io::Result<(TcpStream, String)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let key = head
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
        .ok_or(io::ErrorKind::InvalidData)?;
    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    let accept = base64::engine::general_purpose::STANDARD.encode(digest);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    let path = head.split(' ').nth(1).unwrap_or_default();
    let topic = path.rsplit('/').next().unwrap_or_default().to_owned();
    Ok((stream, topic))
}

async fn fastwebsockets(stream: TcpStream, mut events: Receiver<Bytes>) {
    use fastwebsockets::{Frame, Payload, Role};

    let mut socket = fastwebsockets::WebSocket::after_handshake(stream, Role::Server);
    while let Some(data) = next(&mut events).await {
        let frame = Frame::text(Payload::Borrowed(&data));
        if socket.write_frame(frame).await.is_err() {
            return;
        }
    }
}

async fn tokio_websockets(stream: TcpStream, mut events: Receiver<Bytes>) {
    let mut socket = tokio_websockets::ServerBuilder::new().serve(stream);
    while let Some(data) = next(&mut events).await {
        let text = String::from_utf8(data.to_vec()).expect("the payload is text");
        if socket
            .send(tokio_websockets::Message::text(text))
            .await
            .is_err()
        {
            return;
        }
    }
}
