//! How much a connection may be written before the others have their turn.

use std::pin::pin;
use std::task::{Context, Poll};

use tokio::task::yield_now;

/// So many bytes are written to a connection in a row, and what completes a page. Clients that catch
/// up at the same time then get about as much each, however fast they read.
pub(crate) const BYTES: usize = 32 * 1024;

/// Ends a turn. The task is woken once others have run and the sockets were asked, so that those who
/// waited for theirs have a place before it.
pub(crate) fn end<T>(cx: &mut Context<'_>) -> Poll<T> {
    // It has the runtime wake the task when it is first polled.
    let _pending = pin!(yield_now()).poll(cx);
    Poll::Pending
}
