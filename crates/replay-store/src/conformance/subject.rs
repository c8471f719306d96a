//! A store under test, with the words that the cases are written in.

use super::{Factory, Outcome, Setup, Skipped};
use crate::{
    After, Append, Appended, Event, GapReason, Limit, Page, Pattern, Position, ReplayStore,
    Selector, StoreError, Topic,
};

pub(super) struct Subject<'f, F: Factory> {
    factory: &'f F,
    pub(super) store: F::Store,
    pub(super) setup: Setup,
}

impl<'f, F: Factory> Subject<'f, F> {
    pub(super) fn new(factory: &'f F) -> Self {
        Self::with(factory, Setup::default())
    }

    pub(super) fn with(factory: &'f F, setup: Setup) -> Self {
        let store = factory.block_on(factory.fresh(&setup));
        Self {
            factory,
            store,
            setup,
        }
    }

    pub(super) fn adopt(factory: &'f F, store: F::Store, setup: Setup) -> Self {
        Self {
            factory,
            store,
            setup,
        }
    }

    pub(super) fn reopened(self) -> Result<Self, Skipped> {
        let Self {
            factory,
            store,
            setup,
        } = self;
        let store = factory.block_on(factory.reopen(store, &setup));
        Ok(Self {
            factory,
            store: store.ok_or(Skipped("survives_process"))?,
            setup,
        })
    }

    pub(super) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.factory.block_on(future)
    }

    /// Appends one event, which must succeed.
    pub(super) fn append(&self, topic: &str, data: impl AsRef<[u8]>) -> Position {
        let appended = self
            .batch([append(topic, data)])
            .expect("the store appends");
        assert!(!appended[0].duplicate, "there was no key");
        appended[0].position
    }

    pub(super) fn batch(
        &self,
        batch: impl IntoIterator<Item = Append>,
    ) -> Result<Vec<Appended>, StoreError> {
        let batch: Vec<_> = batch.into_iter().collect();
        let sent = batch.len();
        let appended = self.block_on(self.store.append(batch))?;
        assert_eq!(appended.len(), sent, "one answer per event");
        Ok(appended)
    }

    pub(super) fn read(&self, selector: &Selector, after: impl Into<After>, limit: Limit) -> Page {
        let after = after.into();
        let page = self
            .block_on(self.store.read(selector, after, limit))
            .expect("the store reads");
        check_page(&page, selector, after, limit);
        page
    }

    /// Everything after a position that must be valid, in pages of `limit`.
    pub(super) fn read_on(
        &self,
        selector: &Selector,
        after: impl Into<After>,
        limit: Limit,
    ) -> Vec<Event> {
        let mut after = after.into();
        let mut events = Vec::new();
        loop {
            let page = self.read(selector, after, limit);
            assert_eq!(page.gap, None, "after {after:?}");
            after = page.next().into();
            let last = page.is_last();
            events.extend(page.events);
            if last {
                return events;
            }
        }
    }

    pub(super) fn read_all(&self, selector: &Selector) -> Vec<Event> {
        self.read_on(selector, After::Earliest, Limit::default())
    }

    /// A gap of this kind must be told; the page that tells it.
    pub(super) fn gap(
        &self,
        selector: &Selector,
        after: impl Into<After>,
        reason: GapReason,
        continue_at: Position,
    ) -> Page {
        let page = self.read(
            selector,
            after,
            Limit {
                events: 1000,
                bytes: usize::MAX,
            },
        );
        let gap = page
            .gap
            .unwrap_or_else(|| panic!("no gap, expected {reason}: {page:?}"));
        assert_eq!(
            (gap.reason, gap.continue_at),
            (reason, continue_at),
            "{page:?}"
        );
        page
    }
}

/// What holds of every page.
fn check_page(page: &Page, selector: &Selector, after: After, limit: Limit) {
    let Page {
        events,
        from,
        scanned_to,
        bounds,
        gap,
    } = page;
    assert!(
        from.seq <= *scanned_to && *scanned_to <= bounds.tail,
        "{page:?}"
    );
    assert!(bounds.floor <= bounds.tail, "{page:?}");
    assert!(
        events.iter().all(|event| selector.matches(&event.topic)),
        "{page:?}"
    );
    let seqs = || events.iter().map(|event| event.position.seq);
    assert!(seqs().is_sorted_by(|a, b| a < b), "{page:?}");
    assert!(
        seqs().all(|seq| from.seq < seq && seq <= *scanned_to),
        "{page:?}"
    );
    let scanned_enough = !selector.is_exact() && !selector.is_all() && *scanned_to > from.seq;
    assert!(
        page.is_last() || scanned_enough || seqs().last() == Some(*scanned_to),
        "{page:?}"
    );
    assert!(events.len() <= limit.events.max(1), "{page:?}");
    let bytes: usize = events.iter().map(|event| event.data.len()).sum();
    assert!(events.len() <= 1 || bytes <= limit.bytes, "{page:?}");
    match (gap, after) {
        (Some(gap), _) => {
            assert_eq!(gap.continue_at, *from);
            assert_eq!(gap.floor, bounds.floor);
            let cursor = if let After::Position(cursor) = after {
                Some(cursor)
            } else {
                None
            };
            assert_eq!(gap.after, cursor);
        }
        (None, After::Position(cursor)) => assert_eq!(*from, cursor),
        (None, After::Latest) => assert_eq!(*from, page.next()),
        (None, After::Earliest) => {}
        (None, After::Unknown) => panic!("an unknown cursor must be told: {page:?}"),
    }
}

pub(super) fn topic(name: &str) -> Topic {
    Topic::new(name).expect("the cases use valid names")
}

pub(super) fn only(name: &str) -> Selector {
    topic(name).into()
}

pub(super) fn each(names: &[&str]) -> Selector {
    let topics = names.iter().map(|name| topic(name)).collect();
    Selector::new(topics).expect("a few topics")
}

/// The topics that these patterns match.
pub(super) fn select(patterns: &[&str]) -> Selector {
    let pattern = |text: &&str| Pattern::new(text).expect("the cases use valid patterns");
    Selector::new(patterns.iter().map(pattern).collect()).expect("a few patterns")
}

pub(super) fn append(name: &str, data: impl AsRef<[u8]>) -> Append {
    Append::new(topic(name), data.as_ref().to_vec())
}

pub(super) fn keyed(name: &str, key: &str, data: impl AsRef<[u8]>) -> Append {
    Append {
        idempotency_key: Some(key.into()),
        ..append(name, data)
    }
}

pub(super) fn data(events: &[Event]) -> Vec<String> {
    events
        .iter()
        .map(|event| String::from_utf8_lossy(&event.data).into_owned())
        .collect()
}

/// Skips the case unless the store promises this.
pub(super) fn needs(promised: bool, name: &'static str) -> Outcome {
    if promised { Ok(()) } else { Err(Skipped(name)) }
}
