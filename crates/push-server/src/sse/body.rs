//! A subscription as an HTTP response body.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use backpressure::ShardHandle;
use bytes::Bytes;
use http::Response;
use http_body::Frame;
use tokio::time::{Instant, Sleep};

use crate::http::HubBody;
use crate::link::Link;
use crate::metrics::{Closed, Transport, Via};
use crate::subscriber::{Subscriber, SubscriberError};
use crate::turn;

/// An event stream that never ends by itself: what the subscription hands out, and a heartbeat
/// whenever that was silent for the configured interval.
///
/// It is an ordinary [`http_body::Body`] and works unchanged under hyper, axum and tower. Each
/// frame is a whole number of events; frames of the live tail share the hub's encoded bytes
/// without copying them.
///
/// A transport that does not poll the body, because its own buffers are full, holds back the
/// subscription; nothing piles up in the body. Cutting a connection that makes no write progress
/// at all is left to the transport: [`Server`](crate::Server) does so.
pub struct EventBody {
    subscriber: Subscriber,
    link: Link,
    /// When something was last sent: the heartbeat is due an interval later. This is all that a stream
    /// in one direction needs of [`session_proto::Heartbeat`], in a fifth of its memory.
    sent: Instant,
    timer: Pin<Box<Sleep>>,
    /// When the timer fires, and whom it wakes then.
    armed: Option<(Instant, Waker)>,
}

impl fmt::Debug for EventBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventBody")
            .field("subscriber", &self.subscriber)
            .finish_non_exhaustive()
    }
}

/// The stream was cut on purpose, without a proper end, so that the client notices.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The hub was told to drop its connections.
    #[error("the connection was dropped on demand")]
    Dropped,
}

impl EventBody {
    /// The stream of a subscription in a form of Server-Sent Events. It begins with a `retry:` and
    /// costs a timer, of about 200 bytes.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(subscriber: Subscriber) -> Self {
        let (hub, id) = (subscriber.hub(), subscriber.id());
        let link = Link::new(hub, id, Transport::Sse, Via::Other, None);
        Self::of(link, subscriber)
    }

    /// As [`new`](Self::new), for a connection that is known.
    pub(crate) fn of(link: Link, subscriber: Subscriber) -> Self {
        Self {
            subscriber,
            link,
            timer: Box::pin(tokio::time::sleep(Duration::MAX)),
            armed: None,
            sent: Instant::now(),
        }
    }

    /// The response that carries the stream: status 200, and the headers that keep caches and
    /// proxies from holding events back.
    #[must_use]
    pub fn into_response(self) -> Response<HubBody> {
        super::response(HubBody::events(self))
    }

    /// See [`Subscriber::set_shard`].
    pub(crate) fn set_shard(&mut self, shard: ShardHandle) {
        self.subscriber.set_shard(shard);
    }

    /// The stream has a socket of its own.
    pub(crate) fn on_own_socket(&mut self) {
        self.link.on_own_socket();
    }

    fn sent(&mut self, bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.sent = turn::now();
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    /// A last block: when to come back.
    fn farewell(&mut self, reason: Closed) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.link.end(reason);
        let farewell = self.subscriber.farewell();
        self.sent(farewell)
    }

    fn poll_heartbeat(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let deadline = self.sent + self.subscriber.hub().config().heartbeat;
            // Every event puts the heartbeat off. A timer that is early is set again when it fires,
            // which costs less than to set it with every event, or to look at it.
            if let Some((fires, waker)) = &self.armed
                && *fires <= deadline
                && turn::now() < *fires
                && waker.will_wake(cx.waker())
            {
                return Poll::Pending;
            }
            if self.timer.is_elapsed() || self.timer.deadline() > deadline {
                self.timer.as_mut().reset(deadline);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                self.armed = Some((self.timer.deadline(), cx.waker().clone()));
                return Poll::Pending;
            }
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
        }
    }
}

use std::future::Future as _;

impl http_body::Body for EventBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.link.is_over() {
            return Poll::Ready(None);
        }
        if self.link.begin() {
            let mut preamble = Vec::new();
            let retry_ms = self.subscriber.hub().retry_ms();
            self.subscriber.form().preamble(retry_ms, &mut preamble);
            return self.sent(preamble.into());
        }
        match self.subscriber.poll_next(cx) {
            Poll::Ready(Some(Ok(bytes))) => self.sent(bytes),
            Poll::Ready(Some(Err(SubscriberError::Dropped))) => {
                self.link.end(Closed::Dropped);
                Poll::Ready(Some(Err(BodyError::Dropped)))
            }
            // The status was sent long ago; a native EventSource comes back after any end.
            Poll::Ready(Some(Err(error))) => self.farewell(Closed::from(&error)),
            Poll::Ready(None) => {
                let reason = self.link.reason_of_end();
                self.farewell(reason)
            }
            Poll::Pending => {
                std::task::ready!(self.poll_heartbeat(cx));
                let bytes = self.subscriber.beat();
                self.sent(bytes)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.link.is_over()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_takes_320_bytes_with_its_subscription() {
        let bytes = size_of::<EventBody>();
        assert!(bytes <= 320, "{bytes}");
    }
}
