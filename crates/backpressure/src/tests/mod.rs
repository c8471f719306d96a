//! Tests that need what is private, and the loom models.
//!
//! The models run with `RUSTFLAGS="--cfg loom -C debug_assertions" LOOM_MAX_PREEMPTIONS=2
//! LOOM_MAX_BRANCHES=10000 cargo test -p backpressure --lib --release loom_`. Each was seen to fail
//! with the mistake that its comment names.

#[cfg(loom)]
mod loom_admission;
#[cfg(loom)]
mod loom_budget;
#[cfg(loom)]
mod loom_close;
#[cfg(loom)]
mod loom_drop;
#[cfg(loom)]
mod loom_evict;
#[cfg(loom)]
mod loom_head;
#[cfg(loom)]
mod loom_merge;
#[cfg(loom)]
mod loom_queue;
#[cfg(loom)]
mod loom_segment;
#[cfg(loom)]
mod loom_shard;
#[cfg(loom)]
mod loom_wake;
#[cfg(not(loom))]
mod poison;
