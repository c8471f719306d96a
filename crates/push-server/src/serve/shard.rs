//! The workers that subscriptions live on once they have a socket of their own: event streams, and
//! WebSocket sessions.
//!
//! A worker is one task with many of them. It is woken once for an event however many of its
//! subscriptions wait for it, and wakes them itself.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use backpressure::{Shard, ShardHandle};
use futures::future::BoxFuture;
use futures::task::AtomicWaker;
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
const TURN: usize = 32;

/// What a worker polls.
enum Work {
    Stream(Box<RawStream>),
    /// It gives the others their turn by itself.
    Session(BoxFuture<'static, ()>),
}

impl Work {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Stream(stream) => Pin::new(stream).poll(cx),
            Self::Session(session) => session.as_mut().poll(cx),
        }
    }
}

/// The places of subscriptions that were woken, in that order.
#[derive(Default)]
struct Woken {
    places: Mutex<Vec<u32>>,
    worker: AtomicWaker,
}

impl Woken {
    fn lock(&self) -> MutexGuard<'_, Vec<u32>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the subscription at a place. Once that is over it may wake the next one there, which is then
/// polled for nothing.
struct Ticket {
    place: u32,
    woken: Arc<Woken>,
    /// It is among the woken, and was not polled since.
    queued: AtomicBool,
}

impl Wake for Ticket {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.woken.lock().push(self.place);
            self.woken.worker.wake();
        }
    }
}

/// A subscription in its place.
struct Seat {
    work: Work,
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

    /// Leaves a stream to the worker that has the fewest.
    pub(crate) fn take_stream(&self, mut stream: Box<RawStream>) {
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
    seats: Vec<Option<Seat>>,
    free: Vec<u32>,
    woken: Arc<Woken>,
    /// Whose turn is next.
    due: VecDeque<u32>,
    load: Arc<AtomicUsize>,
}

impl Worker {
    fn new(received: mpsc::UnboundedReceiver<Work>, load: Arc<AtomicUsize>) -> Self {
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
    fn seat(&mut self, work: Work) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.seats.push(None);
            // A connection takes a descriptor, of which there are fewer.
            u32::try_from(self.seats.len() - 1).expect("fewer than 2^32 connections")
        });
        let ticket = Arc::new(Ticket {
            place,
            woken: Arc::clone(&self.woken),
            queued: AtomicBool::new(true),
        });
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
        self.woken.worker.register(cx.waker());
        self.due.extend(self.woken.lock().drain(..));
        let turn = self.due.len().min(TURN);
        for _ in 0..turn {
            if let Some(place) = self.due.pop_front() {
                self.serve(place);
            }
        }
        if !self.due.is_empty() {
            return Poll::Ready(true);
        }
        if self.received.is_none() && self.free.len() == self.seats.len() {
            return Poll::Ready(false);
        }
        Poll::Pending
    }

    fn serve(&mut self, place: u32) {
        let at = &mut self.seats[place as usize];
        let Some(seat) = at else { return };
        // Whatever wakes it from here on wants it polled again.
        seat.ticket.queued.swap(false, Ordering::AcqRel);
        if seat
            .work
            .poll(&mut Context::from_waker(&seat.waker))
            .is_ready()
        {
            *at = None;
            self.free.push(place);
            self.load.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn worker() -> (mpsc::UnboundedSender<Work>, Worker) {
        let (work, received) = mpsc::unbounded_channel();
        (work, Worker::new(received, Arc::new(AtomicUsize::new(0))))
    }

    fn session(session: impl Future<Output = ()> + Send + 'static) -> Work {
        Work::Session(Box::pin(session))
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
            shards.take_session(|_| async move { wait.await.unwrap_or_default() });
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
