//! A bounded queue to one receiver.

use core::error::Error;
use core::fmt;
use core::task::{Context, Poll, Waker};
use std::collections::VecDeque;

use crate::Lag;
use crate::sync::{Arc, Mutex, MutexGuard};

/// A bounded queue of values for one receiver, such as the replies on one connection.
///
/// It holds values of up to `max` in number and bytes, at least one. It never drops a value: one that
/// does not fit is [handed back](SendError::into_value), and what to do with it is up to the sender.
///
/// ```
/// use backpressure::{Lag, SendErrorKind, queue};
///
/// let (sender, mut receiver) = queue(Lag { events: 2, bytes: 100 });
/// sender.send("one", 60)?;
/// let refused = sender.send("two", 60).unwrap_err();
/// assert_eq!((refused.kind(), refused.into_value()), (SendErrorKind::Full, "two"));
/// assert_eq!(receiver.receive(), Some("one"));
/// sender.send("two", 60)?;
/// # Ok::<(), backpressure::SendError<&str>>(())
/// ```
///
/// # Memory
///
/// The values: at most `max`, or one larger value; and for each its size and 8 bytes more, for as many as
/// were ever queued at one time.
#[must_use]
pub fn queue<T>(max: Lag) -> (Sender<T>, Receiver<T>) {
    let state = QueueState {
        values: VecDeque::new(),
        lag: Lag::ZERO,
        senders: 1,
        waiting: None,
        closed: false,
    };
    let shared = Arc::new(Queue {
        max,
        state: Mutex::new(state),
    });
    let sender = Sender {
        shared: Arc::clone(&shared),
    };
    (sender, Receiver { shared })
}

/// The sending end of a [`queue`]. A clone sends to the same receiver.
pub struct Sender<T> {
    shared: Arc<Queue<T>>,
}

/// The receiving end of a [`queue`].
pub struct Receiver<T> {
    shared: Arc<Queue<T>>,
}

/// A value that was not queued.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SendError<T> {
    kind: SendErrorKind,
    value: T,
}

/// Why a value was not queued.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum SendErrorKind {
    /// It does not fit: the receiver is too slow.
    Full,
    /// The receiver is gone.
    Closed,
}

struct Queue<T> {
    max: Lag,
    state: Mutex<QueueState<T>>,
}

struct QueueState<T> {
    values: VecDeque<(T, u64)>,
    lag: Lag,
    senders: usize,
    waiting: Option<Waker>,
    /// The receiver is gone.
    closed: bool,
}

impl<T> Sender<T> {
    /// Queues a value that counts as so many `bytes`.
    ///
    /// # Errors
    ///
    /// [`SendError`] with the value, if it does not fit or the receiver is gone.
    pub fn send(&self, value: T, bytes: u64) -> Result<(), SendError<T>> {
        let mut state = self.shared.lock();
        let lag = state.lag + Lag { events: 1, bytes };
        // A sum that has no end in a `u64` is over any bound.
        let exceeds = lag.exceeds(self.shared.max) || lag.bytes - state.lag.bytes < bytes;
        let kind = if state.closed {
            SendErrorKind::Closed
        } else if exceeds && !state.values.is_empty() {
            SendErrorKind::Full
        } else {
            state.lag = lag;
            state.values.push_back((value, bytes));
            let waiting = state.waiting.take();
            drop(state);
            waiting.into_iter().for_each(Waker::wake);
            return Ok(());
        };
        Err(SendError { kind, value })
    }

    /// What is queued.
    #[must_use]
    pub fn lag(&self) -> Lag {
        self.shared.lock().lag
    }

    /// Whether the receiver is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.lock().closed
    }
}

impl<T> Receiver<T> {
    /// The next value, if there is one.
    pub fn receive(&mut self) -> Option<T> {
        self.shared.lock().pop()
    }

    /// Ready with the next value, or with `None` once the queue is empty and every sender gone.
    /// Otherwise the task is woken when that has changed.
    ///
    /// # Cancel safety
    ///
    /// A value is taken only when it is returned.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let waker = cx.waker().clone();
        let mut state = self.shared.lock();
        let value = state.pop();
        if value.is_some() || state.senders == 0 {
            return Poll::Ready(value);
        }
        let replaced = state.waiting.replace(waker);
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    /// What is queued.
    #[must_use]
    pub fn lag(&self) -> Lag {
        self.shared.lock().lag
    }
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, QueueState<T>> {
        // Under this lock nothing panics between two changes that belong together.
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl<T> QueueState<T> {
    fn pop(&mut self) -> Option<T> {
        let (value, bytes) = self.values.pop_front()?;
        self.lag.events -= 1;
        self.lag.bytes -= bytes;
        Some(value)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.lock().senders += 1;
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.senders -= 1;
        let last = state.senders == 0;
        let waiting = state.waiting.take_if(|_| last);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.lag = Lag::ZERO;
        let values = core::mem::take(&mut state.values);
        let waiting = state.waiting.take();
        drop(state);
        drop((values, waiting));
    }
}

impl<T> SendError<T> {
    /// Why the value was not queued.
    #[must_use]
    pub const fn kind(&self) -> SendErrorKind {
        self.kind
    }

    /// The value again.
    #[must_use]
    pub fn into_value(self) -> T {
        self.value
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            SendErrorKind::Full => "the queue is full, its receiver is too slow",
            SendErrorKind::Closed => "the receiver of the queue is gone",
        })
    }
}

impl<T: fmt::Debug> Error for SendError<T> {}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("lag", &self.lag()).finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("lag", &self.lag())
            .finish()
    }
}
