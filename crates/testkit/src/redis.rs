//! Redis servers of a test's own.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Tool, tool};

/// A `redis-server` on a free loopback port, with a folder of its own. It is killed, and the folder
/// removed, when this is dropped.
#[derive(Debug)]
pub struct RedisServer {
    folder: PathBuf,
    port: u16,
    settings: Vec<String>,
    /// `None` while it is down.
    child: Option<Child>,
}

/// Everything acknowledged is on disk.
pub const SYNCED: [&str; 2] = ["appendonly yes", "appendfsync always"];

impl RedisServer {
    /// Starts a server with these settings, each as in its configuration file.
    ///
    /// # Panics
    ///
    /// `redis-server` is not installed or does not start.
    #[must_use]
    pub fn start(settings: &[&str]) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("testkit-redis-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder for Redis");
        let mut server = Self {
            folder,
            port: free_port(),
            settings: settings.iter().map(|it| (*it).to_owned()).collect(),
            child: None,
        };
        server.up();
        server
    }

    /// Where it is or will be again.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its files.
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

    /// Starts it again on the same port and files, and waits until it serves.
    ///
    /// # Panics
    ///
    /// It does not start.
    pub fn up(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let mut command = Command::new(tool(Tool::RedisServer));
        let folder = self.folder.display().to_string();
        let port = self.port.to_string();
        command.args(["--bind", "127.0.0.1", "--port", &port, "--dir", &folder]);
        command.args(["--save", "", "--logfile", "redis.log"]);
        for setting in &self.settings {
            let (name, value) = setting.split_once(' ').expect("NAME VALUE");
            command.args([&format!("--{name}"), value]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        self.child = Some(command.spawn().expect("redis-server starts"));
        let deadline = Instant::now() + Duration::from_secs(60);
        let serves = |answer: String| answer == "+PONG" || answer.starts_with("-NOAUTH");
        while !self.try_command("PING").is_ok_and(serves) {
            let log = fs::read_to_string(self.folder.join("redis.log"));
            assert!(Instant::now() < deadline, "Redis does not serve: {log:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Runs one command, its words separated by spaces; the raw answer.
    ///
    /// # Panics
    ///
    /// The server does not answer.
    #[expect(
        clippy::must_use_candidate,
        reason = "most commands are sent for what they do"
    )]
    pub fn command(&self, line: &str) -> String {
        self.try_command(line).expect("Redis answers")
    }

    fn try_command(&self, line: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        // The server closes the connection after QUIT, which ends the answer.
        stream.write_all(format!("{line}\r\nQUIT\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let answer = answer.trim_end();
        Ok(answer
            .strip_suffix("+OK")
            .unwrap_or(answer)
            .trim_end()
            .to_owned())
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        // What is left lies in the folder for temporary files.
        let _removed = fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}
