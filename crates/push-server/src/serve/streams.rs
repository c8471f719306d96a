//! The streams of one HTTP/2 connection, on the task of the connection itself.
//!
//! hyper has an executor run a future for each stream. On tasks of their own an event would wake
//! each of them, and the connection after each, which then writes one small frame at a time. Here an
//! event wakes the connection's task once; all streams hand over what they have, and the connection
//! writes it together.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use backpressure::{Shard, ShardHandle};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, Stream as _};
use hyper::rt::Executor;

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

/// Polls the streams of a connection.
#[derive(Default)]
pub(super) struct Streams {
    begun: Begun,
    shard: Shard,
    running: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Streams {
    pub(super) fn executor(&self) -> Begun {
        self.begun.clone()
    }

    /// What the connection's subscriptions are woken through.
    pub(super) fn shard(&self) -> ShardHandle {
        self.shard.handle()
    }

    /// Polls whichever streams can get on, and then the `connection`, until that has begun no more.
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut connection: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        while self.shard.poll_wake(cx).is_ready() {}
        loop {
            while Pin::new(&mut self.running).poll_next(cx) == Poll::Ready(Some(())) {}
            let polled = connection(cx);
            let begun = std::mem::take(&mut *self.begun.lock());
            if polled.is_ready() || begun.is_empty() {
                return polled;
            }
            self.running.extend(begun);
        }
    }
}
