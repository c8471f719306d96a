//! A bounded queue from tasks to a thread. Who finds it full waits in line.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The queue. Senders are served in the order they came, so none can starve another; a sender that
/// gives up leaves the line and holds nothing.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    max_items: usize,
    max_weight: usize,
}

struct State<T> {
    items: VecDeque<(T, usize)>,
    /// Of all items.
    weight: usize,
    /// Who waits for room, the next one first.
    waiting: VecDeque<(u64, Waker)>,
    next_ticket: u64,
    /// Threads that wait for an item. Without any, nobody need be told of one, which would be a call
    /// of the system.
    takers: usize,
    closed: bool,
}

/// The queue takes no more; what was to be queued is dropped.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Closed;

impl<T> Queue<T> {
    /// A queue of up to `max_items`, whose weights are at most `max_weight` together; one item of
    /// any weight always fits.
    pub(crate) fn new(max_items: usize, max_weight: usize) -> Self {
        Self {
            state: Mutex::new(State {
                items: VecDeque::new(),
                weight: 0,
                waiting: VecDeque::new(),
                next_ticket: 0,
                takers: 0,
                closed: false,
            }),
            arrived: Condvar::new(),
            max_items,
            max_weight,
        }
    }

    /// Queues an item, once there is room and everybody who came before is served.
    ///
    /// # Cancel safety
    /// The item is queued whole or not at all.
    pub(crate) async fn push(&self, item: T, weight: usize) -> Result<(), Closed> {
        let mut place = Place {
            queue: self,
            ticket: None,
        };
        let mut item = Some(item);
        poll_fn(|context| place.poll(&mut item, weight, context)).await
    }

    /// Waits for items, and takes what is there: at least one, and no more than `max_items` or,
    /// from the second on, `max_weight`. `None` once the queue is closed and empty.
    pub(crate) fn take(&self, max_items: usize, max_weight: usize) -> Option<Vec<T>> {
        let mut state = self.lock();
        while state.items.is_empty() {
            if state.closed {
                return None;
            }
            state.takers += 1;
            state = self
                .arrived
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.takers -= 1;
        }
        let mut taken = Vec::new();
        let mut weight = 0_usize;
        while let Some((_, next)) = state.items.front()
            && taken.len() < max_items
            && (taken.is_empty() || weight.saturating_add(*next) <= max_weight)
        {
            let Some((item, its_weight)) = state.items.pop_front() else {
                break;
            };
            weight = weight.saturating_add(its_weight);
            taken.push(item);
        }
        state.weight -= weight;
        let next = state.front_waker();
        drop(state);
        wake(next);
        Some(taken)
    }

    /// Is there something to take?
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().items.is_empty()
    }

    /// Does it take no more?
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Takes no more; what is queued can still be taken.
    pub(crate) fn close(&self) {
        self.end(false);
    }

    /// Takes no more, and drops what is queued.
    pub(crate) fn clear(&self) {
        self.end(true);
    }

    fn end(&self, clear: bool) {
        let mut state = self.lock();
        state.closed = true;
        let dropped = if clear {
            state.weight = 0;
            std::mem::take(&mut state.items)
        } else {
            VecDeque::new()
        };
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.arrived.notify_all();
        drop(dropped);
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
    }

    fn has_room(&self, state: &State<T>, weight: usize) -> bool {
        state.items.is_empty()
            || (state.items.len() < self.max_items
                && state.weight.saturating_add(weight) <= self.max_weight)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing that can panic happens under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn front_waker(&self) -> Option<Waker> {
        self.waiting.front().map(|(_, waker)| waker.clone())
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// A sender, perhaps in line.
struct Place<'q, T> {
    queue: &'q Queue<T>,
    ticket: Option<u64>,
}

impl<T> Place<'_, T> {
    fn poll(
        &mut self,
        item: &mut Option<T>,
        weight: usize,
        context: &Context<'_>,
    ) -> Poll<Result<(), Closed>> {
        let mut state = self.queue.lock();
        if state.closed {
            self.ticket = None;
            return Poll::Ready(Err(Closed));
        }
        let first = state.waiting.front().map(|(ticket, _)| *ticket);
        if first == self.ticket && self.queue.has_room(&state, weight) {
            if self.ticket.take().is_some() {
                state.waiting.pop_front();
            }
            state.items.extend(item.take().map(|item| (item, weight)));
            state.weight = state.weight.saturating_add(weight);
            // Room may be left for the next one, who was not woken for it.
            let next = state.front_waker();
            let takers = state.takers;
            drop(state);
            if takers > 0 {
                self.queue.arrived.notify_one();
            }
            wake(next);
            return Poll::Ready(Ok(()));
        }
        let waker = context.waker();
        match self.ticket {
            None => {
                let ticket = state.next_ticket;
                state.next_ticket += 1;
                self.ticket = Some(ticket);
                state.waiting.push_back((ticket, waker.clone()));
            }
            Some(ticket) => {
                let mine = state.waiting.iter_mut().find(|(it, _)| *it == ticket);
                if let Some((_, mine)) = mine {
                    mine.clone_from(waker);
                }
            }
        }
        Poll::Pending
    }
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.queue.lock();
        let was_first = state.waiting.front().is_some_and(|(it, _)| *it == ticket);
        state.waiting.retain(|(it, _)| *it != ticket);
        let next = if was_first { state.front_waker() } else { None };
        drop(state);
        wake(next);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::thread;

    use futures::executor::block_on;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    struct Sender<'q> {
        future: Pin<Box<dyn Future<Output = Result<(), Closed>> + 'q>>,
        woken: Arc<Count>,
    }

    impl<'q> Sender<'q> {
        fn new(queue: &'q Queue<u32>, item: u32, weight: usize) -> Self {
            Self {
                future: Box::pin(queue.push(item, weight)),
                woken: Arc::default(),
            }
        }

        fn poll(&mut self) -> Poll<Result<(), Closed>> {
            let waker = Waker::from(Arc::clone(&self.woken));
            self.future.as_mut().poll(&mut Context::from_waker(&waker))
        }

        fn woken(&self) -> usize {
            self.woken.0.load(Ordering::SeqCst)
        }
    }

    const DONE: Poll<Result<(), Closed>> = Poll::Ready(Ok(()));

    #[test]
    fn senders_that_wait_are_served_in_the_order_they_came() {
        let queue = Queue::new(1, 100);
        let mut senders = [1, 2, 3].map(|item| Sender::new(&queue, item, 1));
        assert_eq!(senders[0].poll(), DONE);
        assert!(senders[1].poll().is_pending() && senders[2].poll().is_pending());
        assert_eq!(queue.take(9, 100), Some(vec![1]));
        assert_eq!((senders[1].woken(), senders[2].woken()), (1, 0));
        // There is room, but not for who came later.
        assert!(senders[2].poll().is_pending());
        assert!(Sender::new(&queue, 4, 1).poll().is_pending());
        assert_eq!(senders[1].poll(), DONE);
        assert!(senders[2].poll().is_pending());
        assert_eq!(queue.take(9, 100), Some(vec![2]));
        assert_eq!(senders[2].poll(), DONE);
        assert_eq!(queue.take(9, 100), Some(vec![3]));
    }

    #[test]
    fn who_gives_up_leaves_the_line_and_wakes_the_next() {
        let queue = Queue::new(1, 100);
        let mut senders = [1, 2, 3, 4].map(|item| Sender::new(&queue, item, 1));
        for sender in &mut senders {
            let _waits = sender.poll();
        }
        let [_, second, third, mut fourth] = senders;
        drop(third);
        assert_eq!(queue.take(9, 100), Some(vec![1]));
        assert_eq!((second.woken(), fourth.woken()), (1, 0));
        // It was woken, and goes before it is polled again.
        drop(second);
        assert_eq!(fourth.woken(), 1);
        assert_eq!(fourth.poll(), DONE);
    }

    #[test]
    fn room_for_several_wakes_one_after_the_other() {
        let queue = Queue::new(2, 100);
        let mut senders = [1, 2, 3, 4].map(|item| Sender::new(&queue, item, 1));
        for sender in &mut senders {
            let _waits = sender.poll();
        }
        assert_eq!(queue.take(9, 100), Some(vec![1, 2]));
        let [_, _, third, fourth] = &mut senders;
        assert_eq!(third.poll(), DONE);
        assert_eq!(fourth.woken(), 1);
        assert_eq!(fourth.poll(), DONE);
        assert_eq!(queue.take(9, 100), Some(vec![3, 4]));
    }

    #[test]
    fn weight_bounds_the_queue_and_what_is_taken_but_one_item_always_fits() {
        let queue = Queue::new(10, 10);
        assert_eq!(Sender::new(&queue, 1, 50).poll(), DONE);
        let mut second = Sender::new(&queue, 2, 1);
        assert!(second.poll().is_pending());
        assert_eq!(queue.take(9, 10), Some(vec![1]));
        assert_eq!(second.poll(), DONE);
        assert_eq!(Sender::new(&queue, 3, 9).poll(), DONE);
        assert_eq!(queue.take(9, 9), Some(vec![2]));
        assert_eq!(queue.take(9, 9), Some(vec![3]));
    }

    #[test]
    fn a_closed_queue_gives_what_it_holds_and_a_cleared_one_nothing() {
        for clear in [false, true] {
            let queue = Queue::new(1, 10);
            assert_eq!(Sender::new(&queue, 1, 1).poll(), DONE);
            let mut waits = Sender::new(&queue, 2, 1);
            assert!(waits.poll().is_pending());
            if clear {
                queue.clear();
            } else {
                queue.close();
                assert_eq!(queue.take(9, 9), Some(vec![1]));
            }
            assert_eq!(waits.woken(), 1);
            assert_eq!(waits.poll(), Poll::Ready(Err(Closed)));
            assert_eq!(queue.take(9, 9), None);
        }
    }

    #[test]
    fn everything_that_many_threads_queue_arrives_in_order() {
        let queue = Arc::new(Queue::new(3, 1000));
        let senders = (0..4_u32).map(|sender| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                for n in 0..500 {
                    assert_eq!(block_on(queue.push((sender, n), 1)), Ok(()));
                }
            })
        });
        let senders: Vec<_> = senders.collect();
        let mut next = [0; 4];
        for _ in 0..2000 {
            for (sender, n) in queue.take(1, 1000).expect("open") {
                assert_eq!(n, next[sender as usize]);
                next[sender as usize] += 1;
            }
        }
        for sender in senders {
            sender.join().expect("it ends");
        }
        assert_eq!(next, [500; 4]);
    }
}
