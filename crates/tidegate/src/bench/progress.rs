//! The line on standard error that says how it goes.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::crowd::Crowd;

/// How often the line changes.
const INTERVAL: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(crate) struct Progress {
    terminal: bool,
    shown: Duration,
    received: u64,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            terminal: io::stderr().is_terminal(),
            shown: Duration::ZERO,
            received: 0,
        }
    }

    /// Says what is being done.
    pub(crate) fn say(&self, what: &str) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[K{what}");
        }
    }

    /// Says how the load goes, if it is time.
    pub(crate) fn show(&mut self, crowd: &Crowd, elapsed: Duration) {
        let passed = elapsed.saturating_sub(self.shown);
        if !self.terminal || passed < INTERVAL {
            return;
        }
        let received = crowd.figures.received;
        let rate = received.saturating_sub(self.received) as f64 / passed.as_secs_f64();
        let p99 = crowd.figures.latency.value_at_quantile(0.99) as f64 / 1e6;
        (self.shown, self.received) = (elapsed, received);
        let bad = match &crowd.tally {
            tally if tally.is_bad() => ", NOT all once and in order",
            _ => "",
        };
        self.say(&format!(
            "{:5.1} s  {received} deliveries, {rate:.0}/s, p99 {p99:.1} ms{bad}",
            elapsed.as_secs_f64()
        ));
    }

    /// Leaves no line behind.
    pub(crate) fn clear(&self) {
        self.say("");
    }
}
