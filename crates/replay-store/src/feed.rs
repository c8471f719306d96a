//! The feed: the one place per node where the log is followed, and where subscriptions begin.
//!
//! # Following
//!
//! The feed stands at a position in the log, the *watermark* W. A [`Hint`] is taken iff its epoch
//! is W's and its `log_prev` is W's seq: then its events are exactly what follows W. A hint that
//! ends at or below W is old and dropped. Anything else, and a slow timer, makes the feed read the
//! log from W, page by page. So correctness rests on reading alone, and hints may be lost,
//! repeated and reordered.
//!
//! If the store judges W to be missing something (its epoch lost what W had seen, retention ran
//! past W, the log ends before W), the feed cannot hand out an unbroken log. It stands anew at the
//! end of the log and [resets](Tail::reset) the tail, so that every subscription joins again and
//! is judged by its own cursor. An epoch that lost nothing the feed had seen is followed without a
//! break.
//!
//! # Why nothing is lost between the store and the tail
//!
//! Matching, appending to the tail, advancing W and attaching happen in one task, so an
//! attachment made at W receives every event above W that the feed hands out, or is no longer
//! intact. See [`Join`] for the rest of the argument.
//!
//! # Why nothing that was purged is handed out
//!
//! Whoever purges has the feed [stand at or past](FeedHandle::reach) the seq P up to which it will
//! [trim](ReplayStore::trim), trims the store, and has the feed [purge](FeedHandle::purge) the tail,
//! in this order. The feed never goes back, so all that it appends after the first step is above P:
//! whatever the tail holds at or below P is in attachments that the third step ends. Their
//! subscriptions join again, from what each of them has, and read a store that is trimmed: what they
//! are missing is a gap. Without the first step a hint that comes late could bring an event at or
//! below P after the third, to a subscription that has paged less far.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::future::{BoxFuture, poll_fn};
use futures::stream::{BoxStream, Stream, StreamExt};
use futures::{FutureExt, SinkExt};

pub use self::join::{Join, JoinError, Step};
use crate::{
    After, AnyStore, Event, Hint, Limit, Page, Position, ReplayStore, Selector, StoreError,
};

mod join;

/// A place in the tail that one subscription reads from. Dropping it ends the subscription.
pub trait Attachment: Send + 'static {
    /// Does it still reach back to the watermark it was made at? False for ever once something
    /// was evicted before it was read, or the tail was reset.
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
    /// then publishes the watermark; then wakes the readers. In this order: whoever sees the
    /// watermark and then finds its reader empty has seen everything up to the watermark.
    fn append(&mut self, events: &[Event], watermark: Position);

    /// Continuity is lost: ends every attachment at once, so that no subscription reads on in it
    /// and every one joins again; then publishes the watermark.
    fn reset(&mut self, watermark: Position);

    /// Events of `selector` were removed from the store: ends every attachment that may hold one,
    /// so that its subscription joins again. By default this ends all.
    fn purge(&mut self, selector: &Selector, watermark: Position) {
        let _ = selector;
        self.reset(watermark);
    }
}

/// How a feed reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FeedConfig {
    /// How often the log is read though no hint asked for it: how late an event can be whose hint
    /// was lost, and how soon a read that failed is tried again.
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

/// Follows the log of one store and fills one tail with it. Start one per node.
pub struct Feed<T: Tail> {
    store: AnyStore,
    tail: T,
    page: Limit,
    watermark: Position,
    /// There may be something to read that no hint brings.
    behind: bool,
    hints: Option<BoxStream<'static, Hint>>,
    commands: mpsc::Receiver<Command<T>>,
    /// Answered after a read that began after they were asked.
    waiting: Vec<Reach>,
    /// Inputs taken since the task last yielded.
    taken: u32,
}

enum Command<T: Tail> {
    Attach {
        selector: Selector,
        form: T::Form,
        reply: oneshot::Sender<(T::Attachment, Position)>,
    },
    Reach(Reach),
    Purge {
        selector: Selector,
        reply: oneshot::Sender<()>,
    },
    Close,
}

struct Reach {
    /// Where the feed must stand, or have read as far as it can; `None`: one read is enough.
    position: Option<Position>,
    reply: oneshot::Sender<Result<Position, StoreError>>,
}

enum Input<T: Tail> {
    Command(Command<T>),
    Hint(Hint),
    Poll,
    /// Nothing to do but read on.
    Idle,
    Closed,
}

impl<T: Tail> Feed<T> {
    /// Reads the end of the log, and returns a handle and the task that must be run. `sleep` is
    /// the runtime's timer.
    ///
    /// # Errors
    /// The end of the log could not be read.
    ///
    /// # Cancel safety
    /// Nothing happened, but `tail` is dropped.
    pub async fn start<S, F>(
        store: AnyStore,
        mut tail: T,
        config: FeedConfig,
        sleep: S,
    ) -> Result<(FeedHandle<T>, BoxFuture<'static, ()>), StoreError>
    where
        S: Fn(Duration) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        // Hints first: one that comes during the read is old then, not lost.
        let hints = store.hints();
        let page = store
            .read(&Selector::all(), After::Latest, config.page)
            .await?;
        let watermark = page.next();
        tail.append(&[], watermark);
        let (sender, commands) = mpsc::channel(COMMANDS);
        let feed = Self {
            store,
            tail,
            page: config.page,
            watermark,
            behind: false,
            hints,
            commands,
            waiting: Vec::new(),
            taken: 0,
        };
        let task = feed.run(move || sleep(config.poll));
        Ok((FeedHandle(sender), task.boxed()))
    }

    async fn run<F: Future<Output = ()>>(mut self, sleep: impl Fn() -> F) {
        let mut timer = pin!(sleep());
        loop {
            if self.behind {
                self.read().await;
            }
            match poll_fn(|cx| self.poll_input(cx, timer.as_mut())).await {
                Input::Command(Command::Attach {
                    selector,
                    form,
                    reply,
                }) => {
                    let attachment = self.tail.attach(&selector, &form, self.watermark);
                    // Whoever asked may have gone; the attachment goes with it.
                    let _ = reply.send((attachment, self.watermark));
                }
                Input::Command(Command::Reach(reach)) => self.reach(reach),
                Input::Command(Command::Purge { selector, reply }) => {
                    self.tail.purge(&selector, self.watermark);
                    let _ = reply.send(());
                }
                Input::Hint(hint) => self.take(&hint),
                Input::Poll => {
                    timer.set(sleep());
                    self.behind = true;
                }
                Input::Idle => {}
                Input::Command(Command::Close) | Input::Closed => return,
            }
        }
    }

    fn take(&mut self, hint: &Hint) {
        let Position { epoch, seq } = self.watermark;
        match hint.events.last() {
            Some(last) if hint.epoch == epoch && hint.log_prev == seq => {
                let watermark = Position {
                    epoch,
                    seq: last.position.seq,
                };
                self.advance(&hint.events, watermark);
            }
            Some(last) if hint.epoch == epoch && last.position.seq <= seq => {}
            _ => self.behind = true,
        }
    }

    fn reach(&mut self, reach: Reach) {
        if reach
            .position
            .is_some_and(|position| self.stands_at(position))
        {
            let _ = reach.reply.send(Ok(self.watermark));
        } else {
            self.waiting.push(reach);
            self.behind = true;
        }
    }

    /// Reads one page.
    async fn read(&mut self) {
        let after = After::Position(self.watermark);
        match self.store.read(&Selector::all(), after, self.page).await {
            Ok(page) => self.turn(&page),
            Err(error) => {
                // Tried again with the next hint, command or poll.
                self.behind = false;
                for reach in self.waiting.drain(..) {
                    let _ = reach.reply.send(Err(error.clone()));
                }
            }
        }
    }

    fn turn(&mut self, page: &Page) {
        if page.gap.is_some() {
            // Every subscription reads what it misses from the store, so the feed need not.
            let watermark = Position {
                epoch: page.bounds.epoch,
                seq: page.bounds.tail,
            };
            self.behind = false;
            self.tail.reset(watermark);
            self.watermark = watermark;
        } else {
            self.behind = !page.is_last();
            self.advance(&page.events, page.next());
        }
        for reach in std::mem::take(&mut self.waiting) {
            if self.behind
                && reach
                    .position
                    .is_some_and(|position| !self.stands_at(position))
            {
                self.waiting.push(reach);
            } else {
                let _ = reach.reply.send(Ok(self.watermark));
            }
        }
    }

    /// The tail has the events before the watermark says so.
    fn advance(&mut self, events: &[Event], watermark: Position) {
        self.tail.append(events, watermark);
        self.watermark = watermark;
    }

    fn stands_at(&self, position: Position) -> bool {
        self.watermark.epoch == position.epoch && self.watermark.seq >= position.seq
    }

    fn poll_input(
        &mut self,
        cx: &mut Context<'_>,
        timer: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Input<T>> {
        // A task that is never idle must let others run.
        if self.taken >= INPUTS_PER_TURN {
            self.taken = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let input = self.next_input(cx, timer);
        self.taken = if input.is_ready() { self.taken + 1 } else { 0 };
        input
    }

    fn next_input(
        &mut self,
        cx: &mut Context<'_>,
        timer: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Input<T>> {
        // Hints and commands take turns, so that neither starves the other.
        let hints_first = self.taken.is_multiple_of(2);
        if hints_first && let Some(input) = self.poll_hint(cx) {
            return Poll::Ready(input);
        }
        match self.commands.poll_next_unpin(cx) {
            Poll::Ready(Some(command)) => return Poll::Ready(Input::Command(command)),
            Poll::Ready(None) => return Poll::Ready(Input::Closed),
            Poll::Pending => {}
        }
        if !hints_first && let Some(input) = self.poll_hint(cx) {
            return Poll::Ready(input);
        }
        if self.behind {
            return Poll::Ready(Input::Idle);
        }
        timer.poll(cx).map(|()| Input::Poll)
    }

    fn poll_hint(&mut self, cx: &mut Context<'_>) -> Option<Input<T>> {
        match Pin::new(self.hints.as_mut()?).poll_next(cx) {
            Poll::Ready(Some(hint)) => Some(Input::Hint(hint)),
            Poll::Ready(None) => {
                self.hints = None;
                None
            }
            Poll::Pending => None,
        }
    }
}

impl<T: Tail> fmt::Debug for Feed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("watermark", &self.watermark)
            .finish_non_exhaustive()
    }
}

/// Speaks to a running feed. Clones speak to the same one; it ends when the last one is dropped.
pub struct FeedHandle<T: Tail>(mpsc::Sender<Command<T>>);

impl<T: Tail> FeedHandle<T> {
    /// Attaches to the tail, and tells the watermark that the attachment begins at.
    ///
    /// This alone makes no subscription without a hole; [`Join`] does.
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
        let selector = selector.clone();
        self.ask(|reply| Command::Attach {
            selector,
            form,
            reply,
        })
        .await
    }

    /// Has the feed read the store once, then tells the watermark.
    ///
    /// # Errors
    /// The store could not be read, or the feed has ended.
    ///
    /// # Cancel safety
    /// The feed reads or not.
    pub async fn refresh(&self) -> Result<Position, JoinError> {
        Ok(self
            .ask(|reply| {
                Command::Reach(Reach {
                    position: None,
                    reply,
                })
            })
            .await??)
    }

    /// Tells the watermark once it is at or past `position` in the same epoch. If it is not, the
    /// feed reads the store as far as that takes, or to the end of the log: the answer is then of
    /// another epoch, or the log is shorter than `position`.
    ///
    /// # Errors
    /// The store could not be read, or the feed has ended.
    ///
    /// # Cancel safety
    /// The feed reads or not.
    pub async fn reach(&self, position: Position) -> Result<Position, JoinError> {
        let position = Some(position);
        Ok(self
            .ask(|reply| Command::Reach(Reach { position, reply }))
            .await??)
    }

    /// Has the tail drop what it holds of `selector`, after the store was trimmed.
    ///
    /// This alone does not keep purged events back; the head of this module says what does.
    ///
    /// # Errors
    /// The feed has ended.
    ///
    /// # Cancel safety
    /// The tail drops it or not.
    pub async fn purge(&self, selector: &Selector) -> Result<(), FeedClosed> {
        let selector = selector.clone();
        self.ask(|reply| Command::Purge { selector, reply }).await
    }

    /// Ends the feed and drops its tail.
    pub fn close(&self) {
        // A clone has a slot of its own in the channel, so this fails only if the feed has ended.
        let _ = self.0.clone().try_send(Command::Close);
    }

    async fn ask<R>(
        &self,
        command: impl FnOnce(oneshot::Sender<R>) -> Command<T>,
    ) -> Result<R, FeedClosed> {
        let (reply, answer) = oneshot::channel();
        self.0
            .clone()
            .send(command(reply))
            .await
            .map_err(|_| FeedClosed)?;
        answer.await.map_err(|_| FeedClosed)
    }
}

impl<T: Tail> Clone for FeedHandle<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Tail> fmt::Debug for FeedHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedHandle").finish_non_exhaustive()
    }
}

/// The feed has ended: the hub is shutting down.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the feed has ended")]
pub struct FeedClosed;

/// Commands that wait beyond one per asking task, each of which waits for its answer.
const COMMANDS: usize = 16;

const INPUTS_PER_TURN: u32 = 64;
