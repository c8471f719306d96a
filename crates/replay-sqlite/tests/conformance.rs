//! The store passes the suite that every store must pass, on real files.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::stream::BoxStream;
use replay_sqlite::{SqliteConfig, SqliteStore};
use replay_store::conformance::{Factory, Setup};
use replay_store::{
    After, Append, Appended, Capabilities, Hint, Limit, Page, ReplayStore, Selector, StoreError,
    Topic, TopicInfo,
};
use tempfile::TempDir;

struct Sqlite;

/// A store in a folder of its own, which goes with it.
struct InFolder {
    store: SqliteStore,
    folder: TempDir,
}

fn open(folder: &Path, setup: &Setup) -> SqliteStore {
    static SEED: AtomicU64 = AtomicU64::new(1);
    let config = SqliteConfig {
        retention: setup.retention,
        rules: setup.rules.clone(),
        keys: setup.keys,
        max_event_bytes: setup.max_event_bytes,
        ..SqliteConfig::default()
    };
    let seeds = || SEED.fetch_add(1, Ordering::Relaxed);
    let path = folder.join("events.db");
    SqliteStore::open(&path, config, seeds, setup.clock.clock()).expect("the file opens")
}

impl Factory for Sqlite {
    type Store = InFolder;

    async fn fresh(&self, setup: &Setup) -> InFolder {
        let folder = tempfile::tempdir().expect("a folder");
        InFolder {
            store: open(folder.path(), setup),
            folder,
        }
    }

    async fn reopen(&self, old: InFolder, setup: &Setup) -> Option<InFolder> {
        let InFolder { store, folder } = old;
        drop(store);
        Some(InFolder {
            store: open(folder.path(), setup),
            folder,
        })
    }
}

impl ReplayStore for InFolder {
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

replay_store::conformance_tests!(Sqlite);
