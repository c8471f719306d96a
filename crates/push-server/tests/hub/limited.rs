//! Stores that do less than they could, or fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt as _;
use futures::stream::BoxStream;
use replay_store::{
    After, AnyStore, Append, Appended, Capabilities, Hint, Limit, Page, ReplayStore, Selector,
    StoreError,
};
use tokio::sync::Semaphore;

/// A store of which a test takes something away; as made, all but what a store must do.
pub(crate) struct Limited {
    pub(crate) store: AnyStore,
    /// It fails while this is set.
    pub(crate) unplugged: Arc<AtomicBool>,
    pub(crate) trims: bool,
    /// It has hints: one for each permit.
    pub(crate) hints: Option<Arc<Semaphore>>,
}

impl Limited {
    pub(crate) fn new(store: AnyStore) -> Self {
        Self {
            store,
            unplugged: Arc::default(),
            trims: false,
            hints: None,
        }
    }

    fn plugged(&self) -> Result<&AnyStore, StoreError> {
        if self.unplugged.load(Ordering::Relaxed) {
            let detail = "unplugged".into();
            return Err(StoreError::Unavailable { detail });
        }
        Ok(&self.store)
    }
}

impl ReplayStore for Limited {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        self.plugged()?.append(batch).await
    }

    async fn read(
        &self,
        selector: &Selector,
        after: After,
        limit: Limit,
    ) -> Result<Page, StoreError> {
        self.plugged()?.read(selector, after, limit).await
    }

    async fn trim(&self, selector: &Selector, through: u64) -> Result<(), StoreError> {
        if !self.trims {
            return Err(StoreError::Unsupported);
        }
        self.plugged()?.trim(selector, through).await
    }

    fn hints(&self) -> Option<BoxStream<'static, Hint>> {
        let permits = Arc::clone(self.hints.as_ref()?);
        let late = self.store.hints()?.then(move |hint| {
            let permits = Arc::clone(&permits);
            async move {
                permits.acquire().await.unwrap().forget();
                hint
            }
        });
        Some(late.boxed())
    }
}
