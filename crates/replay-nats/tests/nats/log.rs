//! Words that the tests are written in.

use replay_nats::NatsStore;
use replay_store::{
    After, Append, Appended, Event, Gap, Limit, Page, Position, ReplayStore as _, Selector,
    StoreError, Topic,
};

pub(crate) fn topic(name: &str) -> Topic {
    Topic::new(name).expect("valid")
}

pub(crate) fn only(name: &str) -> Selector {
    topic(name).into()
}

pub(crate) fn keyed(name: &str, key: &str, data: &str) -> Append {
    Append {
        idempotency_key: Some(key.into()),
        ..Append::new(topic(name), data.to_owned())
    }
}

pub(crate) async fn append(store: &NatsStore, name: &str, data: &str) -> Position {
    let batch = vec![Append::new(topic(name), data.to_owned())];
    store.append(batch).await.expect("the store appends")[0].position
}

/// Tries until the store answers: it may be away for a while.
pub(crate) async fn persist(store: &NatsStore, append: Append) -> Appended {
    loop {
        match store.append(vec![append.clone()]).await {
            Ok(appended) => return appended[0],
            Err(StoreError::Unavailable { .. } | StoreError::OutcomeUnknown { .. }) => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) async fn page(store: &NatsStore, selector: &Selector, after: impl Into<After>) -> Page {
    let after = after.into();
    loop {
        match store.read(selector, after, Limit::default()).await {
            Ok(page) => return page,
            Err(StoreError::Unavailable { .. }) => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Everything after a position, and the gaps that were told on the way.
pub(crate) async fn read_on(
    store: &NatsStore,
    selector: &Selector,
    after: impl Into<After>,
) -> (Vec<Event>, Vec<Gap>) {
    let mut after = after.into();
    let (mut events, mut gaps) = (Vec::new(), Vec::new());
    loop {
        let page = page(store, selector, after).await;
        gaps.extend(page.gap);
        after = page.next().into();
        let last = page.is_last();
        events.extend(page.events);
        if last {
            return (events, gaps);
        }
    }
}

pub(crate) fn data(events: &[Event]) -> Vec<String> {
    let text = |event: &Event| String::from_utf8_lossy(&event.data).into_owned();
    events.iter().map(text).collect()
}
