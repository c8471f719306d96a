//! Invariant 6: replay and live together are the log's suffix, or a gap, for any history,
//! retention, cut point and interleaving; a client that is cut anywhere and resumes by its last id
//! misses nothing and is sent nothing twice.
//!
//! Two nodes follow one slow, obvious store. Clients connect to either, are cut and resume on
//! either. Hints are lost, repeated and reordered; topics are trimmed, forgotten and created again;
//! the log's end is lost; epochs change; reads fail; waiting calls are cancelled. Every step of
//! every task is taken where the test says, on one thread, and every client's stream is judged
//! against all that ever happened, as it arrives.
//!
//! Each of these rules was taken out once, and this test, or the one in `directed.rs` that is named,
//! went red:
//! - page on while `scanned_to < W`: a silent hole;
//! - read at least one page, taken out together with the wait for the feed: lost events without a
//!   gap. Without the latter it stays green: the feed that must reach the cursor judges it, too;
//! - the feed must stand at or past what was read, in its epoch: lost events without a gap
//!   (`a_tail_lost_behind_a_lagging_feed_is_told`);
//! - read the feed's side anew if the log ends before W: the join spins;
//! - after an epoch without loss, compare with W again before going live: a silent hole;
//! - skip what is at or below P: events twice;
//! - read on from where the page ended: events twice;
//! - a hint's `log_prev` must match: a silent hole;
//! - a hint's epoch must match: lost events without a gap (`a_hint_of_another_epoch_is_not_taken`);
//! - a hint that does not fit makes the feed read (`a_hint_that_does_not_fit_makes_the_feed_read`);
//! - the watermark is what was read, not the end of the log: a silent hole;
//! - reset the tail when the feed lost something: a silent hole;
//! - the tail has the events before the watermark is published (in `node.rs`): a silent hole;
//! - `Trimmed` is passed on if the floor rose between pages: a silent hole;
//! - `Earliest` announces no floor (`an_event_trimmed_between_two_pages_is_told`);
//! - what was announced is forgotten with its epoch (`a_floor_of_another_epoch_is_told_again`).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::future::BoxFuture;
use proptest::prelude::*;
use replay_store::{
    After, AnyStore, Append, Epoch, Feed, FeedConfig, FeedHandle, Hint, Limit, Pattern, Position,
    Retention, Selector, Topic,
};

use crate::client::{Client, Connection, connect};
use crate::model::Model;
use crate::node::{Face, RecentEvents, Shared, TestTail, Timer};
use crate::task::Task;

mod client;
mod directed;
#[path = "../model/mod.rs"]
mod model;
mod node;
mod task;
mod verify;

const NODES: usize = 2;
const CLIENTS: usize = 3;
/// Late subscribers, whose patterns overlap.
const CROWD: usize = 16;
const TOPICS: [&str; 3] = ["a", "b", "a/c"];
/// The topics come first.
const PATTERNS: [&str; 7] = ["a", "b", "a/c", "*", "a/**", "**/c", "**"];

#[derive(Clone, Debug)]
enum Op {
    Append(Vec<usize>),
    Deliver {
        node: usize,
        hint: usize,
        keep: bool,
    },
    LoseHint {
        node: usize,
        hint: usize,
    },
    Timer {
        node: usize,
    },
    StepFeed {
        node: usize,
        times: usize,
    },
    StepClient {
        client: usize,
        times: usize,
    },
    Connect {
        client: usize,
        node: usize,
        after: Ask,
    },
    Cut {
        client: usize,
    },
    Cancel {
        client: usize,
    },
    Heartbeat {
        client: usize,
    },
    Trim {
        topic: usize,
        keep: u64,
    },
    Forget {
        topic: usize,
    },
    LoseEvents(usize),
    NewEpoch,
    FailReads(usize),
}

#[derive(Clone, Copy, Debug)]
enum Ask {
    Resume,
    Latest,
    Earliest,
    Unknown,
    Foreign(u64),
}

fn op(clients: usize) -> impl Strategy<Value = Op> {
    let node = 0..NODES;
    let client = 0..clients;
    let topic = 0..TOPICS.len();
    let ask = prop_oneof![
        6 => Just(Ask::Resume),
        1 => Just(Ask::Latest),
        1 => Just(Ask::Earliest),
        1 => Just(Ask::Unknown),
        1 => (0_u64..20).prop_map(Ask::Foreign),
    ];
    prop_oneof![
        8 => prop::collection::vec(topic.clone(), 1..4).prop_map(Op::Append),
        6 => (node.clone(), 0..100_usize, any::<bool>())
            .prop_map(|(node, hint, keep)| Op::Deliver { node, hint, keep }),
        2 => (node.clone(), 0..100_usize).prop_map(|(node, hint)| Op::LoseHint { node, hint }),
        2 => node.clone().prop_map(|node| Op::Timer { node }),
        10 => (node.clone(), 1_usize..6).prop_map(|(node, times)| Op::StepFeed { node, times }),
        14 => (client.clone(), 1_usize..8)
            .prop_map(|(client, times)| Op::StepClient { client, times }),
        5 => (client.clone(), node, ask)
            .prop_map(|(client, node, after)| Op::Connect { client, node, after }),
        1 => client.clone().prop_map(|client| Op::Cut { client }),
        1 => client.clone().prop_map(|client| Op::Cancel { client }),
        2 => client.prop_map(|client| Op::Heartbeat { client }),
        2 => (topic.clone(), 0_u64..4).prop_map(|(topic, keep)| Op::Trim { topic, keep }),
        1 => topic.prop_map(|topic| Op::Forget { topic }),
        2 => (1_usize..5).prop_map(Op::LoseEvents),
        1 => Just(Op::NewEpoch),
        1 => (1_usize..3).prop_map(Op::FailReads),
    ]
}

struct Node {
    store: AnyStore,
    feed: FeedHandle<TestTail>,
    task: Task<BoxFuture<'static, ()>>,
    timer: Shared<Timer>,
    /// To the feed.
    hints: mpsc::UnboundedSender<Hint>,
    /// Not yet delivered or lost.
    in_flight: Vec<Hint>,
}

impl Node {
    fn start(model: &Shared<Model>, failures: &Shared<usize>, setup: &Setup) -> Self {
        let (hints, receiver) = mpsc::unbounded();
        let store = AnyStore::new(Face {
            model: Arc::clone(model),
            failures: Arc::clone(failures),
            hints: Mutex::new(Some(receiver)),
        });
        let timer = Shared::<Timer>::default();
        let tail = TestTail(Arc::new(Mutex::new(RecentEvents::new(setup.tail))));
        let config = FeedConfig {
            poll: Duration::from_secs(1),
            page: page(setup.feed_page),
        };
        let sleep = {
            let timer = Arc::clone(&timer);
            move |_| Timer::wait(&timer)
        };
        let start = Feed::start(store.clone(), tail, config, sleep);
        let (feed, task) = futures::executor::block_on(start).expect("nothing fails yet");
        Self {
            store,
            feed,
            task: Task::new(task),
            timer,
            hints,
            in_flight: Vec::new(),
        }
    }
}

struct World {
    model: Shared<Model>,
    failures: Shared<usize>,
    nodes: Vec<Node>,
    clients: Vec<(Shared<Client>, Option<Task<Connection>>)>,
    client_page: usize,
    appended: usize,
    epochs: u64,
}

impl World {
    fn new(setup: &Setup) -> Self {
        let mut retention = Retention {
            events: setup.retained,
            ..Retention::UNBOUNDED
        };
        retention.idle_topics = 1;
        let model = Arc::new(Mutex::new(Model::new(Epoch(1), retention)));
        let failures = Shared::<usize>::default();
        let nodes = (0..NODES)
            .map(|_| Node::start(&model, &failures, setup))
            .collect();
        let clients = setup
            .selectors
            .iter()
            .map(|patterns| {
                let selector = Selector::new(patterns.iter().map(|i| pattern(*i)).collect());
                let client = Client::new(selector.expect("a few patterns"));
                (Arc::new(Mutex::new(client)), None)
            })
            .collect();
        let client_page = setup.client_page;
        Self {
            model,
            failures,
            nodes,
            clients,
            client_page,
            appended: 0,
            epochs: 1,
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Append(topics) => self.append(&topics),
            Op::Deliver { node, hint, keep } => {
                let node = &mut self.nodes[node];
                if !node.in_flight.is_empty() {
                    let i = hint % node.in_flight.len();
                    let hint = if keep {
                        node.in_flight[i].clone()
                    } else {
                        node.in_flight.remove(i)
                    };
                    node.hints.unbounded_send(hint).expect("the feed runs");
                }
            }
            Op::LoseHint { node, hint } => {
                let in_flight = &mut self.nodes[node].in_flight;
                if !in_flight.is_empty() {
                    in_flight.remove(hint % in_flight.len());
                }
            }
            Op::Timer { node } => Timer::fire(&self.nodes[node].timer),
            Op::StepFeed { node, times } => {
                for _ in 0..times {
                    assert!(!self.nodes[node].task.step(), "a feed runs for ever");
                }
            }
            Op::StepClient { client, times } => {
                for _ in 0..times {
                    self.step_client(client);
                }
            }
            Op::Connect {
                client,
                node,
                after,
            } => self.connect(client, node, after),
            Op::Cut { client } => self.cut(client),
            Op::Cancel { client } => self.clients[client].0.lock().unwrap().cancel = true,
            Op::Heartbeat { client } => self.clients[client].0.lock().unwrap().heartbeat = true,
            Op::Trim { topic: i, keep } => {
                let mut model = self.model.lock().unwrap();
                let through = model.tail().saturating_sub(keep);
                model.trim(&topic(i).into(), through);
            }
            Op::Forget { topic: i } => self.model.lock().unwrap().forget(&topic(i)),
            Op::LoseEvents(events) => self.next_epoch(events),
            Op::NewEpoch => self.next_epoch(0),
            Op::FailReads(times) => *self.failures.lock().unwrap() = times,
        }
    }

    fn append(&mut self, topics: &[usize]) {
        let mut model = self.model.lock().unwrap();
        let log_prev = model.tail();
        let before = model.facts.len();
        let batch = topics.iter().map(|i| {
            self.appended += 1;
            Append::new(topic(*i), Bytes::from(format!("{}", self.appended)))
        });
        model.append(batch.collect());
        let events = model.facts[before..]
            .iter()
            .map(|fact| fact.event.clone())
            .collect();
        let hint = Hint {
            epoch: model.epoch(),
            log_prev,
            events,
        };
        for node in &mut self.nodes {
            node.in_flight.push(hint.clone());
        }
    }

    fn next_epoch(&mut self, lost: usize) {
        self.epochs += 1;
        self.model.lock().unwrap().lose(lost, Epoch(self.epochs));
    }

    fn cut(&mut self, client: usize) {
        let (client, connection) = &mut self.clients[client];
        *connection = None;
        client.lock().unwrap().live = false;
    }

    fn connect(&mut self, client: usize, node: usize, ask: Ask) {
        self.cut(client);
        let (client, connection) = &mut self.clients[client];
        let after = match ask {
            Ask::Latest => After::Latest,
            Ask::Earliest => After::Earliest,
            Ask::Unknown => After::Unknown,
            Ask::Foreign(seq) => After::Position(Position {
                epoch: Epoch(0xf00),
                seq,
            }),
            Ask::Resume => match client.lock().unwrap().verifier.last_id {
                Some(id) => After::Position(id),
                None => After::Earliest,
            },
        };
        let Node { store, feed, .. } = &self.nodes[node];
        let limit = page(self.client_page);
        *connection = Some(Task::new(connect(
            client,
            &self.model,
            store,
            feed,
            after,
            limit,
        )));
    }

    fn step_client(&mut self, client: usize) {
        let (_, connection) = &mut self.clients[client];
        if connection.as_mut().is_some_and(Task::step) {
            *connection = None;
        }
    }

    /// All is well again: everyone connects, and gets all that is left to get.
    fn settle(mut self) {
        *self.failures.lock().unwrap() = 0;
        self.run_until_idle();
        while let Some(client) = self
            .clients
            .iter()
            .position(|(_, connection)| connection.is_none())
        {
            self.connect(client, client % NODES, Ask::Resume);
            self.run_until_idle();
        }
        // An epoch that waits for its first event gets one, and every topic a last event.
        self.append(&[0, 1, 2]);
        for node in &mut self.nodes {
            node.in_flight.clear();
            Timer::fire(&node.timer);
        }
        self.run_until_idle();
        let model = self.model.lock().unwrap();
        let end = Position {
            epoch: model.epoch(),
            seq: model.tail(),
        };
        for (client, connection) in &self.clients {
            let mut client = client.lock().unwrap();
            assert!(
                connection.is_some() && client.live,
                "a client never went live"
            );
            client.verifier.advance(end, &model);
        }
    }

    fn run_until_idle(&mut self) {
        for round in 0.. {
            assert!(round < 10_000, "something spins");
            let mut idle = true;
            for node in &mut self.nodes {
                idle &= !node.task.is_woken();
                node.task.step_if_woken();
            }
            for client in 0..self.clients.len() {
                if self.clients[client].1.as_ref().is_some_and(Task::is_woken) {
                    idle = false;
                    self.step_client(client);
                }
            }
            if idle {
                return;
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Setup {
    /// Events in a node's tail.
    tail: usize,
    /// Events retained per topic.
    retained: usize,
    feed_page: usize,
    client_page: usize,
    selectors: Vec<Vec<usize>>,
}

fn setup(clients: usize) -> impl Strategy<Value = Setup> {
    let selector = prop::collection::vec(0..PATTERNS.len(), 1..4);
    let selectors = prop::collection::vec(selector, clients);
    (
        1_usize..8,
        prop_oneof![1_usize..4, Just(1000)],
        1_usize..4,
        1_usize..4,
        selectors,
    )
        .prop_map(
            |(tail, retained, feed_page, client_page, selectors)| Setup {
                tail,
                retained,
                feed_page,
                client_page,
                selectors,
            },
        )
}

fn topic(i: usize) -> Topic {
    Topic::new(TOPICS[i]).expect("valid")
}

fn pattern(i: usize) -> Pattern {
    Pattern::new(PATTERNS[i]).expect("valid")
}

fn page(events: usize) -> Limit {
    Limit {
        events,
        bytes: usize::MAX,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn replay_and_live_are_the_suffix_or_a_gap(
        setup in setup(CLIENTS),
        ops in prop::collection::vec(op(CLIENTS), 0..120),
    ) {
        let mut world = World::new(&setup);
        for op in ops {
            world.apply(op);
        }
        world.settle();
    }

    #[test]
    fn a_late_crowd_with_overlapping_patterns_misses_nothing_and_repeats_nothing(
        setup in setup(CROWD),
        before in prop::collection::vec(op(1), 0..40),
        ops in prop::collection::vec(op(CROWD), 0..200),
    ) {
        let mut world = World::new(&setup);
        for op in before.into_iter().chain(ops) {
            world.apply(op);
        }
        world.settle();
    }
}
