//! Serves each parser vector to Chromium's own `EventSource` and compares what it dispatches, what
//! it resumes from and how long it waits with what our decoder says. One browser runs them all:
//! `cargo xtask conformance sse`.
//!
//! What is known to differ, and why, is in `deviations.txt`. A deviation that is not in there fails,
//! and so does one that is in there but no longer happens.
#![expect(
    clippy::print_stdout,
    reason = "a program for the terminal: what it prints is its result"
)]

mod server;
mod vector;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, ExitCode};
use std::time::Duration;

use serde_json::json;
use server::{Request, Server};
use sse_proto::source::DEFAULT_RECONNECTION_TIME;
use testkit::{Tool, tool};
use vector::{Found, Vector};

/// A reconnection may be this much late: all vectors share six connections.
const PATIENCE: Duration = Duration::from_millis(2500);

/// The seed and the vectors that need it name this time, so that seeding is quick.
const SEED_RETRY: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let vectors = vector::read();
    let found: Vec<Found> = vectors.iter().map(Vector::decode).collect();
    let server = Server::start(&vectors);
    let dispatched = browse(&server, vectors.len(), &types(&found));
    let requests = server.requests();

    let mut known = deviations();
    let mut unexpected = 0;
    let mut equal = 0;
    for (at, (vector, found)) in vectors.iter().zip(&found).enumerate() {
        let differences = compare(vector, found, &dispatched[at], &requests[at]);
        match (differences.is_empty(), known.remove(&*vector.name)) {
            (true, None) => equal += 1,
            (false, Some(reason)) => println!("known: {}: {reason}", vector.name),
            (true, Some(_)) => {
                println!(
                    "UNEXPECTED PASS {}: take it out of deviations.txt",
                    vector.name
                );
                unexpected += 1;
            }
            (false, None) => {
                println!("MISMATCH {}: {}", vector.name, differences.join("; "));
                unexpected += 1;
            }
        }
    }
    for name in known.keys() {
        println!("UNKNOWN VECTOR {name}: take it out of deviations.txt");
        unexpected += 1;
    }
    println!(
        "{} vectors in Chromium: {equal} as our decoder, {unexpected} unexpected",
        vectors.len()
    );
    if unexpected == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// All types that any vector's events have: a page hears no others.
fn types(found: &[Found]) -> BTreeSet<String> {
    let events = found.iter().flat_map(|found| &found.events);
    events.map(|[name, _, _]| name.clone()).collect()
}

/// The events, as type, data and last event ID, that Chromium dispatched for each vector.
fn browse(server: &Server, vectors: usize, types: &BTreeSet<String>) -> Vec<Vec<[String; 3]>> {
    let output = Command::new(tool(Tool::Node))
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/examples/chromium/page.cjs"
        ))
        .arg(tool(Tool::Chromium))
        .arg(json!({ "url": server.url(), "vectors": vectors, "types": types }).to_string())
        .env("NODE_PATH", tool(Tool::NodeModules))
        .stderr(std::process::Stdio::inherit())
        .output()
        .expect("node starts");
    assert!(output.status.success(), "the browser failed");
    let dispatched: Vec<_> = serde_json::from_slice(&output.stdout).expect("it answers in JSON");
    assert_eq!(dispatched.len(), vectors);
    dispatched
}

fn compare(
    vector: &Vector,
    found: &Found,
    dispatched: &[[String; 3]],
    requests: &[Request],
) -> Vec<String> {
    let mut differences = Vec::new();
    let mut differ = |what: &str, chromium: String, ours: String| {
        if chromium != ours {
            differences.push(format!("{what}: Chromium {chromium}, ours {ours}"));
        }
    };
    differ(
        "events",
        format!("{dispatched:?}"),
        format!("{:?}", found.events),
    );
    let seeded = usize::from(vector.seed.is_some());
    let (Some(first), Some(again)) = (requests.get(seeded), requests.get(seeded + 1)) else {
        differences.push(format!("there were {} requests", requests.len()));
        return differences;
    };
    differ("accept", first.accept.clone(), "text/event-stream".into());
    differ(
        "seed",
        first.last_event_id.clone(),
        vector.seed.clone().unwrap_or_default(),
    );
    // HTTP takes the spaces off a header's ends.
    let id = found.last_event_id.trim_matches(' ');
    differ(
        "Last-Event-ID",
        format!("{:?}", again.last_event_id),
        format!("{id:?}"),
    );
    let ours = match (found.retry, &vector.seed) {
        (Some(retry), _) => retry,
        (None, Some(_)) => SEED_RETRY,
        (None, None) => DEFAULT_RECONNECTION_TIME,
    };
    // Of the clock's coarseness there may be a few milliseconds too little.
    let early = again.waited + Duration::from_millis(20) < ours;
    if vector.retry_matters && (early || again.waited > ours.saturating_add(PATIENCE)) {
        differences.push(format!(
            "retry: Chromium waited {:?}, ours {ours:?}",
            again.waited
        ));
    }
    differences
}

/// Names of vectors and why Chromium deviates.
fn deviations() -> BTreeMap<&'static str, &'static str> {
    let lines = include_str!("deviations.txt").lines();
    let lines = lines.filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| line.split_once(": ").expect("deviations.txt: NAME: REASON"))
        .collect()
}
