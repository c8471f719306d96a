//! A `nats-server` of the test's own, on a free port and in a folder of its own.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use replay_nats::{NatsConfig, NatsStore};
use tempfile::TempDir;
use testkit::{Tool, tool};

pub(crate) struct Server {
    port: u16,
    folder: TempDir,
    process: Child,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(|folder| format!("jetstream {{ store_dir: \"{folder}\" }}"))
    }

    pub(crate) fn without_jetstream() -> Self {
        Self::with(|_| String::new())
    }

    pub(crate) fn with_password(user: &str, password: &str) -> Self {
        Self::with(|folder| {
            format!(
                "jetstream {{ store_dir: \"{folder}\" }}\n\
                 authorization {{ user: \"{user}\", password: \"{password}\" }}"
            )
        })
    }

    fn with(settings: impl FnOnce(&str) -> String) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let free = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let settings = settings(&folder.path().display().to_string());
        let config = format!("listen: 127.0.0.1:{port}\nmax_payload: 2MB\n{settings}\n");
        fs::write(folder.path().join("nats.conf"), config).expect("a file");
        let process = spawn(&folder, port);
        Self {
            port,
            folder,
            process,
        }
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Kills it as kill -9 would.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }

    /// Starts it again after [`kill`](Self::kill).
    pub(crate) fn start_again(&mut self) {
        self.process = spawn(&self.folder, self.port);
    }

    pub(crate) fn restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// A copy of what JetStream has written.
    pub(crate) fn copy_files(&self) -> TempDir {
        let copy = tempfile::tempdir().expect("a folder");
        copy_all(&self.folder.path().join("jetstream"), copy.path());
        copy
    }

    /// Puts such a copy in place of what is there.
    pub(crate) fn put_back(&self, copy: &TempDir) {
        let files = self.folder.path().join("jetstream");
        fs::remove_dir_all(&files).expect("it is there");
        copy_all(copy.path(), &files);
    }

    pub(crate) fn config(&self) -> NatsConfig {
        NatsConfig {
            servers: format!("nats://127.0.0.1:{}", self.port),
            max_age: Duration::ZERO,
            max_bytes: 0,
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

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(folder: &TempDir, port: u16) -> Child {
    let log = fs::File::create(folder.path().join("nats.log")).expect("a file");
    let mut process = Command::new(tool(Tool::NatsServer))
        .arg("-c")
        .arg(folder.path().join("nats.conf"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("nats-server starts");
    let began = Instant::now();
    // It listens once JetStream is up.
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Some(status) = process.try_wait().expect("it can be asked") {
            let log = fs::read_to_string(folder.path().join("nats.log")).unwrap_or_default();
            panic!("nats-server ended with {status}: {log}");
        }
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "nats-server is slow"
        );
        thread::sleep(Duration::from_millis(5));
    }
    process
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
