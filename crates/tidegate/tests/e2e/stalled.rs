//! One reader that stops reading costs the hub a bounded amount of memory and the others nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::hub::Hub;
use crate::raw::{Http, TEXT};
use crate::subscription::{Make, Subscription};

const EVENTS: usize = 10_000;
const EVENT_BYTES: usize = 10 * 1024;
const PUBLISHERS: usize = 4;

/// How far publishers may be ahead of the slower reader: far less than what a subscriber is cut off for,
/// however slow this program is.
const AHEAD: usize = 2_000;

const MIB: u64 = 1024 * 1024;

/// What the hub keeps encoded of a topic, by default, and what everything else may grow by.
const TAIL: u64 = 8 * MIB;
const REST: u64 = 8 * MIB;

/// Two subscribers of this make and one that `stall` connects and that never reads again.
#[track_caller]
fn check(make: Make, stall: impl FnOnce(&Hub) -> Http) {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::start(&format!(
        "sqlite:{}",
        folder.path().join("events.db").display()
    ));
    let mut readers: Vec<_> = (0..2)
        .map(|_| {
            let mut reader = Subscription::start(make, &hub, &["a"], "");
            reader.ready();
            reader
        })
        .collect();
    let _stalled = stall(&hub);
    let (before, _) = hub.memory();

    let read: Vec<_> = readers.iter().map(|_| AtomicUsize::new(0)).collect();
    let slowest = || read.iter().map(|it| it.load(Ordering::Relaxed)).min();
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let address = hub.address();
            scope.spawn(move || {
                let mut http = Http::connect(address);
                for number in 0..EVENTS / PUBLISHERS {
                    while slowest() < (number * PUBLISHERS).checked_sub(AHEAD) {
                        thread::sleep(Duration::from_millis(1));
                    }
                    let name = format!("{publisher} {number} ");
                    http.publish("a", &format!("{name:x<EVENT_BYTES$}"));
                }
            });
        }
        for (reader, read) in readers.iter_mut().zip(&read) {
            scope.spawn(move || check_complete(reader, read));
        }
    });

    let (_, most) = hub.memory();
    let grown = most.saturating_sub(before);
    eprintln!("{make:?}: grew by {} KiB at most", grown / 1024);
    assert!(
        grown <= TAIL + REST,
        "{make:?}: grew by {} KiB, from {} KiB",
        grown / 1024,
        before / 1024
    );
}

/// The reader gets every event once: the log's order, and so each publisher's own. Counts them.
#[track_caller]
fn check_complete(reader: &mut Subscription, read: &AtomicUsize) {
    let mut next: HashMap<String, usize> = HashMap::new();
    let mut last = 0;
    for _ in 0..EVENTS {
        let event = reader.event();
        assert_eq!(event.data.len(), EVENT_BYTES);
        let seq: u64 = event.id.split_once('-').unwrap().1.parse().unwrap();
        assert!(seq > last, "{seq} after {last}");
        last = seq;
        let mut words = event.data.split(' ');
        let publisher = words.next().unwrap().to_owned();
        let number: usize = words.next().unwrap().parse().unwrap();
        let expected = next.entry(publisher).or_default();
        assert_eq!(number, *expected);
        *expected += 1;
        read.fetch_add(1, Ordering::Relaxed);
    }
    assert!(next.values().all(|count| *count == EVENTS / PUBLISHERS));
}

#[test]
fn a_stalled_event_stream_costs_the_tail_and_no_more() {
    check(Make::CurlRaw, |hub| {
        let mut http = hub.http();
        let head = format!(
            "GET /events?topic=a HTTP/1.1\r\nhost: {}\r\n\r\n",
            hub.address()
        );
        http.send(head.as_bytes());
        assert_eq!(http.head().status, 200);
        http
    });
}

#[test]
fn a_stalled_websocket_costs_the_tail_and_no_more() {
    check(Make::OursWebSocket, |hub| {
        let mut socket = hub.http().websocket();
        let resume = json!({ "type": "resume", "topics": ["a"] });
        socket.send(TEXT, resume.to_string().as_bytes());
        assert_eq!(socket.message()["type"], "subscribed");
        assert_eq!(socket.message()["type"], "ready");
        socket.into_http()
    });
}
