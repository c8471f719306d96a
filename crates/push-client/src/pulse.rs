//! The signs of life of one connection, on tokio's clock.

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use session_proto::{Beat, Heartbeat, HeartbeatConfig, HeartbeatError};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::error::ConnectionError;

/// Says when to show life, and when the hub shows none any more.
pub(crate) struct Pulse {
    heartbeat: Heartbeat,
    idle_timeout: Duration,
    opened: Instant,
    timer: Pin<Box<Sleep>>,
    /// For [`Self::poll_until`], from its first use on.
    other_timer: Option<Pin<Box<Sleep>>>,
    /// The second look was granted and nothing has arrived since.
    late: bool,
}

/// What the runtime gets to notice what has arrived, where the application came back so late that
/// time had run out while nobody was reading.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// For a stream that only arrives.
///
/// # Errors
/// If `idle_timeout` is zero.
pub(crate) const fn listening(idle_timeout: Duration) -> Result<HeartbeatConfig, HeartbeatError> {
    HeartbeatConfig::listen_only(idle_timeout)
}

/// For a connection on which life can be asked for, which happens twice before it counts as dead.
///
/// # Errors
/// If `idle_timeout` is zero.
pub(crate) fn asking(idle_timeout: Duration) -> Result<HeartbeatConfig, HeartbeatError> {
    let interval = (idle_timeout / 3).min(HeartbeatConfig::MAX_INTERVAL);
    HeartbeatConfig::new(interval, Some(idle_timeout))
}

impl Pulse {
    /// The connection was opened just now. `idle_timeout` is the timeout in `config`.
    pub(crate) fn new(config: HeartbeatConfig, idle_timeout: Duration) -> Self {
        let opened = Instant::now();
        Self {
            heartbeat: Heartbeat::new(config, Duration::ZERO),
            idle_timeout,
            opened,
            timer: Box::pin(sleep_until(opened)),
            other_timer: None,
            late: false,
        }
    }

    /// Time since the connection was opened.
    pub(crate) fn now(&self) -> Duration {
        self.opened.elapsed()
    }

    /// What [`Beat::Dead`] means.
    pub(crate) fn death(&self) -> ConnectionError {
        ConnectionError::Idle {
            after: self.idle_timeout,
        }
    }

    /// Something arrived, which also puts off asking for a sign of life.
    pub(crate) fn received(&mut self) {
        let now = self.now();
        self.heartbeat.on_received(now);
        self.heartbeat.on_sent(now);
        self.late = false;
    }

    /// Waits until this much time has passed since the connection was opened.
    pub(crate) fn poll_until(&mut self, due: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.opened + due;
        let timer = self
            .other_timer
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }

    /// Waits until something is due. To be polled when nothing more can be read.
    pub(crate) fn poll_beat(&mut self, cx: &mut Context<'_>) -> Poll<Beat> {
        loop {
            let Some(due) = self.heartbeat.poll_timeout() else {
                return Poll::Ready(Beat::Dead);
            };
            let deadline = self.opened + due;
            if self.timer.deadline() != deadline {
                self.timer.as_mut().reset(deadline);
            }
            ready!(self.timer.as_mut().poll(cx));
            let now = self.now();
            if !self.late && now.saturating_sub(due) > SECOND_LOOK {
                self.late = true;
                self.heartbeat
                    .on_received((now + SECOND_LOOK).saturating_sub(self.idle_timeout));
            }
            if let Some(beat) = self.heartbeat.handle_timeout(now) {
                return Poll::Ready(beat);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use core::future::poll_fn;

    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const IDLE: Duration = Duration::from_secs(45);

    async fn beat(pulse: &mut Pulse) -> (Beat, Duration) {
        let beat = poll_fn(|cx| pulse.poll_beat(cx)).await;
        (beat, pulse.now())
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_is_dead_after_the_idle_timeout() {
        let mut pulse = Pulse::new(listening(IDLE).unwrap(), IDLE);
        assert_eq!(beat(&mut pulse).await, (Beat::Dead, IDLE));
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_arrives_puts_death_off() {
        let mut pulse = Pulse::new(listening(IDLE).unwrap(), IDLE);
        advance(SECOND * 30).await;
        pulse.received();
        assert_eq!(beat(&mut pulse).await, (Beat::Dead, SECOND * 75));
    }

    #[tokio::test(start_paused = true)]
    async fn life_is_asked_for_twice_before_death() {
        let mut pulse = Pulse::new(asking(IDLE).unwrap(), IDLE);
        assert_eq!(beat(&mut pulse).await, (Beat::Send, SECOND * 15));
        assert_eq!(beat(&mut pulse).await, (Beat::Send, SECOND * 30));
        assert_eq!(beat(&mut pulse).await, (Beat::Dead, SECOND * 45));
    }

    #[tokio::test(start_paused = true)]
    async fn an_application_that_was_away_gets_one_second_look() {
        let mut pulse = Pulse::new(listening(IDLE).unwrap(), IDLE);
        advance(SECOND * 100).await;
        assert_eq!(beat(&mut pulse).await, (Beat::Dead, SECOND * 101));
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_look_is_not_granted_again_and_again() {
        let mut pulse = Pulse::new(listening(IDLE).unwrap(), IDLE);
        advance(SECOND * 100).await;
        let glance = tokio::time::timeout(SECOND / 2, beat(&mut pulse)).await;
        assert!(glance.is_err(), "{glance:?}");
        advance(SECOND * 100).await;
        assert_eq!(
            beat(&mut pulse).await,
            (Beat::Dead, SECOND * 200 + SECOND / 2)
        );
    }
}
