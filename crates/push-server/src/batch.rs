//! `batch`: the flush window of one subscription, with its timer.

use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use backpressure::FlushWindow;
use tokio::time::{Instant, Sleep};

use crate::config::Batch;

pub(crate) struct Batching {
    window: FlushWindow,
    started: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Batching {
    pub(crate) fn new(batch: Batch) -> Self {
        Self {
            window: FlushWindow::new(batch.max_delay, batch.max_bytes),
            started: Instant::now(),
            timer: None,
        }
    }

    /// Ready when what is pending, `bytes` of at least one event, is to be written. Otherwise the
    /// task is woken at the end of the window.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>, bytes: u64) -> Poll<()> {
        let mut over = self.window.handle_pending(bytes, self.started.elapsed());
        while !over {
            let Some(until) = self.window.poll_timeout() else {
                break;
            };
            let deadline = self.started + until;
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(cx));
            over = self.window.handle_timeout(self.started.elapsed());
        }
        Poll::Ready(())
    }

    /// Everything pending was handed out.
    pub(crate) const fn flushed(&mut self) {
        self.window.handle_flushed();
    }
}

impl fmt::Debug for Batching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batching")
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}
