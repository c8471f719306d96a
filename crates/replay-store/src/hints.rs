//! Hands hints to the feeds of one process. Shared by the embedded stores.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::stream::Stream;

use crate::Hint;

/// The sending side: a store pushes each hint once, every [`HintStream`] gets it.
///
/// A stream whose reader is slow holds at most 1024 hints or 8 MiB; then it drops them and keeps
/// one [bare](Hint::bare) hint, so that the reader still learns that there is something to read.
#[derive(Debug, Default)]
pub struct Hints(Mutex<Vec<Arc<Mutex<Queue>>>>);

impl Hints {
    /// Hints from now on.
    #[must_use]
    pub fn subscribe(&self) -> HintStream {
        let queue = Arc::<Mutex<Queue>>::default();
        lock(&self.0).push(Arc::clone(&queue));
        HintStream(queue)
    }

    /// Queues a hint for every stream. Call it in log order, after the events became readable.
    ///
    /// The readers to wake are returned, so that a store can wake them without holding its lock.
    #[must_use]
    pub fn push(&self, hint: &Hint) -> Vec<Waker> {
        let mut wakers = Vec::new();
        lock(&self.0).retain(|queue| {
            // The stream holds the other reference as long as it lives.
            let alive = Arc::strong_count(queue) > 1;
            if alive {
                wakers.extend(lock(queue).push(hint));
            }
            alive
        });
        wakers
    }

    /// Ends every stream once it has handed out what it holds.
    pub fn end(&self) {
        for queue in std::mem::take(&mut *lock(&self.0)) {
            let waker = {
                let mut queue = lock(&queue);
                queue.ended = true;
                queue.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Drop for Hints {
    fn drop(&mut self) {
        self.end();
    }
}

/// The receiving side.
#[derive(Debug)]
pub struct HintStream(Arc<Mutex<Queue>>);

impl Stream for HintStream {
    type Item = Hint;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Hint>> {
        let mut queue = lock(&self.0);
        if let Some(hint) = queue.hints.pop_front() {
            queue.bytes -= bytes(&hint);
            return Poll::Ready(Some(hint));
        }
        if queue.ended {
            return Poll::Ready(None);
        }
        queue.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[derive(Debug, Default)]
struct Queue {
    hints: VecDeque<Hint>,
    /// The cost of all events in `hints`.
    bytes: u64,
    waker: Option<Waker>,
    ended: bool,
}

impl Queue {
    fn push(&mut self, hint: &Hint) -> Option<Waker> {
        self.bytes += bytes(hint);
        if self.hints.len() < MAX_HINTS && self.bytes <= MAX_BYTES {
            self.hints.push_back(hint.clone());
        } else {
            self.hints.clear();
            self.bytes = 0;
            self.hints.push_back(Hint::bare(hint.epoch));
        }
        self.waker.take()
    }
}

const MAX_HINTS: usize = 1024;
const MAX_BYTES: u64 = 8 << 20;

fn bytes(hint: &Hint) -> u64 {
    hint.events.iter().map(crate::Event::cost).sum()
}

/// Nothing here panics while it holds a lock, so a poisoned one protects what is whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::StreamExt;

    use super::*;
    use crate::{Epoch, Event, Position, Topic};

    fn hint(seq: u64, len: usize) -> Hint {
        let event = Event {
            position: Position::new(Epoch(1), seq),
            prev: None,
            topic: Topic::new("t").expect("valid"),
            event: None,
            data: vec![0; len].into(),
            conflate_key: None,
            timestamp_ms: 0,
        };
        Hint {
            epoch: Epoch(1),
            log_prev: seq - 1,
            events: [event].into(),
        }
    }

    fn drain(stream: &mut HintStream) -> Vec<Hint> {
        std::iter::from_fn(|| stream.next().now_or_never().flatten()).collect()
    }

    #[test]
    fn every_stream_gets_every_hint_in_order() {
        let hints = Hints::default();
        let (mut a, mut b) = (hints.subscribe(), hints.subscribe());
        for seq in 1..=3 {
            assert!(hints.push(&hint(seq, 1)).is_empty(), "nobody waits");
        }
        assert_eq!(drain(&mut a), [hint(1, 1), hint(2, 1), hint(3, 1)]);
        assert_eq!(drain(&mut a), []);
        assert_eq!(hints.push(&hint(4, 1)).len(), 1, "one of them waits");
        assert_eq!(drain(&mut b).len(), 4);
    }

    #[test]
    fn a_slow_reader_keeps_one_bare_hint() {
        let hints = Hints::default();
        let mut by_count = hints.subscribe();
        for seq in 1..=1025 {
            drop(hints.push(&hint(seq, 1)));
        }
        assert_eq!(drain(&mut by_count), [Hint::bare(Epoch(1))]);

        let mut by_bytes = hints.subscribe();
        for seq in 1..=9 {
            drop(hints.push(&hint(seq, 1 << 20)));
        }
        let held = drain(&mut by_bytes);
        assert_eq!(held.first(), Some(&Hint::bare(Epoch(1))));
        assert!(held.len() < 3, "what overflowed is gone");
    }

    #[test]
    fn streams_end_with_the_store() {
        let hints = Hints::default();
        let mut stream = hints.subscribe();
        drop(hints.push(&hint(1, 1)));
        drop(hints);
        assert_eq!(stream.next().now_or_never(), Some(Some(hint(1, 1))));
        assert_eq!(stream.next().now_or_never(), Some(None));
    }
}
