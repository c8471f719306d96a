//! One hub node of the model: a face of the shared store, a feed's tail, a timer, hints in flight.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use futures::channel::mpsc;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use replay_store::{
    After, Append, Appended, Attachment, Capabilities, Event, Hint, Limit, Page, Position,
    ReplayStore, Selector, StoreError, Tail,
};

use crate::model::Model;

pub(crate) type Shared<T> = Arc<Mutex<T>>;

/// Lets everything else run once.
pub(crate) fn yield_now() -> impl Future<Output = ()> {
    let mut yielded = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// The store as one node sees it: reads take time before and after their snapshot, and may fail.
pub(crate) struct Face {
    pub(crate) model: Shared<Model>,
    pub(crate) failures: Shared<usize>,
    pub(crate) hints: Mutex<Option<mpsc::UnboundedReceiver<Hint>>>,
}

impl ReplayStore for Face {
    fn capabilities(&self) -> Capabilities {
        unreachable!("neither feed nor join asks")
    }

    async fn append(&self, _: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        unreachable!("neither feed nor join appends")
    }

    async fn read(
        &self,
        selector: &Selector,
        after: After,
        limit: Limit,
    ) -> Result<Page, StoreError> {
        yield_now().await;
        let page = {
            let mut failures = self.failures.lock().unwrap();
            if *failures > 0 {
                *failures -= 1;
                Err(StoreError::Unavailable {
                    detail: "planned".into(),
                })
            } else {
                Ok(self.model.lock().unwrap().read(selector, after, limit))
            }
        };
        yield_now().await;
        page
    }

    fn hints(&self) -> Option<BoxStream<'static, Hint>> {
        self.hints.lock().unwrap().take().map(|hints| hints.boxed())
    }
}

/// A timer that fires when the test says so.
#[derive(Default)]
pub(crate) struct Timer {
    fired: bool,
    waker: Option<Waker>,
}

impl Timer {
    pub(crate) fn fire(timer: &Shared<Self>) {
        let mut timer = timer.lock().unwrap();
        timer.fired = true;
        if let Some(waker) = timer.waker.take() {
            waker.wake();
        }
    }

    pub(crate) fn wait(timer: &Shared<Self>) -> impl Future<Output = ()> + Send + use<> {
        let timer = Arc::clone(timer);
        poll_fn(move |cx| {
            let mut timer = timer.lock().unwrap();
            if std::mem::take(&mut timer.fired) {
                return Poll::Ready(());
            }
            timer.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .boxed()
    }
}

/// The recent end of the log: a few events in RAM.
pub(crate) struct RecentEvents {
    events: VecDeque<Event>,
    /// Events that were evicted, ever.
    evicted: usize,
    capacity: usize,
    /// Resets, ever.
    resets: usize,
    pub(crate) watermark: Option<Position>,
    wakers: Vec<Waker>,
}

pub(crate) struct TestTail(pub(crate) Shared<RecentEvents>);

impl RecentEvents {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            events: VecDeque::new(),
            evicted: 0,
            capacity,
            resets: 0,
            watermark: None,
            wakers: Vec::new(),
        }
    }

    fn publish(&mut self, watermark: Position) {
        self.watermark = Some(watermark);
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
    }
}

impl Tail for TestTail {
    type Form = ();
    type Attachment = TestReader;

    fn attach(&mut self, selector: &Selector, (): &(), _: Position) -> TestReader {
        let tail = self.0.lock().unwrap();
        TestReader {
            selector: selector.clone(),
            next: tail.evicted + tail.events.len(),
            resets: tail.resets,
            tail: Arc::clone(&self.0),
        }
    }

    fn append(&mut self, events: &[Event], watermark: Position) {
        let mut tail = self.0.lock().unwrap();
        tail.events.extend(events.iter().cloned());
        while tail.events.len() > tail.capacity {
            tail.events.pop_front();
            tail.evicted += 1;
        }
        tail.publish(watermark);
    }

    fn reset(&mut self, watermark: Position) {
        let mut tail = self.0.lock().unwrap();
        tail.evicted += tail.events.len();
        tail.events.clear();
        tail.resets += 1;
        tail.publish(watermark);
    }
}

pub(crate) struct TestReader {
    selector: Selector,
    /// Which event comes next, counted over all that were ever appended to this tail.
    next: usize,
    resets: usize,
    tail: Shared<RecentEvents>,
}

/// The reader must join again.
pub(crate) struct Broken;

impl TestReader {
    pub(crate) fn read(&mut self) -> Result<Option<Event>, Broken> {
        let tail = self.tail.lock().unwrap();
        loop {
            if tail.resets != self.resets || self.next < tail.evicted {
                return Err(Broken);
            }
            let Some(event) = tail.events.get(self.next - tail.evicted) else {
                return Ok(None);
            };
            self.next += 1;
            if self.selector.matches(&event.topic) {
                return Ok(Some(event.clone()));
            }
        }
    }

    pub(crate) fn watermark(&self) -> Position {
        self.tail
            .lock()
            .unwrap()
            .watermark
            .expect("the feed publishes one when it starts")
    }

    pub(crate) fn wake_me(&self, waker: &Waker) {
        self.tail.lock().unwrap().wakers.push(waker.clone());
    }
}

impl Attachment for TestReader {
    fn is_intact(&self) -> bool {
        let tail = self.tail.lock().unwrap();
        tail.resets == self.resets && self.next >= tail.evicted
    }
}
