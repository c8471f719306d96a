//! Inputs of the benchmarks, and the work that is measured. Every run gives an answer that is
//! checked: a benchmark that decodes wrongly fails.

pub mod fan_out;
pub mod hub;
pub mod sse;
pub mod stores;
pub mod ws;
