//! How long the head of a request may take.
//!
//! hyper sets a timer for every head and drops it when the head has come, mostly at once. A connection
//! has one timer of the runtime here, which is left alone as long as it fires early enough.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::time;

/// The timer of one connection, of which hyper waits for one moment at a time.
#[derive(Clone, Default)]
pub(super) struct HeadTimer(Arc<Mutex<Option<Armed>>>);

struct Armed {
    sleep: Pin<Box<time::Sleep>>,
    /// Whom it wakes.
    waker: Waker,
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Head {
            deadline: deadline.into(),
            timer: self.clone(),
        })
    }

    fn now(&self) -> Instant {
        time::Instant::now().into()
    }
}

struct Head {
    deadline: time::Instant,
    timer: HeadTimer,
}

impl Sleep for Head {}

impl Future for Head {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut armed = self.timer.0.lock().unwrap_or_else(PoisonError::into_inner);
        let armed = armed.get_or_insert_with(|| Armed {
            sleep: Box::pin(time::sleep_until(self.deadline)),
            waker: Waker::noop().clone(),
        });
        let Armed { sleep, waker } = armed;
        let in_time = sleep.deadline() <= self.deadline;
        if in_time && !sleep.is_elapsed() && waker.will_wake(cx.waker()) {
            return Poll::Pending;
        }
        if !in_time {
            sleep.as_mut().reset(self.deadline);
        }
        waker.clone_from(cx.waker());
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= self.deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(self.deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn after(timer: &HeadTimer, duration: Duration) -> Pin<Box<dyn Sleep>> {
        timer.sleep_until(timer.now() + duration)
    }

    #[tokio::test(start_paused = true)]
    async fn each_head_has_its_own_time_whatever_was_set_before() {
        let timer = HeadTimer::default();
        for (waited, allowed) in [(0, 15), (1, 15), (14, 15), (1, 3), (1, 30), (0, 1)] {
            // A head that comes in time.
            let early = timeout(SECOND * waited, after(&timer, SECOND * 60)).await;
            assert!(early.is_err());
            let began = time::Instant::now();
            after(&timer, SECOND * allowed).await;
            assert_eq!(began.elapsed().as_secs(), u64::from(allowed));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_moment_that_has_passed_is_over_at_once() {
        let timer = HeadTimer::default();
        let mut head = after(&timer, SECOND);
        assert!(futures::poll!(&mut head).is_pending());
        advance(SECOND * 2).await;
        let mut late = timer.sleep_until(timer.now() - SECOND);
        assert!(futures::poll!(&mut late).is_ready());
        assert!(futures::poll!(&mut head).is_ready());
    }
}
