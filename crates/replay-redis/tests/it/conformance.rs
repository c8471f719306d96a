//! The store passes the suite that every store must pass, each case on a Redis of its own. To reopen
//! is to kill that with SIGKILL and to start it again.

use std::sync::LazyLock;

use futures::stream::BoxStream;
use replay_redis::{RedisConfig, RedisStore};
use replay_store::conformance::{Factory, Setup};
use replay_store::{
    After, Append, Appended, Capabilities, Hint, Limit, Page, ReplayStore, Selector, StoreError,
    Topic, TopicInfo,
};
use testkit::{RedisServer, SYNCED};
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

struct Redis;

struct OnServer {
    store: RedisStore,
    server: RedisServer,
}

/// Only connecting needs the runtime; what runs on it serves futures that run anywhere.
async fn connect(server: &RedisServer, setup: &Setup) -> RedisStore {
    let config = RedisConfig {
        retention: setup.retention,
        rules: setup.rules.clone(),
        keys: setup.keys,
        max_event_bytes: setup.max_event_bytes,
        ..crate::support::config(server)
    };
    let connected = RedisStore::connect(config, crate::support::seeds(), setup.clock.clock());
    let connected = RUNTIME.spawn(connected).await.expect("it does not panic");
    connected.expect("Redis can be used")
}

impl Factory for Redis {
    type Store = OnServer;

    async fn fresh(&self, setup: &Setup) -> OnServer {
        let server = RedisServer::start(&SYNCED);
        OnServer {
            store: connect(&server, setup).await,
            server,
        }
    }

    async fn reopen(&self, old: OnServer, setup: &Setup) -> Option<OnServer> {
        let OnServer { store, mut server } = old;
        drop(store);
        server.kill();
        server.up();
        Some(OnServer {
            store: connect(&server, setup).await,
            server,
        })
    }
}

impl ReplayStore for OnServer {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        self.store.append(batch).await
    }

    async fn read(
        &self,
        selector: &Selector,
        after: After,
        limit: Limit,
    ) -> Result<Page, StoreError> {
        self.store.read(selector, after, limit).await
    }

    async fn trim(&self, selector: &Selector, through: u64) -> Result<(), StoreError> {
        self.store.trim(selector, through).await
    }

    async fn topics(
        &self,
        selector: &Selector,
        after: Option<&Topic>,
        limit: usize,
    ) -> Result<Vec<TopicInfo>, StoreError> {
        self.store.topics(selector, after, limit).await
    }

    fn hints(&self) -> Option<BoxStream<'static, Hint>> {
        self.store.hints()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.store.close().await
    }
}

replay_store::conformance_tests!(Redis);
