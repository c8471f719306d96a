//! The workers that subscriptions live on once they have a socket of their own: event streams, and
//! WebSocket sessions.
//!
//! A worker is one task with many of them. It is woken once for an event however many of its
//! subscriptions wait for it, and wakes them itself.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use backpressure::{Shard, ShardHandle};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, yield_now};

use super::prefetch::prefetch;
use super::ticket::{Ticket, Woken};
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

/// A subscription in its place.
struct Seat {
    work: Box<dyn Work>,
    ticket: Arc<Ticket>,
    /// Made of the ticket.
    waker: Waker,
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
    seats: Vec<Option<Seat>>,
    free: Vec<u32>,
    woken: Arc<Woken>,
    /// Whose turn is next.
    due: VecDeque<u32>,
    load: Arc<AtomicUsize>,
}

impl Worker {
    fn new(received: mpsc::UnboundedReceiver<Box<dyn Work>>, load: Arc<AtomicUsize>) -> Self {
        Self {
            shard: Shard::new(),
            received: Some(received),
            seats: Vec::new(),
            free: Vec::new(),
            woken: Arc::default(),
            due: VecDeque::new(),
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

    /// Gives work a place, and its first turn.
    fn seat(&mut self, mut work: Box<dyn Work>) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.seats.push(None);
            // A connection takes a descriptor, of which there are fewer.
            u32::try_from(self.seats.len() - 1).expect("fewer than 2^32 connections")
        });
        let ticket = Ticket::new(place, &self.woken);
        work.seat(&ticket);
        let waker = Waker::from(Arc::clone(&ticket));
        self.seats[place as usize] = Some(Seat {
            work,
            ticket,
            waker,
        });
        self.due.push_back(place);
    }

    /// Whether there is more to do, once a turn is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        while let Some(received) = &mut self.received {
            match received.poll_recv(cx) {
                Poll::Ready(Some(work)) => self.seat(work),
                Poll::Ready(None) => self.received = None,
                Poll::Pending => break,
            }
        }
        while self.shard.poll_wake(cx).is_ready() {}
        self.woken.take_into(&mut self.due, cx);
        if !self.due.is_empty() {
            self.serve_turn();
        }
        if !self.due.is_empty() {
            return Poll::Ready(true);
        }
        if self.received.is_none() && self.free.len() == self.seats.len() {
            return Poll::Ready(false);
        }
        Poll::Pending
    }

    fn serve_turn(&mut self) {
        let _clock = Turn::begin();
        for _ in 0..self.due.len().min(TURN) {
            let Some(place) = self.due.pop_front() else {
                return;
            };
            // A subscription takes so long that the memory of the next is there when it is needed.
            if let Some(next) = self.due.get(1) {
                prefetch(&self.seats[*next as usize]);
            }
            if let Some(next) = self.due.front()
                && let Some(seat) = &self.seats[*next as usize]
            {
                prefetch(&*seat.ticket);
                prefetch(&*seat.work);
            }
            self.serve(place);
        }
    }

    fn serve(&mut self, place: u32) {
        let at = &mut self.seats[place as usize];
        let Some(seat) = at else { return };
        seat.ticket.begin();
        let mut cx = Context::from_waker(&seat.waker);
        if Pin::new(&mut *seat.work).poll(&mut cx).is_ready() {
            *at = None;
            self.free.push(place);
            self.load.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Mutex;

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

    #[test]
    fn a_place_is_taken_again_and_an_old_waker_wakes_who_has_it_for_nothing() {
        let (work, mut worker) = worker();
        let (first, mut wakers) = (Arc::new(Mutex::new(None)), Vec::new());
        let kept = Arc::clone(&first);
        let ends = session(poll_fn(move |cx| {
            *kept.lock().unwrap() = Some(cx.waker().clone());
            Poll::Ready(())
        }));
        assert!(work.send(ends).is_ok());
        assert_eq!(poll(&mut worker), Poll::Pending);
        assert_eq!((worker.seats.len(), worker.free.len()), (1, 1));
        wakers.extend(first.lock().unwrap().take());
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&polls);
        let waits = session(poll_fn(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Poll::Pending
        }));
        assert!(work.send(waits).is_ok());
        assert_eq!(poll(&mut worker), Poll::Pending);
        assert_eq!((worker.seats.len(), worker.free.len()), (1, 0));
        for _ in 0..2 {
            wakers.iter().for_each(Waker::wake_by_ref);
            assert_eq!(poll(&mut worker), Poll::Pending);
        }
        // Nobody clears the old waker, so it wakes nobody twice.
        assert_eq!(polls.load(Ordering::Relaxed), 2);
        drop(work);
        assert_eq!(poll(&mut worker), Poll::Pending, "one is left");
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
