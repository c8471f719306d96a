//! Stepping tasks by hand.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// A future that is polled when the test says so, and knows whether it asked to be.
pub(crate) struct Task<F> {
    future: F,
    woken: Arc<Flag>,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<F: Future<Output = ()> + Unpin> Task<F> {
    pub(crate) fn new(future: F) -> Self {
        Self {
            future,
            woken: Arc::new(Flag(AtomicBool::new(true))),
        }
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.woken.0.load(Ordering::Relaxed)
    }

    /// Is it finished?
    pub(crate) fn step(&mut self) -> bool {
        self.woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&self.woken));
        let polled = Pin::new(&mut self.future).poll(&mut Context::from_waker(&waker));
        polled == Poll::Ready(())
    }

    pub(crate) fn step_if_woken(&mut self) -> bool {
        self.is_woken() && self.step()
    }
}
