//! Shared test code of this workspace; never published.

mod nats;
mod redis;
mod server;
mod tool;

pub use nats::NatsServer;
pub use redis::{RedisServer, SYNCED};
pub use server::free_port;
pub use tool::{Tool, tool};

/// Every way of handing over `input` that a decoder test runs: whole, byte by byte, and cut in two
/// at every split point.
pub fn chunkings(input: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let whole = std::iter::once(vec![input]);
    let bytes = std::iter::once(input.chunks(1).collect());
    let halves = (0..=input.len()).map(move |at| {
        let (head, tail) = input.split_at(at);
        vec![head, tail]
    });
    whole.chain(bytes).chain(halves)
}
