//! A `nats-server` of the test's own, and stores on it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use replay_nats::{NatsConfig, NatsStore};
use tempfile::TempDir;
use testkit::NatsServer;

/// The machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Server(NatsServer);

impl Server {
    pub(crate) fn start() -> Self {
        Self(NatsServer::start())
    }

    pub(crate) fn with_settings(settings: &str) -> Self {
        Self(NatsServer::with_settings(settings))
    }

    pub(crate) fn with_password(user: &str, password: &str) -> Self {
        Self::with_settings(&format!(
            "jetstream {{ store_dir: \"FOLDER\", max_file_store: 16GB }}\n\
             authorization {{ user: \"{user}\", password: \"{password}\" }}"
        ))
    }

    pub(crate) const fn port(&self) -> u16 {
        self.0.port()
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill();
    }

    pub(crate) fn start_again(&mut self) {
        self.0.up();
    }

    pub(crate) fn restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// A copy of what JetStream has written.
    pub(crate) fn copy_files(&self) -> TempDir {
        let copy = tempfile::tempdir().expect("a folder");
        copy_all(&self.0.folder().join("jetstream"), copy.path());
        copy
    }

    /// Puts such a copy in place of what is there.
    pub(crate) fn put_back(&self, copy: &TempDir) {
        let files = self.0.folder().join("jetstream");
        fs::remove_dir_all(&files).expect("it is there");
        copy_all(copy.path(), &files);
    }

    pub(crate) fn config(&self) -> NatsConfig {
        NatsConfig {
            servers: self.0.url(),
            max_age: Duration::ZERO,
            max_bytes: 0,
            timeout: PATIENCE,
            ..NatsConfig::default()
        }
    }

    pub(crate) async fn open(&self) -> NatsStore {
        open(self.config()).await
    }
}

/// Opens a store, whose epochs are unlike those of any other.
pub(crate) async fn open(config: NatsConfig) -> NatsStore {
    use std::sync::atomic::{AtomicU64, Ordering};
    static SEED: AtomicU64 = AtomicU64::new(1);
    let seeds = || SEED.fetch_add(1, Ordering::Relaxed);
    NatsStore::open(config, seeds)
        .await
        .expect("the store opens")
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("it can be read");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_all(&from, &to);
        } else {
            fs::copy(&from, &to).expect("it can be copied");
        }
    }
}
