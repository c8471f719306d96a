//! Several hubs on one log: whoever subscribes to any of them sees what is published to any.

use std::process::Command;

use serde_json::Value;
use testkit::{RedisServer, SYNCED};

use crate::hub::{Hub, free_address, tidegate};
use crate::program::{Program, run};

const HUBS: usize = 3;
const EACH: usize = 240;

fn serve(listen: &str, store: &str) -> Command {
    tidegate(&["serve", "--listen", listen, "--store", store])
}

/// Hubs, each with a subscriber to everything and a publisher, which go on by themselves.
struct Cluster {
    store: String,
    hubs: Vec<Option<Hub>>,
    subscribers: Vec<Program>,
    publishers: Vec<Program>,
    /// The id and the data of each event that a subscriber saw.
    seen: Vec<Vec<(String, String)>>,
    published: usize,
}

impl Cluster {
    fn start(store: &str) -> Self {
        let hubs: Vec<_> = (0..HUBS)
            .map(|_| Hub::run(serve(&free_address(), store)))
            .collect();
        let subscribe = ["subscribe", "**", "--after", "earliest", "--json", "--ws"];
        let subscribers = hubs.iter().enumerate().map(|(index, hub)| {
            // On both transports.
            let options = &subscribe[..subscribe.len() - index % 2];
            Program::start(hub.command(options))
        });
        let subscribers = subscribers.collect();
        let publishers = hubs.iter().enumerate().map(|(index, hub)| {
            Program::start(hub.command(&["publish", &format!("from/{index}")]))
        });
        Self {
            store: store.to_owned(),
            subscribers,
            publishers: publishers.collect(),
            hubs: hubs.into_iter().map(Some).collect(),
            seen: vec![Vec::new(); HUBS],
            published: 0,
        }
    }

    /// Gives each publisher some lines more.
    fn publish(&mut self, count: usize) {
        for (index, publisher) in self.publishers.iter_mut().enumerate() {
            for number in self.published..self.published + count {
                publisher.write(&format!("{index} {number}\n"));
            }
        }
        self.published += count;
    }

    /// Waits until a subscriber has seen some events in all.
    #[track_caller]
    fn wait(&mut self, subscriber: usize, count: usize) {
        let seen = &mut self.seen[subscriber];
        while seen.len() < count {
            let line = self.subscribers[subscriber].line();
            let item: Value = serde_json::from_str(&line).expect("JSON");
            let text = |name: &str| item[name].as_str().expect("a text").to_owned();
            match item["type"].as_str() {
                Some("event") => seen.push((text("id"), text("data"))),
                Some("gap") => panic!("nothing was lost, yet subscriber {subscriber} got {line}"),
                _ => {}
            }
        }
    }

    fn kill_hub(&mut self, index: usize) -> String {
        let hub = self.hubs[index].take().expect("it runs");
        let address = hub.address().to_owned();
        hub.kill();
        address
    }

    fn start_hub(&mut self, index: usize, address: &str) {
        self.hubs[index] = Some(Hub::run(serve(address, &self.store)));
    }
}

#[test]
fn three_hubs_on_one_redis_lose_and_repeat_nothing_while_a_hub_and_redis_are_killed() {
    let mut redis = RedisServer::start(&SYNCED);
    let mut cluster = Cluster::start(&redis.url());
    cluster.publish(EACH / 4);
    cluster.wait(0, HUBS * EACH / 8);

    // A hub dies with its subscriber, its publisher and what is under way.
    cluster.publish(EACH / 4);
    let address = cluster.kill_hub(1);
    cluster.wait(0, 2 * EACH / 4);
    cluster.start_hub(1, &address);
    cluster.wait(1, HUBS * EACH / 4);

    cluster.publish(EACH / 4);
    cluster.wait(2, HUBS * EACH / 2);
    redis.kill();
    redis.up();

    cluster.publish(EACH / 4);
    for subscriber in 0..HUBS {
        cluster.wait(subscriber, HUBS * EACH);
    }
    let seen = &cluster.seen;
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
    for publisher in 0..HUBS {
        let prefix = format!("{publisher} ");
        let own = seen[0].iter().filter(|(_, data)| data.starts_with(&prefix));
        let expected = (0..EACH).map(|number| format!("{publisher} {number}"));
        assert!(
            own.map(|(_, data)| data.clone()).eq(expected),
            "{publisher}"
        );
    }
    // Three connections a hub, whatever it serves, and the one that asks.
    let clients = redis.command("CLIENT LIST");
    let count = clients.matches(" addr=127.0.0.1").count();
    assert!(count <= 3 * HUBS + 1, "{clients}");
}

#[test]
fn a_redis_that_cannot_keep_a_log_ends_the_hub_with_advice() {
    let redis = RedisServer::start(&["maxmemory-policy allkeys-lru"]);
    let refused = run(serve("127.0.0.1:0", &redis.url()));
    assert_eq!(refused.code, Some(1));
    for said in [&*redis.url(), "maxmemory-policy noeviction"] {
        assert!(refused.stderr.contains(said), "{said}: {}", refused.stderr);
    }
    let forgetful = RedisServer::start(&[]);
    let hub = Program::start(serve("127.0.0.1:0", &forgetful.url()));
    hub.wait_for_stderr("CONFIG SET appendonly yes");
}
