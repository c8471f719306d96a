//! How a worker is told which of its subscriptions can get on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

use futures::task::AtomicWaker;

/// The places of subscriptions that were woken, in that order.
#[derive(Default)]
pub(super) struct Woken {
    places: Mutex<Vec<u32>>,
    worker: AtomicWaker,
}

impl Woken {
    fn lock(&self) -> MutexGuard<'_, Vec<u32>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_any(&self) -> bool {
        !self.lock().is_empty()
    }

    /// Takes the places out. Whoever is woken from here on wakes the worker.
    pub(super) fn take_into(&self, due: &mut impl Extend<u32>, cx: &Context<'_>) {
        self.worker.register(cx.waker());
        due.extend(self.lock().drain(..));
    }
}

/// Wakes the subscription at a place. Once that is over it may wake the next one there, which is then
/// polled for nothing.
pub(crate) struct Ticket {
    place: u32,
    woken: Arc<Woken>,
    /// It is among the woken, and was not polled since.
    queued: AtomicBool,
    /// There may be something to read from its socket.
    readable: AtomicBool,
}

impl Ticket {
    /// The ticket of a subscription that is about to be polled.
    pub(super) fn new(place: u32, woken: &Arc<Woken>) -> Arc<Self> {
        Arc::new(Self {
            place,
            woken: Arc::clone(woken),
            queued: AtomicBool::new(true),
            readable: AtomicBool::new(true),
        })
    }

    /// It is polled: whatever wakes it from here on wants it polled again.
    pub(super) fn begin(&self) {
        self.queued.swap(false, Ordering::AcqRel);
    }

    /// Whether there may be something to read. Then somebody looks now, and says so if there may be
    /// more.
    pub(super) fn take_readable(&self) -> bool {
        self.readable.load(Ordering::Acquire) && self.readable.swap(false, Ordering::AcqRel)
    }

    pub(super) fn set_readable(&self) {
        self.readable.store(true, Ordering::Release);
    }

    /// Wakes the subscription to read from its socket.
    pub(super) fn reading(self: &Arc<Self>) -> Waker {
        Arc::new(Reading(Arc::clone(self))).into()
    }
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

struct Reading(Arc<Ticket>);

impl Wake for Reading {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.set_readable();
        self.0.wake_by_ref();
    }
}
