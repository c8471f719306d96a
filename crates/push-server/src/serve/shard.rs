//! The workers that subscriptions live on once they have a socket of their own: event streams, and
//! WebSocket sessions.
//!
//! A worker is one task with many of them. It is woken once for an event however many of its
//! subscriptions wait for it, and wakes them itself.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use backpressure::{Shard, ShardHandle};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, Stream as _};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, yield_now};

use super::raw::RawStream;

/// Hands subscriptions to workers.
#[derive(Clone)]
pub(crate) struct Shards(Arc<[Handle]>);

struct Handle {
    work: mpsc::UnboundedSender<Work>,
    shard: ShardHandle,
    /// How much the worker has, and how much is on its way to it.
    load: Arc<AtomicUsize>,
}

/// So many subscriptions are served in a row. Whoever publishes gets a turn after that, and those that
/// come later are written everything that was published meanwhile at once.
const TURN: u32 = 32;

/// What a worker polls.
enum Work {
    Stream(RawStream),
    /// It gives the others their turn by itself.
    Session(BoxFuture<'static, ()>),
}

/// Polls a subscription, unless the worker's turn is over.
struct Served {
    work: Work,
    /// How many more of the worker's may be polled in this turn.
    left: Arc<AtomicU32>,
}

impl Future for Served {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        // Only the worker's task comes here.
        let left = this.left.load(Ordering::Relaxed);
        if left == 0 {
            // Two of these in a row end the turn.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.left.store(left - 1, Ordering::Relaxed);
        match &mut this.work {
            Work::Stream(stream) => Pin::new(stream).poll(cx),
            Work::Session(session) => session.as_mut().poll(cx),
        }
    }
}

impl Shards {
    /// Starts as many workers on `tasks`. They end when the last handle is dropped and their streams
    /// are over.
    pub(crate) fn start(count: usize, tasks: &mut JoinSet<()>) -> Self {
        let start = |_| {
            let (work, received) = mpsc::unbounded_channel();
            let load = Arc::new(AtomicUsize::new(0));
            let worker = Worker {
                shard: Shard::new(),
                received: Some(received),
                running: FuturesUnordered::new(),
                left: Arc::default(),
                load: Arc::clone(&load),
            };
            let shard = worker.shard.handle();
            // A worker takes turns by itself.
            tasks.spawn(tokio::task::unconstrained(worker.run()));
            Handle { work, shard, load }
        };
        Self((0..count.max(1)).map(start).collect())
    }

    /// Leaves a stream to the worker that has the fewest.
    pub(crate) fn take_stream(&self, mut stream: RawStream) {
        self.take(|shard| {
            stream.set_shard(shard);
            Work::Stream(stream)
        });
    }

    /// The same for a session, which must let others have their turn now and then.
    pub(crate) fn take_session<S>(&self, session: impl FnOnce(ShardHandle) -> S)
    where
        S: Future<Output = ()> + Send + 'static,
    {
        self.take(|shard| Work::Session(Box::pin(session(shard))));
    }

    fn take(&self, work: impl FnOnce(ShardHandle) -> Work) {
        let handles = self.0.iter();
        let least = handles.min_by_key(|handle| handle.load.load(Ordering::Relaxed));
        if let Some(handle) = least {
            handle.load.fetch_add(1, Ordering::Relaxed);
            // A worker that is gone was told to cut what it had.
            let _cut = handle.work.send(work(handle.shard.clone()));
        }
    }
}

struct Worker {
    shard: Shard,
    /// `None` once nobody is left to send any.
    received: Option<mpsc::UnboundedReceiver<Work>>,
    running: FuturesUnordered<Served>,
    left: Arc<AtomicU32>,
    load: Arc<AtomicUsize>,
}

impl Worker {
    async fn run(mut self) {
        while std::future::poll_fn(|cx| self.poll(cx)).await {
            // Sockets are asked before this goes on. What ended the turn has woken this task, which
            // the first of these uses up; the second waits for the sockets.
            yield_now().await;
            yield_now().await;
        }
    }

    fn serve(&self, work: Work) {
        let left = Arc::clone(&self.left);
        self.running.push(Served { work, left });
    }

    /// Whether there is more to do, once a turn is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        while let Some(received) = &mut self.received {
            match received.poll_recv(cx) {
                Poll::Ready(Some(work)) => self.serve(work),
                Poll::Ready(None) => self.received = None,
                Poll::Pending => break,
            }
        }
        while self.shard.poll_wake(cx).is_ready() {}
        self.left.store(TURN, Ordering::Relaxed);
        while Pin::new(&mut self.running).poll_next(cx) == Poll::Ready(Some(())) {
            self.load.fetch_sub(1, Ordering::Relaxed);
        }
        if self.left.load(Ordering::Relaxed) == 0 {
            return Poll::Ready(true);
        }
        if self.received.is_none() && self.running.is_empty() {
            return Poll::Ready(false);
        }
        Poll::Pending
    }
}
