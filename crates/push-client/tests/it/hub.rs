//! A hub that does what the test says, byte by byte.

use core::time::Duration;
use std::collections::HashMap;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use ws_proto::handshake::{DeflateSide, accept_key};
use ws_proto::{
    Assembler, CloseCode, Config, Connection, Deflater, Event, Kind, Message, OpCode, Server,
    encode_server_frame,
};

/// A loopback listener.
pub(crate) struct Hub {
    listener: TcpListener,
    pub(crate) url: String,
}

impl Hub {
    pub(crate) async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self { listener, url }
    }

    /// The next connection, with the request that was read from it.
    pub(crate) async fn accept(&self) -> Exchange {
        let (socket, _) = self.listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let mut exchange = Exchange {
            socket,
            request: Request::default(),
        };
        exchange.read_request().await;
        exchange
    }

    /// Fails if anybody connects.
    pub(crate) async fn stays_alone(&self) {
        let accepted = timeout(Duration::from_millis(100), self.listener.accept()).await;
        assert!(accepted.is_err(), "somebody connected again");
    }
}

/// A request as it came.
#[derive(Debug, Default)]
pub(crate) struct Request {
    /// Method and target.
    pub(crate) line: String,
    headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// One connection and the last request on it.
pub(crate) struct Exchange {
    pub(crate) socket: TcpStream,
    pub(crate) request: Request,
}

impl Exchange {
    /// Reads another request from the same connection.
    pub(crate) async fn read_request(&mut self) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.socket.read_u8().await.expect("a whole request"));
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap().to_owned();
        let headers: HashMap<_, _> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers
            .get("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body).await.unwrap();
        self.request = Request {
            line,
            headers,
            body,
        };
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        // A client that has left already is part of some plays.
        let _gone = self.socket.write_all(bytes.as_ref()).await;
    }

    /// Answers with a whole response.
    pub(crate) async fn answer(&mut self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        self.write(format!(
            "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}"
        ))
        .await;
    }

    /// Begins an event stream that ends with the connection.
    pub(crate) async fn open_stream(&mut self) {
        self.write(STREAM_HEAD).await;
    }

    /// Ends the connection so that the client reads a reset rather than an end.
    pub(crate) fn reset(self) {
        self.socket.set_zero_linger().unwrap();
    }

    /// Waits until the client has closed the connection.
    pub(crate) async fn closed(&mut self) {
        let mut rest = Vec::new();
        let _reset = self.socket.read_to_end(&mut rest).await;
    }

    /// Whether the client closes the connection, rather than sending anything or staying.
    pub(crate) async fn is_closed_within(&mut self, limit: Duration) -> bool {
        matches!(
            timeout(limit, self.socket.read(&mut [0])).await,
            Ok(Ok(0) | Err(_))
        )
    }

    /// Answers a WebSocket handshake as it should be.
    pub(crate) async fn upgrade(self) -> Session {
        self.upgrade_with(&[]).await
    }

    /// The same, with bytes that follow in the same write.
    pub(crate) async fn upgrade_with(self, early: &[u8]) -> Session {
        self.upgrade_to("", early).await
    }

    /// The same, with one more line in the head.
    pub(crate) async fn upgrade_to(mut self, line: &str, early: &[u8]) -> Session {
        assert_eq!(self.request.line, "GET /ws HTTP/1.1");
        let key = self.request.header("sec-websocket-key").expect("a key");
        let accept = String::from_utf8(accept_key(key.as_bytes()).to_vec()).unwrap();
        let lines = format!("sec-websocket-protocol: tidegate.v1+json\r\n{line}");
        let mut bytes = switching(&accept, &lines);
        bytes.extend(early);
        self.write(bytes).await;
        Session {
            socket: self.socket,
            connection: Connection::server(Config::default()),
            assembler: Assembler::new(1 << 20),
            deflater: None,
        }
    }
}

/// The head of an event stream that ends with the connection.
pub(crate) const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

/// A 101 response.
pub(crate) fn switching(accept: &str, more: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-accept: {accept}\r\n{more}\r\n"
    )
    .into_bytes()
}

/// One unmasked text frame.
pub(crate) fn text(json: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_server_frame(OpCode::Text, json.as_bytes(), &mut frame);
    frame
}

/// A WebSocket after the handshake.
pub(crate) struct Session {
    pub(crate) socket: TcpStream,
    connection: Connection<Server>,
    assembler: Assembler,
    deflater: Option<Deflater>,
}

impl Session {
    pub(crate) async fn send(&mut self, json: &str) {
        self.write(&text(json)).await;
    }

    pub(crate) async fn send_compressed(&mut self, json: &str) {
        let (kind, mut out) = (Kind::Text, Vec::new());
        let deflater = self
            .deflater
            .get_or_insert_with(|| Deflater::new(DeflateSide::default()));
        self.connection
            .send_compressed(kind, json.as_bytes(), deflater, &mut out)
            .unwrap();
        self.write(&out).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let _gone = self.socket.write_all(bytes).await;
    }

    pub(crate) async fn close(&mut self, code: u16, reason: &str) {
        self.connection
            .close(CloseCode::from(code), reason, Duration::ZERO)
            .unwrap();
        self.flush().await;
    }

    pub(crate) async fn ping(&mut self, payload: &[u8]) {
        self.connection.ping(payload).unwrap();
        self.flush().await;
    }

    /// What the client sends next, as one line. Pings are answered.
    pub(crate) async fn receive(&mut self) -> String {
        loop {
            let mut bytes = [0; 1];
            if !matches!(self.socket.read(&mut bytes).await, Ok(1..)) {
                return "end".to_owned();
            }
            let mut line = None;
            let mut events = self.connection.push(&mut bytes, Duration::ZERO);
            while let Some(event) = events.next() {
                match event.expect("a client that keeps to RFC 6455") {
                    Event::Data(chunk) => {
                        if let Some(Message::Text(text)) = self.assembler.push(chunk).unwrap() {
                            line = Some(text);
                        }
                    }
                    Event::Ping(payload) => line = Some(control("ping", payload)),
                    Event::Pong(payload) => line = Some(control("pong", payload)),
                    Event::Close(frame) => line = Some(format!("close {}", frame.code)),
                }
            }
            self.flush().await;
            if let Some(line) = line {
                return line;
            }
        }
    }

    async fn flush(&mut self) {
        let mut out = Vec::new();
        self.connection.poll_transmit(&mut out);
        self.write(&out).await;
    }
}

fn control(name: &str, payload: &[u8]) -> String {
    format!("{name} {}", String::from_utf8_lossy(payload))
        .trim_end()
        .to_owned()
}
