//! Numbers for tests whose cases are drawn: SplitMix64, from a seed that a failure shows.

use std::hash::{BuildHasher, RandomState};

pub(crate) struct Random(u64);

impl Random {
    /// Seeded anew each time, or from `TIDEGATE_TEST_SEED` to repeat a failure.
    pub(crate) fn new() -> Self {
        let seed = match std::env::var("TIDEGATE_TEST_SEED") {
            Ok(seed) => seed.parse().expect("TIDEGATE_TEST_SEED is a number"),
            Err(_) => RandomState::new().hash_one(0),
        };
        eprintln!("repeat with TIDEGATE_TEST_SEED={seed}");
        Self(seed)
    }

    /// Another source, for another thread.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
