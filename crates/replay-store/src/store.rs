//! What a store must do.

use std::future::{self, Future};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;

use crate::{
    After, Append, Appended, Epoch, Event, Limit, Page, Selector, StoreError, Topic, TopicInfo,
};

/// What a store promises. Where it says less, subscribers see more gaps, never a silent hole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Capabilities {
    /// Sequence numbers have no holes within an epoch.
    pub dense: bool,
    /// A `Trimmed` gap is reported only if an event of the topics read was trimmed.
    pub exact_gaps: bool,
    /// A batch is appended whole or not at all, and in one piece.
    pub atomic_batch: bool,
    /// Retention is applied topic by topic, not only to the log.
    pub per_topic_retention: bool,
    /// What was acknowledged survives the death of the process.
    pub survives_process: bool,
    /// What was acknowledged survives the loss of power.
    pub survives_power: bool,
    /// What was acknowledged survives the loss of the machine.
    pub survives_failover: bool,
    /// For how long an idempotency key is remembered at most. Zero: not at all.
    pub dedup_window: Duration,
    /// The largest data of one event, in bytes.
    pub max_event_bytes: usize,
}

/// Word that something was appended, given away after it became durable.
///
/// Hints are an optimisation: a store may lose, repeat and reorder them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hint {
    /// The current epoch as of the last of `events`.
    pub epoch: Epoch,
    /// The seq before the first of `events` in the log.
    pub log_prev: u64,
    /// What was appended: all of the log from `log_prev` to the last of them, in order. Empty means
    /// only that there may be something to read.
    pub events: Arc<[Event]>,
}

impl Hint {
    /// A hint that carries nothing: read the log.
    #[must_use]
    pub fn bare(epoch: Epoch) -> Self {
        Self {
            epoch,
            log_prev: 0,
            events: Arc::new([]),
        }
    }
}

/// An ordered log of events over many topics, readable from any position.
///
/// Implementors write plain `async fn`. Delivery is built on [`read`](ReplayStore::read) alone;
/// [`conformance`](crate::conformance) tests an implementation.
pub trait ReplayStore: Send + Sync + 'static {
    /// What this store promises.
    fn capabilities(&self) -> Capabilities;

    /// Appends a batch, in order. The answer comes once the events are as durable as the store
    /// makes them, and has one entry per event. Nothing is readable before that.
    ///
    /// # Errors
    /// Nothing of the batch was appended, except after [`StoreError::OutcomeUnknown`].
    ///
    /// # Cancel safety
    /// The batch is appended whole or not at all; which of the two is not known.
    fn append(
        &self,
        batch: Vec<Append>,
    ) -> impl Future<Output = Result<Vec<Appended>, StoreError>> + Send;

    /// Reads the events of `selector` that follow `after`, as one consistent snapshot.
    /// Reading one topic does not scan the others; for a pattern with a wildcard a store may scan
    /// the log, piece by piece: then a page may end early, see [`Page::scanned_to`].
    ///
    /// # Errors
    /// The store cannot read. A cursor that it cannot honour is no error, but a
    /// [`gap`](Page::gap).
    ///
    /// # Cancel safety
    /// Nothing happened.
    fn read(
        &self,
        selector: &Selector,
        after: After,
        limit: Limit,
    ) -> impl Future<Output = Result<Page, StoreError>> + Send;

    /// Removes the events of `selector` up to and including the seq `through`, as retention would.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] unless the store provides this.
    ///
    /// # Cancel safety
    /// The events are removed or not.
    fn trim(
        &self,
        selector: &Selector,
        through: u64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _ = (selector, through);
        future::ready(Err(StoreError::Unsupported))
    }

    /// The first `limit` topics of `selector` that the store knows and whose names sort after
    /// `after`, sorted by the bytes of their names.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] unless the store provides this.
    ///
    /// # Cancel safety
    /// Nothing happened.
    fn topics(
        &self,
        selector: &Selector,
        after: Option<&Topic>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<TopicInfo>, StoreError>> + Send {
        let _ = (selector, after, limit);
        future::ready(Err(StoreError::Unsupported))
    }

    /// Hints of everything appended from now on, or `None` if the store gives none.
    fn hints(&self) -> Option<BoxStream<'static, Hint>> {
        None
    }

    /// Ends the store: waits for what is being written, then refuses everything with
    /// [`StoreError::Closed`].
    ///
    /// # Errors
    /// What was already acknowledged is safe; the store could not be left in order.
    ///
    /// # Cancel safety
    /// The store may be closed or not.
    fn close(&self) -> impl Future<Output = Result<(), StoreError>> + Send {
        future::ready(Ok(()))
    }
}
