//! The memory store passes the suite that every store must pass.

use replay_store::conformance::{Factory, Setup};
use replay_store::{Epoch, MemoryConfig, MemoryStore};

struct Memory;

impl Factory for Memory {
    type Store = MemoryStore;

    async fn fresh(&self, setup: &Setup) -> MemoryStore {
        let config = MemoryConfig {
            retention: setup.retention,
            rules: setup.rules.clone(),
            keys: setup.keys,
            max_event_bytes: setup.max_event_bytes,
        };
        MemoryStore::new(config, Epoch(7), setup.clock.clock())
    }
}

replay_store::conformance_tests!(Memory);
