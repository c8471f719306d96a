//! Cases: several at once.

use std::cell::Cell;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use futures::future::{join3, select};
use futures::{FutureExt, StreamExt};

use super::subject::{Subject, append, data, each, needs, only};
use super::{Factory, Outcome};
use crate::{
    After, AnyStore, Attachment, Event, Feed, FeedConfig, FeedHandle, Join, Limit, Position,
    ReplayStore, Selector, Step, Tail,
};

/// Four appenders, and a reader that never goes back: it sees every event, each appender's in
/// order.
pub fn what_is_visible_has_no_hole<F: Factory>(factory: &F) -> Outcome {
    const EACH: usize = 50;
    const APPENDERS: usize = 4;
    let log = Subject::new(factory);
    let start = log
        .read(&Selector::all(), After::Latest, Limit::default())
        .next();
    let seen = thread::scope(|scope| {
        for appender in 0..APPENDERS {
            let log = &log;
            scope.spawn(move || {
                for i in 0..EACH {
                    log.append(["a", "b"][i % 2], format!("{appender} {i:03}"));
                }
            });
        }
        let mut seen: Vec<Event> = Vec::new();
        while seen.len() < APPENDERS * EACH {
            let after = seen.last().map_or(start, |event| event.position);
            seen.extend(log.read_on(
                &Selector::all(),
                after,
                Limit {
                    events: 7,
                    bytes: 1000,
                },
            ));
        }
        seen
    });
    assert_eq!(seen, log.read_all(&Selector::all()));
    for appender in 0..APPENDERS {
        let prefix = format!("{appender} ");
        let own = data(&seen)
            .into_iter()
            .filter(|data| data.starts_with(&prefix));
        assert!(own.eq((0..EACH).map(|i| format!("{appender} {i:03}"))));
    }
    Ok(())
}

/// A publisher that hangs up while its batch is under way.
pub fn an_abandoned_append_is_whole_or_nothing<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    needs(log.store.capabilities().atomic_batch, "atomic_batch")?;
    for i in 0..30 {
        let batch = (0..3)
            .map(|part| append("a", format!("{i} {part}")))
            .collect();
        log.block_on(async { drop(log.store.append(batch).now_or_never()) });
    }
    log.append("a", "end");
    let found = data(&log.read_all(&only("a")));
    let (end, found) = found.split_last().expect("at least the last one");
    assert_eq!(end, "end");
    assert_eq!(found.len() % 3, 0);
    let mut last = None;
    for batch in found.chunks(3) {
        let number: usize = batch[0]
            .strip_suffix(" 0")
            .and_then(|i| i.parse().ok())
            .expect("0");
        assert!(last < Some(number), "in order, and once");
        assert_eq!(batch[1..], [format!("{number} 1"), format!("{number} 2")]);
        last = Some(number);
    }
    Ok(())
}

/// Whatever a hint says follows `log_prev` does follow it.
pub fn hints_tell_the_truth<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    let hints = log.store.hints();
    needs(hints.is_some(), "hints")?;
    for i in 0..20 {
        log.append(["a", "b"][i % 2], format!("{i}"));
        log.batch([append("a", "x"), append("c", "y")])
            .expect("the store appends");
    }
    let all = log.read_all(&Selector::all());
    let mut hints = hints.into_iter().flat_map(|mut hints| {
        std::iter::from_fn(move || hints.next().now_or_never().flatten()).collect::<Vec<_>>()
    });
    assert!(hints.all(|hint| {
        let after = all.partition_point(|event| event.position.seq <= hint.log_prev);
        hint.events.is_empty() || all[after..].starts_with(&hint.events)
    }));
    Ok(())
}

/// Three subscribers join a feed while two publishers publish; each gets the suffix from where it
/// began.
pub fn replay_and_live_join<F: Factory>(factory: &F) -> Outcome {
    let log = Subject::new(factory);
    let setup = log.setup.clone();
    for i in 0..20 {
        log.append(["a", "b", "c"][i % 3], format!("{i}"));
    }
    // The feed wants an owned store; the cases want this one back.
    let Subject { store, .. } = log;
    let store = AnyStore::new(store);
    let factory = Adopted(factory);
    let log = Subject::adopt(&factory, store.clone(), setup);
    let received = thread::scope(|scope| {
        for publisher in 0..2 {
            let log = &log;
            scope.spawn(move || {
                for i in 0..60 {
                    log.append(["a", "b", "c"][i % 3], format!("{publisher} {i}"));
                }
            });
        }
        let config = FeedConfig {
            page: Limit {
                events: 5,
                bytes: 1000,
            },
            ..FeedConfig::default()
        };
        // Hints are enough for most events; whatever they miss is read at once.
        let sleep = |_: Duration| {
            let mut yielded = false;
            yield_until(move || std::mem::replace(&mut yielded, true))
        };
        log.block_on(async {
            let (feed, task) = Feed::start(store.clone(), Recent::default(), config, sleep)
                .await
                .expect("the store reads");
            let live = Cell::new(0);
            let subscribe =
                |names: &[&str], after| subscribe(&store, &feed, each(names), after, &live);
            let subscribers = join3(
                subscribe(&["a"], After::Earliest),
                subscribe(&["a", "b", "c"], After::Latest),
                subscribe(&["b", "c"], After::Unknown),
            );
            let publishers_end = async {
                yield_until(|| live.get() == 3 && log.read_all(&Selector::all()).len() == 140)
                    .await;
                let batch = ["a", "b", "c"].map(|name| append(name, "end"));
                log.store
                    .append(batch.to_vec())
                    .await
                    .expect("the store appends");
            };
            let all = futures::future::join(subscribers, publishers_end).boxed_local();
            match select(all, task).await {
                futures::future::Either::Left((((a, b, c), ()), _)) => [a, b, c],
                futures::future::Either::Right(_) => panic!("the feed ended"),
            }
        })
    });
    for (selector, start, events) in received {
        assert_eq!(events, log.read_on(&selector, start, Limit::default()));
        assert_eq!(data(&events).last().map(String::as_str), Some("end"));
    }
    Ok(())
}

/// Reads until each of the topics has told its end; where it began, and what it got.
async fn subscribe(
    store: &AnyStore,
    feed: &FeedHandle<Recent>,
    selector: Selector,
    after: After,
    live: &Cell<usize>,
) -> (Selector, After, Vec<Event>) {
    let limit = Limit {
        events: 4,
        bytes: 1000,
    };
    let mut join = Join::new(
        store.clone(),
        feed.clone(),
        selector.clone(),
        (),
        after,
        limit,
    );
    let mut start = after;
    let mut events: Vec<Event> = Vec::new();
    let (reader, from) = loop {
        match join.next().await.expect("the store reads") {
            Step::Start(opening) => start = opening.map_or(After::Earliest, After::Position),
            Step::Gap(gap) => start = After::Position(gap.continue_at),
            Step::Events(page) => events.extend(page),
            Step::Live { attachment, from } => break (attachment, from),
        }
    };
    live.set(live.get() + 1);
    let mut read = reader.begin;
    let ends = selector.topics().len();
    yield_until(|| {
        let recent = reader.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let new = recent[read..]
            .iter()
            .filter(|event| event.position.seq > from.seq);
        events.extend(new.filter(|event| selector.matches(&event.topic)).cloned());
        read = recent.len();
        events.iter().filter(|event| event.data == "end").count() == ends
    })
    .await;
    (selector, start, events)
}

async fn yield_until(mut done: impl FnMut() -> bool) {
    poll_fn(|cx| {
        if done() {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A tail that keeps everything.
#[derive(Default)]
struct Recent(Arc<Mutex<Vec<Event>>>);

struct Reader {
    recent: Arc<Mutex<Vec<Event>>>,
    begin: usize,
}

impl Attachment for Reader {
    fn is_intact(&self) -> bool {
        true
    }
}

impl Tail for Recent {
    type Form = ();
    type Attachment = Reader;

    fn attach(&mut self, _: &Selector, (): &(), _: Position) -> Reader {
        let begin = self.0.lock().unwrap_or_else(PoisonError::into_inner).len();
        Reader {
            recent: Arc::clone(&self.0),
            begin,
        }
    }

    fn append(&mut self, events: &[Event], _: Position) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(events);
    }

    fn reset(&mut self, watermark: Position) {
        panic!("the log lost nothing, but the feed began anew at {watermark}");
    }
}

/// The factory of a store whose type was erased.
struct Adopted<'f, F>(&'f F);

impl<F: Factory> Factory for Adopted<'_, F> {
    type Store = AnyStore;

    async fn fresh(&self, setup: &super::Setup) -> AnyStore {
        AnyStore::new(self.0.fresh(setup).await)
    }

    fn block_on<T: Future>(&self, future: T) -> T::Output {
        self.0.block_on(future)
    }
}
