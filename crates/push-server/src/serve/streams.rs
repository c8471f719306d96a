//! The streams of one HTTP/2 connection, on the task of the connection itself.
//!
//! hyper has an executor run a future for each stream. On tasks of their own an event would wake
//! each of them, and the connection after each, which then writes one small frame at a time. Here an
//! event wakes the connection's task once; all streams hand over what they have, and the connection
//! writes it together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use backpressure::{Shard, ShardHandle};
use futures::future::BoxFuture;
use hyper::rt::Executor;

use super::seats::Seats;
use crate::turn::Turn;

/// What a connection gives to hyper: where futures wait until the connection has been polled.
#[derive(Clone, Default)]
pub(super) struct Begun(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl Begun {
    fn lock(&self) -> MutexGuard<'_, Vec<BoxFuture<'static, ()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Begun {
    fn execute(&self, future: F) {
        self.lock().push(Box::pin(future));
    }
}

/// So many streams have what they say written at once. What is written at once the connection has room for
/// ever after: with all of 100 streams, each took 560 bytes more.
const TURN: usize = 32;

/// Polls the streams of a connection.
#[derive(Default)]
pub(super) struct Streams {
    begun: Begun,
    shard: Shard,
    running: Seats<BoxFuture<'static, ()>>,
}

impl Streams {
    pub(super) fn executor(&self) -> Begun {
        self.begun.clone()
    }

    /// What the connection's subscriptions are woken through.
    pub(super) fn shard(&self) -> ShardHandle {
        self.shard.handle()
    }

    /// Polls the streams that can get on, each once, and the `connection` after every [`TURN`] of them: it
    /// writes what they have to say. Ends when it has begun no more streams.
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut connection: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        while self.shard.poll_wake(cx).is_ready() {}
        self.running.collect(cx);
        loop {
            let turn = Turn::begin();
            self.running.serve(TURN);
            drop(turn);
            let polled = connection(cx);
            let begun = std::mem::take(&mut *self.begun.lock());
            if polled.is_ready() || (begun.is_empty() && self.running.due() == 0) {
                return polled;
            }
            for stream in begun {
                self.running.seat(|_| stream);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Waker;

    use super::*;

    #[test]
    fn streams_have_their_turns_together_also_those_that_wake_themselves() {
        let mut streams = Streams::default();
        let polls = Arc::new(AtomicU32::new(0));
        for _ in 0..40 {
            let polls = Arc::clone(&polls);
            streams.executor().execute(poll_fn(move |cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                // As HTTP/2 does when there is room for what was written.
                cx.waker().wake_by_ref();
                Poll::Pending
            }));
        }
        let mut seen = Vec::new();
        for _ in 0..2 {
            let polled = streams.poll(&mut Context::from_waker(Waker::noop()), |_| {
                seen.push(polls.load(Ordering::Relaxed));
                Poll::<()>::Pending
            });
            assert_eq!(polled, Poll::Pending);
        }
        assert_eq!(seen, [0, 32, 40, 72, 80]);
    }
}
