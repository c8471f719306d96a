//! The store as the hub uses it: every read is timed, every failure counted, and an outage logged
//! when it begins and when it is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::stream::BoxStream;
use replay_store::{
    After, AnyStore, Append, Appended, Capabilities, Hint, Limit, Page, ReplayStore, Selector,
    StoreError, Topic, TopicInfo,
};
use tokio::time::Instant;

use crate::metrics::{Operation, Reader, Registry};

/// A store with its counters. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Metered {
    store: AnyStore,
    reader: Reader,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    registry: Arc<Registry>,
    /// Appends that failed since the last one that did not.
    failed_appends: AtomicU64,
}

impl Metered {
    pub(crate) fn new(store: AnyStore, registry: Arc<Registry>) -> Self {
        Self {
            store,
            reader: Reader::Hub,
            shared: Arc::new(Shared {
                registry,
                failed_appends: AtomicU64::new(0),
            }),
        }
    }

    /// The same store for the feed, whose reads are counted apart.
    pub(crate) fn for_feed(&self) -> AnyStore {
        AnyStore::new(Self {
            reader: Reader::Feed,
            ..self.clone()
        })
    }

    /// The same store for subscribers.
    pub(crate) fn erased(&self) -> AnyStore {
        AnyStore::new(self.clone())
    }

    /// Counts a failure, and says whether this was one that the store is to blame for.
    fn has_failed<T>(&self, operation: Operation, result: &Result<T, StoreError>) -> bool {
        match result {
            Ok(_) => false,
            Err(error) => self.shared.registry.store_failed(operation, error),
        }
    }

    fn note_append(&self, result: &Result<Vec<Appended>, StoreError>) {
        let failed = &self.shared.failed_appends;
        match result {
            Ok(appended) => {
                if let Some(last) = appended.iter().map(|it| it.position.seq).max() {
                    self.shared.registry.raise_store_tail(last);
                }
                if failed.load(Ordering::Relaxed) > 0 {
                    let failed = failed.swap(0, Ordering::Relaxed);
                    tracing::info!(failed, "the store takes events again");
                }
            }
            Err(error) => {
                let blamed = self.has_failed(Operation::Append, result);
                if blamed && failed.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::error!(%error, "the store does not take events");
                }
            }
        }
    }

    fn note_read(&self, result: &Result<Page, StoreError>) {
        let registry = &self.shared.registry;
        match result {
            Ok(page) => {
                registry.set_store_tail(page.bounds.tail);
                if !registry.set_store_up(true) {
                    tracing::info!("the store can be read again");
                }
            }
            Err(error) => {
                self.has_failed(Operation::Read, result);
                // A store that was closed on purpose is no outage.
                if registry.set_store_up(false) && *error != StoreError::Closed {
                    tracing::error!(%error, "the store cannot be read");
                }
            }
        }
    }
}

impl ReplayStore for Metered {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        let registry = &self.shared.registry;
        let size = |event: &Append| event.data.len() as u64;
        let all = batch.iter().map(size).sum();
        // Nothing else is ever a duplicate.
        let may_repeat = |event: &Append| event.idempotency_key.is_some() || event.is_end();
        let each: Vec<_> = if batch.iter().any(may_repeat) {
            batch.iter().map(size).collect()
        } else {
            Vec::new()
        };
        let began = Instant::now();
        let result = self.store.append(batch).await;
        registry.appended_in(began.elapsed());
        self.note_append(&result);
        if let Ok(appended) = &result {
            let (mut events, mut bytes, mut duplicates) = (appended.len() as u64, all, 0);
            for (appended, size) in appended.iter().zip(each) {
                if appended.duplicate {
                    events -= 1;
                    bytes -= size;
                    duplicates += 1;
                }
            }
            registry.published(events, bytes, duplicates);
        }
        result
    }

    async fn read(
        &self,
        selector: &Selector,
        after: After,
        limit: Limit,
    ) -> Result<Page, StoreError> {
        let began = Instant::now();
        let result = self.store.read(selector, after, limit).await;
        self.shared.registry.read_in(self.reader, began.elapsed());
        self.note_read(&result);
        result
    }

    async fn trim(&self, selector: &Selector, through: u64) -> Result<(), StoreError> {
        let result = self.store.trim(selector, through).await;
        self.has_failed(Operation::Trim, &result);
        result
    }

    async fn topics(
        &self,
        selector: &Selector,
        after: Option<&Topic>,
        limit: usize,
    ) -> Result<Vec<TopicInfo>, StoreError> {
        let result = self.store.topics(selector, after, limit).await;
        self.has_failed(Operation::Topics, &result);
        result
    }

    fn hints(&self) -> Option<BoxStream<'static, Hint>> {
        self.store.hints()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.store.close().await
    }
}
