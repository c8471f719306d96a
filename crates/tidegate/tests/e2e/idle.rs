//! An idle connection is not silent, in real time.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::hub::{Hub, MEMORY};
use crate::raw::{PING, PONG, TEXT};

const WATCHED: Duration = Duration::from_secs(62);

/// What a heartbeat interval may not exceed, whatever is configured: proxies cut at 30 to 60 s.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// Notes when something arrives and checks the silence before it.
struct Silence {
    began: Instant,
    last: Instant,
    beats: u32,
}

impl Silence {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            last: Instant::now(),
            beats: 0,
        }
    }

    #[track_caller]
    fn broken(&mut self) {
        let silence = self.last.elapsed();
        assert!(silence <= LONGEST_SILENCE, "silent for {silence:?}");
        self.last = Instant::now();
        self.beats += 1;
    }

    fn is_over(&self) -> bool {
        self.began.elapsed() > WATCHED
    }
}

#[test]
fn an_idle_connection_is_never_silent_for_30_s_on_either_transport() {
    thread::scope(|scope| {
        scope.spawn(check_event_stream);
        scope.spawn(check_websocket);
    });
}

fn check_event_stream() {
    let hub = Hub::start(MEMORY);
    let mut http = hub.http();
    let head = format!(
        "GET /events?topic=a HTTP/1.1\r\nhost: {}\r\n\r\n",
        hub.address()
    );
    http.send(head.as_bytes());
    assert_eq!(http.head().status, 200);
    let mut opening = String::new();
    while !opening.contains("$ready") {
        opening.push_str(&String::from_utf8(http.read()).unwrap());
    }
    let mut silence = Silence::new();
    while !silence.is_over() {
        let beat = String::from_utf8(http.read()).expect("event streams are UTF-8");
        assert!(
            beat.contains(":\n") || beat.contains("id: "),
            "{beat:?} is no heartbeat"
        );
        assert!(!beat.contains("data"), "{beat:?} is more than a heartbeat");
        silence.broken();
    }
    assert!(
        silence.beats >= 3,
        "{} heartbeats in a minute",
        silence.beats
    );
    hub.publish("a", "still here");
    let mut rest = String::new();
    while !rest.contains("data: still here\n") {
        rest.push_str(&String::from_utf8(http.read()).unwrap());
    }
}

fn check_websocket() {
    let hub = Hub::start(MEMORY);
    let mut socket = hub.http().websocket();
    let resume = json!({ "type": "resume", "topics": ["a"] });
    socket.send(TEXT, resume.to_string().as_bytes());
    assert_eq!(socket.message()["type"], "subscribed");
    assert_eq!(socket.message()["type"], "ready");
    let mut silence = Silence::new();
    while !silence.is_over() {
        match socket.receive() {
            Some((PING, payload)) => {
                socket.send(PONG, &payload);
                silence.broken();
            }
            other => panic!("{other:?} is no heartbeat"),
        }
    }
    assert!(
        silence.beats >= 3,
        "{} heartbeats in a minute",
        silence.beats
    );
    hub.publish("a", "still here");
    assert_eq!(socket.message()["data"], "still here");
}
