//! Cut anywhere and resumed by the last id, a client misses nothing and repeats nothing, on either
//! transport and from one to the other.

use proptest::prelude::*;
use push_server::Hub;
use replay_store::{Limit, Pattern, Topic};

use crate::support::*;

const TOPICS: [&str; 4] = ["a", "a/b", "c/b", "d"];
const SELECTIONS: [&[&str]; 6] = [
    &["a/b"],
    &["a", "d"],
    &["a/*", "d"],
    &["a/**", "*/b", "a"],
    &["**"],
    &["*"],
];

/// What happens to one client, in order.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Publishes this many events, to topics in turn.
    Publish(u8),
    /// Reads this many blocks or messages of the stream, the opening one included.
    Read(u8),
    /// Drops the connection and opens another, over SSE or WebSocket.
    Cut { websocket: bool },
    /// The hub itself drops all connections.
    Drop,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (1..20_u8).prop_map(Act::Publish),
        4 => (0..30_u8).prop_map(Act::Read),
        2 => any::<bool>().prop_map(|websocket| Act::Cut { websocket }),
        1 => Just(Act::Drop),
    ]
}

enum Wire {
    Sse(Stream),
    WebSocket(Socket),
}

struct Subject {
    hub: Hub,
    topics: Vec<&'static str>,
    wire: Wire,
    cursor: Option<String>,
    received: Vec<u64>,
}

impl Subject {
    async fn open(
        hub: &Hub,
        topics: &[&'static str],
        cursor: Option<&str>,
        websocket: bool,
    ) -> Wire {
        if websocket {
            return Wire::WebSocket(Socket::resume(hub, topics, cursor).await);
        }
        let query: String = topics
            .iter()
            .map(|topic| format!("topic={topic}&"))
            .collect();
        Wire::Sse(Stream::open(hub, &format!("/events?{query}"), cursor).await)
    }

    async fn cut(&mut self, websocket: bool) {
        self.wire = Self::open(&self.hub, &self.topics, self.cursor.as_deref(), websocket).await;
    }

    /// Reads one block or message; answers whether the stream goes on.
    async fn read(&mut self) -> bool {
        match &mut self.wire {
            Wire::Sse(stream) => match stream.next_block().await {
                Got::Event { event, id, .. } => {
                    assert_ne!(event, "$gap", "nothing was lost");
                    if !event.starts_with('$') {
                        self.received.push(seq(&id));
                    }
                    self.cursor = Some(id);
                }
                Got::Id(id) => self.cursor = Some(id),
                _ => return false,
            },
            Wire::WebSocket(socket) => {
                let message = socket.next().await;
                match message["type"].as_str() {
                    Some("event") => self.received.push(message["seq"].as_u64().unwrap()),
                    Some("subscribed" | "ready") => {}
                    None => return false,
                    Some(other) => panic!("{other}: nothing was lost"),
                }
                let id = message["id"].as_str().or_else(|| message["at"].as_str());
                self.cursor = id.map(str::to_owned);
            }
        }
        true
    }
}

fn seq(id: &str) -> u64 {
    id.rsplit_once('-').unwrap().1.parse().unwrap()
}

fn matches(patterns: &[&str], topic: &str) -> bool {
    let topic = Topic::new(topic).unwrap();
    let matches = |it: &&str| Pattern::new(it).unwrap().matches(&topic);
    patterns.iter().any(matches)
}

async fn run(
    topics: Vec<&'static str>,
    tail_bytes: usize,
    page: usize,
    websocket: bool,
    acts: Vec<Act>,
) {
    let config = configured(|config| {
        config.tail(tail(tail_bytes)).page(Limit {
            events: page,
            bytes: 1 << 20,
        });
    });
    let hub = hub_with(config, store(EPOCH, 100_000)).await;
    // The first connection asks for everything; a cursor of zero is before the first event.
    let cursor = Some(cursor(0));
    let wire = Subject::open(&hub, &topics, cursor.as_deref(), websocket).await;
    let mut subject = Subject {
        hub: hub.clone(),
        topics,
        wire,
        cursor,
        received: Vec::new(),
    };
    let mut published: Vec<u64> = Vec::new();
    let mut turn = 0;
    for act in acts {
        match act {
            Act::Publish(count) => {
                for _ in 0..count {
                    let topic = TOPICS[turn % TOPICS.len()];
                    turn += 1;
                    let id = publish(&hub, topic, "x").await;
                    if matches(&subject.topics, topic) {
                        published.push(seq(&id));
                    }
                }
            }
            Act::Read(count) => {
                for _ in 0..count {
                    let patience = std::time::Duration::from_secs(1);
                    match tokio::time::timeout(patience, subject.read()).await {
                        Ok(true) => {}
                        Ok(false) => subject.cut(websocket).await,
                        Err(_) => break,
                    }
                }
            }
            Act::Cut { websocket } => subject.cut(websocket).await,
            Act::Drop => hub.drop_connections(),
        }
    }
    while subject.received.len() < published.len() {
        if !subject.read().await {
            subject.cut(websocket).await;
        }
    }
    let more = tokio::time::timeout(std::time::Duration::from_secs(5), async {
        let before = subject.received.len();
        while subject.received.len() == before {
            if !subject.read().await {
                subject.cut(websocket).await;
            }
        }
    });
    assert!(more.await.is_err(), "something came twice");
    assert_eq!(subject.received, published);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn cut_anywhere_and_resumed_by_the_last_id_nothing_is_missed_or_repeated(
        topics in prop::sample::select(&SELECTIONS[..]),
        tail in prop_oneof![Just(256_usize), Just(8 << 20)],
        page in 1..10_usize,
        websocket in any::<bool>(),
        acts in prop::collection::vec(act(), 1..30),
    ) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(run(topics.to_vec(), tail, page, websocket, acts));
    }
}
