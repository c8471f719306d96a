//! What the log keeps of topics that are gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;

use super::*;
use crate::{Clock, Epoch, MemoryConfig, MemoryStore, ReplayStore};

#[test]
fn topics_that_come_and_go_leave_nothing_behind() {
    let now = Arc::new(AtomicU64::new(1));
    let clock = Arc::clone(&now);
    let clock = Clock::new(move || clock.load(Ordering::Relaxed));
    let mut config = MemoryConfig::default();
    config.retention.idle_topics = 4;
    let age = u64::try_from(config.retention.age.as_millis()).expect("it is short");
    let store = MemoryStore::new(config, Epoch(1), clock);
    let append = |name: &str| {
        let topic = Topic::new(name).expect("valid");
        let appended = store.append(vec![Append::new(topic.clone(), "x")]);
        assert!(appended.now_or_never().is_some_and(|it| it.is_ok()));
        Selector::from(topic)
    };
    append("stays");
    for n in 0..1_000 {
        // Two names come again and again.
        let topic = append(&format!("room/{}", if n % 3 == 0 { n % 2 } else { n }));
        let trimmed = store.trim(&topic, u64::MAX).now_or_never();
        assert!(trimmed.is_some_and(|it| it.is_ok()));
        let log = store.lock();
        let log = log.as_ref().expect("open");
        let (topics, noted) = (log.topics.len(), log.expiries.len());
        assert!(topics <= 5 && noted <= 2 * topics + 64, "{topics} {noted}");
    }
    // What is left goes in time, and not before.
    let all = Selector::all();
    for (later, events) in [(age, 1), (age + 1, 0)] {
        now.store(1 + later, Ordering::Relaxed);
        let page = store.read(&all, After::Earliest, Limit::default());
        let page = page.now_or_never().expect("at once").expect("open");
        assert_eq!(page.events.len(), events, "after {later} ms");
    }
}
