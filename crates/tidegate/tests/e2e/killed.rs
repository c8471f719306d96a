//! kill -9 of a hub on SQLite under load, with a subscriber who stays through it all. Ten rounds,
//! or as many as `TIDEGATE_TEST_KILLS` says.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::hub::Hub;
use crate::program::Program;
use crate::random::Random;

const PUBLISHERS: usize = 3;
/// Lines per publisher and round: less than a pipe holds, so that nobody waits for a dead hub.
const LINES: usize = 40;

#[test]
fn a_subscriber_gets_everything_once_and_in_order_over_a_hub_that_is_killed_again_and_again() {
    let rounds = std::env::var("TIDEGATE_TEST_KILLS");
    let rounds: usize = rounds.map_or(10, |rounds| rounds.parse().expect("a number of rounds"));
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("events.db").display());
    let mut hub = Hub::start(&store);
    let subscribe = ["subscribe", "lines/*", "--after", "earliest", "--json"];
    let subscriber = Program::start(hub.command(&subscribe));
    let publisher = |n| Program::start(hub.command(&["publish", &format!("lines/{n}")]));
    let mut publishers: Vec<_> = (0..PUBLISHERS).map(publisher).collect();
    let mut random = Random::new();
    for round in 0..rounds {
        for line in 0..LINES {
            for (n, publisher) in publishers.iter_mut().enumerate() {
                let pad = "x".repeat(random.below(1200) as usize);
                publisher.write(&format!("{n} {} {pad}\n", round * LINES + line));
            }
        }
        thread::sleep(Duration::from_millis(random.below(400)));
        let address = hub.address().to_owned();
        hub.kill();
        hub = Hub::start_at(&address, &store);
    }
    let mut next = [0; PUBLISHERS];
    let mut seqs = Vec::new();
    while seqs.len() < PUBLISHERS * LINES * rounds {
        let item: Value = serde_json::from_str(&subscriber.line()).expect("JSON");
        assert_ne!(item["type"], "gap", "nothing was lost: {item}");
        if item["type"] == "event" {
            let data = item["data"].as_str().expect("text");
            let mut words = data.split(' ').map(|word| word.parse::<usize>());
            let (Some(Ok(publisher)), Some(Ok(line))) = (words.next(), words.next()) else {
                panic!("nobody has published this: {data}");
            };
            assert_eq!(line, next[publisher], "of publisher {publisher}");
            next[publisher] += 1;
            seqs.push(item["seq"].as_u64().expect("a seq"));
        }
    }
    for publisher in &mut publishers {
        publisher.close_stdin();
        let (status, _) = publisher.wait();
        assert!(status.success(), "{status}: {}", publisher.stderr());
    }
    assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "{seqs:?}");
}
