//! Retention on a file: work is spread over commits.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::executor::block_on;
use replay_sqlite::{SqliteConfig, SqliteStore};
use replay_store::{
    After, Append, Clock, Limit, Page, ReplayStore as _, Retention, Selector, StoreError, Topic,
};

const HOUR: Duration = Duration::from_secs(60 * 60);

struct Subject {
    store: SqliteStore,
    now: Arc<AtomicU64>,
}

impl Subject {
    fn open(path: &Path, log_bytes: u64) -> Self {
        let now = Arc::new(AtomicU64::new(1_790_000_000_000));
        let clock = Arc::clone(&now);
        let config = SqliteConfig {
            retention: Retention {
                age: HOUR,
                log_bytes,
                ..Retention::UNBOUNDED
            },
            ..SqliteConfig::default()
        };
        let clock = Clock::new(move || clock.load(Ordering::Relaxed));
        let mut seed = 0;
        let seeds = move || {
            seed += 1;
            seed
        };
        Self {
            store: SqliteStore::open(path, config, seeds, clock).expect("the file opens"),
            now,
        }
    }

    fn append(&self, bytes: usize) -> Result<u64, StoreError> {
        let topic = Topic::new("topic").expect("valid");
        let batch = vec![Append::new(topic, vec![b'x'; bytes])];
        let appended = block_on(self.store.append(batch))?;
        Ok(appended[0].position.seq)
    }

    fn read(&self, after: After) -> Page {
        block_on(self.store.read(&Selector::all(), after, Limit::default()))
            .expect("the store reads")
    }
}

#[test]
fn many_events_that_grow_old_at_once_hold_up_no_publisher_for_long() {
    let folder = tempfile::tempdir().expect("a folder");
    let subject = Subject::open(&folder.path().join("events.db"), u64::MAX);
    let topic = Topic::new("topic").expect("valid");
    for _ in 0..10 {
        let batch = vec![Append::new(topic.clone(), "x"); 1000];
        block_on(subject.store.append(batch)).expect("the store appends");
    }
    subject.now.fetch_add(2 * 60 * 60 * 1000, Ordering::Relaxed);
    // Each commit trims a part; what is left goes with the next ones.
    let mut oldest = Vec::new();
    for _ in 0..4 {
        subject.append(1).expect("the store appends");
        let page = subject.read(After::Earliest);
        oldest.push(page.events[0].position.seq);
    }
    assert!(oldest.is_sorted(), "{oldest:?}");
    assert_eq!(
        oldest.last(),
        Some(&10_001),
        "what is not too old is kept: {oldest:?}"
    );
}

#[test]
fn what_a_full_log_has_left_of_a_topic_grows_old_nevertheless() {
    let folder = tempfile::tempdir().expect("a folder");
    let subject = Subject::open(&folder.path().join("events.db"), 20_000);
    let topic = Topic::new("topic").expect("valid");
    // The index of topics has what is left of the first batch, and nothing of the second, of which
    // some is trimmed at once.
    for events in [600, 200] {
        let batch = vec![Append::new(topic.clone(), "x"); events];
        block_on(subject.store.append(batch)).expect("the store appends");
    }
    let page = subject.read(After::Earliest);
    let oldest = page.events[0].position.seq;
    assert!((601..800).contains(&oldest), "{oldest}");
    subject.now.fetch_add(2 * 60 * 60 * 1000, Ordering::Relaxed);
    let page = subject.read(After::Earliest);
    assert_eq!(page.events, []);
    assert_eq!(page.bounds.tail, 800);
}
