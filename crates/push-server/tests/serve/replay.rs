//! Clients that catch up at the same time.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;

use push_server::Hub;
use replay_store::{Append, Topic};
use tokio::io::AsyncReadExt as _;
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;

use crate::support::*;

/// For each core there is a worker. These are more than one of them serves in a row.
const CLIENTS_A_WORKER: usize = 40;

const EVENTS: usize = 3_000;

/// Bytes of an event, about.
const SIZE: usize = 400;

/// Each event has one, and nothing else has.
const SIGN: u8 = b'#';

#[derive(Clone, Copy, Debug)]
enum Transport {
    /// A socket of its own on a worker.
    Fast,
    WebSocket,
}

async fn publish(hub: &Hub) {
    let data = format!("{}{}", SIGN as char, "x".repeat(SIZE));
    let event = Append::new(Topic::new("demo").unwrap(), data);
    for _ in 0..EVENTS / 500 {
        hub.publish_batch(vec![event.clone(); 500]).await.unwrap();
    }
}

async fn subscribe(served: &Served, transport: Transport) -> Client {
    let mut client = Client::connect(served.address).await;
    match transport {
        Transport::Fast => {
            let query = "topic=demo&last_event_id=earliest";
            let get = format!("GET /events?{query} HTTP/1.1\r\nhost: localhost\r\n\r\n");
            client.write(&get).await;
        }
        Transport::WebSocket => {
            let resume = r#"{"type":"resume","topics":["demo"],"after":"earliest"}"#;
            client.upgrade(resume).await;
        }
    }
    client
}

/// Counts the events that come.
async fn read(mut client: Client, received: Arc<[AtomicUsize]>, n: usize) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = client.socket.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0, "a stream ended");
        let events = buffer[..read].iter().filter(|byte| **byte == SIGN).count();
        received[n].fetch_add(events, Ordering::Relaxed);
    }
}

/// How many events each client has when the first of them has all.
async fn when_the_first_is_done(transport: Transport) -> Vec<usize> {
    let served = Served::start(config(), true).await;
    publish(&served.hub).await;
    let workers = available_parallelism().map_or(1, NonZeroUsize::get);
    let count = CLIENTS_A_WORKER * workers;
    let received: Arc<[_]> = (0..count).map(|_| AtomicUsize::new(0)).collect();
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(subscribe(&served, transport).await);
    }
    let mut reading = JoinSet::new();
    for (n, client) in clients.into_iter().enumerate() {
        reading.spawn(read(client, Arc::clone(&received), n));
    }
    let so_far = || received.iter().map(|it| it.load(Ordering::Relaxed));
    let done = timeout(PATIENCE, async {
        loop {
            let so_far: Vec<_> = so_far().collect();
            if so_far.contains(&EVENTS) {
                return so_far;
            }
            yield_now().await;
        }
    });
    let done = done.await.unwrap();
    reading.shutdown().await;
    served.stop().await;
    done
}

/// All of it is on one thread, so that a client that is behind is so by the server's doing.
#[tokio::test]
async fn when_the_first_of_many_has_caught_up_every_other_has_half_of_it() {
    for transport in [Transport::Fast, Transport::WebSocket] {
        let received = when_the_first_is_done(transport).await;
        let least = received.iter().min();
        assert!(least >= Some(&(EVENTS / 2)), "{transport:?}: {received:?}");
    }
}
