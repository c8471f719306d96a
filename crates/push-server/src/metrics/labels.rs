//! The values of labels: closed lists, so that no client can make a new time series.

use backpressure::Policy;
use replay_store::GapReason;

macro_rules! labels {
    ($(#[$about:meta])* $name:ident { $($(#[$what:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum $name {
            $($(#[$what])* $value,)+
        }

        impl $name {
            pub(crate) const ALL: &[Self] = &[$(Self::$value),+];
            pub(crate) const COUNT: usize = Self::ALL.len();

            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }
        }
    };
}

labels! {
    /// How events go out.
    Transport {
        Sse = "sse",
        WebSocket = "websocket",
    }
}

labels! {
    /// What carries a connection.
    Via {
        /// A socket of its own, after an HTTP/1 request: an event stream on the fast path.
        Socket = "socket",
        Http1 = "http1",
        Http2 = "http2",
        /// What the hub was handed by a program that it is a part of.
        Other = "other",
    }
}

labels! {
    /// Where delivered events came from.
    Source {
        Tail = "tail",
        Store = "store",
    }
}

labels! {
    /// Why a connection is over; the first of several reasons counts.
    Closed {
        /// The client closed it, or it broke.
        Client = "client",
        /// The subscriber fell behind further than its policy allows.
        Slow = "slow",
        /// The client took nothing for two heartbeats.
        Stalled = "stalled",
        /// A WebSocket client said nothing for two heartbeats.
        Silent = "silent",
        /// A WebSocket client broke the protocol.
        Protocol = "protocol",
        /// All topics of an event stream have ended.
        Ended = "ended",
        /// The hub drains.
        Drain = "drain",
        /// The hub has closed.
        Shutdown = "shutdown",
        /// Missed events could not be read.
        Store = "store",
        /// [`Hub::drop_connections`](crate::Hub::drop_connections).
        Dropped = "dropped",
    }
}

labels! {
    /// Who reads the store.
    Reader {
        Feed = "feed",
        /// Subscribers that missed events, requests for history, health checks.
        Hub = "hub",
    }
}

labels! {
    /// What the store was asked for.
    Operation {
        Append = "append",
        Read = "read",
        Trim = "trim",
        Topics = "topics",
    }
}

/// The [codes](replay_store::StoreError::code) of errors that no publisher is to blame for.
pub(super) const FAILURES: [&str; 5] = [
    "unavailable",
    "outcome_unknown",
    "corrupt",
    "exhausted",
    "closed",
];

pub(super) const GAPS: [GapReason; 5] = [
    GapReason::EpochChanged,
    GapReason::Trimmed,
    GapReason::Ahead,
    GapReason::Lagged,
    GapReason::Unknown,
];

pub(super) const fn of_gap(reason: GapReason) -> usize {
    match reason {
        GapReason::EpochChanged => 0,
        GapReason::Trimmed => 1,
        GapReason::Ahead => 2,
        GapReason::Lagged => 3,
        GapReason::Unknown => 4,
    }
}

pub(super) const POLICIES: [Policy; 4] = [
    Policy::replay(),
    Policy::disconnect(),
    Policy::drop_oldest(),
    Policy::conflate(),
];

pub(super) fn of_policy(policy: &Policy) -> usize {
    let name = policy.as_str();
    let index = POLICIES.iter().position(|it| it.as_str() == name);
    debug_assert!(index.is_some(), "{name} is not counted");
    index.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_counted_under_its_own_reason() {
        for (index, reason) in GAPS.into_iter().enumerate() {
            assert_eq!(of_gap(reason), index);
        }
    }
}
