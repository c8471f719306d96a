//! What a topic takes beside its subscriber.

use std::task::{Context, Poll, Waker};

use backpressure::Policy;
use push_server::{Form, Hub, Subscriber};
use replay_store::{After, Append, Selector, Topic};

use crate::counting::held;
use crate::publish::hub;

const TOPICS: usize = 10_000;

fn topic(n: usize) -> Topic {
    Topic::new(&format!("rooms/{n:06}")).unwrap()
}

/// A subscription that is live and has nothing to read.
async fn subscribe(hub: &Hub, topic: Topic) -> Subscriber {
    let selector = Selector::from(topic);
    let mut subscriber = hub.subscribe(selector, Form::SseRaw, Policy::default(), After::Latest);
    let mut told = String::new();
    while !told.contains("$ready") {
        let next = std::future::poll_fn(|cx| subscriber.poll_next(cx)).await;
        told.push_str(str::from_utf8(&next.unwrap().unwrap()).unwrap());
    }
    idle(&mut subscriber);
    subscriber
}

fn idle(subscriber: &mut Subscriber) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(subscriber.poll_next(&mut cx).is_pending());
}

/// Bytes that so many live subscribers take, each, on topics that `topic` names.
async fn taken(hub: &Hub, topic: impl Fn(usize) -> Topic) -> (isize, Vec<Subscriber>) {
    let mut subscribers = Vec::with_capacity(TOPICS);
    let before = held();
    for n in 0..TOPICS {
        subscribers.push(subscribe(hub, topic(n)).await);
    }
    let each = (held() - before) / TOPICS as isize;
    (each, subscribers)
}

/// Has each read one event.
fn drain(subscribers: &mut [Subscriber]) {
    let mut cx = Context::from_waker(Waker::noop());
    for subscriber in subscribers {
        let Poll::Ready(Some(Ok(_))) = subscriber.poll_next(&mut cx) else {
            panic!("it has something to read");
        };
        idle(subscriber);
    }
}

#[tokio::test]
async fn a_topic_takes_little_beside_its_subscriber_and_its_events() {
    let one = hub().await;
    let (together, subscribers) = taken(&one, |_| topic(0)).await;
    drop(subscribers);
    let hub = hub().await;
    let (apart, mut subscribers) = taken(&hub, topic).await;
    println!("a subscriber of one topic: {together} B, of a topic of its own: {apart} B");
    assert!(apart - together <= LOG_AND_ENTRY, "{apart} - {together}");
    let mut kept = Vec::new();
    for _ in 0..3 {
        let before = held();
        for n in 0..TOPICS {
            let event = Append::new(topic(n), "x".repeat(64));
            hub.publish(event).await.unwrap();
            // The feed runs on this thread too.
            tokio::task::yield_now().await;
        }
        drain(&mut subscribers);
        kept.push((held() - before) / TOPICS as isize);
    }
    println!("kept of the first three events of a topic: {kept:?} B");
    // Its first event brings the store's entry for the topic.
    assert!(kept[0] <= 1_200 && kept[2] <= 250, "{kept:?}");
}

/// What the log, its reader's place in it, and its entry in the hub's map take.
const LOG_AND_ENTRY: isize = 256;
