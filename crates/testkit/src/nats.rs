//! NATS servers of a test's own.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::redis::free_port;
use crate::{Tool, tool};

/// A `nats-server` on a free loopback port, with a folder of its own. It is killed, and the folder
/// removed, when this is dropped.
#[derive(Debug)]
pub struct NatsServer {
    folder: PathBuf,
    port: u16,
    /// `None` while it is down.
    child: Option<Child>,
}

impl NatsServer {
    /// Starts a server with JetStream.
    ///
    /// # Panics
    ///
    /// `nats-server` is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::with_settings("jetstream { store_dir: \"FOLDER\" }")
    }

    /// Starts a server with these settings in its configuration file, where `FOLDER` stands for
    /// [`folder`](Self::folder).
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    #[must_use]
    pub fn with_settings(settings: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("testkit-nats-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder for NATS");
        let port = free_port();
        let settings = settings.replace("FOLDER", &folder.display().to_string());
        // Events of 1 MiB need more than the 1 MiB that a message may have by default.
        let config = format!("listen: 127.0.0.1:{port}\nmax_payload: 2MB\n{settings}\n");
        fs::write(folder.join("nats.conf"), config).expect("its configuration");
        let mut server = Self {
            folder,
            port,
            child: None,
        };
        server.up();
        server
    }

    /// Where it is or will be again.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its files; those of JetStream are in `jetstream`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Kills it with SIGKILL, if it runs.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ended = child.kill();
            let _status = child.wait();
        }
    }

    /// Starts it again on the same port and files, and waits until it listens, which it does once
    /// JetStream is up.
    ///
    /// # Panics
    ///
    /// It does not start.
    pub fn up(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = self.folder.join("nats.log");
        let child = Command::new(tool(Tool::NatsServer))
            .arg("-c")
            .arg(self.folder.join("nats.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("its log"))
            .spawn();
        self.child = Some(child.expect("nats-server starts"));
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let log = fs::read_to_string(&log);
            assert!(Instant::now() < deadline, "NATS does not listen: {log:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
        // What is left lies in the folder for temporary files.
        let _removed = fs::remove_dir_all(&self.folder);
    }
}
