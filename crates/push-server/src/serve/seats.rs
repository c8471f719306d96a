//! Places of futures that share a task.

use std::collections::VecDeque;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::prefetch::prefetch;
use super::ticket::{Ticket, Woken};

/// Futures in places, polled in the order in which they were woken.
pub(super) struct Seats<F> {
    seats: Vec<Option<Seat<F>>>,
    free: Vec<u32>,
    woken: Arc<Woken>,
    /// Whose turn is next.
    due: VecDeque<u32>,
}

/// A future in its place.
struct Seat<F> {
    future: F,
    ticket: Arc<Ticket>,
    /// Made of the ticket.
    waker: Waker,
}

impl<F> Default for Seats<F> {
    fn default() -> Self {
        Self {
            seats: Vec::new(),
            free: Vec::new(),
            woken: Arc::default(),
            due: VecDeque::new(),
        }
    }
}

impl<F: Future<Output = ()> + Unpin + Deref> Seats<F> {
    /// Gives a future a place, and its first turn.
    pub(super) fn seat(&mut self, future: impl FnOnce(&Arc<Ticket>) -> F) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.seats.push(None);
            // There are fewer descriptors, and fewer streams on a connection.
            u32::try_from(self.seats.len() - 1).expect("fewer than 2^32 places")
        });
        let ticket = Ticket::new(place, &self.woken);
        let waker = Waker::from(Arc::clone(&ticket));
        self.seats[place as usize] = Some(Seat {
            future: future(&ticket),
            ticket,
            waker,
        });
        self.due.push_back(place);
    }

    /// Those that were woken are due. Whoever is woken from here on wakes the task.
    pub(super) fn collect(&mut self, cx: &Context<'_>) {
        self.woken.take_into(&mut self.due, cx);
    }

    /// Whether somebody was woken since.
    pub(super) fn is_woken(&self) -> bool {
        self.woken.is_any()
    }

    /// How many are due.
    pub(super) fn due(&self) -> usize {
        self.due.len()
    }

    /// Whether all are over.
    pub(super) const fn is_empty(&self) -> bool {
        self.free.len() == self.seats.len()
    }

    /// Polls at most `count` of those that are due, and answers how many of them are over now.
    pub(super) fn serve(&mut self, count: usize) -> usize {
        let mut over = 0;
        for _ in 0..count.min(self.due.len()) {
            let Some(place) = self.due.pop_front() else {
                break;
            };
            self.prefetch();
            over += usize::from(self.poll(place));
        }
        over
    }

    /// One takes so long that the memory of the next is there when it is needed.
    fn prefetch(&self) {
        if let Some(next) = self.due.get(1) {
            prefetch(&self.seats[*next as usize]);
        }
        if let Some(next) = self.due.front()
            && let Some(seat) = &self.seats[*next as usize]
        {
            prefetch(&*seat.ticket);
            prefetch(&*seat.future);
        }
    }

    fn poll(&mut self, place: u32) -> bool {
        let at = &mut self.seats[place as usize];
        let Some(seat) = at else { return false };
        seat.ticket.begin();
        let polled = Pin::new(&mut seat.future).poll(&mut Context::from_waker(&seat.waker));
        if polled == Poll::Pending {
            return false;
        }
        *at = None;
        self.free.push(place);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::future::{poll_fn, ready};
    use std::sync::Mutex;

    use futures::future::BoxFuture;

    use super::*;

    /// Serves all that are due, and answers whose turns these were, and how many are over.
    struct Table {
        seats: Seats<BoxFuture<'static, ()>>,
        polled: Arc<Mutex<Vec<u32>>>,
        wakers: Arc<Mutex<Vec<Waker>>>,
    }

    impl Table {
        fn new() -> Self {
            Self {
                seats: Seats::default(),
                polled: Arc::default(),
                wakers: Arc::default(),
            }
        }

        /// A future that keeps a waker of each poll.
        fn seat(&mut self, name: u32) {
            let (polled, wakers) = (Arc::clone(&self.polled), Arc::clone(&self.wakers));
            let future = poll_fn(move |cx| {
                polled.lock().unwrap().push(name);
                wakers.lock().unwrap().push(cx.waker().clone());
                Poll::Pending
            });
            self.seats.seat(|_| Box::pin(future));
        }

        fn serve(&mut self) -> (Vec<u32>, usize) {
            self.seats.collect(&Context::from_waker(Waker::noop()));
            let over = self.seats.serve(self.seats.due());
            (std::mem::take(&mut self.polled.lock().unwrap()), over)
        }

        fn take_wakers(&self) -> Vec<Waker> {
            std::mem::take(&mut self.wakers.lock().unwrap())
        }
    }

    #[test]
    fn those_that_were_woken_are_polled_once_in_that_order() {
        let mut table = Table::new();
        (0..4).for_each(|name| table.seat(name));
        assert_eq!(table.serve(), (vec![0, 1, 2, 3], 0));
        assert_eq!(table.serve(), (vec![], 0));
        let wakers = table.take_wakers();
        for place in [2, 0, 2, 3, 0] {
            wakers[place].wake_by_ref();
        }
        assert_eq!(table.serve(), (vec![2, 0, 3], 0));
    }

    #[test]
    fn who_wakes_itself_is_polled_again_after_the_others() {
        let mut table = Table::new();
        let polled = Arc::clone(&table.polled);
        let busy = poll_fn(move |cx| {
            polled.lock().unwrap().push(9);
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        table.seats.seat(|_| Box::pin(busy));
        table.seat(1);
        assert_eq!(table.serve(), (vec![9, 1], 0));
        assert_eq!(table.serve(), (vec![9], 0));
    }

    #[test]
    fn a_place_is_taken_again_and_an_old_waker_wakes_who_has_it_for_nothing() {
        let mut table = Table::new();
        let wakers = Arc::clone(&table.wakers);
        let ends = poll_fn(move |cx| {
            wakers.lock().unwrap().push(cx.waker().clone());
            Poll::Ready(())
        });
        table.seats.seat(|_| Box::pin(ends));
        assert!(!table.seats.is_empty());
        assert_eq!(table.serve(), (vec![], 1));
        assert!(table.seats.is_empty());
        table.seat(1);
        assert_eq!((table.seats.seats.len(), table.seats.free.len()), (1, 0));
        assert_eq!(table.serve(), (vec![1], 0));
        let wakers = table.take_wakers();
        // Nobody clears the old one, so it wakes nobody twice.
        for polls in [2, 1] {
            wakers.iter().for_each(Waker::wake_by_ref);
            assert_eq!(table.serve(), (vec![1; polls], 0));
        }
        table.seats.seat(|_| Box::pin(ready(())));
        assert_eq!(table.serve(), (vec![], 1));
    }
}
