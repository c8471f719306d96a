//! A feed's life: what ends it, and what its handles are told then.

use std::future::{Future, pending};
use std::time::Duration;

use futures::FutureExt;
use futures::executor::block_on;
use replay_store::{
    After, AnyStore, Append, Attachment, Clock, Epoch, Event, Feed, FeedClosed, FeedConfig,
    FeedHandle, Join, JoinError, Limit, MemoryConfig, MemoryStore, Position, ReplayStore, Selector,
    StoreError, Tail, Topic,
};

#[derive(Default)]
struct Nowhere;

impl Attachment for Nowhere {
    fn is_intact(&self) -> bool {
        true
    }
}

impl Tail for Nowhere {
    type Form = ();
    type Attachment = Self;

    fn attach(&mut self, _: &Selector, (): &(), _: Position) -> Self {
        Self
    }

    fn append(&mut self, _: &[Event], _: Position) {}

    fn reset(&mut self, _: Position) {}
}

fn store() -> AnyStore {
    AnyStore::new(MemoryStore::new(
        MemoryConfig::default(),
        Epoch(1),
        Clock::new(|| 0),
    ))
}

fn start(
    store: &AnyStore,
) -> (
    FeedHandle<Nowhere>,
    impl Future<Output = ()> + Unpin + use<>,
) {
    let never = |_: Duration| pending();
    block_on(Feed::start(
        store.clone(),
        Nowhere,
        FeedConfig::default(),
        never,
    ))
    .expect("it reads")
}

fn topic() -> Topic {
    Topic::new("t").expect("valid")
}

#[test]
fn a_feed_ends_with_its_last_handle() {
    let (handle, mut task) = start(&store());
    let other = handle.clone();
    drop(handle);
    assert_eq!((&mut task).now_or_never(), None);
    drop(other);
    assert_eq!((&mut task).now_or_never(), Some(()));
}

#[test]
fn a_closed_feed_tells_whoever_asks() {
    let (handle, mut task) = start(&store());
    let waiting = handle.clone();
    let refresh = waiting.refresh();
    handle.close();
    assert_eq!((&mut task).now_or_never(), Some(()));
    drop(task);
    assert_eq!(block_on(refresh), Err(JoinError::Closed(FeedClosed)));
    assert_eq!(
        block_on(handle.attach(&topic().into(), ())).err(),
        Some(FeedClosed)
    );
    let mut join = Join::new(
        store(),
        handle,
        topic().into(),
        (),
        After::Latest,
        Limit::default(),
    );
    assert_eq!(
        block_on(join.next()).err(),
        Some(JoinError::Closed(FeedClosed))
    );
}

#[test]
fn a_store_that_cannot_be_read_is_told_and_the_feed_lives_on() {
    let store = store();
    let (handle, mut task) = start(&store);
    block_on(store.close()).expect("it closes");
    let mut refresh = Box::pin(handle.refresh());
    assert_eq!((&mut refresh).now_or_never(), None);
    assert_eq!((&mut task).now_or_never(), None);
    let closed = Err(JoinError::Store(StoreError::Closed));
    assert_eq!(refresh.now_or_never(), Some(closed));

    let never = |_: Duration| pending();
    let started = Feed::start(store, Nowhere, FeedConfig::default(), never);
    assert_eq!(block_on(started).err(), Some(StoreError::Closed));
}

#[test]
fn reaching_waits_for_the_feed_only_if_it_is_behind() {
    let store = store();
    let (handle, mut task) = start(&store);
    let appended = block_on(store.append(vec![Append::new(topic(), "x")])).expect("it appends");
    let position = appended[0].position;
    let mut reach = Box::pin(handle.reach(position));
    assert_eq!((&mut reach).now_or_never(), None);
    assert_eq!((&mut task).now_or_never(), None);
    assert_eq!(reach.now_or_never(), Some(Ok(position)));
    // What is beyond the end of the log is answered with the end of the log.
    let beyond = Position {
        seq: position.seq + 1,
        ..position
    };
    let mut reach = Box::pin(handle.reach(beyond));
    assert_eq!((&mut reach).now_or_never(), None);
    assert_eq!((&mut task).now_or_never(), None);
    assert_eq!(reach.now_or_never(), Some(Ok(position)));
}
