//! Why a store could not do what it was asked.

use std::sync::Arc;

/// Why a store could not append or read.
///
/// Nothing was appended, except where the variant says that this is not known.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached or cannot write now. Nothing was appended; try again later.
    #[error("the store is unavailable: {detail}")]
    Unavailable {
        /// For the operator.
        detail: Arc<str>,
    },
    /// The store failed while committing: the events may have been appended or not. Retry with the
    /// same idempotency key.
    #[error("it is not known whether the events were appended: {detail}")]
    OutcomeUnknown {
        /// For the operator.
        detail: Arc<str>,
    },
    /// An idempotency key was used before, in the same topic and within the window, for another
    /// event. The publisher is at fault.
    #[error("the idempotency key of event {index} of the batch was used for another event")]
    KeyReused {
        /// Which event of the batch.
        index: usize,
    },
    /// An event is over [`Capabilities::max_event_bytes`](crate::Capabilities::max_event_bytes).
    /// The publisher is at fault.
    #[error("event {index} of the batch has {bytes} bytes of data, the store takes {limit}")]
    TooLarge {
        /// Which event of the batch.
        index: usize,
        /// Bytes of its data.
        bytes: usize,
        /// The most that the store takes.
        limit: usize,
    },
    /// A key is over [`Append::MAX_KEY`](crate::Append::MAX_KEY). The publisher is at fault.
    #[error("a key of event {index} of the batch is longer than {limit} bytes")]
    KeyTooLong {
        /// Which event of the batch.
        index: usize,
        /// The longest key.
        limit: usize,
    },
    /// The topic has ended. The publisher is at fault.
    #[error("the topic of event {index} of the batch has ended")]
    Ended {
        /// Which event of the batch.
        index: usize,
    },
    /// The store read something that it cannot have written.
    #[error("the store is corrupt: {detail}")]
    Corrupt {
        /// For the operator.
        detail: Arc<str>,
    },
    /// This store has no such operation.
    #[error("the store does not support this")]
    Unsupported,
    /// The log has used up its sequence numbers.
    #[error("the log has reached its last sequence number")]
    Exhausted,
    /// [`close`](crate::ReplayStore::close) was called.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// A stable word for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::OutcomeUnknown { .. } => "outcome_unknown",
            Self::KeyReused { .. } => "key_reused",
            Self::TooLarge { .. } => "too_large",
            Self::KeyTooLong { .. } => "key_too_long",
            Self::Ended { .. } => "ended",
            Self::Corrupt { .. } => "corrupt",
            Self::Unsupported => "unsupported",
            Self::Exhausted => "exhausted",
            Self::Closed => "closed",
        }
    }
}
