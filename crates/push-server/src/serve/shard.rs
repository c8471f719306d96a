//! The workers that subscriptions live on once they have a socket of their own: event streams, and
//! WebSocket sessions.
//!
//! A worker is one task with many of them. It is woken once for an event however many of its
//! subscriptions wait for it, and wakes them itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use backpressure::{Shard, ShardHandle};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, yield_now};

use super::seats::Seats;
use super::ticket::Ticket;
use crate::turn::Turn;

/// Hands subscriptions to workers.
#[derive(Clone)]
pub(crate) struct Shards(Arc<[Handle]>);

struct Handle {
    work: mpsc::UnboundedSender<Box<dyn Work>>,
    shard: ShardHandle,
    /// How much the worker has, and how much is on its way to it.
    load: Arc<AtomicUsize>,
}

/// So many subscriptions are served in a row. Whoever publishes gets a turn after that, and those that
/// come later are written everything that was published meanwhile at once.
const TURN: usize = 32;

/// What a worker polls. It gives the others their turn by itself.
pub(crate) trait Work: Future<Output = ()> + Send + Unpin {
    /// It has a place, and is polled there from now on.
    fn seat(&mut self, _ticket: &Arc<Ticket>) {}
}

impl Shards {
    /// Starts as many workers on `tasks`. They end when the last handle is dropped and their streams
    /// are over.
    pub(crate) fn start(count: usize, tasks: &mut JoinSet<()>) -> Self {
        let start = |_| {
            let (work, received) = mpsc::unbounded_channel();
            let load = Arc::new(AtomicUsize::new(0));
            let worker = Worker::new(received, Arc::clone(&load));
            let shard = worker.shard.handle();
            // A worker takes turns by itself.
            tasks.spawn(tokio::task::unconstrained(worker.run()));
            Handle { work, shard, load }
        };
        Self((0..count.max(1)).map(start).collect())
    }

    /// Leaves a subscription to the worker that has the fewest.
    pub(crate) fn take<W: Work + 'static>(&self, work: impl FnOnce(ShardHandle) -> W) {
        let handles = self.0.iter();
        let least = handles.min_by_key(|handle| handle.load.load(Ordering::Relaxed));
        if let Some(handle) = least {
            handle.load.fetch_add(1, Ordering::Relaxed);
            // A worker that is gone was told to cut what it had.
            let _cut = handle.work.send(Box::new(work(handle.shard.clone())));
        }
    }
}

struct Worker {
    shard: Shard,
    /// `None` once nobody is left to send any.
    received: Option<mpsc::UnboundedReceiver<Box<dyn Work>>>,
    seats: Seats<Box<dyn Work>>,
    load: Arc<AtomicUsize>,
}

impl Worker {
    fn new(received: mpsc::UnboundedReceiver<Box<dyn Work>>, load: Arc<AtomicUsize>) -> Self {
        Self {
            shard: Shard::new(),
            received: Some(received),
            seats: Seats::default(),
            load,
        }
    }

    async fn run(mut self) {
        while std::future::poll_fn(|cx| self.poll(cx)).await {
            // Sockets are asked before this goes on. What ended the turn has woken this task, which
            // the first of these uses up; the second waits for the sockets.
            yield_now().await;
            yield_now().await;
        }
    }

    /// Whether there is more to do, once a turn is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        while let Some(received) = &mut self.received {
            match received.poll_recv(cx) {
                Poll::Ready(Some(mut work)) => self.seats.seat(|ticket| {
                    work.seat(ticket);
                    work
                }),
                Poll::Ready(None) => self.received = None,
                Poll::Pending => break,
            }
        }
        while self.shard.poll_wake(cx).is_ready() {}
        self.seats.collect(cx);
        if self.seats.due() > 0 {
            let _turn = Turn::begin();
            let over = self.seats.serve(TURN);
            self.load.fetch_sub(over, Ordering::Relaxed);
        }
        if self.seats.due() > 0 || self.seats.is_woken() {
            return Poll::Ready(true);
        }
        if self.received.is_none() && self.seats.is_empty() {
            return Poll::Ready(false);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Mutex;
    use std::task::Waker;

    use futures::future::BoxFuture;

    use super::*;

    impl Work for BoxFuture<'static, ()> {}

    fn worker() -> (mpsc::UnboundedSender<Box<dyn Work>>, Worker) {
        let (work, received) = mpsc::unbounded_channel();
        (work, Worker::new(received, Arc::new(AtomicUsize::new(0))))
    }

    fn session(session: impl Future<Output = ()> + Send + 'static) -> Box<dyn Work> {
        let session: BoxFuture<'static, ()> = Box::pin(session);
        Box::new(session)
    }

    fn poll(worker: &mut Worker) -> Poll<bool> {
        worker.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_turn_serves_so_many_in_the_order_in_which_they_were_woken() {
        let (work, mut worker) = worker();
        let served = Arc::new(Mutex::new(Vec::new()));
        for number in 0..TURN + 8 {
            let served = Arc::clone(&served);
            let session = session(poll_fn(move |cx| {
                served.lock().unwrap().push(number);
                cx.waker().wake_by_ref();
                Poll::Pending
            }));
            work.send(session).unwrap_or_else(|_| panic!("it receives"));
        }
        assert_eq!(poll(&mut worker), Poll::Ready(true));
        assert_eq!(*served.lock().unwrap(), (0..TURN).collect::<Vec<_>>());
        served.lock().unwrap().clear();
        assert_eq!(poll(&mut worker), Poll::Ready(true));
        let expected: Vec<_> = (TURN..TURN + 8).chain(0..TURN - 8).collect();
        assert_eq!(*served.lock().unwrap(), expected);
    }

    #[tokio::test]
    async fn what_is_woken_from_another_thread_is_served_and_the_worker_ends_with_the_last() {
        let mut tasks = JoinSet::new();
        let shards = Shards::start(1, &mut tasks);
        let mut threads = Vec::new();
        for _ in 0..100 {
            let (done, wait) = futures::channel::oneshot::channel();
            let waits = async move { wait.await.unwrap_or_default() };
            shards.take(|_| Box::pin(waits) as BoxFuture<'static, ()>);
            threads.push(std::thread::spawn(move || done.send(()).ok()));
        }
        drop(shards);
        tasks
            .join_next()
            .await
            .expect("a worker")
            .expect("no panic");
        for thread in threads {
            thread.join().expect("no panic");
        }
    }
}
