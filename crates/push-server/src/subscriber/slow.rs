//! What happens to a subscriber that is too slow, and who is told of it.

use std::time::SystemTime;

use backpressure::Lag;
use bytes::Bytes;
use replay_store::{Gap, GapReason, Position};

use super::{Phase, Subscriber, SubscriberError};
use crate::metrics::Slow;

impl Subscriber {
    pub(super) fn too_slow(&self, lag: Lag) -> SubscriberError {
        let policy = self.policy.as_str();
        tracing::warn!(
            connection = self.id,
            policy,
            events = lag.events,
            bytes = lag.bytes,
            "ended a subscription that is too far behind"
        );
        self.hub.registry().too_slow(&self.policy);
        self.note_slow(0);
        SubscriberError::TooSlow
    }

    /// Drops what is oldest, under the policy `drop-oldest`, and says so.
    pub(super) fn jump(&mut self, watermark: Position) -> Bytes {
        let Phase::Live(live) = &mut self.phase else {
            return Bytes::new();
        };
        let readers = &mut live.attached.readers;
        let (seq, skipped) = readers.jump_within(self.policy.max(), watermark.seq);
        let epoch = watermark.epoch;
        self.lagged(Position { epoch, seq }, skipped.events)
    }

    /// A gap of what the policy dropped.
    pub(super) fn lagged(&mut self, continue_at: Position, skipped: u64) -> Bytes {
        self.hub.registry().skipped(&self.policy, skipped);
        let report = self.losses.get_or_insert_default().add(skipped);
        self.report_losses(report);
        let gap = Gap {
            reason: GapReason::Lagged,
            after: self.position(),
            continue_at,
            floor: 0,
        };
        let mut out = Vec::new();
        self.write_gap(&gap, Some(skipped), &mut out);
        out.into()
    }

    pub(super) fn report_losses(&self, report: Option<(u64, u64)>) {
        let Some((skipped, gaps)) = report else {
            return;
        };
        tracing::warn!(
            connection = self.id,
            policy = self.policy.as_str(),
            skipped,
            gaps,
            "dropped the oldest events of a slow subscriber"
        );
        self.note_slow(skipped);
    }

    fn note_slow(&self, skipped: u64) {
        self.hub.registry().note_slow(Slow {
            at: SystemTime::now(),
            connection: self.id,
            policy: self.policy.as_str(),
            skipped,
        });
    }
}
