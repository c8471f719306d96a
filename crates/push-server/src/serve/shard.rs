//! The workers that event streams live on once they have a socket of their own.
//!
//! A worker is one task with many streams. It is woken once for an event however many of its streams
//! wait for it, and wakes them itself.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use backpressure::Shard;
use futures::stream::{FuturesUnordered, Stream as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::raw::RawStream;

/// Hands streams to workers.
#[derive(Clone)]
pub(crate) struct Shards(Arc<[Handle]>);

struct Handle {
    streams: mpsc::UnboundedSender<RawStream>,
    /// How many streams the worker has, and how many are on their way to it.
    load: Arc<AtomicUsize>,
}

impl Shards {
    /// Starts as many workers on `tasks`. They end when the last handle is dropped and their streams
    /// are over.
    pub(crate) fn start(count: usize, tasks: &mut JoinSet<()>) -> Self {
        let start = |_| {
            let (streams, received) = mpsc::unbounded_channel();
            let load = Arc::new(AtomicUsize::new(0));
            let worker = Worker {
                shard: Shard::new(),
                received: Some(received),
                streams: FuturesUnordered::new(),
                load: Arc::clone(&load),
            };
            // A worker has its own way to give others their turn.
            tasks.spawn(tokio::task::unconstrained(worker.run()));
            Handle { streams, load }
        };
        Self((0..count.max(1)).map(start).collect())
    }

    /// Leaves a stream to the worker that has the fewest.
    pub(crate) fn take(&self, stream: RawStream) {
        let least = self
            .0
            .iter()
            .min_by_key(|handle| handle.load.load(Ordering::Relaxed));
        if let Some(handle) = least {
            handle.load.fetch_add(1, Ordering::Relaxed);
            // A worker that is gone was told to cut its streams.
            let _cut = handle.streams.send(stream);
        }
    }
}

struct Worker {
    shard: Shard,
    /// `None` once nobody is left to send any.
    received: Option<mpsc::UnboundedReceiver<RawStream>>,
    streams: FuturesUnordered<RawStream>,
    load: Arc<AtomicUsize>,
}

impl Worker {
    async fn run(mut self) {
        std::future::poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(received) = &mut self.received {
            match received.poll_recv(cx) {
                Poll::Ready(Some(mut stream)) => {
                    stream.set_shard(self.shard.handle());
                    self.streams.push(stream);
                }
                Poll::Ready(None) => self.received = None,
                Poll::Pending => break,
            }
        }
        while self.shard.poll_wake(cx).is_ready() {}
        let mut streams = pin!(&mut self.streams);
        while let Poll::Ready(Some(())) = streams.as_mut().poll_next(cx) {
            self.load.fetch_sub(1, Ordering::Relaxed);
        }
        if self.received.is_none() && self.streams.is_empty() {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
