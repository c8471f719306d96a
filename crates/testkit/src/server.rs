//! A foreign server of a test's own.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A program with a loopback port and a folder of its own. It is killed, and the folder removed, when
/// this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    folder: PathBuf,
    port: u16,
    /// `None` while it is down.
    child: Option<Child>,
}

impl Server {
    /// Chooses a free port and makes the folder; starts nothing.
    pub(crate) fn new(name: &'static str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = format!("testkit-{name}-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).expect("a folder for the server");
        Self {
            name,
            folder,
            port: free_port(),
            child: None,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Runs it, and waits until it serves. What it says is in `server.log`.
    pub(crate) fn up(&mut self, mut command: Command, serves: impl Fn() -> bool) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = self.folder.join("server.log");
        let file = fs::File::create(&log).expect("its log");
        command
            .stdin(Stdio::null())
            .stderr(file.try_clone().expect("its log"));
        command.stdout(file);
        let child = command.spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("{}: {error}", self.name)));
        let deadline = Instant::now() + Duration::from_secs(60);
        while !serves() {
            assert!(
                Instant::now() < deadline,
                "{} does not serve: {:?}",
                self.name,
                fs::read_to_string(&log)
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it with SIGKILL, if it runs.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ended = child.kill();
            let _status = child.wait();
        }
    }
}

/// A free port of the loopback address below those that the system gives to clients: one of these could
/// be taken by a connection before a server is up, or while it restarts, and a client that asks for the
/// server there could be connected with itself. No two calls in a process get the same.
///
/// # Panics
///
/// When there is none.
pub fn free_port() -> u16 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let own = u64::from(std::process::id()) * 4_099;
    for _ in 0..20_000 {
        let tried = own + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + u16::try_from(tried % 20_000).expect("below 20,000");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free from 10,000 to 30,000");
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        // What is left lies in the folder for temporary files.
        let _removed = fs::remove_dir_all(&self.folder);
    }
}
