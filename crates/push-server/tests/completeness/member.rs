//! A subscriber that loses its connection again and again, over either transport.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use push_server::Hub;
use serde_json::{Value, json};
use sse_proto::{Decoder, Item};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::sleep;
use ws_proto::{Assembler, Client, Connection, Kind, MaskSource, Message};

use crate::Random;
use crate::oracle::{Allowed, Told};

pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Transport {
    Sse,
    /// After a handshake, if there is one.
    WebSocket {
        handshake: bool,
    },
}

/// Opens a connection to the hub, for who reads slowly one with small buffers.
pub(crate) type Dial =
    dyn Fn(Transport, bool) -> Pin<Box<dyn Future<Output = Box<dyn Io>> + Send>> + Send + Sync;

pub(crate) struct Member {
    pub(crate) transport: Transport,
    pub(crate) patterns: Vec<String>,
    pub(crate) policy: &'static str,
    /// How long it waits between reads, at most, until the end is known.
    pub(crate) pause: Duration,
    /// How often it is cut, and how long it is away then, at most.
    pub(crate) cuts: u32,
    pub(crate) away: Duration,
    pub(crate) random: Random,
    pub(crate) dial: Arc<Dial>,
    /// The last event, once it is known.
    pub(crate) last: watch::Receiver<Option<u64>>,
    pub(crate) cursor: Option<String>,
    pub(crate) told: Vec<Told>,
}

/// What bytes from the hub turn into.
enum Decode {
    Sse {
        head: Option<Vec<u8>>,
        decoder: Box<Decoder>,
    },
    WebSocket {
        head: Option<Vec<u8>>,
        connection: Box<Connection<Client<Masks>>>,
        assembler: Box<Assembler>,
    },
}

struct Masks(Random);

impl MaskSource for Masks {
    fn next_mask(&mut self) -> [u8; 4] {
        (self.0.next() as u32).to_ne_bytes()
    }
}

impl Member {
    pub(crate) fn allowed(&self) -> Allowed {
        match self.policy {
            "drop-oldest" => Allowed::Gaps,
            "conflate" => Allowed::Conflation,
            _ => Allowed::Nothing,
        }
    }

    fn position(&self) -> Option<u64> {
        self.cursor.as_deref().map(seq_of)
    }

    fn is_slow(&self) -> bool {
        !self.pause.is_zero() && self.last.borrow().is_none()
    }

    fn is_done(&self) -> bool {
        let last = *self.last.borrow();
        last.is_some() && self.position() >= last
    }

    /// Subscribes until it has everything. What it was told is in [`told`](Self::told) then.
    pub(crate) async fn run(mut self) -> Self {
        while !self.is_done() {
            self.told.push(Told::Resumed(self.position()));
            let mut io = (self.dial)(self.transport, !self.pause.is_zero()).await;
            let mut bytes = u64::MAX;
            if self.cuts > 0 && self.last.borrow().is_none() {
                self.cuts -= 1;
                // Anywhere: in the head, in an event, between two.
                bytes = self.random.below(4_000);
            }
            self.stay(&mut io, bytes).await;
            drop(io);
            if !self.is_done() {
                sleep(self.away.mul_f64(self.random.below(1000) as f64 / 1000.0)).await;
            }
        }
        self
    }

    /// Reads so many bytes, or until the hub cuts the connection, or all is read.
    async fn stay(&mut self, io: &mut Box<dyn Io>, mut left: u64) {
        let mut decode = self.open(io).await;
        let mut buffer = [0; 4096];
        while left > 0 && !self.is_done() {
            let most = if self.is_slow() {
                200
            } else {
                buffer.len() as u64
            };
            let most = 1 + self.random.below(most).min(left - 1);
            let Ok(length @ 1..) = io.read(&mut buffer[..most as usize]).await else {
                return;
            };
            left -= length as u64;
            let answer = self.receive(&mut decode, &mut buffer[..length]);
            if !answer.is_empty() && io.write_all(&answer).await.is_err() {
                return;
            }
            if self.is_slow() {
                sleep(self.pause.mul_f64(self.random.below(1000) as f64 / 1000.0)).await;
            }
        }
    }

    /// Asks for what follows the cursor.
    async fn open(&self, io: &mut Box<dyn Io>) -> Decode {
        let mut out = Vec::new();
        let decode = match self.transport {
            Transport::Sse => {
                let topics: Vec<_> = self
                    .patterns
                    .iter()
                    .map(|it| format!("topic={it}"))
                    .collect();
                let mut head = format!(
                    "GET /events?{}&policy={} HTTP/1.0\r\nhost: localhost\r\n",
                    topics.join("&"),
                    self.policy
                );
                if let Some(cursor) = &self.cursor {
                    head += &format!("last-event-id: {cursor}\r\n");
                }
                out.extend_from_slice(head.as_bytes());
                out.extend_from_slice(b"\r\n");
                Decode::Sse {
                    head: Some(Vec::new()),
                    decoder: Box::new(Decoder::new()),
                }
            }
            Transport::WebSocket { handshake } => {
                if handshake {
                    out.extend_from_slice(
                        b"GET /ws HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n\
                          connection: upgrade\r\nsec-websocket-version: 13\r\n\
                          sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                    );
                }
                let masks = Masks(self.random.clone());
                let mut connection = Connection::client(ws_proto::Config::default(), masks);
                let mut resume = json!({
                    "type": "resume", "topics": self.patterns, "policy": self.policy,
                });
                if let Some(cursor) = &self.cursor {
                    resume["after"] = cursor.as_str().into();
                }
                let resume = resume.to_string();
                connection
                    .send(Kind::Text, resume.as_bytes(), &mut out)
                    .unwrap();
                Decode::WebSocket {
                    head: handshake.then(Vec::new),
                    connection: Box::new(connection),
                    assembler: Box::new(Assembler::new(1 << 20)),
                }
            }
        };
        // The read that follows tells that the hub is gone.
        let _gone = io.write_all(&out).await;
        decode
    }

    /// Takes down what these bytes say, and returns what is to be answered.
    fn receive(&mut self, decode: &mut Decode, bytes: &mut [u8]) -> Vec<u8> {
        let mut rest = Vec::new();
        let bytes = match decode {
            Decode::Sse { head, .. } | Decode::WebSocket { head, .. } if head.is_some() => {
                let collected = head.get_or_insert_default();
                collected.extend_from_slice(bytes);
                let Some(end) = collected.windows(4).position(|it| it == b"\r\n\r\n") else {
                    return Vec::new();
                };
                let (begin, body) = collected.split_at(end + 4);
                let text = String::from_utf8_lossy(begin);
                assert!(
                    text.starts_with("HTTP/1.1 200 ")
                        || text.starts_with("HTTP/1.0 200 ")
                        || text.starts_with("HTTP/1.1 101 "),
                    "{text}"
                );
                assert!(!text.contains("chunked"), "{text}");
                rest.extend_from_slice(body);
                *head = None;
                &mut rest[..]
            }
            _ => bytes,
        };
        match decode {
            Decode::Sse { decoder, .. } => {
                let mut items = decoder.push(bytes);
                while let Some(item) = items.next() {
                    let (told, id) = match item {
                        Item::Event(event) => (told(event.event, event.id, event.data), event.id),
                        Item::Id(id) => (Some(Told::At(seq_of(id))), id),
                        _ => continue,
                    };
                    self.told.extend(told);
                    if !id.is_empty() {
                        self.cursor = Some(id.to_owned());
                    }
                }
                Vec::new()
            }
            Decode::WebSocket {
                connection,
                assembler,
                ..
            } => {
                let mut events = connection.push(bytes, Duration::ZERO);
                while let Some(event) = events.next() {
                    let ws_proto::Event::Data(chunk) = event.unwrap() else {
                        continue;
                    };
                    let Some(Message::Text(text)) = assembler.push(chunk).unwrap() else {
                        continue;
                    };
                    let message: Value = serde_json::from_str(&text).unwrap();
                    let id = message["id"].as_str().or_else(|| message["at"].as_str());
                    let (name, id) = match message["type"].as_str().unwrap() {
                        "event" => ("", id.unwrap()),
                        "gap" => ("$gap", id.unwrap()),
                        "ready" | "subscribed" => ("$ready", id.unwrap()),
                        "drain" => continue,
                        other => panic!("{other}: {message}"),
                    };
                    self.told.extend(told(name, id, &text));
                    self.cursor = Some(id.to_owned());
                }
                let mut answer = Vec::new();
                connection.poll_transmit(&mut answer);
                answer
            }
        }
    }
}

fn seq_of(id: &str) -> u64 {
    let (_, seq) = id.rsplit_once('-').unwrap();
    seq.parse().unwrap()
}

fn told(name: &str, id: &str, data: &str) -> Option<Told> {
    if name == "$drain" {
        return None;
    }
    let seq = seq_of(id);
    Some(match name {
        "$gap" => {
            let gap: Value = serde_json::from_str(data).unwrap();
            Told::Gap {
                after: gap["after"].as_str().map(seq_of),
                to: seq,
                reason: gap["reason"].as_str().unwrap().to_owned(),
                skipped: gap["skipped"].as_u64(),
            }
        }
        "$ready" => Told::At(seq),
        // A number between `#` and `.`, wherever the form has it.
        _ => {
            let (_, number) = data.split_once('#').unwrap();
            let (number, _) = number.split_once('.').unwrap();
            let number = number.parse().unwrap();
            Told::Event { seq, number }
        }
    })
}

/// What member number `n` is like: whom it hears, how it is cut, whether it is slow.
pub(crate) fn member(
    n: usize,
    seed: u64,
    pause: Duration,
    transport: Transport,
    dial: &Arc<Dial>,
    last: &watch::Receiver<Option<u64>>,
) -> Member {
    let mut random = Random(seed ^ (n as u64) << 20);
    let group = random.below(GROUPS);
    let mut topic = |group| format!("g{group}/t{}", random.below(TOPICS));
    let patterns = match n % 10 {
        0..5 => vec![topic(group)],
        5 | 6 => {
            let mut topics: Vec<_> = (0..3).map(|n| topic((group + n) % GROUPS)).collect();
            topics.dedup();
            topics
        }
        7 => vec![format!("g{group}/*")],
        // One event, two patterns.
        8 => vec![format!("*/{}", &topic(0)[3..]), topic(group)],
        _ if n % 200 == 9 => vec!["**".to_owned()],
        _ => vec![format!("g{group}/**"), "g0/t0".to_owned()],
    };
    // Who hears much is the one to be too slow for it.
    let slow = random.percent(if n % 10 < 7 { 10 } else { 60 });
    Member {
        transport,
        patterns,
        policy: ["replay", "drop-oldest", "conflate"][random.below(3) as usize],
        pause: if slow { pause } else { Duration::ZERO },
        cuts: random.below(if slow { 3 } else { 4 }) as u32,
        away: Duration::from_secs(2),
        random,
        dial: Arc::clone(dial),
        last: last.clone(),
        cursor: None,
        told: Vec::new(),
    }
}

const GROUPS: u64 = 10;
const TOPICS: u64 = 4;

/// The names of all topics, in the order of their numbers.
pub(crate) fn topics() -> Vec<replay_store::Topic> {
    let names = (0..GROUPS * TOPICS).map(|n| format!("g{}/t{}", n / TOPICS, n % TOPICS));
    names
        .map(|name| replay_store::Topic::new(&name).unwrap())
        .collect()
}

/// Waits until so many subscriptions are open.
pub(crate) async fn until_subscribed(hub: &Hub, count: usize) {
    while hub.subscriptions() < count {
        sleep(Duration::from_millis(10)).await;
    }
}
