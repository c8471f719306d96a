//! A hub in this process: what a publish costs, however many topics there are.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use backpressure::Policy;
use push_server::{Form, Hub, HubConfig, Subscriber};
use replay_store::{
    After, AnyStore, Append, Clock, Epoch, MemoryConfig, MemoryStore, Retention, Selector, Topic,
};
use tokio::runtime::Runtime;

/// The events of one turn.
pub const EVENTS: usize = 1_000;

/// The data of an event.
pub const DATA: &str = "0123456789012345678901234567890123456789012345678901234567890123";

/// Topics with a subscriber each, on a hub that keeps the last event of each.
#[derive(Debug)]
pub struct Topics {
    runtime: Runtime,
    hub: Hub,
    each: Vec<(Topic, Subscriber)>,
    next: usize,
}

impl Topics {
    /// So many topics, to each of which one event was published.
    ///
    /// # Panics
    ///
    /// If the hub does not start.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        let config = MemoryConfig {
            retention: Retention {
                events: 1,
                ..Retention::default()
            },
            ..MemoryConfig::default()
        };
        let store = MemoryStore::new(config, Epoch(0x5eed), Clock::new(|| 1_790_000_000_000));
        let (hub, each) = runtime.block_on(async {
            let hub = Hub::start(HubConfig::new(), AnyStore::new(store));
            let hub = hub.await.expect("the store can be read");
            let mut each = Vec::with_capacity(count);
            for n in 0..count {
                each.push(subscribe(&hub, n).await);
            }
            (hub, each)
        });
        let mut topics = Self {
            runtime,
            hub,
            each,
            next: 0,
        };
        for _ in 0..count {
            topics.publish_one();
        }
        topics
    }

    /// Publishes [`EVENTS`] events one after the other, to topics in turn, and returns the bytes that
    /// their subscribers were handed.
    pub fn publish(&mut self) -> usize {
        (0..EVENTS).map(|_| self.publish_one()).sum()
    }

    fn publish_one(&mut self) -> usize {
        // Neighbours in time are none in memory.
        self.next = (self.next + STRIDE) % self.each.len();
        let Self {
            runtime,
            hub,
            each,
            next,
        } = self;
        let (topic, subscriber) = &mut each[*next];
        runtime.block_on(async {
            // As from a request, whose topic shares nothing with those before.
            let topic = Topic::new(topic.as_str()).expect("it was one before");
            let published = hub.publish(Append::new(topic, DATA)).await;
            published.expect("memory takes it");
            let handed = poll_fn(|cx| subscriber.poll_next(cx)).await;
            let handed = handed.expect("the hub goes on").expect("it keeps up");
            assert!(is_idle(subscriber), "one event at a time");
            handed.len()
        })
    }
}

async fn subscribe(hub: &Hub, n: usize) -> (Topic, Subscriber) {
    let topic = Topic::new(&format!("rooms/{n:06}")).expect("valid");
    let selector = Selector::from(topic.clone());
    let mut subscriber = hub.subscribe(selector, Form::SseRaw, Policy::default(), After::Latest);
    let mut told = Vec::new();
    while !String::from_utf8_lossy(&told).contains("$ready") {
        let next = poll_fn(|cx| subscriber.poll_next(cx)).await;
        told.extend(next.expect("the hub goes on").expect("it has just begun"));
    }
    assert!(is_idle(&mut subscriber), "nothing was published");
    (topic, subscriber)
}

fn is_idle(subscriber: &mut Subscriber) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    matches!(subscriber.poll_next(&mut cx), Poll::Pending)
}

/// A prime.
const STRIDE: usize = 7_919;
