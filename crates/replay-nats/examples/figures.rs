//! Prints the figures of `docs/stores.md` for a server that runs, in streams of its own that stay
//! there: `cargo run --release -p replay-nats --example figures -- nats://127.0.0.1:4222`.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use futures::future::try_join_all;
use replay_nats::{NatsConfig, NatsStore};
use replay_store::{After, Append, Limit, ReplayStore, Selector, StoreError, Topic};

const SECONDS: u64 = 4;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("want the URL of a server")?;
    let stamp = UNIX_EPOCH.elapsed()?.as_millis();
    for topics in [1, 16, 256] {
        for publishers in [1, 16, 64, 256] {
            let config = NatsConfig {
                stream: format!("FIGURES-{stamp}-{topics}-{publishers}"),
                ..NatsConfig::from_url(&url)?
            };
            let store = NatsStore::open(config, seed).await?;
            let rate = publish(&store, topics, publishers).await?;
            println!("{publishers} publishers, {topics} topics: {rate:.0} appends/s");
        }
    }
    let config = NatsConfig {
        stream: format!("FIGURES-{stamp}-READ"),
        ..NatsConfig::from_url(&url)?
    };
    let store = NatsStore::open(config, seed).await?;
    for chunk in 0..100_u64 {
        let event = |i: u64| Ok::<_, Box<dyn Error>>(Append::new(topic(i)?, vec![b'x'; 256]));
        let batch = (0..100)
            .map(|i| event((chunk * 100 + i) % 16))
            .collect::<Result<_, _>>()?;
        store.append(batch).await?;
    }
    for (name, selector) in [("all", Selector::all()), ("one topic", topic(3)?.into())] {
        for _ in 0..3 {
            let (began, mut after, mut events) = (Instant::now(), After::Earliest, 0);
            loop {
                let page = store.read(&selector, after, Limit::default()).await?;
                events += page.events.len();
                after = page.next().into();
                if page.is_last() {
                    break;
                }
            }
            let took = began.elapsed();
            println!("read {name}: {events} events in {took:.1?}");
        }
    }
    let began = Instant::now();
    let after = store
        .read(&Selector::all(), After::Latest, Limit::default())
        .await?
        .next();
    for _ in 0..1000 {
        store
            .read(&topic(3)?.into(), after.into(), Limit::default())
            .await?;
    }
    println!("read of nothing new: {:.2?}", began.elapsed() / 1000);
    Ok(())
}

async fn publish(store: &NatsStore, topics: u64, publishers: u64) -> Result<f64, Box<dyn Error>> {
    let began = Instant::now();
    let tasks = (0..publishers).map(|publisher| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut events = 0_u64;
            while began.elapsed().as_secs() < SECONDS {
                let topic = topic(publisher % topics).map_err(|_| StoreError::Unsupported)?;
                store
                    .append(vec![Append::new(topic, vec![b'x'; 256])])
                    .await?;
                events += 1;
            }
            Ok::<_, StoreError>(events)
        })
    });
    let events: Result<Vec<_>, _> = try_join_all(tasks).await?.into_iter().collect();
    Ok(events?.iter().sum::<u64>() as f64 / began.elapsed().as_secs_f64())
}

fn topic(n: u64) -> Result<Topic, replay_store::TopicError> {
    Topic::new(&format!("bench/{n}"))
}

fn seed() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
