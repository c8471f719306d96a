//! `batch`: writing less often.

use core::time::Duration;

/// When to write to a subscriber: at once, or after a while, so that one write takes several events.
///
/// A write costs about the same for one event as for a hundred. A window opens with the first pending
/// event; it is over when `max_delay` has passed, or as soon as `max_bytes` are pending. Nothing is left
/// out or put in another order, and it combines with any [`Policy`](crate::Policy).
///
/// Time is an argument: how long it is since any moment that the caller chose.
///
/// ```
/// use std::time::Duration;
///
/// use backpressure::FlushWindow;
///
/// let ms = Duration::from_millis;
/// let mut window = FlushWindow::new(ms(10), 1000);
/// assert!(!window.handle_pending(100, ms(50))); // the first event: wait
/// assert_eq!(window.poll_timeout(), Some(ms(60)));
/// assert!(!window.handle_pending(300, ms(55)));
/// assert!(window.handle_timeout(ms(60))); // write now
/// window.handle_flushed();
/// assert_eq!(window.poll_timeout(), None);
/// assert!(window.handle_pending(1000, ms(61))); // enough for a write
/// ```
///
/// # Memory
///
/// None of its own. An event stays in the log for up to `max_delay` longer.
#[derive(Clone, Debug)]
pub struct FlushWindow {
    max_delay: Duration,
    max_bytes: u64,
    window: Window,
}

#[derive(Clone, Copy, Debug)]
enum Window {
    /// Nothing is pending.
    Idle,
    /// Open until then.
    Open { until: Duration },
    /// Over: everything pending is to be written.
    Over,
}

impl FlushWindow {
    /// A window of at most `max_delay` and `max_bytes`. With a zero of either nothing ever waits.
    #[must_use]
    pub const fn new(max_delay: Duration, max_bytes: u64) -> Self {
        Self {
            max_delay,
            max_bytes,
            window: Window::Idle,
        }
    }

    /// So many `bytes` are pending, for instance [`lag().bytes`](crate::Readers::lag), at least one
    /// event. Returns whether to write now. Call it whenever the readers are ready.
    pub fn handle_pending(&mut self, bytes: u64, now: Duration) -> bool {
        if let Window::Idle = self.window {
            let until = now.saturating_add(self.max_delay);
            self.window = Window::Open { until };
        }
        if bytes >= self.max_bytes {
            self.window = Window::Over;
        }
        self.handle_timeout(now)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Duration> {
        match self.window {
            Window::Open { until } => Some(until),
            Window::Idle | Window::Over => None,
        }
    }

    /// Returns whether to write now what is pending.
    pub fn handle_timeout(&mut self, now: Duration) -> bool {
        if let Window::Open { until } = self.window
            && until <= now
        {
            self.window = Window::Over;
        }
        matches!(self.window, Window::Over)
    }

    /// Everything pending was written. The next event opens a new window.
    pub const fn handle_flushed(&mut self) {
        self.window = Window::Idle;
    }
}
