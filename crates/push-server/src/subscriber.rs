//! One subscription: what was missed from the store, then what happens from the tail, as bytes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use backpressure::{Conflation, Policy, ShardHandle};
use bytes::Bytes;
use replay_store::feed::{Join, JoinError, Step};
use replay_store::{After, Gap, Position, Selector, Topic};
use tokio::time::{Sleep, sleep_until};

use self::live::{Ending, Live};
use self::losses::Losses;
use crate::batch::Batching;
use crate::fanout::{Attached, Encoding, Fanout, Seat};
use crate::form::Form;
use crate::hub::Hub;
use crate::metrics::{Source, Transport};

mod live;
mod losses;
mod slow;

type Joining = Pin<
    Box<dyn Future<Output = (Join<Fanout>, Result<Step<Attached>, JoinError>)> + Send + 'static>,
>;

/// A subscription in wire form: every item is a whole number of events, or of what the hub says
/// between them, ready to be written.
///
/// Nothing is read from the store or the tail until it is polled, so a slow consumer holds one
/// page or one chunk, no more.
pub struct Subscriber {
    hub: Hub,
    /// Its connection.
    id: u64,
    selector: Selector,
    form: Form,
    policy: Policy,
    shard: Option<ShardHandle>,
    generation: u64,
    /// Where it stands: everything that matches at or below this was handed out or announced as a gap.
    /// Until the store has [judged](Self::judged) it, where it was asked to begin.
    after: After,
    /// How often events had been purged when it began to read from the store.
    purges: u64,
    ending: Ending,
    /// The seq of the last id handed out; no later one is lower.
    last_seq: u64,
    phase: Phase,
    judged: bool,
    /// Whether the opening block, and whether `$ready`, was handed out.
    opened: bool,
    ready: bool,
    batching: Option<Box<Batching>>,
    /// Ends the subscription while the hub drains.
    leaving: Option<Pin<Box<Sleep>>>,
    /// What was dropped, once anything was.
    losses: Option<Box<Losses>>,
}

enum Phase {
    Begin,
    Joining {
        next: Joining,
        /// What of the store's gaps it has been told.
        announced: Option<Position>,
    },
    Live(Live),
    Ended,
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("id", &self.id)
            .field("form", &self.form)
            .field("policy", &self.policy)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}

/// Why a subscription ended without the hub closing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriberError {
    /// The subscriber fell further behind than its policy allows; it can resume by its last id.
    #[error("the subscriber fell too far behind")]
    TooSlow,
    /// The store failed while missed events were read; the subscriber can resume by its last id.
    #[error("missed events could not be read")]
    Store(#[from] JoinError),
    /// The hub was told to drop its connections.
    #[error("the connection was dropped on demand")]
    Dropped,
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let report = self.losses.as_mut().and_then(|losses| losses.take());
        self.report_losses(report);
        self.hub.count_subscription(-1);
    }
}

impl Subscriber {
    pub(crate) fn new(
        hub: Hub,
        id: u64,
        selector: Selector,
        form: Form,
        policy: Policy,
        after: After,
    ) -> Self {
        hub.count_subscription(1);
        let generation = hub.fanout().generation();
        let purges = hub.fanout().purges();
        // A drained hub begins nothing; who comes late is told to come back, like the others.
        let phase = if hub.is_draining() {
            Phase::Ended
        } else {
            Phase::Begin
        };
        let batching = hub
            .config()
            .batch
            .map(|batch| Box::new(Batching::new(batch)));
        Self {
            hub,
            id,
            selector,
            form,
            policy,
            shard: None,
            generation,
            after,
            purges,
            ending: Ending::default(),
            last_seq: 0,
            phase,
            judged: false,
            opened: false,
            ready: false,
            batching,
            leaving: None,
            losses: None,
        }
    }

    /// Has the worker of a shard wake this subscription. Takes effect when it next joins, so before
    /// it is first polled.
    pub(crate) fn set_shard(&mut self, shard: ShardHandle) {
        self.shard = Some(shard);
    }

    /// Takes these topics for ended before their ends were seen.
    pub(crate) fn with_ended(mut self, topics: &[Topic]) -> Self {
        for topic in topics {
            self.ending.note(topic);
        }
        self
    }

    /// Does it wait for events, and not for the store? Then it is woken when the hub closes.
    pub(crate) const fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live(_))
    }

    pub(crate) const fn hub(&self) -> &Hub {
        &self.hub
    }

    pub(crate) const fn form(&self) -> Form {
        self.form
    }

    /// The topics of this subscription.
    #[must_use]
    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    const fn transport(&self) -> Transport {
        match self.form {
            Form::WebSocket => Transport::WebSocket,
            Form::SseRaw | Form::SseJson => Transport::Sse,
        }
    }

    /// The position up to which everything was handed out, once the cursor was judged.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        match self.after {
            After::Position(at) if self.judged => Some(at),
            _ => None,
        }
    }

    /// Continues with other topics from where the subscription stands: what was handed out stays
    /// handed out, what follows is the log's suffix for the new topics. Does nothing before the
    /// cursor was judged and answers `false`.
    pub fn change_topics(&mut self, selector: Selector) -> bool {
        let Some(position) = self.position() else {
            return false;
        };
        self.selector = selector;
        self.join(After::Position(position), None);
        true
    }

    /// The next bytes to write, `None` when the hub closes, or when every topic has ended and its
    /// `$end` was handed out. The latter is for event streams of topics without wildcards: a
    /// WebSocket session may turn to other topics.
    ///
    /// # Errors
    ///
    /// See [`SubscriberError`]; nothing follows an error.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when a poll is not followed up.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, SubscriberError>>> {
        loop {
            if self.generation != self.hub.fanout().generation() {
                self.phase = Phase::Ended;
                return Poll::Ready(Some(Err(SubscriberError::Dropped)));
            }
            if self.hub.is_closed() || self.poll_leave(cx).is_ready() {
                self.phase = Phase::Ended;
            }
            let joining = matches!(self.phase, Phase::Joining { .. });
            if joining && self.purges != self.hub.fanout().purges() {
                // A page that was read before may have what was purged.
                self.join_again();
            }
            let out = match &mut self.phase {
                Phase::Ended => return Poll::Ready(None),
                Phase::Begin => {
                    self.join(self.after, None);
                    continue;
                }
                Phase::Joining { next, .. } => {
                    let (join, step) = ready!(next.as_mut().poll(cx));
                    self.handle_step(join, step)
                }
                Phase::Live(_) => ready!(self.poll_live(cx)),
            };
            match out {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Poll::Ready(Some(Ok(bytes))),
                Err(error) => {
                    self.phase = Phase::Ended;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    /// Ready when it is this subscription's turn to end while the hub drains.
    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.leaving.is_none() {
            let Some(at) = self.hub.leave_at() else {
                return Poll::Pending;
            };
            self.leaving = Some(Box::pin(sleep_until(at)));
        }
        match &mut self.leaving {
            Some(leaving) => leaving.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    /// The last thing to write to an event stream: when to come back, and whether that is because
    /// the hub goes away.
    pub(crate) fn farewell(&self) -> Bytes {
        let retry_ms = self.hub.retry_ms();
        if !self.hub.is_closed() && !self.hub.is_draining() {
            return sse_proto::Frame::new().retry_ms(retry_ms).to_bytes();
        }
        let mut out = Vec::new();
        self.form.drain(retry_ms, &mut out);
        out.into()
    }

    /// What to write when the connection was silent for a heartbeat: the position, where it moved
    /// although nothing matched, or a sign of life.
    pub fn beat(&mut self) -> Bytes {
        self.hub.registry().heartbeat(self.transport());
        let mut out = Vec::new();
        let moved = self.idle_position();
        if let Some(at) = moved {
            self.handed_out(at);
        }
        self.form.beat(moved, &self.policy, &mut out);
        out.into()
    }

    /// The watermark, if everything up to it was handed out and it is above the last id.
    fn idle_position(&self) -> Option<Position> {
        let Phase::Live(live) = &self.phase else {
            return None;
        };
        // The watermark is read first: an event at or below it is in the logs already, so empty
        // readers prove that none is outstanding.
        let watermark = self.hub.fanout().watermark();
        let idle = live.is_idle();
        let moved = self.last_seq < watermark.seq;
        (idle && moved).then_some(watermark)
    }

    /// Begins to read the store after `after`, having been told of gaps up to `announced`.
    fn join(&mut self, after: After, announced: Option<Position>) {
        self.purges = self.hub.fanout().purges();
        self.ending.asked = 0;
        let seat = Seat {
            encoding: Encoding::new(self.form, &self.policy),
            shard: self.shard.clone(),
        };
        let join = Join::new(
            self.hub.replay().clone(),
            self.hub.feed().clone(),
            self.selector.clone(),
            seat,
            after,
            self.hub.config().page,
        );
        self.phase = joining(join.with_announced(announced));
    }

    fn handle_step(
        &mut self,
        join: Join<Fanout>,
        step: Result<Step<Attached>, JoinError>,
    ) -> Result<Bytes, SubscriberError> {
        let mut out = Vec::new();
        match step? {
            Step::Start(at) => {
                if !std::mem::replace(&mut self.opened, true) {
                    self.form.start(at, &self.selector, &mut out);
                    self.last_seq = at.map_or(0, |at| at.seq);
                }
                if let (None, Some(at)) = (self.position(), at) {
                    self.stand_at(at);
                }
            }
            Step::Gap(gap) => {
                self.opened = true;
                self.write_gap(&gap, None, &mut out);
            }
            Step::Events(events) => {
                for event in &events {
                    self.form.event(event, &mut out);
                    if event.is_end() && self.may_end() {
                        self.ending.note(&event.topic);
                    }
                }
                if let Some(last) = events.last() {
                    self.stand_at(last.position);
                    self.last_seq = last.position.seq;
                }
                self.delivered(Source::Store, events.len(), out.len());
            }
            Step::Live {
                mut attachment,
                from,
            } => {
                self.advance(from);
                attachment.readers.skip_through(from.seq);
                if !attachment.readers.is_intact() {
                    // The tail went on while this was waiting, perhaps for a slow client to let it
                    // be polled. What was evicted may have been handed out already, so nobody could
                    // tell how much of it is missing.
                    self.join_again();
                    return Ok(Bytes::new());
                }
                let conflation = matches!(self.policy, Policy::Conflate { .. })
                    .then(|| Box::new(Conflation::new(self.policy.max())));
                self.phase = Phase::Live(Live {
                    attached: attachment,
                    conflation,
                });
                if !std::mem::replace(&mut self.ready, true) {
                    let at = self.position().unwrap_or(from);
                    self.form.ready(at, &self.policy, &mut out);
                    self.last_seq = at.seq;
                }
                return Ok(out.into());
            }
        }
        self.phase = joining(join);
        Ok(out.into())
    }

    /// The tail went on without us, or began anew: what it no longer holds is in the store, and the
    /// store says so where it is not.
    fn join_again(&mut self) {
        let announced = match &self.phase {
            Phase::Joining { announced, .. } => *announced,
            _ => None,
        };
        self.join(self.after, announced);
    }

    fn delivered(&self, source: Source, events: usize, bytes: usize) {
        let transport = self.transport();
        self.hub
            .registry()
            .delivered(transport, source, events, bytes);
    }

    fn write_gap(&mut self, gap: &Gap, skipped: Option<u64>, out: &mut Vec<u8>) {
        self.hub.registry().gap(gap);
        self.form.gap(gap, skipped, out);
        self.stand_at(gap.continue_at);
        self.last_seq = gap.continue_at.seq;
    }

    fn advance(&mut self, to: Position) {
        if self.position().is_none_or(|at| at.seq <= to.seq) {
            self.stand_at(to);
        }
    }

    /// An id was handed out, of everything at or below `to`.
    fn handed_out(&mut self, to: Position) {
        self.advance(to);
        self.last_seq = self.position().map_or(to.seq, |at| at.seq);
    }

    fn stand_at(&mut self, position: Position) {
        self.after = After::Position(position);
        self.judged = true;
    }
}

/// The same as [`Subscriber::poll_next`]: the wire's bytes, without a heartbeat.
impl futures::Stream for Subscriber {
    type Item = Result<Bytes, SubscriberError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Self::poll_next(&mut self, cx)
    }
}

fn joining(mut join: Join<Fanout>) -> Phase {
    Phase::Joining {
        announced: join.announced(),
        next: Box::pin(async move {
            let step = join.next().await;
            (join, step)
        }),
    }
}
