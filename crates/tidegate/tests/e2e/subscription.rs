//! One face for subscribers of several makes, ours and others'.

use std::collections::VecDeque;
use std::process::Command;

use serde_json::Value;
use testkit::{Tool, tool};

use crate::event_stream::{Block, blocks};
use crate::hub::{Hub, curl};
use crate::program::Program;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Make {
    /// curl, data as published.
    CurlRaw,
    /// curl, event objects.
    CurlJson,
    HttpxSse,
    PythonWebSockets,
    OursSse,
    OursWebSocket,
}

/// What a subscriber can learn, in the order in which it does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Item {
    /// Where the connection begins.
    Start(Option<String>),
    Gap {
        reason: String,
        after: Option<String>,
        id: String,
    },
    Event(Event),
    Ready {
        id: String,
    },
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) data: String,
    pub(crate) kind: Option<String>,
    /// The topic, its number and the number before it in the topic, where the form tells.
    pub(crate) place: Option<(String, u64, Option<u64>)>,
}

impl Item {
    /// The cursor with which a client that has this resumes.
    pub(crate) fn cursor(&self) -> Option<&str> {
        match self {
            Self::Start(id) => id.as_deref(),
            Self::Gap { id, .. } | Self::Ready { id } => Some(id),
            Self::Event(event) => Some(&event.id),
        }
    }
}

/// A running subscriber. Dropping it kills the program.
pub(crate) struct Subscription {
    make: Make,
    program: Program,
    unparsed: Vec<u8>,
    items: VecDeque<Item>,
}

impl Subscription {
    /// `after` is a cursor, `earliest`, `latest`, or empty.
    pub(crate) fn start(make: Make, hub: &Hub, topics: &[&str], after: &str) -> Self {
        let program = match make {
            Make::CurlRaw | Make::CurlJson => {
                Program::start_bytes(follow(make, hub, topics, after))
            }
            Make::HttpxSse => Program::start(python("httpx-sse", hub, topics, after)),
            Make::PythonWebSockets => Program::start(python("websockets", hub, topics, after)),
            Make::OursSse | Make::OursWebSocket => Program::start(ours(make, hub, topics, after)),
        };
        Self {
            make,
            program,
            unparsed: Vec::new(),
            items: VecDeque::new(),
        }
    }

    /// The next item; `None` when the subscriber has ended.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Some(item);
            }
            let output = self.program.output()?;
            self.read(&output);
        }
    }

    /// The next event, past what else comes.
    #[track_caller]
    pub(crate) fn event(&mut self) -> Event {
        loop {
            match self.next() {
                Some(Item::Event(event)) => return event,
                Some(_) => {}
                None => panic!("{:?} ended: {}", self.make, self.program.stderr()),
            }
        }
    }

    /// The next item but events must be `$ready`.
    #[track_caller]
    pub(crate) fn ready(&mut self) -> String {
        loop {
            match self.next() {
                Some(Item::Ready { id }) => return id,
                Some(Item::Start(_)) => {}
                other => panic!("{:?}: {other:?} in place of ready", self.make),
            }
        }
    }

    fn read(&mut self, output: &[u8]) {
        match self.make {
            Make::CurlRaw | Make::CurlJson => {
                self.unparsed.extend_from_slice(output);
                let (blocks, consumed) = blocks(&self.unparsed);
                self.unparsed.drain(..consumed);
                let json = self.make == Make::CurlJson;
                self.items.extend(
                    blocks
                        .into_iter()
                        .filter_map(|block| from_block(block, json)),
                );
            }
            Make::HttpxSse => {
                let value: Value = serde_json::from_slice(output).expect("our script prints JSON");
                let text = |name: &str| value[name].as_str().map(str::to_owned);
                let block = Block {
                    event: text("event").filter(|event| event != "message"),
                    data: text("data").filter(|data| !data.is_empty()),
                    id: text("id").filter(|id| !id.is_empty()),
                    retry: None,
                };
                self.items.extend(from_block(block, true));
            }
            Make::PythonWebSockets | Make::OursSse | Make::OursWebSocket => {
                let value: Value = serde_json::from_slice(output).expect("it prints JSON");
                // The end follows, which says all that a subscriber needs.
                if value["type"] != "drain" {
                    self.items.push_back(from_message(&value));
                }
            }
        }
    }
}

fn follow(make: Make, hub: &Hub, topics: &[&str], after: &str) -> Command {
    let topics: String = topics
        .iter()
        .map(|topic| format!("&topic={topic}"))
        .collect();
    let format = if make == Make::CurlJson {
        "json"
    } else {
        "raw"
    };
    let url = hub.url(&format!("/events?format={format}{topics}"));
    let header = format!("Last-Event-ID: {after}");
    let mut arguments = vec!["-N", url.as_str()];
    if !after.is_empty() {
        arguments.extend(["-H", header.as_str()]);
    }
    curl(&arguments)
}

fn python(library: &str, hub: &Hub, topics: &[&str], after: &str) -> Command {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/subscriber.py");
    let mut command = Command::new(tool(Tool::Python));
    command
        .args([script, library, &hub.url(""), after])
        .args(topics);
    command
}

fn ours(make: Make, hub: &Hub, topics: &[&str], after: &str) -> Command {
    let mut arguments = vec!["subscribe", "--json"];
    arguments.extend(topics);
    if make == Make::OursWebSocket {
        arguments.push("--ws");
    }
    if !after.is_empty() {
        arguments.extend(["--after", after]);
    }
    hub.command(&arguments)
}

fn from_block(block: Block, json: bool) -> Option<Item> {
    let Block {
        event, data, id, ..
    } = block;
    let Some(data) = data else {
        // The block that only tells the reconnection time says nothing to a subscriber.
        return id.map(|id| Item::Start(Some(id)));
    };
    if event.as_deref() == Some("$drain") {
        assert_eq!(
            serde_json::from_str::<Value>(&data).expect("JSON")["type"],
            "drain"
        );
        return None;
    }
    let id = id.expect("every event has an id");
    match event.as_deref() {
        Some("$gap" | "$ready") => {
            let item =
                from_message(&serde_json::from_str(&data).expect("the hub's events are JSON"));
            assert_eq!(
                item.cursor(),
                Some(id.as_str()),
                "the id field and the object disagree"
            );
            Some(item)
        }
        _ if json => {
            assert_eq!(event, None, "event objects come without an event field");
            let item = from_message(&serde_json::from_str(&data).expect("an event object"));
            assert_eq!(
                item.cursor(),
                Some(id.as_str()),
                "the id field and the object disagree"
            );
            Some(item)
        }
        _ => Some(Item::Event(Event {
            id,
            data,
            kind: event,
            place: None,
        })),
    }
}

fn from_message(message: &Value) -> Item {
    let text = |name: &str| message[name].as_str().map(str::to_owned);
    let need = |name: &str| text(name).unwrap_or_else(|| panic!("no {name} in {message}"));
    match message["type"].as_str() {
        Some("subscribed") => Item::Start(text("at")),
        Some("gap") => Item::Gap {
            reason: need("reason"),
            after: text("after"),
            id: need("id"),
        },
        Some("ready") => Item::Ready { id: need("id") },
        Some("event") => Item::Event(Event {
            id: need("id"),
            data: need("data"),
            kind: text("event"),
            place: Some((
                need("topic"),
                message["seq"].as_u64().expect("an event has a number"),
                message["prev"].as_u64(),
            )),
        }),
        _ => panic!("unexpected {message}"),
    }
}
