//! NATS servers of a test's own.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::server::Server;
use crate::{Tool, tool};

/// A `nats-server` on a free loopback port, with a folder of its own. It is killed, and the folder
/// removed, when this is dropped.
#[derive(Debug)]
pub struct NatsServer(Server);

impl NatsServer {
    /// Starts a server with JetStream.
    ///
    /// # Panics
    ///
    /// `nats-server` is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        // By default it takes a share of what room there is on the disk.
        Self::with_settings("jetstream { store_dir: \"FOLDER\", max_file_store: 16GB }")
    }

    /// Starts a server with these settings in its configuration file, where `FOLDER` stands for
    /// [`folder`](Self::folder).
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    #[must_use]
    pub fn with_settings(settings: &str) -> Self {
        let server = Server::new("nats");
        let settings = settings.replace("FOLDER", &server.folder().display().to_string());
        // Events of 1 MiB need more than the 1 MiB that a message may have by default.
        let port = server.port();
        let name = server_name(port);
        let config = format!(
            "listen: 127.0.0.1:{port}\nserver_name: {name}\nmax_payload: 2MB\n{settings}\n"
        );
        fs::write(server.folder().join("nats.conf"), config).expect("its configuration");
        let mut server = Self(server);
        server.up();
        server
    }

    /// Where it is or will be again.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port())
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.0.port()
    }

    /// Its process, unless it is down.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.0.pid()
    }

    /// Its files; those of JetStream are in `jetstream`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.0.folder()
    }

    /// Kills it with SIGKILL, if it runs.
    pub fn kill(&mut self) {
        self.0.kill();
    }

    /// Starts it again on the same port and files, and waits until it listens, which it does once
    /// JetStream is up.
    ///
    /// # Panics
    ///
    /// It does not start.
    pub fn up(&mut self) {
        let mut command = Command::new(tool(Tool::NatsServer));
        command.arg("-c").arg(self.folder().join("nats.conf"));
        let port = self.port();
        self.0.up(command, || greets(port).unwrap_or(false));
    }
}

/// What a server calls itself, so that no other is taken for it.
fn server_name(port: u16) -> String {
    format!("testkit-{}-{port}", std::process::id())
}

/// Does the server at this port greet as the one that was started there?
fn greets(port: u16) -> io::Result<bool> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut greeting = String::new();
    BufReader::new(stream).read_line(&mut greeting)?;
    Ok(greeting.contains(&server_name(port)))
}
