//! Over sockets and in real time, on the fast path and with hyper, and what both runs share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use backpressure::{Lag, LogConfig, Policy};
use push_server::{Hub, HubConfig, Server};
use replay_store::{AnyStore, Append, Clock, Epoch, MemoryConfig, MemoryStore};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::member::{Dial, Io, Member, Transport, member, topics, until_subscribed};
use crate::oracle::{Log, Logged, Tally, check};
use crate::{Random, setting};

/// What a run is like.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) members: usize,
    pub(crate) events: u64,
    /// One event is due after each such time.
    pub(crate) every: Duration,
    /// The longest time that a slow member waits between reads.
    pub(crate) pause: Duration,
    /// Characters in each event besides its number.
    pub(crate) padding: usize,
    pub(crate) seed: u64,
}

/// A hub with bounds so small that all of them are met.
pub(crate) async fn hub(heartbeat: Duration, tail_bytes: usize) -> Hub {
    let clock = Clock::new(|| 1_790_000_000_000);
    let store = MemoryStore::new(MemoryConfig::default(), Epoch(0xe), clock);
    let max = Lag {
        events: 4,
        bytes: u64::MAX,
    };
    let mut tail = LogConfig::default();
    tail.max_bytes(tail_bytes);
    let mut config = HubConfig::new();
    config
        .offer([Policy::drop_oldest().with_max(max), Policy::conflate()])
        .tail(tail)
        .drain(Duration::ZERO)
        .heartbeat(heartbeat)
        .unwrap();
    Hub::start(config, AnyStore::new(store)).await.unwrap()
}

/// Publishes to topics at random once half of the members are there, and once has the hub cut all
/// connections.
pub(crate) async fn publish(hub: &Hub, plan: &Plan) -> Log {
    until_subscribed(hub, plan.members / 2).await;
    let mut random = Random(plan.seed);
    let mut log = Log::new(topics());
    let padding = "x".repeat(plan.padding);
    let start = Instant::now();
    for number in 0..plan.events {
        sleep_until(start + plan.every * number as u32).await;
        let topic = random.below(log.topics.len() as u64) as usize;
        let key = random.percent(60).then(|| random.below(3));
        let event = Append {
            conflate_key: key.map(|key| key.to_string().into()),
            ..Append::new(log.topics[topic].clone(), format!("#{number}.{padding}"))
        };
        let seq = hub.publish(event).await.unwrap().position.seq;
        log.push(Logged {
            seq,
            number,
            topic,
            key,
        });
        if number == plan.events / 3 {
            hub.drop_connections();
        }
    }
    log
}

/// Compares what each member was told with the log.
pub(crate) async fn judge(plan: &Plan, log: &Log, members: Vec<JoinHandle<Member>>) -> Tally {
    let last = log.events.last().unwrap().seq;
    let mut all = Tally::default();
    for (n, member) in members.into_iter().enumerate() {
        let member = member.await.unwrap();
        let allowed = member.allowed();
        let tally = check(log, &member.patterns, allowed, &member.told, last);
        let tally = tally.unwrap_or_else(|why| {
            let (patterns, policy, over) = (&member.patterns, member.policy, member.transport);
            panic!("member {n} of {plan:?}, {patterns:?} by {over:?} under {policy}: {why}")
        });
        all.add(tally);
    }
    all
}

/// A busy listener may refuse; then it is tried again.
async fn connect(address: SocketAddr, small: bool) -> Box<dyn Io> {
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        if small {
            socket.set_recv_buffer_size(2 * 1024).unwrap();
        }
        if let Ok(stream) = socket.connect(address).await {
            return Box::new(stream);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// For longer: `TIDEGATE_SECONDS=60 TIDEGATE_MEMBERS=4000 TIDEGATE_EVERY_MS=50`. Both ends of each
/// connection take a descriptor.
#[tokio::test(flavor = "multi_thread")]
async fn over_sockets_subscribers_that_are_cut_anywhere_miss_nothing_unannounced() {
    let seconds = setting("TIDEGATE_SECONDS", 8);
    let every = Duration::from_millis(setting("TIDEGATE_EVERY_MS", 5));
    let plan = Plan {
        members: setting("TIDEGATE_MEMBERS", 400) as usize,
        events: seconds * 1000 / every.as_millis() as u64,
        every,
        pause: Duration::from_millis(400),
        padding: 1_000,
        seed: setting("TIDEGATE_SEED", 1),
    };
    let hub = hub(Duration::from_secs(1), 16 * 1024).await;
    let mut addresses = Vec::new();
    for fast in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(listener.local_addr().unwrap());
        let server = Server::new(hub.clone()).fast_path(fast);
        tokio::spawn(server.serve(listener, std::future::pending()));
    }
    let (ended, last) = watch::channel(None);
    let members = (0..plan.members).map(|n| {
        let address = addresses[n / 20 % 2];
        let dial: Arc<Dial> =
            Arc::new(move |_, small| Box::pin(async move { connect(address, small).await }));
        let transport = match n / 10 % 2 {
            0 => Transport::Sse,
            _ => Transport::WebSocket { handshake: true },
        };
        tokio::spawn(member(n, plan.seed, plan.pause, transport, &dial, &last).run())
    });
    let members: Vec<_> = members.collect();
    let start = Instant::now();
    let log = publish(&hub, &plan).await;
    ended.send_replace(log.events.last().map(|event| event.seq));
    let tally = judge(&plan, &log, members).await;
    println!("{tally:?} in {:?}", start.elapsed());
    // Whether anybody falls so far behind that there are gaps depends on the machine; over pipes
    // somebody always does.
    assert!(tally.resumes > plan.members as u64, "{tally:?}");
}
