//! What an event costs, by the number of subscribers and of topics: allocations, writes, memory.
//!
//! Counted is what the thread of the hub does; clients have a thread of their own. The figures of a
//! run are in `docs/benchmarks.md`.
#![expect(
    clippy::print_stdout,
    reason = "the figures of a run, for who asks with --nocapture"
)]

mod counting;
mod publish;
mod topics;
