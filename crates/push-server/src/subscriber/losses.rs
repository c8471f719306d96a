//! What a subscriber lost to its policy, for the log: a line at once, and for a subscriber that goes
//! on losing events another every so often, each with the number since the one before.

use std::time::Duration;

use tokio::time::Instant;

/// How far apart the lines of one subscriber are at least.
const APART: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(crate) struct Losses {
    skipped: u64,
    gaps: u64,
    reported: Option<Instant>,
}

impl Losses {
    /// So many events were lost in one gap. Answers the numbers to report, if it is time to.
    pub(crate) fn add(&mut self, skipped: u64) -> Option<(u64, u64)> {
        self.skipped += skipped;
        self.gaps += 1;
        if self.reported.is_some_and(|at| at.elapsed() < APART) {
            return None;
        }
        self.take()
    }

    /// The events and gaps that were not reported yet, if there are any; now they are.
    pub(crate) fn take(&mut self) -> Option<(u64, u64)> {
        if self.gaps == 0 {
            return None;
        }
        self.reported = Some(Instant::now());
        Some((
            std::mem::take(&mut self.skipped),
            std::mem::take(&mut self.gaps),
        ))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_storm_is_a_line_every_ten_seconds_and_no_event_goes_unreported() {
        let mut losses = Losses::default();
        let mut reports = Vec::new();
        for _ in 0..1_000 {
            reports.extend(losses.add(3));
            advance(Duration::from_millis(25)).await;
        }
        assert_eq!(reports, [(3, 1), (1_200, 400), (1_200, 400)]);
        assert_eq!(losses.take(), Some((597, 199)));
        assert_eq!(losses.take(), None);
    }
}
