//! `block`: publishers that wait for slow readers.

use core::fmt;
use core::mem::take;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::BTreeMap;

use crate::log::{Shared, State};
use crate::mark::Mark;
use crate::sync::Arc;
use crate::waiters::WaiterId;
use crate::{AdmitError, Lag};

/// A publisher's request to append to a log, from [`Log::admit`](crate::Log::admit).
///
/// It is granted once no [blocking](crate::Reader::set_blocking) reader of the log is further behind
/// than the bound: at once, when one reads on, or when one is dropped. It fails at the deadline, or when
/// the log is closed. The log itself never refuses: this is for publishers that would rather wait than
/// have a reader lose something, and one that does not ask is not held back.
///
/// A grant is not a reservation. With several publishers, a reader may be as many events further behind
/// than the bound as there are of them. A blocking reader can be evicted like any other, unless the bound is
/// well below the log's.
///
/// Time is an argument: how long it is since any moment that the caller chose.
///
/// ```
/// use std::task::{Context, Poll, Waker};
/// use std::time::Duration;
///
/// use backpressure::{AdmitError, Lag, Log, LogConfig};
///
/// let log = Log::new(LogConfig::default(), 0);
/// let mut reader = log.subscribe();
/// reader.set_blocking(true);
/// log.append(1, b"one");
///
/// let mut cx = Context::from_waker(Waker::noop());
/// let (max, seconds) = (Lag { events: 0, bytes: 0 }, Duration::from_secs);
/// let mut admission = log.admit(max, seconds(5));
/// assert!(admission.poll_admit(&mut cx, seconds(1)).is_pending());
/// assert_eq!(admission.poll_admit(&mut cx, seconds(5)), Poll::Ready(Err(AdmitError::TimedOut)));
///
/// reader.read(1024)?;
/// assert_eq!(log.admit(max, seconds(5)).poll_admit(&mut cx, seconds(1)), Poll::Ready(Ok(())));
/// # Ok::<(), backpressure::ReadError>(())
/// ```
///
/// # Memory
///
/// While it waits, about 60 bytes, and about 50 for each blocking reader of the log.
pub struct Admission {
    log: Arc<Shared>,
    max: Lag,
    deadline: Duration,
    ticket: Option<u64>,
}

/// The blocking readers of a log, and the publishers that wait for them.
#[derive(Debug, Default)]
pub(crate) struct Blocking {
    /// The place of every blocking reader: the events before it and the reader's slot, and the bytes
    /// before it.
    places: BTreeMap<(u64, u32), u64>,
    waiting: Vec<Publisher>,
    tickets: u64,
}

#[derive(Debug)]
struct Publisher {
    ticket: u64,
    max: Lag,
    waker: Waker,
}

impl Admission {
    pub(crate) const fn new(log: Arc<Shared>, max: Lag, deadline: Duration) -> Self {
        Self {
            log,
            max,
            deadline,
            ticket: None,
        }
    }

    /// Ready when the publisher may append. Otherwise the task is woken when that may have changed,
    /// but not at the [deadline](Self::poll_timeout): call again then.
    ///
    /// # Errors
    ///
    /// [`AdmitError`] if the deadline has come or the log was closed.
    ///
    /// # Cancel safety
    ///
    /// Nothing happens but waiting; dropping the admission leaves nothing behind.
    pub fn poll_admit(
        &mut self,
        cx: &mut Context<'_>,
        now: Duration,
    ) -> Poll<Result<(), AdmitError>> {
        let waker = cx.waker().clone();
        let mut state = self.log.lock();
        let verdict = if state.closed {
            Err(AdmitError::Closed)
        } else if !state.blocked_lag().exceeds(self.max) {
            Ok(())
        } else if self.deadline <= now {
            Err(AdmitError::TimedOut)
        } else {
            // The lock is held since the look at the readers, so none reads on in between.
            let (ticket, replaced) = state.wait(self.ticket, self.max, waker);
            drop(state);
            drop(replaced);
            self.ticket = Some(ticket);
            return Poll::Pending;
        };
        drop(state);
        Poll::Ready(verdict)
    }

    /// When to call [`poll_admit`](Self::poll_admit) again, if the task was not woken before.
    #[must_use]
    pub const fn poll_timeout(&self) -> Duration {
        self.deadline
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("max", &self.max)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let waker = self.log.lock().give_up(ticket);
            drop(waker);
        }
    }
}

impl State {
    /// Moves a blocking reader from one place to another, or to or from nowhere, and returns the
    /// publishers that this releases, to be woken after unlocking.
    #[must_use]
    pub(crate) fn block_again(
        &mut self,
        reader: WaiterId,
        from: Option<Mark>,
        to: Option<Mark>,
    ) -> Vec<Waker> {
        let blocking = self.blocking.get_or_insert_default();
        if let Some(from) = from {
            blocking.places.remove(&(from.events, reader.slot));
        }
        if let Some(to) = to {
            blocking.places.insert((to.events, reader.slot), to.bytes);
        }
        let lag = blocking.lag(self.tail.head());
        blocking
            .waiting
            .extract_if(.., |publisher| !lag.exceeds(publisher.max))
            .map(|publisher| publisher.waker)
            .collect()
    }

    /// Takes every publisher that waits, to be woken after unlocking.
    #[must_use]
    pub(crate) fn release_all(&mut self) -> Vec<Waker> {
        self.blocking.as_mut().map_or_else(Vec::new, |blocking| {
            take(&mut blocking.waiting)
                .into_iter()
                .map(|publisher| publisher.waker)
                .collect()
        })
    }

    /// How far the last of the blocking readers is behind.
    fn blocked_lag(&self) -> Lag {
        self.blocking
            .as_ref()
            .map_or(Lag::ZERO, |blocking| blocking.lag(self.tail.head()))
    }

    /// Keeps a publisher's waker. The caller drops the one it had after unlocking.
    fn wait(&mut self, ticket: Option<u64>, max: Lag, waker: Waker) -> (u64, Option<Waker>) {
        let replaced = ticket.and_then(|ticket| self.give_up(ticket));
        let blocking = self.blocking.get_or_insert_default();
        blocking.tickets += 1;
        let ticket = blocking.tickets;
        blocking.waiting.push(Publisher { ticket, max, waker });
        (ticket, replaced)
    }

    fn give_up(&mut self, ticket: u64) -> Option<Waker> {
        let waiting = &mut self.blocking.as_mut()?.waiting;
        let at = waiting.iter().position(|it| it.ticket == ticket)?;
        Some(waiting.swap_remove(at).waker)
    }
}

impl Blocking {
    fn lag(&self, head: Mark) -> Lag {
        self.places
            .first_key_value()
            .map_or(Lag::ZERO, |((events, _), bytes)| Lag {
                events: head.events - events,
                bytes: head.bytes - bytes,
            })
    }
}
