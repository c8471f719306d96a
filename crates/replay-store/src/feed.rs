//! The feed.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::{After, AnyStore, Event, Gap, Limit, Position, Selector, StoreError};

/// A place in the tail that one subscription reads from. Dropping it ends the subscription.
pub trait Attachment: Send + 'static {
    /// Does it still reach back to the watermark it was made at, with nothing evicted in between?
    fn is_intact(&self) -> bool;
}

/// The recent end of the log in memory, as the feed fills it.
///
/// Only the feed calls these, one at a time, so a tail needs no order of its own.
pub trait Tail: Send + 'static {
    /// How a subscription wants its events encoded.
    type Form: Clone + Send;
    /// What a subscription reads from.
    type Attachment: Attachment;

    /// Makes a reader of the events of `selector` above `watermark`, none of which has been
    /// appended yet.
    fn attach(
        &mut self,
        selector: &Selector,
        form: &Self::Form,
        watermark: Position,
    ) -> Self::Attachment;

    /// Appends the next events of the log, possibly none, to every reader's log that they match;
    /// then publishes the watermark; then wakes the readers.
    fn append(&mut self, events: &[Event], watermark: Position);

    /// Continuity is lost: ends every attachment at once, so that every subscription joins again.
    fn reset(&mut self, watermark: Position);
}

/// How a feed reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FeedConfig {
    /// How often the log is read though no hint came.
    pub poll: Duration,
    /// The size of one read.
    pub page: Limit,
}

impl Default for FeedConfig {
    /// Every 2 seconds, in pages of the default size.
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(2),
            page: Limit::default(),
        }
    }
}

/// Follows the log of one store and fills one tail with it.
pub struct Feed<T: Tail> {
    tail: T,
}

impl<T: Tail> Feed<T> {
    /// Reads the end of the log, and returns a handle and the task that must be run.
    ///
    /// # Errors
    /// The end of the log could not be read.
    ///
    /// # Cancel safety
    /// Nothing happened, but `tail` is dropped.
    pub async fn start<S, F>(
        store: AnyStore,
        tail: T,
        config: FeedConfig,
        sleep: S,
    ) -> Result<(FeedHandle<T>, BoxFuture<'static, ()>), StoreError>
    where
        S: Fn(Duration) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let _ = (store, tail, config, sleep);
        unimplemented!()
    }
}

impl<T: Tail> fmt::Debug for Feed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = &self.tail;
        f.debug_struct("Feed").finish_non_exhaustive()
    }
}

/// Speaks to a running feed. Clones speak to the same one; it ends when the last one is dropped.
pub struct FeedHandle<T: Tail>(PhantomData<fn() -> T>);

impl<T: Tail> Clone for FeedHandle<T> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<T: Tail> fmt::Debug for FeedHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedHandle").finish_non_exhaustive()
    }
}

impl<T: Tail> FeedHandle<T> {
    /// Attaches to the tail, and tells the watermark that the attachment begins at.
    ///
    /// # Errors
    /// The feed has ended.
    ///
    /// # Cancel safety
    /// The attachment may be made; it is dropped then.
    pub async fn attach(
        &self,
        selector: &Selector,
        form: T::Form,
    ) -> Result<(T::Attachment, Position), FeedClosed> {
        let _ = (selector, form);
        unimplemented!()
    }

    /// Has the feed read the store, then tells the watermark.
    ///
    /// # Errors
    /// The store could not be read, or the feed has ended.
    ///
    /// # Cancel safety
    /// The feed reads or not.
    pub async fn refresh(&self) -> Result<Position, JoinError> {
        unimplemented!()
    }

    /// Ends the feed and drops its tail.
    pub fn close(&self) {
        unimplemented!()
    }
}

/// The feed has ended: the hub is shutting down.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the feed has ended")]
pub struct FeedClosed;

/// Why a subscription could not join.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum JoinError {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The feed has ended.
    #[error(transparent)]
    Closed(#[from] FeedClosed),
}

/// One subscription on its way from a cursor to the live end of the log.
pub struct Join<T: Tail> {
    feed: FeedHandle<T>,
}

impl<T: Tail> Join<T> {
    /// Begins after the cursor `after`. Nothing happens before the first [`next`](Join::next).
    #[must_use]
    pub fn new(
        store: AnyStore,
        feed: FeedHandle<T>,
        selector: Selector,
        form: T::Form,
        after: After,
        limit: Limit,
    ) -> Self {
        let _ = (store, selector, form, after, limit);
        Self { feed }
    }

    /// The next thing to hand to the subscriber. After [`Step::Live`] the join is over, and after
    /// that the next call panics.
    ///
    /// # Errors
    /// The store could not be read, or the feed has ended. The next call tries again.
    ///
    /// # Panics
    /// After [`Step::Live`].
    ///
    /// # Cancel safety
    /// Nothing is lost: the next call returns what this one would have.
    pub async fn next(&mut self) -> Result<Step<T::Attachment>, JoinError> {
        let _ = &self.feed;
        unimplemented!()
    }
}

impl<T: Tail> fmt::Debug for Join<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Join").finish_non_exhaustive()
    }
}

/// What a [`Join`] hands to a subscriber, in this order: `Start` or a `Gap`, then any number of
/// `Gap`s and `Events`, then `Live`.
#[derive(Debug)]
pub enum Step<A> {
    /// The subscriber's first cursor: its own if that is valid, the end of the log if it asked for
    /// [`After::Latest`], none if it asked for [`After::Earliest`]. Left out if a gap comes first,
    /// which carries the first cursor then.
    Start(Option<Position>),
    /// Events are missing.
    Gap(Gap),
    /// The next events from the store; not empty.
    Events(Vec<Event>),
    /// The subscriber has everything up to `from` and now follows `attachment`, skipping what it
    /// holds at or below `from`.
    Live {
        /// Where to read on.
        attachment: A,
        /// The position that everything up to which was delivered.
        from: Position,
    },
}
