//! A subscription at the head of the log: what it reads from the tail, and when it is over.

use std::cell::Cell;
use std::task::{Context, Poll, ready};

use backpressure::{Conflated, Conflation, ReadError, Verdict};
use bytes::{Bytes, BytesMut};
use replay_store::{Position, Topic};

use super::{Phase, Subscriber, SubscriberError};
use crate::fanout::Attached;
use crate::form::Form;
use crate::metrics::Source;

/// The most bytes handed out at once, unless one event is larger.
const MAX_CHUNK: usize = 64 * 1024;

thread_local! {
    /// Where the events of several patterns are put together.
    static SCRATCH: Cell<BytesMut> = Cell::default();
}

/// When an event stream of exact topics is over.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// Topics that have ended, their ends handed out or not to be had.
    ended: Option<Box<Topics>>,
    /// Up to which [last end](crate::fanout::Fanout::last_end) the logs were asked for theirs.
    pub(super) asked: u64,
}

/// Most subscriptions have none, and wait for long: what they have instead is a word.
#[derive(Debug, Default)]
struct Topics(Vec<Topic>);

impl Ending {
    pub(super) fn note(&mut self, topic: &Topic) {
        let Topics(ended) = &mut **self.ended.get_or_insert_default();
        if !ended.contains(topic) {
            ended.push(topic.clone());
        }
    }

    /// How many topics have ended.
    fn count(&self) -> usize {
        self.ended.as_ref().map_or(0, |topics| topics.0.len())
    }
}

pub(super) struct Live {
    pub(super) attached: Attached,
    /// What was read and not handed out yet, under the policy `conflate`.
    pub(super) conflation: Option<Box<Conflation>>,
}

impl Live {
    pub(super) fn is_idle(&self) -> bool {
        let readers = &self.attached.readers;
        readers.lag().events == 0
            && readers.is_intact()
            && self.conflation.as_ref().is_none_or(|it| it.is_empty())
    }
}

impl Subscriber {
    pub(super) fn poll_live(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Bytes, SubscriberError>> {
        let Phase::Live(live) = &self.phase else {
            return Poll::Ready(Ok(Bytes::new()));
        };
        let through = self.hub.fanout().watermark_seq();
        let caught_up = self.position().is_some_and(|at| at.seq >= through);
        if caught_up && live.conflation.is_none() && ready!(self.poll_ready(cx, through)).is_ok() {
            return Poll::Ready(Ok(Bytes::new()));
        }
        let watermark = self.hub.fanout().watermark();
        let Phase::Live(live) = &mut self.phase else {
            return Poll::Ready(Ok(Bytes::new()));
        };
        let readers = &mut live.attached.readers;
        let lag = readers.lag();
        if let Some(batching) = &mut self.batching
            && lag.events > 0
            && batching.poll_flush(cx, lag.bytes).is_pending()
        {
            // More events may be enough to write at once; nothing at or below 0 is ever pending, so
            // this waits for the next, or for the end of a log.
            ready!(readers.poll_ready_through(cx, || 0)).ok();
        }
        if live.conflation.is_some() {
            return self.poll_conflated(cx, watermark);
        }
        match self.policy.judge(lag) {
            Verdict::Disconnect => return Poll::Ready(Err(self.too_slow(lag))),
            Verdict::Jump => return Poll::Ready(Ok(self.jump(watermark))),
            _ => {}
        }
        // Events of one log need no putting together.
        let mut scratch = if readers.len() > 1 {
            SCRATCH.take()
        } else {
            BytesMut::new()
        };
        let read = readers.read_through(watermark.seq, MAX_CHUNK, &mut scratch);
        if readers.len() > 1 {
            SCRATCH.set(scratch);
        }
        match read {
            Ok(Some(chunk)) => {
                self.handed_out(Position {
                    epoch: watermark.epoch,
                    seq: chunk.last,
                });
                self.delivered(Source::Tail, chunk.events, chunk.bytes.len());
                return Poll::Ready(Ok(chunk.bytes));
            }
            Ok(None) => {
                // What fails here fails again when it is read.
                let _failed = ready!(self.poll_ready(cx, watermark.seq));
                return Poll::Ready(Ok(Bytes::new()));
            }
            Err(ReadError::Evicted) => match self.policy.judge_evicted() {
                Verdict::Disconnect => return Poll::Ready(Err(self.too_slow(lag))),
                Verdict::Jump => return Poll::Ready(Ok(self.jump(watermark))),
                _ => self.hub.registry().tail_fall(),
            },
            Err(ReadError::Closed) => {}
        }
        self.join_again();
        Poll::Ready(Ok(Bytes::new()))
    }

    /// As `poll_live`, for the latest event of each key.
    fn poll_conflated(
        &mut self,
        cx: &mut Context<'_>,
        watermark: Position,
    ) -> Poll<Result<Bytes, SubscriberError>> {
        let Phase::Live(Live {
            attached,
            conflation: Some(conflation),
        }) = &mut self.phase
        else {
            return Poll::Ready(Ok(Bytes::new()));
        };
        let mut scratch = SCRATCH.take();
        let collected = conflation.collect(&mut attached.readers, watermark.seq, &mut scratch);
        SCRATCH.set(scratch);
        if collected.is_err() {
            // What was collected is dropped: it follows the position, so the store has it.
            self.join_again();
            return Poll::Ready(Ok(Bytes::new()));
        }
        let epoch = watermark.epoch;
        let mut out = Bytes::new();
        match conflation.next(MAX_CHUNK) {
            Some(Conflated::Events(chunk)) => {
                let seq = chunk.last;
                self.handed_out(Position { epoch, seq });
                self.delivered(Source::Tail, chunk.events, chunk.bytes.len());
                if chunk.superseded > 0 {
                    self.hub.registry().superseded(chunk.superseded);
                }
                out = chunk.bytes;
            }
            Some(Conflated::Gap(skipped)) => {
                let seq = skipped.through;
                out = self.lagged(Position { epoch, seq }, skipped.events);
            }
            None => {
                let _failed = ready!(self.poll_ready(cx, watermark.seq));
            }
        }
        Poll::Ready(Ok(out))
    }

    /// Everything at or below `through` was handed out: ends if that was all there will be, or waits
    /// until there is something to read, or until reading fails.
    fn poll_ready(&mut self, cx: &mut Context<'_>, through: u64) -> Poll<Result<(), ReadError>> {
        if self.may_end() && self.has_ended(through) {
            self.phase = Phase::Ended;
            return Poll::Ready(Ok(()));
        }
        if let Some(batching) = &mut self.batching {
            batching.flushed();
        }
        let fanout = self.hub.fanout();
        let Phase::Live(live) = &mut self.phase else {
            return Poll::Ready(Ok(()));
        };
        let readers = &mut live.attached.readers;
        readers
            .poll_ready_through(cx, || fanout.watermark_seq())
            .map_ok(|_| ())
    }

    pub(super) fn may_end(&self) -> bool {
        self.form != Form::WebSocket && self.selector.is_exact()
    }

    /// Have all topics ended at or below `through`, which was the watermark?
    fn has_ended(&mut self, through: u64) -> bool {
        let topics = self.selector.topics();
        let last = self.hub.fanout().last_end();
        if self.ending.asked != last {
            self.ending.asked = last.min(through);
            for topic in self.hub.fanout().ended_of(topics, through) {
                self.ending.note(&topic);
            }
        }
        self.ending.count() == topics.len()
    }
}
