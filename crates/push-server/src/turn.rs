//! How much a connection may be written before the others have their turn, and the time in it.

use std::cell::Cell;
use std::pin::pin;
use std::task::{Context, Poll};

use tokio::task::yield_now;
use tokio::time::Instant;

/// So many bytes are written to a connection in a row, and what completes a page. Clients that catch
/// up at the same time then get about as much each, however fast they read.
pub(crate) const BYTES: usize = 32 * 1024;

/// Ends a turn. The task is woken once others have run and the sockets were asked, so that those who
/// waited for theirs have a place before it. A worker does that between its own turns, and keeps the order
/// in which they ended, which the runtime would turn round.
pub(crate) fn end<T>(cx: &mut Context<'_>) -> Poll<T> {
    if BEGUN.get().is_some() {
        cx.waker().wake_by_ref();
    } else {
        // It has the runtime wake the task when it is first polled.
        let _pending = pin!(yield_now()).poll(cx);
    }
    Poll::Pending
}

thread_local! {
    static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The time, or when the turn of many connections began that this is called in.
///
/// A timer that fires and wakes a task during a turn has it polled in a later one, so this is then at
/// or after the time of the timer.
pub(crate) fn now() -> Instant {
    BEGUN.get().unwrap_or_else(Instant::now)
}

/// A turn of many connections, in which the clock is read once. It lasts until this is dropped.
pub(crate) struct Turn(());

impl Turn {
    pub(crate) fn begin() -> Self {
        BEGUN.set(Some(Instant::now()));
        Self(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        BEGUN.set(None);
    }
}
