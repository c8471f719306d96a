//! Bounded fan-out: one log of encoded events, read by any number of readers of any speed.
#![forbid(unsafe_code)]

mod error;
mod lag;
mod log;
mod mark;
mod merge;
mod policy;
mod reader;
mod segment;
mod stream;
mod sync;
mod tail;
mod waiters;

#[cfg(test)]
mod tests;

pub use error::{ParsePolicyError, ReadError};
pub use lag::Lag;
pub use log::{Log, LogConfig};
pub use merge::Readers;
pub use policy::{Policy, Verdict};
pub use reader::{Chunk, Reader};
pub use stream::Chunks;
