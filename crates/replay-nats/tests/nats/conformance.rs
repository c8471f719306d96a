//! The store passes the suite that every store must pass, on a real server with files.

use std::sync::LazyLock;

use futures::stream::BoxStream;
use replay_nats::{NatsConfig, NatsStore};
use replay_store::conformance::{Factory, Setup};
use replay_store::{
    After, Append, Appended, Capabilities, Hint, Limit, Page, ReplayStore, Selector, StoreError,
};
use tokio::runtime::Runtime;

use crate::server::{Server, open};

struct Nats;

/// A store on a server of its own, which goes with it.
struct OnServer {
    store: NatsStore,
    server: Server,
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

fn config(server: &Server, setup: &Setup) -> NatsConfig {
    NatsConfig {
        dedup_window: setup.keys.age,
        max_event_bytes: setup.max_event_bytes,
        ..server.config()
    }
}

/// The cases run their futures themselves; the store's own tasks need a runtime.
async fn open_in_runtime(config: NatsConfig) -> NatsStore {
    RUNTIME.spawn(open(config)).await.expect("the store opens")
}

impl Factory for Nats {
    type Store = OnServer;

    /// The server's own clock counts.
    const TURNABLE_CLOCK: bool = false;
    /// The server bounds keys by age alone.
    const COUNTED_KEYS: bool = false;

    async fn fresh(&self, setup: &Setup) -> OnServer {
        let server = Server::start();
        OnServer {
            store: open_in_runtime(config(&server, setup)).await,
            server,
        }
    }

    async fn reopen(&self, old: OnServer, setup: &Setup) -> Option<OnServer> {
        let OnServer { store, mut server } = old;
        drop(store);
        server.restart();
        Some(OnServer {
            store: open_in_runtime(config(&server, setup)).await,
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

    fn hints(&self) -> Option<BoxStream<'static, Hint>> {
        self.store.hints()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.store.close().await
    }
}

replay_store::conformance_tests!(Nats);
