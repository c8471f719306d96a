//! A hub that dies, and a publisher that does not mind.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::hub::{Hub, curl_json};
use crate::program::Program;
use crate::random::Random;

const LINES: usize = 1_500;
const KILLS: usize = 5;

/// The data of everything in the topic.
#[track_caller]
fn all(hub: &Hub, topic: &str) -> Vec<String> {
    let mut data = Vec::new();
    let mut after = "earliest".to_owned();
    loop {
        let page = curl_json(&[
            "-f",
            &hub.url(&format!("/history?topic={topic}&after={after}")),
        ]);
        assert_eq!(page.get("gap"), None, "nothing was lost");
        for event in page["events"].as_array().expect("events") {
            data.push(event["data"].as_str().expect("text").to_owned());
        }
        after = page["next"].as_str().expect("a cursor").to_owned();
        if page["last"] == Value::Bool(true) {
            return data;
        }
    }
}

#[test]
fn publish_gets_every_line_stored_once_and_in_order_over_a_hub_that_is_killed_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("events.db").display());
    let mut hub = Hub::start(&store);
    let mut publisher = Program::start(hub.command(&["publish", "lines"]));
    let mut random = Random::new();
    let mut next = 0;
    let mut write = |publisher: &mut Program, through: usize| {
        while next < through {
            publisher.write(&format!("line {next}\n"));
            next += 1;
        }
    };
    for kill in 1..=KILLS {
        // It has lines in hand when the hub dies.
        write(&mut publisher, kill * LINES / (KILLS + 1));
        thread::sleep(Duration::from_millis(random.below(200)));
        let address = hub.address().to_owned();
        hub.kill();
        thread::sleep(Duration::from_millis(random.below(300)));
        hub = Hub::start_at(&address, &store);
    }
    write(&mut publisher, LINES);
    publisher.close_stdin();
    // However slow the machine is, each line has its time.
    let reader = Program::start(hub.command(&["subscribe", "lines", "--after", "earliest"]));
    for number in 0..LINES {
        assert_eq!(reader.line(), format!("line {number}"));
    }
    let (status, _) = publisher.wait();
    assert!(status.success(), "{status}: {}", publisher.stderr());
    let said = format!("published {LINES} events");
    assert!(publisher.stderr().contains(&said), "{}", publisher.stderr());
    let expected: Vec<_> = (0..LINES).map(|it| format!("line {it}")).collect();
    assert_eq!(all(&hub, "lines"), expected);
}
