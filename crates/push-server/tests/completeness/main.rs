//! Order and completeness: thousands of subscribers that are cut at any byte and resume.
//!
//! Each keeps what it was told; when all is over, that is compared with the whole log. What was
//! delivered and what was announced as missing must be the log's suffix, in order, nothing twice.
#![expect(
    clippy::print_stdout,
    reason = "the figures of a run, for who asks with --nocapture"
)]

mod member;
mod oracle;
mod pipes;
mod sockets;

/// A number from the environment, for longer runs by hand.
fn setting(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |it| it.parse().expect("a number"))
}

/// SplitMix64: the same choices for the same seed.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}
