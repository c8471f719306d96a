//! Joining: how one subscription gets from a cursor to the live end of the log.
//!
//! The steps, and why nothing is lost, repeated or out of order:
//!
//! 1. **Attach**, and learn the watermark W. From here on the attachment receives every event
//!    above W, or is no longer intact.
//! 2. **Read at least one page**, because only a read judges the cursor. Page on while the end P of
//!    what was read is below W. What follows the cursor (or the gap's continuation) up to P comes
//!    from the store, in order, each event once; what is missing below P is in a gap.
//! 3. If the attachment is **no longer intact**, attach again and page on to the new W.
//! 4. **The feed must stand at or past P, in the epoch of the page** ([`FeedHandle::reach`]).
//!    Usually it does; otherwise it reads first. If it then stands in another epoch, P was judged
//!    in one that is over: read another page, which judges P anew.
//! 5. **Live**: W ≤ P ≤ where the feed stands, all in one history. The attachment holds everything
//!    above W, and the subscriber skips what is at or below P, so it continues with exactly what
//!    follows P.
//!
//! Seqs compare only within a history, and step 4 is why all of these are of one. Were the feed
//! still below P, an epoch could be born between the two. The feed would follow it without a
//! break, having lost nothing, while the subscriber holds lost events up to P and skips the new
//! ones that have their seqs. With the feed at or past P, an epoch that loses anything the
//! subscriber has also loses something the feed has, and the feed resets the tail.
//!
//! The log may also end before W: its tail was lost, and the next epoch is not born yet. Then
//! paging never gets to W, so the feed is made to read, finds itself ahead, and resets the tail.
//!
//! A floor that rises while pages are read can open a hole between two of them. The next page
//! tells `Trimmed` then, and it is passed on, unless every event at or below that floor was
//! announced as missing before: one gap per floor.

use std::collections::VecDeque;
use std::fmt;

use super::{Attachment, FeedClosed, FeedHandle, Tail};
use crate::{
    After, AnyStore, Event, Gap, GapReason, Limit, Position, ReplayStore, Selector, StoreError,
};

/// One subscription on its way from a cursor to the live end of the log.
///
/// It holds one page at a time and reads the next one only when asked for it, so a slow subscriber
/// keeps no store busy.
pub struct Join<T: Tail> {
    store: AnyStore,
    feed: FeedHandle<T>,
    selector: Selector,
    form: T::Form,
    limit: Limit,
    /// What the next page is read after.
    after: After,
    /// Where the last page ended, and whether the log ended there.
    read: Option<(Position, bool)>,
    /// With the watermark it was made at, in the epoch the feed was last seen in.
    attached: Option<(T::Attachment, Position)>,
    /// Every event of its history at or below it was announced as possibly missing.
    announced: Option<Position>,
    /// Steps to hand out before anything else.
    ready: VecDeque<Step<T::Attachment>>,
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
        Self {
            store,
            feed,
            selector,
            form,
            limit,
            after,
            read: None,
            attached: None,
            announced: None,
            ready: VecDeque::new(),
        }
    }

    /// What an earlier join of the same topics, which this one takes over from, had
    /// [announced](Join::announced) is not announced again.
    #[must_use]
    pub const fn with_announced(mut self, announced: Option<Position>) -> Self {
        self.announced = announced;
        self
    }

    /// Up to where events were announced as possibly missing, if any were.
    ///
    /// It is not where the subscriber stands: a gap [continues](Gap::continue_at) at the cursor if
    /// events of other topics that follow the cursor are retained.
    #[must_use]
    pub const fn announced(&self) -> Option<Position> {
        self.announced
    }

    /// The next thing to hand to the subscriber. [`Step::Live`] is the last one; asking for more
    /// begins a new join at its position.
    ///
    /// # Errors
    /// The store could not be read, or the feed has ended. The next call tries again.
    ///
    /// # Cancel safety
    /// Nothing is lost: the next call returns what this one would have.
    pub async fn next(&mut self) -> Result<Step<T::Attachment>, JoinError> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Ok(step);
            }
            let Some((_, begin)) = self.attached.as_mut().filter(|(at, _)| at.is_intact()) else {
                self.attached = None;
                self.attached = Some(self.feed.attach(&self.selector, self.form.clone()).await?);
                continue;
            };
            match self.read {
                None => self.read_page().await?,
                Some((end, last)) if end.epoch == begin.epoch && end.seq < begin.seq => {
                    if last {
                        self.feed.refresh().await?;
                    }
                    self.read_page().await?;
                }
                Some((end, _)) => {
                    let watermark = self.feed.reach(end).await?;
                    if watermark.epoch != end.epoch || watermark.seq < end.seq {
                        self.read_page().await?;
                    } else if begin.epoch != end.epoch {
                        // Still intact, so the feed went from the one epoch to the other without
                        // a break.
                        begin.epoch = end.epoch;
                    } else if let Some((attachment, _)) = self.attached.take() {
                        self.read = None;
                        return Ok(Step::Live {
                            attachment,
                            from: end,
                        });
                    }
                }
            }
        }
    }

    async fn read_page(&mut self) -> Result<(), StoreError> {
        let page = self
            .store
            .read(&self.selector, self.after, self.limit)
            .await?;
        let epoch = page.bounds.epoch;
        // What was announced in another epoch was about events of another history.
        let announced = self.announced.filter(|at| at.epoch == epoch);
        let announced = announced.map_or(0, |at| at.seq);
        let news = |gap: &Gap| gap.reason != GapReason::Trimmed || gap.floor > announced;
        if let Some(gap) = page.gap.filter(news) {
            let seq = gap.floor;
            self.announced = Some(Position { epoch, seq });
            self.ready.push_back(Step::Gap(gap));
        } else if self.read.is_none() {
            let opening = (self.after != After::Earliest).then_some(page.from);
            self.ready.push_back(Step::Start(opening));
        }
        let (end, last) = (page.next(), page.is_last());
        if !page.events.is_empty() {
            self.ready.push_back(Step::Events(page.events));
        }
        self.read = Some((end, last));
        self.after = After::Position(end);
        Ok(())
    }
}

impl<T: Tail> fmt::Debug for Join<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Join")
            .field("selector", &self.selector)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}

/// What a [`Join`] hands to a subscriber: `Start` or a `Gap`, then any number of `Gap`s and
/// `Events`, then `Live`.
#[derive(Debug)]
pub enum Step<A> {
    /// The subscriber's first cursor: its own if that is valid, the end of the log if it asked for
    /// [`After::Latest`], none if it asked for [`After::Earliest`] (a cursor there could hide
    /// retained events of a less trimmed topic). Left out if a gap comes first, which carries the
    /// first cursor then.
    Start(Option<Position>),
    /// Events are missing.
    Gap(Gap),
    /// The next events from the store, in log order; not empty.
    Events(Vec<Event>),
    /// The subscriber has everything up to `from`, and follows `attachment` now, skipping what
    /// that holds at or below `from`.
    Live {
        /// Where to read on.
        attachment: A,
        /// Up to here everything was delivered or announced as missing.
        from: Position,
    },
}

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
