//! A store whose type is erased.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::{
    After, Append, Appended, Capabilities, Hint, Limit, Page, ReplayStore, Selector, StoreError,
    Topic, TopicInfo,
};

/// Any [`ReplayStore`] behind one type. Clones are the same store.
#[derive(Clone)]
pub struct AnyStore(Arc<dyn Erased>);

impl AnyStore {
    /// Erases the type of `store`.
    #[must_use]
    pub fn new(store: impl ReplayStore) -> Self {
        Self(Arc::new(store))
    }
}

impl fmt::Debug for AnyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyStore").finish_non_exhaustive()
    }
}

impl ReplayStore for AnyStore {
    fn capabilities(&self) -> Capabilities {
        self.0.erased_capabilities()
    }

    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        self.0.erased_append(batch).await
    }

    async fn read(
        &self,
        selector: &Selector,
        after: After,
        limit: Limit,
    ) -> Result<Page, StoreError> {
        self.0.erased_read(selector, after, limit).await
    }

    async fn trim(&self, selector: &Selector, through: u64) -> Result<(), StoreError> {
        self.0.erased_trim(selector, through).await
    }

    async fn topics(
        &self,
        selector: &Selector,
        after: Option<&Topic>,
        limit: usize,
    ) -> Result<Vec<TopicInfo>, StoreError> {
        self.0.erased_topics(selector, after, limit).await
    }

    fn hints(&self) -> Option<BoxStream<'static, Hint>> {
        self.0.erased_hints()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.0.erased_close().await
    }
}

/// The object-safe twin of [`ReplayStore`]. Its methods have other names, because a blanket
/// implementation with the same ones would make every call on a concrete store ambiguous.
trait Erased: Send + Sync {
    fn erased_capabilities(&self) -> Capabilities;
    fn erased_append(&self, batch: Vec<Append>)
    -> BoxFuture<'_, Result<Vec<Appended>, StoreError>>;
    fn erased_read<'a>(
        &'a self,
        selector: &'a Selector,
        after: After,
        limit: Limit,
    ) -> BoxFuture<'a, Result<Page, StoreError>>;
    fn erased_trim<'a>(
        &'a self,
        selector: &'a Selector,
        through: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
    fn erased_topics<'a>(
        &'a self,
        selector: &'a Selector,
        after: Option<&'a Topic>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<TopicInfo>, StoreError>>;
    fn erased_hints(&self) -> Option<BoxStream<'static, Hint>>;
    fn erased_close(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}

impl<S: ReplayStore> Erased for S {
    fn erased_capabilities(&self) -> Capabilities {
        self.capabilities()
    }

    fn erased_append(
        &self,
        batch: Vec<Append>,
    ) -> BoxFuture<'_, Result<Vec<Appended>, StoreError>> {
        Box::pin(self.append(batch))
    }

    fn erased_read<'a>(
        &'a self,
        selector: &'a Selector,
        after: After,
        limit: Limit,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        Box::pin(self.read(selector, after, limit))
    }

    fn erased_trim<'a>(
        &'a self,
        selector: &'a Selector,
        through: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.trim(selector, through))
    }

    fn erased_topics<'a>(
        &'a self,
        selector: &'a Selector,
        after: Option<&'a Topic>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<TopicInfo>, StoreError>> {
        Box::pin(self.topics(selector, after, limit))
    }

    fn erased_hints(&self) -> Option<BoxStream<'static, Hint>> {
        self.hints()
    }

    fn erased_close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.close())
    }
}
