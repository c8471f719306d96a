//! Redis servers of a test's own.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::server::Server;
use crate::{Tool, tool};

/// A `redis-server` on a free loopback port, with a folder of its own. It is killed, and the folder
/// removed, when this is dropped.
#[derive(Debug)]
pub struct RedisServer {
    server: Server,
    settings: Vec<String>,
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
        let mut server = Self {
            server: Server::new("redis"),
            settings: settings.iter().map(|it| (*it).to_owned()).collect(),
        };
        server.up();
        server
    }

    /// Where it is or will be again.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.server.port()
    }

    /// Its process, unless it is down.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Its files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.server.folder()
    }

    /// Kills it with SIGKILL, if it runs.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it again on the same port and files, and waits until it serves.
    ///
    /// # Panics
    ///
    /// It does not start.
    pub fn up(&mut self) {
        let mut command = Command::new(tool(Tool::RedisServer));
        let folder = self.folder().display().to_string();
        let port = self.port();
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--dir", &folder, "--save", ""]);
        for setting in &self.settings {
            let (name, value) = setting.split_once(' ').expect("NAME VALUE");
            command.args([&format!("--{name}"), value]);
        }
        let serves = |answer: String| answer == "+PONG" || answer.starts_with("-NOAUTH");
        let ping = || try_command(port, "PING").is_ok_and(serves);
        self.server.up(command, ping);
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
        try_command(self.port(), line).expect("Redis answers")
    }
}

fn try_command(port: u16, line: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    // The server closes the connection after QUIT, which ends the answer.
    stream.write_all(format!("{line}\r\nQUIT\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let answer = answer.trim_end();
    let answer = answer.strip_suffix("+OK").unwrap_or(answer);
    Ok(answer.trim_end().to_owned())
}
