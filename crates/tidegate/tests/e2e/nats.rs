//! Three hubs on one NATS.

use std::thread;
use std::time::Duration;

use serde_json::Value;
use testkit::NatsServer;

use crate::hub::{Hub, free_address, tidegate};
use crate::program::{Program, run};

const EVENTS: usize = 80;

fn serve_at(address: &str, store: &str) -> Hub {
    Hub::run(tidegate(&["serve", "--listen", address, "--store", store]))
}

/// Each hub has a publisher and a subscriber, which are never told of what happens behind it.
#[test]
fn three_hubs_on_one_nats_serve_one_log_while_a_hub_and_the_broker_are_killed() {
    let mut nats = NatsServer::start();
    let store = format!("{}/HUBS", nats.url());
    let mut hubs: Vec<_> = (0..3).map(|_| serve_at(&free_address(), &store)).collect();
    let subscribe = ["subscribe", "t/**", "--after", "earliest", "--json"];
    let subscribers: Vec<_> = hubs
        .iter()
        .map(|hub| Program::start(hub.command(&subscribe)))
        .collect();
    let mut publishers = Vec::new();
    for (number, hub) in hubs.iter().enumerate() {
        // All publish to one topic, and each to one of its own.
        for topic in ["t/all".to_owned(), format!("t/{number}")] {
            let mut publisher = Program::start(hub.command(&["publish", &topic]));
            publishers.push(thread::spawn(move || {
                for event in 0..EVENTS {
                    publisher.write(&format!("{topic} {number} {event}\n"));
                    thread::sleep(Duration::from_millis(25));
                }
                publisher.close_stdin();
                publisher
            }));
        }
    }
    let pause = || thread::sleep(Duration::from_millis(400));
    pause();
    let killed = hubs.remove(1);
    let address = killed.address().to_owned();
    killed.kill();
    pause();
    hubs.push(serve_at(&address, &store));
    pause();
    nats.kill();
    pause();
    nats.up();
    let publishers: Vec<_> = publishers
        .into_iter()
        .map(|publisher| publisher.join().expect("it takes every line"))
        .collect();

    let mut seen: Vec<Vec<(String, String)>> = Vec::new();
    for subscriber in &subscribers {
        let mut events = Vec::new();
        while events.len() < 6 * EVENTS {
            let item: Value = serde_json::from_str(&subscriber.line()).expect("JSON");
            match item["type"].as_str() {
                Some("event") => {
                    let text = |name: &str| item[name].as_str().expect("text").to_owned();
                    events.push((text("id"), text("data")));
                }
                Some("gap") => panic!("nothing was lost, yet {item}"),
                _ => {}
            }
        }
        seen.push(events);
    }
    for mut publisher in publishers {
        let (status, _) = publisher.wait();
        assert!(status.success(), "{}", publisher.stderr());
    }
    assert!(
        seen[0] == seen[1] && seen[1] == seen[2],
        "one log, one order"
    );
    for publisher in 0..3 {
        for topic in ["t/all".to_owned(), format!("t/{publisher}")] {
            let prefix = format!("{topic} {publisher} ");
            let own = seen[0]
                .iter()
                .filter_map(|(_, data)| data.strip_prefix(&prefix));
            assert!(
                own.eq((0..EVENTS).map(|event| event.to_string())),
                "{prefix}"
            );
        }
    }
}

#[test]
fn what_a_nats_store_cannot_do_is_refused_at_the_start() {
    let refused = |store: &str, options: &[&str], said: &[&str]| {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--store", store];
        let refused = run(tidegate(&[&serve, options].concat()));
        assert_eq!(refused.code, Some(1));
        for said in said {
            assert!(refused.stderr.contains(said), "{said}: {}", refused.stderr);
        }
        assert!(!refused.stderr.contains("secret"), "{}", refused.stderr);
    };
    let nats = NatsServer::start();
    refused(&nats.url(), &["--retain-events", "5"], &["--retain-events"]);
    refused(
        "nats://user:secret@127.0.0.1:1",
        &[],
        &["cannot connect to NATS", "does it run"],
    );
    let small =
        NatsServer::with_settings("jetstream { store_dir: \"FOLDER\", max_file_store: 8MB }");
    refused(&small.url(), &[], &["max_file_store", "--retain-log-bytes"]);
    let less = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--retain-log-bytes",
        "4MiB",
    ];
    drop(Hub::run(tidegate(
        &[&less[..], &["--store", &small.url()]].concat(),
    )));
}
