//! Publishers that share a commit: what one of them does wrong, or SQLite to one of them, is not
//! the others' loss.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

use futures::StreamExt as _;
use futures::executor::block_on;
use futures::future::join_all;
use replay_sqlite::{SqliteConfig, SqliteStore};
use replay_store::{
    After, Append, Appended, Clock, EventType, Limit, Page, ReplayStore as _, Selector, StoreError,
    Topic, TopicInfo,
};

/// A store whose writer stops as each group begins, until it is let go on.
struct Subject {
    store: SqliteStore,
    /// The writer has looked at the clock.
    arrived: Receiver<()>,
    /// What it does then.
    orders: Sender<Order>,
}

enum Order {
    GoOn,
    Panic,
}

impl Subject {
    fn open(path: &Path) -> Self {
        let (orders, inbox) = channel();
        let (arrivals, arrived) = channel();
        let inbox: Arc<Mutex<Receiver<Order>>> = Arc::new(Mutex::new(inbox));
        // Only the writer's thread is stopped; readers look at the clock too.
        let clock = Clock::new(move || {
            if std::thread::current().name() == Some("replay-sqlite write") {
                let _nobody_waits = arrivals.send(());
                let order = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
                assert!(!matches!(order, Ok(Order::Panic)), "as it was told");
            }
            1_790_000_000_000
        });
        let mut seed = 0;
        let seeds = move || {
            seed += 1;
            seed
        };
        let store =
            SqliteStore::open(path, SqliteConfig::default(), seeds, clock).expect("the file opens");
        Self {
            store,
            arrived,
            orders,
        }
    }

    /// A store that [`poison`] was put into.
    fn poisoned(path: &Path, how: &str) -> Self {
        drop(Self::open(path));
        poison(path, how);
        Self::open(path)
    }

    fn order(&self, order: Order) {
        self.orders.send(order).expect("the store is open");
    }

    /// Appends these batches in one commit, behind one more that keeps the writer busy meanwhile.
    fn together(
        &self,
        batches: Vec<Vec<Append>>,
        order: Order,
    ) -> Vec<Result<Vec<Appended>, StoreError>> {
        let mut first: Pin<Box<dyn Future<Output = _>>> =
            Box::pin(self.store.append(vec![event("first")]));
        let mut context = Context::from_waker(Waker::noop());
        while self.arrived.try_recv().is_ok() {}
        assert!(first.as_mut().poll(&mut context).is_pending());
        self.arrived.recv().expect("the writer has taken it alone");
        let mut others: Vec<_> = batches
            .into_iter()
            .map(|batch| Box::pin(self.store.append(batch)))
            .collect();
        for other in &mut others {
            assert!(other.as_mut().poll(&mut context).is_pending());
        }
        self.order(Order::GoOn);
        self.order(order);
        block_on(async {
            first.await.expect("it is appended");
            join_all(others).await
        })
    }

    /// Appends one event in a commit of its own.
    fn append(&self, event: Append) -> Appended {
        self.order(Order::GoOn);
        let mut appended = block_on(self.store.append(vec![event])).expect("it is appended");
        appended.remove(0)
    }

    fn read(&self, after: After) -> Page {
        block_on(self.store.read(&Selector::all(), after, Limit::default()))
            .expect("the store reads")
    }

    fn prevs(&self) -> Vec<Option<u64>> {
        let page = self.read(After::Earliest);
        page.events.iter().map(|event| event.prev).collect()
    }

    fn topics(&self) -> Vec<TopicInfo> {
        block_on(self.store.topics(&Selector::all(), None, 10)).expect("the store reads")
    }

    fn all(&self) -> Vec<String> {
        let page = self.read(After::Earliest);
        assert!(page.is_last());
        let text = |data: &[u8]| String::from_utf8_lossy(data).into_owned();
        page.events.iter().map(|event| text(&event.data)).collect()
    }
}

fn event(data: &str) -> Append {
    Append::new(Topic::new("topic").expect("valid"), data.to_owned())
}

/// Makes SQLite fail with every event of the type `poison`, as `RAISE` says.
fn poison(path: &Path, how: &str) {
    let connection = rusqlite::Connection::open(path).expect("a database");
    connection
        .execute_batch(&format!(
            "CREATE TRIGGER poison AFTER INSERT ON events WHEN NEW.type = 'poison' \
             BEGIN SELECT RAISE({how}, 'poisoned'); END"
        ))
        .expect("a trigger");
}

fn poisoned(data: &str) -> Append {
    Append {
        event: Some(EventType::new("poison").expect("valid")),
        ..event(data)
    }
}

#[test]
fn what_fails_in_a_group_fails_alone_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let subject = Subject::poisoned(&path, "ABORT");
    let hints = subject.store.hints().expect("there are hints");
    let new_topic = Append {
        topic: Topic::new("of-its-own").expect("valid"),
        ..event("lost with its batch")
    };
    let key = |data: &str| Append {
        idempotency_key: Some("key".into()),
        ..event(data)
    };
    let answers = subject.together(
        vec![
            vec![event("a")],
            vec![new_topic, key("lost too"), poisoned("p")],
            vec![event("b")],
            vec![event("lost"), event(&"x".repeat((1 << 20) + 1))],
            vec![key("c")],
            vec![event("lost"), key("another under c's key")],
            vec![poisoned("q")],
            vec![key("c")],
            vec![event("d")],
        ],
        Order::GoOn,
    );
    let seqs: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().map(|all| all[0].position.seq).ok())
        .collect();
    // As if the others had not been there: no seq is left out, and the key is free.
    let expected = [
        Some(2),
        None,
        Some(3),
        None,
        Some(4),
        None,
        None,
        Some(4),
        Some(5),
    ];
    assert_eq!(seqs, expected, "{answers:?}");
    for failed in [1, 6] {
        let Err(StoreError::Unavailable { detail }) = &answers[failed] else {
            panic!("{:?}", answers[failed]);
        };
        assert!(detail.contains("poisoned"), "{detail}");
    }
    assert!(matches!(
        answers[3],
        Err(StoreError::TooLarge { index: 1, .. })
    ));
    assert!(matches!(
        answers[5],
        Err(StoreError::KeyReused { index: 1 })
    ));
    assert_eq!(subject.all(), ["first", "a", "b", "c", "d"]);
    let topics = subject.topics();
    assert_eq!(topics.len(), 1, "{topics:?}");
    assert_eq!((topics[0].events, topics[0].last), (5, 5));
    // They did share a commit.
    let groups: Vec<_> = block_on(hints.take(2).map(|hint| hint.events.len()).collect());
    assert_eq!(groups, [1, 4]);

    let next = subject.append(event("e"));
    assert_eq!(subject.read(next.position.into()).gap, None);
    assert_eq!(subject.prevs(), [0, 1, 2, 3, 4, 5].map(Some));
    drop(subject);
    let reopened = Subject::open(&path);
    // Its first read asks the writer whether something is too old.
    reopened.order(Order::GoOn);
    assert_eq!(reopened.all(), ["first", "a", "b", "c", "d", "e"]);
}

#[test]
fn the_first_of_an_epoch_may_fail_and_the_next_starts_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let subject = Subject::poisoned(&path, "ABORT");
    subject.order(Order::GoOn);
    let refused = block_on(subject.store.append(vec![poisoned("p")]));
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })));
    let answers = subject.together(vec![vec![poisoned("q")], vec![event("a")]], Order::GoOn);
    assert!(answers[0].is_err(), "{answers:?}");
    let appended = answers[1].as_ref().expect("it is appended")[0].position;
    assert_eq!(appended.seq, 2);
    let page = subject.read(After::Earliest);
    assert_eq!(page.bounds.epoch, appended.epoch);
    assert_eq!(page.events[0].position.epoch, appended.epoch);
}

#[test]
fn a_transaction_that_falls_takes_its_group_with_it_and_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let subject = Subject::poisoned(&path, "ROLLBACK");
    let of_new_topic = || Append {
        topic: Topic::new("new").expect("valid"),
        ..event("of a new topic")
    };
    let batches = vec![
        vec![event("a")],
        vec![of_new_topic()],
        vec![poisoned("p")],
        vec![event("not reached")],
    ];
    let answers = subject.together(batches, Order::GoOn);
    for answer in answers {
        // SQLite has rolled back before anything was committed, so this much is known.
        assert!(
            matches!(answer, Err(StoreError::Unavailable { .. })),
            "{answer:?}"
        );
    }
    assert_eq!(subject.all(), ["first"]);
    assert_eq!(subject.append(event("after")).position.seq, 2);
    assert_eq!(subject.all(), ["first", "after"]);
    // Nothing of it is remembered: neither what the topics had become nor which there were.
    subject.append(of_new_topic());
    assert_eq!(subject.prevs(), [0, 1, 0].map(Some));
    let topics = subject.topics();
    let counts: Vec<_> = topics.iter().map(|it| (it.events, it.last)).collect();
    assert_eq!(counts, [(1, 3), (2, 2)]);
}

#[test]
fn a_writer_that_panics_fails_its_group_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let subject = Subject::open(&path);
    let answers = subject.together(vec![vec![event("a")], vec![event("b")]], Order::Panic);
    for answer in answers {
        assert!(
            matches!(answer, Err(StoreError::OutcomeUnknown { .. })),
            "{answer:?}"
        );
    }
    assert_eq!(subject.all(), ["first"], "readers go on");
    assert_eq!(subject.append(event("after")).position.seq, 2);
    assert_eq!(subject.all(), ["first", "after"]);
    subject.order(Order::GoOn);
    block_on(subject.store.close()).expect("it closes");
    let closed = block_on(subject.store.append(vec![event("late")]));
    assert_eq!(closed, Err(StoreError::Closed));
}
