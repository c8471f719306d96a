//! Every policy on every transport: one of ten clients stops reading, and the others do not notice.

use std::time::Duration;

use backpressure::{Lag, LogConfig, Policy};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use crate::http2::{Events, plain, subscribe};
use crate::support::*;

const EVENTS: usize = 600;

/// Bytes of an event, about.
const SIZE: usize = 1_000;

/// Each event has one of so many keys.
const KEYS: usize = 10;

/// How far behind a subscriber may be.
const MAX: u64 = 50;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Transport {
    /// A socket of its own on a worker.
    Fast,
    Hyper,
    Http2,
    WebSocket,
}

/// A client that can be made to read.
enum Stalled {
    Socket(Client),
    Http2(Events),
}

impl Stalled {
    async fn subscribe(served: &Served, transport: Transport, policy: &str) -> Self {
        let query = format!("topic=demo&policy={policy}");
        if transport == Transport::Http2 {
            let client = plain(served, 16 * 1024).await;
            return Self::Http2(subscribe(&client, &query).await);
        }
        let mut client = Client::connect_small(served.address).await;
        if transport == Transport::WebSocket {
            let resume = format!(r#"{{"type":"resume","topics":["demo"],"policy":"{policy}"}}"#);
            client.upgrade(&resume).await;
            client.until(r#""type":"ready""#).await;
        } else {
            // Of this version since it knows no chunks.
            let get = format!("GET /events?{query} HTTP/1.0\r\nhost: localhost\r\n\r\n");
            client.write(&get).await;
            client.until("$ready").await;
        }
        Self::Socket(client)
    }

    /// Reads until the last event, or to the end: what came, and whether that was the end.
    async fn rest(&mut self) -> (String, bool) {
        let last = format!("#{}.", EVENTS - 1);
        let mut received = Vec::new();
        let read = async {
            while !String::from_utf8_lossy(&received).contains(&last) {
                match self {
                    Self::Socket(client) => {
                        let read = client.socket.read_buf(&mut received).await;
                        if read.is_ok_and(|length| length == 0) {
                            return true;
                        }
                    }
                    Self::Http2(events) => match events.next().await {
                        Some(chunk) => received.extend_from_slice(&chunk),
                        None => return true,
                    },
                }
            }
            false
        };
        let ended = timeout(PATIENCE, read).await.expect("an event, or the end");
        (String::from_utf8_lossy(&received).into_owned(), ended)
    }
}

/// The numbers of the events in it.
fn numbers(received: &str) -> Vec<usize> {
    let parts = received.split('#').skip(1);
    let number = |part: &str| part.split_once('.')?.0.parse().ok();
    parts.filter_map(number).collect()
}

/// How many events each gap says are missing.
fn gaps(received: &str) -> Vec<usize> {
    let parts = received.split("\"skipped\":").skip(1);
    let digits = |part: &str| {
        let end = part.find(|it: char| !it.is_ascii_digit())?;
        part[..end].parse().ok()
    };
    parts.filter_map(digits).collect()
}

/// How many numbers are missing in each hole.
fn holes(numbers: &[usize]) -> Vec<usize> {
    let before = [None].into_iter().chain(numbers.iter().copied().map(Some));
    let missing = |(before, after): (Option<usize>, usize)| after - before.map_or(0, |it| it + 1);
    let holes = before.zip(numbers.iter().copied()).map(missing);
    holes.filter(|missing| *missing > 0).collect()
}

async fn check(transport: Transport, policy: &str) {
    let max = Lag {
        events: MAX,
        bytes: u64::MAX,
    };
    let mut tail = LogConfig::default();
    // So that `replay` has to fall back to the store; `conflate` conflates what is in memory.
    let tail_bytes = if policy == "replay" {
        64 << 10
    } else {
        1 << 20
    };
    tail.max_bytes(tail_bytes);
    let mut config = config();
    // Who takes nothing for two of them is cut off under any policy.
    config.heartbeat(Duration::from_secs(30)).unwrap();
    config.tail(tail).offer([
        Policy::disconnect().with_max(max),
        Policy::drop_oldest().with_max(max),
        Policy::conflate().with_max(max),
    ]);
    let served = Served::start(config, transport != Transport::Hyper).await;
    let mut stalled = Stalled::subscribe(&served, transport, policy).await;
    let mut reading = Vec::new();
    for _ in 0..9 {
        let get = "GET /events?topic=demo HTTP/1.0\r\nhost: localhost\r\n\r\n";
        let mut client = served.send(get).await;
        client.until("$ready").await;
        let last = format!("#{}.", EVENTS - 1);
        reading.push(tokio::spawn(async move {
            let all = client.until(&last).await;
            assert_eq!(numbers(&all), (0..EVENTS).collect::<Vec<_>>());
        }));
    }
    let padding = "x".repeat(SIZE);
    for n in 0..EVENTS {
        let key = (n % KEYS).to_string();
        served
            .publish_keyed("demo", &key, &format!("#{n}.{padding}"))
            .await;
    }
    for reader in reading {
        reader.await.unwrap();
    }
    let at = format!("{transport:?} under {policy}");
    // Two logs, that of the nine and that of this form, and a segment each: docs/backpressure.md.
    let bound = 2 * (tail_bytes + (2 * tail_bytes / 8).max(150 << 10));
    assert!(served.hub.tails_memory() < bound, "{at}");

    let (received, ended) = stalled.rest().await;
    let all = numbers(&received);
    assert!(all.is_sorted_by(|a, b| a < b), "{at}: {all:?}");
    assert_eq!(ended, policy == "disconnect", "{at}: {received}");
    let holes = holes(&all);
    match policy {
        "replay" => assert_eq!((holes, all.len()), (vec![], EVENTS), "{at}"),
        "disconnect" => {
            assert_eq!(holes, [0; 0], "{at}: {all:?}");
            let told = match transport {
                // 1013, try again later.
                Transport::WebSocket => received.contains("too far behind"),
                _ => received.contains("retry: "),
            };
            assert!(told, "{at}: {received}");
        }
        "drop-oldest" => {
            // Gaps may follow each other.
            let announced: usize = gaps(&received).iter().sum();
            assert_eq!(announced, holes.iter().sum::<usize>(), "{at}: {all:?}");
            assert!(!holes.is_empty(), "{at}");
        }
        _ => {
            for n in (0..EVENTS).filter(|n| !all.contains(n)) {
                let later = all.iter().any(|it| *it > n && it % KEYS == n % KEYS);
                assert!(later, "{at}: {n} is missing in {all:?}");
            }
            assert_eq!(
                all[all.len() - KEYS..],
                (EVENTS - KEYS..EVENTS).collect::<Vec<_>>()[..]
            );
        }
    }
    if policy != "replay" {
        // What the kernel, HTTP/2's window and the server's own buffers held, and what is kept.
        assert!(
            all.len() < EVENTS / 2,
            "{at}: {} were on their way",
            all.len()
        );
    }
    drop(stalled);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_policy_does_what_it_says_on_every_transport_and_nine_others_get_everything() {
    use Transport::{Fast, Http2, Hyper, WebSocket};
    for transport in [Fast, Hyper, Http2, WebSocket] {
        for policy in ["replay", "disconnect", "drop-oldest", "conflate"] {
            check(transport, policy).await;
        }
    }
}
