//! A hub on a memory store, and clients that read what it sends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backpressure::{Lag, LogConfig};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use push_server::{Access, Hub, HubBody, HubConfig, websocket};
use replay_store::{AnyStore, Append, Clock, Epoch, MemoryConfig, MemoryStore, Retention, Topic};
use serde_json::{Value, json};
use sse_proto::{Decoder, Item};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use ws_proto::handshake::DeflateParams;
use ws_proto::{
    Assembler, Client, Connection, Deflater, Header, Inflater, Kind, MaskSource, Message, OpCode,
    Parsed,
};

pub(crate) const EPOCH: u64 = 0xabc;

/// A store that keeps the newest `events` of each topic.
pub(crate) fn store(epoch: u64, events: usize) -> AnyStore {
    let config = MemoryConfig {
        retention: Retention {
            events,
            ..Retention::default()
        },
        ..MemoryConfig::default()
    };
    let now = Arc::new(AtomicU64::new(1_790_000_000_000));
    let clock = Clock::new(move || now.fetch_add(1, Ordering::Relaxed));
    AnyStore::new(MemoryStore::new(config, Epoch(epoch), clock))
}

pub(crate) async fn hub() -> Hub {
    hub_with(HubConfig::new(), store(EPOCH, 10_000)).await
}

pub(crate) async fn hub_with(mut config: HubConfig, store: AnyStore) -> Hub {
    config.access(Access::Open);
    Hub::start(config, store).await.unwrap()
}

pub(crate) fn configured(set: impl FnOnce(&mut HubConfig)) -> HubConfig {
    let mut config = HubConfig::new();
    set(&mut config);
    config
}

pub(crate) fn tail(bytes: usize) -> LogConfig {
    let mut config = LogConfig::default();
    config.max_bytes(bytes);
    config
}

/// How far a subscriber may fall behind.
pub(crate) fn bound(events: u64) -> Lag {
    Lag {
        events,
        bytes: u64::MAX,
    }
}

pub(crate) fn cursor(seq: u64) -> String {
    format!("{EPOCH:016x}-{seq}")
}

pub(crate) async fn publish(hub: &Hub, topic: &str, data: &str) -> String {
    let event = Append::new(Topic::new(topic).unwrap(), data.to_owned());
    hub.publish(event).await.unwrap().position.to_string()
}

pub(crate) async fn send(hub: &Hub, request: Request<&'static str>) -> Response<HubBody> {
    hub.handle(request.map(|body| Full::new(Bytes::from(body))))
        .await
}

pub(crate) async fn get(hub: &Hub, uri: &str, last_event_id: Option<&str>) -> Response<HubBody> {
    let mut request = Request::get(uri);
    if let Some(id) = last_event_id {
        request = request.header("last-event-id", id);
    }
    send(hub, request.body("").unwrap()).await
}

pub(crate) async fn text(response: Response<HubBody>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) async fn call(hub: &Hub, method: &str, uri: &str, body: &str) -> (u16, Value) {
    let request = Request::builder().method(method).uri(uri);
    let request = request.body(Bytes::copy_from_slice(body.as_bytes()));
    let response = hub.handle(request.unwrap().map(Full::new)).await;
    let status = response.status().as_u16();
    let text = text(response).await;
    let value = serde_json::from_str(&text).unwrap_or(Value::Null);
    (status, value)
}

pub(crate) async fn history(hub: &Hub, query: &str) -> Value {
    let (status, page) = call(hub, "GET", &format!("/history?{query}"), "").await;
    assert_eq!(status, 200, "{query}: {page}");
    page
}

/// The data of the events of a page.
pub(crate) fn data(page: &Value) -> Vec<&str> {
    let events = page["events"].as_array().unwrap().iter();
    events
        .map(|event| event["data"].as_str().unwrap())
        .collect()
}

/// The status that a subscription is answered with.
pub(crate) async fn status(hub: &Hub, query: &str, last_event_id: Option<&str>) -> u16 {
    let uri = format!("/events?{query}");
    get(hub, &uri, last_event_id).await.status().as_u16()
}

pub(crate) async fn purge(hub: &Hub, query: &str) -> Value {
    let (status, answer) = call(hub, "DELETE", &format!("/events?{query}"), "").await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// What an event stream said, block by block.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Got {
    Event {
        event: String,
        data: String,
        id: String,
    },
    Id(String),
    Retry,
    Comment(String),
    /// The connection was cut.
    Cut,
    End,
}

/// An event stream being read.
pub(crate) struct Stream {
    body: HubBody,
    decoder: Decoder,
    got: VecDeque<Got>,
}

impl Stream {
    pub(crate) async fn open(hub: &Hub, uri: &str, last_event_id: Option<&str>) -> Self {
        let response = get(hub, uri, last_event_id).await;
        assert_eq!(response.status(), 200);
        Self {
            body: response.into_body(),
            decoder: Decoder::new().with_comments(true),
            got: VecDeque::new(),
        }
    }

    /// Opens a stream and reads it up to `$ready`, so that it is live.
    pub(crate) async fn live(hub: &Hub, uri: &str) -> Self {
        let mut stream = Self::open(hub, uri, None).await;
        loop {
            match stream.next_block().await {
                Got::Event { event, .. } if event == "$ready" => return stream,
                Got::End | Got::Cut => panic!("{uri} ended"),
                _ => {}
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Got {
        loop {
            if let Some(got) = self.got.pop_front() {
                return got;
            }
            match self.body.frame().await {
                None => return Got::End,
                Some(Err(_)) => return Got::Cut,
                Some(Ok(frame)) => self.decode(&frame.into_data().unwrap()),
            }
        }
    }

    fn decode(&mut self, bytes: &[u8]) {
        let mut items = self.decoder.push(bytes);
        while let Some(item) = items.next() {
            self.got.push_back(match item {
                Item::Event(event) => Got::Event {
                    event: event.event.to_owned(),
                    data: event.data.to_owned(),
                    id: event.id.to_owned(),
                },
                Item::Id(id) => Got::Id(id.to_owned()),
                Item::Retry(_) => Got::Retry,
                Item::Comment(text) => Got::Comment(String::from_utf8_lossy(text).into_owned()),
                other => panic!("{other:?}"),
            });
        }
    }

    /// The next block that is neither `retry` nor a comment.
    pub(crate) async fn next_block(&mut self) -> Got {
        loop {
            match self.next().await {
                Got::Retry | Got::Comment(_) => {}
                got => return got,
            }
        }
    }

    /// The next block, whose data is JSON: its type, and that.
    pub(crate) async fn next_json(&mut self) -> (String, Value) {
        match self.next_block().await {
            Got::Event { event, data, .. } => (event, serde_json::from_str(&data).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    /// The next event, whatever the hub says between.
    pub(crate) async fn next_event(&mut self) -> (String, String) {
        loop {
            if let Got::Event { event, data, id } = self.next_block().await
                && !event.starts_with('$')
            {
                return (data, id);
            }
        }
    }

    /// The last id that was committed, as a browser would send it.
    pub(crate) fn last_event_id(&self) -> String {
        self.decoder.last_event_id().to_owned()
    }
}

/// A WebSocket client of a session that runs over an in-memory pipe.
pub(crate) struct Socket {
    io: DuplexStream,
    connection: Connection<Client<NoMask>>,
    assembler: Assembler,
    got: VecDeque<Value>,
    deflater: Option<Deflater>,
    /// How many messages came compressed.
    pub(crate) compressed: usize,
    pub(crate) pings: usize,
    pub(crate) closed: Option<(u16, String)>,
}

/// The in-memory pipe has no proxies to confuse, so masks need not be random here.
pub(crate) struct NoMask;

impl MaskSource for NoMask {
    fn next_mask(&mut self) -> [u8; 4] {
        [1, 2, 3, 4]
    }
}

impl Socket {
    pub(crate) fn open(hub: &Hub) -> Self {
        Self::open_with_buffer(hub, 64 * 1024)
    }

    pub(crate) fn open_with_buffer(hub: &Hub, bytes: usize) -> Self {
        Self::connect(hub, bytes, None)
    }

    /// A client that compresses all that it sends, and may be sent what is compressed.
    pub(crate) fn open_compressed(hub: &Hub, agreed: DeflateParams) -> Self {
        Self::connect(hub, 64 * 1024, Some(agreed))
    }

    fn connect(hub: &Hub, bytes: usize, agreed: Option<DeflateParams>) -> Self {
        let (io, theirs) = tokio::io::duplex(bytes);
        tokio::spawn(websocket(hub.clone(), theirs, agreed));
        let mut config = ws_proto::Config::default();
        config.compressed(agreed.is_some());
        let mut assembler = Assembler::new(1 << 24);
        if let Some(agreed) = agreed {
            assembler = assembler.inflating(Inflater::new(agreed.server));
        }
        Self {
            io,
            connection: Connection::client(config, NoMask),
            assembler,
            deflater: agreed.map(|agreed| Deflater::new(agreed.client)),
            compressed: 0,
            got: VecDeque::new(),
            pings: 0,
            closed: None,
        }
    }

    pub(crate) async fn resume(hub: &Hub, topics: &[&str], after: Option<&str>) -> Self {
        let mut socket = Self::open(hub);
        socket
            .send(json!({"type": "resume", "topics": topics, "after": after}))
            .await;
        socket
    }

    pub(crate) async fn send(&mut self, message: Value) {
        let mut out = Vec::new();
        let text = message.to_string();
        let text = text.as_bytes();
        let sent = match &mut self.deflater {
            None => self.connection.send(Kind::Text, text, &mut out),
            Some(deflater) => self
                .connection
                .send_compressed(Kind::Text, text, deflater, &mut out),
        };
        sent.unwrap();
        self.io.write_all(&out).await.unwrap();
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
    }

    /// The opcodes of all frames up to the end of the connection.
    pub(crate) async fn opcodes(&mut self) -> Vec<OpCode> {
        let mut bytes = Vec::new();
        self.io.read_to_end(&mut bytes).await.unwrap();
        let (mut rest, mut opcodes) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let Ok(Parsed::Done { header, used }) = Header::parse(rest) else {
                panic!("no whole frame: {rest:?}");
            };
            opcodes.push(header.opcode);
            rest = &rest[used + usize::try_from(header.len).unwrap()..];
        }
        opcodes
    }

    /// The next message, or `Null` when the connection has ended.
    pub(crate) async fn next(&mut self) -> Value {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            if let Some(message) = self.got.pop_front() {
                return message;
            }
            let Ok(length @ 1..) = self.io.read(&mut buffer).await else {
                return Value::Null;
            };
            self.decode(&mut buffer[..length]);
            let mut out = Vec::new();
            self.connection.poll_transmit(&mut out);
            let _gone = self.io.write_all(&out).await;
        }
    }

    fn decode(&mut self, bytes: &mut [u8]) {
        let mut events = self.connection.push(bytes, Duration::ZERO);
        while let Some(event) = events.next() {
            match event.unwrap() {
                ws_proto::Event::Data(chunk) => {
                    self.compressed += usize::from(chunk.compressed && chunk.first);
                    if let Some(Message::Text(text)) = self.assembler.push(chunk).unwrap() {
                        self.got.push_back(serde_json::from_str(&text).unwrap());
                    }
                }
                ws_proto::Event::Ping(_) => self.pings += 1,
                ws_proto::Event::Close(frame) => {
                    self.closed = Some((frame.code.as_u16(), frame.reason.to_owned()));
                }
                _ => {}
            }
        }
    }
}
