//! What the tests share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use replay_redis::RedisConfig;
use testkit::RedisServer;

/// A store that has the log of `server` for itself. The machine may be busy.
pub(crate) fn config(server: &RedisServer) -> RedisConfig {
    RedisConfig {
        timeout: Duration::from_secs(30),
        ..RedisConfig::new(server.url())
    }
}

/// Epochs that no other store of this process begins.
pub(crate) fn seeds() -> impl FnMut() -> u64 + Send + 'static {
    static SEED: AtomicU64 = AtomicU64::new(1);
    || SEED.fetch_add(1, Ordering::Relaxed)
}
