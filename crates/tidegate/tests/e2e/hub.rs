//! A hub under test, on a port of its own.

use std::process::{Command, ExitStatus};
use std::time::Duration;

use serde_json::Value;
use testkit::{Tool, free_port, tool};

use crate::program::{Program, run};
use crate::raw::Http;

pub(crate) const MEMORY: &str = "memory";

/// `tidegate` with these arguments, free of what the environment says about a hub.
pub(crate) fn tidegate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEGATE_") {
            command.env_remove(name);
        }
    }
    // The default port has room for one hub.
    command.env("TIDEGATE_ADMIN", "off").args(arguments);
    command
}

/// Where no client's connection and no hub without an address of its own comes to lie while the hub
/// that listens there is down.
pub(crate) fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}

pub(crate) struct Hub {
    program: Program,
    address: String,
    greeting: Vec<String>,
}

impl Hub {
    /// At an address where it can be started again.
    pub(crate) fn start(store: &str) -> Self {
        Self::start_at(&free_address(), store)
    }

    pub(crate) fn start_at(listen: &str, store: &str) -> Self {
        Self::start_with(&["--listen", listen, "--store", store])
    }

    /// `tidegate dev` with these options.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        Self::run(tidegate(&[&["dev"], options].concat()))
    }

    /// `tidegate serve` on a free port, with these arguments.
    pub(crate) fn serve(arguments: &[&str]) -> Self {
        let serve = ["serve", "--listen", "127.0.0.1:0"];
        Self::run(tidegate(&[&serve, arguments].concat()))
    }

    /// A command that starts a hub.
    pub(crate) fn run(command: Command) -> Self {
        let program = Program::start(command);
        let mut greeting = vec![program.line()];
        let address = greeting[0]
            .strip_prefix("Tidegate is up: ")
            .and_then(|url| url.split_once("://")?.1.strip_suffix('/'))
            .unwrap_or_else(|| panic!("no address in {greeting:?}"))
            .to_owned();
        while greeting
            .last()
            .is_some_and(|line| line != "Ctrl-C ends it.")
        {
            greeting.push(program.line());
        }
        Self {
            program,
            address,
            greeting,
        }
    }

    /// Where its admin listener is.
    #[track_caller]
    pub(crate) fn admin(&self, path: &str) -> String {
        let line = self
            .greeting
            .iter()
            .find_map(|line| line.strip_prefix("Admin: "));
        let (url, _) = line
            .and_then(|line| line.split_once("/status "))
            .expect("an admin listener");
        format!("{url}{path}")
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it printed when it started.
    pub(crate) fn greeting(&self) -> &[String] {
        &self.greeting
    }

    pub(crate) fn http(&self) -> Http {
        Http::connect(&self.address)
    }

    /// Publishes one event and returns its id.
    #[track_caller]
    pub(crate) fn publish(&self, topic: &str, data: &str) -> String {
        self.http().publish(topic, data)
    }

    /// Cuts off all subscribers.
    pub(crate) fn drop_connections(&self) {
        let answer = self.http().request("POST", "/dev/drop", &[], b"");
        assert_eq!(answer.status, 204);
    }

    /// `tidegate` with these arguments and this hub's address.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = tidegate(arguments);
        command.env("TIDEGATE_URL", self.url(""));
        command
    }

    /// Asks it to end with a signal, and returns how it did and how long that took.
    pub(crate) fn end_with(mut self, signal: &str) -> (ExitStatus, Duration) {
        self.program.signal(signal);
        self.program.wait()
    }

    /// Ends it in order, and returns all that it has logged.
    pub(crate) fn into_log(mut self) -> String {
        self.program.signal("TERM");
        self.program.wait();
        self.program.stderr()
    }

    /// Ends it without a farewell.
    pub(crate) fn kill(mut self) {
        self.program.kill();
    }

    /// Ends it in order and starts it again at the same address.
    #[track_caller]
    pub(crate) fn restart(self, store: &str) -> Self {
        let address = self.address.clone();
        let (status, _) = self.end_with("TERM");
        assert!(status.success(), "{status}");
        Self::start_at(&address, store)
    }

    /// What it has logged.
    pub(crate) fn stderr(&self) -> String {
        self.program.stderr()
    }

    /// Waits until it has logged `text`.
    #[track_caller]
    pub(crate) fn wait_for_stderr(&self, text: &str) {
        self.program.wait_for_stderr(text);
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        self.program.signal(name);
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// Its resident memory now, and the most it ever had, in bytes.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let path = format!("/proc/{}/status", self.program.pid());
        let status = std::fs::read_to_string(path).expect("the hub runs, on Linux");
        let field = |name: &str| {
            let line = status
                .lines()
                .find(|line| line.starts_with(name))
                .expect("Linux tells");
            let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            kib * 1024
        };
        (field("VmRSS:"), field("VmHWM:"))
    }
}

/// `curl -sS` with these arguments.
pub(crate) fn curl(arguments: &[&str]) -> Command {
    let mut command = Command::new(tool(Tool::Curl));
    command.args(["-sS", "--noproxy", "*"]).args(arguments);
    command
}

/// The answer of a `curl` that ran to its end, read as JSON.
#[track_caller]
pub(crate) fn curl_json(arguments: &[&str]) -> Value {
    let finished = run(curl(arguments));
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error} in {}", finished.stdout))
}
