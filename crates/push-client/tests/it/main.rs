//! The client against hubs that play a script on a loopback socket.

mod answers;
mod delays;
mod hub;
mod publisher;
mod sse;
mod tls;
mod websocket;

use core::time::Duration;

use push_client::{Delivery, SubscribeOptions, Subscriber};

/// What a test that hangs is given.
const PATIENCE: Duration = Duration::from_secs(60);

/// Options with delays that a test can wait for.
fn options(topic: &str) -> SubscribeOptions {
    let mut options = SubscribeOptions::new([topic]);
    options.backoff(Duration::from_millis(1), Duration::from_millis(2));
    options
}

/// Plays the hub's part and the client's at the same time, to the end of both.
async fn play<T>(hub: impl Future<Output = ()>, client: impl Future<Output = T>) -> T {
    let both = async { tokio::join!(hub, client).1 };
    tokio::time::timeout(PATIENCE, both)
        .await
        .expect("the play came to a standstill")
}

/// Compares what the subscriber hands out next, one line each.
#[track_caller]
fn check(subscriber: &mut Subscriber, expected: &[&str]) -> impl Future<Output = ()> {
    let caller = core::panic::Location::caller();
    async move {
        for (index, expected) in expected.iter().enumerate() {
            let line = next_line(subscriber).await;
            assert_eq!(line, *expected, "item {index} of the check at {caller}");
        }
    }
}

/// What the subscriber hands out next, as one line.
async fn next_line(subscriber: &mut Subscriber) -> String {
    match subscriber.next().await {
        None => "over".to_owned(),
        Some(Ok(delivery)) => line(&delivery),
        Some(Err(error)) if error.is_final() => format!("final: {error}"),
        Some(Err(error)) => format!("error: {error}"),
    }
}

fn line(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Event(event) => {
            let data = String::from_utf8_lossy(&event.data);
            let name = event.event.as_deref().unwrap_or("-");
            format!("event {} {} {name} {data}", event.id, event.topic)
        }
        Delivery::Gap(gap) => format!(
            "gap {} after {} to {}",
            gap.reason.as_str(),
            gap.after.as_deref().unwrap_or("-"),
            gap.id
        ),
        Delivery::Ready { id } => format!("ready {id}"),
        Delivery::Connected => "connected".to_owned(),
        Delivery::Disconnected { why, .. } => format!("lost: {why}"),
        other => panic!("no line for {other:?}"),
    }
}

/// The JSON of an event of the topic `demo` whose data is its seq.
fn event(seq: u64) -> String {
    format!(r#"{{"type":"event","id":"aa-{seq}","seq":{seq},"topic":"demo","data":"{seq}"}}"#)
}

/// Such an event as a block of an event stream.
fn block(seq: u64) -> String {
    format!("id: aa-{seq}\ndata: {}\n\n", event(seq))
}

/// The line of such an event.
fn event_line(seq: u64) -> String {
    format!("event aa-{seq} demo - {seq}")
}

/// The lines until `last` events have been delivered, without those about connections.
async fn events_until(subscriber: &mut Subscriber, last: u64) -> Vec<String> {
    let mut lines = Vec::new();
    while lines.last() != Some(&event_line(last)) {
        let line = next_line(subscriber).await;
        if line != "connected" && !line.starts_with("lost: ") {
            lines.push(line);
        }
    }
    lines
}
