//! What a stage of a run measures.

use hdrhistogram::Histogram;

/// What is measured; begins anew with each stage.
pub(crate) struct Figures {
    pub(crate) received: u64,
    pub(crate) reads: u64,
    /// From when a message was due to when it was read, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    pub(crate) accepted: u64,
    pub(crate) publish_latency: Histogram<u64>,
    pub(crate) failed: u64,
    pub(crate) first_failure: Option<String>,
    pub(crate) closed: u64,
    pub(crate) first_end: Option<String>,
}

impl Figures {
    pub(crate) fn new() -> Self {
        let hour = 3_600_000_000_000;
        let histogram = || {
            Histogram::new_with_bounds(1, hour, 3)
                .expect("these bounds are in the histogram's range")
        };
        Self {
            received: 0,
            reads: 0,
            latency: histogram(),
            accepted: 0,
            publish_latency: histogram(),
            failed: 0,
            first_failure: None,
            closed: 0,
            first_end: None,
        }
    }
}
