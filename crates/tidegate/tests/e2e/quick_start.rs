//! What the README and the greeting of `tidegate dev` show works as it is written there.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::browser::Browser;
use crate::hub::{Hub, MEMORY, tidegate};
use crate::program::{PATIENCE, Program, run};

const README: &str = include_str!("../../../../README.md");
const CRATE_README: &str = include_str!("../../README.md");
const ITS_ADDRESS: &str = "127.0.0.1:8080";
const ITS_LOG: &str = "/var/log/dpkg.log";
const RUN: &str = "cargo run --release -p tidegate -- ";

/// A hub that what is shown is tried on, and a log that grows.
struct Trial {
    hub: Hub,
    folder: tempfile::TempDir,
}

impl Trial {
    fn new() -> Self {
        Self::of(Hub::start(MEMORY))
    }

    fn of(hub: Hub) -> Self {
        let trial = Self {
            hub,
            folder: tempfile::tempdir().unwrap(),
        };
        fs::write(trial.log(), "").unwrap();
        trial
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("dpkg.log")
    }

    /// The line as a shell runs it, with this hub's address and a log that the test may write.
    fn shell(&self, line: &str) -> Command {
        let line = line
            .replace(ITS_ADDRESS, self.hub.address())
            .replace(ITS_LOG, self.log().to_str().unwrap());
        let binary = Path::new(env!("CARGO_BIN_EXE_tidegate"));
        let mut path = binary.parent().unwrap().as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new("sh");
        command
            .args(["-c", &line])
            .env("PATH", path)
            .env("TIDEGATE_URL", self.hub.url(""))
            .env("no_proxy", "*");
        command
    }

    /// Runs a line that shows `tail -f .. | tidegate publish TOPIC`, and one that follows the
    /// topic; what is appended to the log must come out.
    #[track_caller]
    fn check_log(&self, publish: &str, follow: &str) {
        let _publisher = Group::start(&self.shell(publish));
        let mut number = 0;
        self.check_follower(follow, || {
            number += 1;
            let mut log = OpenOptions::new().append(true).open(self.log()).unwrap();
            writeln!(log, "status installed number {number}").unwrap();
            "status installed number "
        });
    }

    /// Runs a line that prints events, and `publish` until one comes out. A subscriber gets what
    /// is published after it came, and no line tells when it did.
    #[track_caller]
    fn check_follower(&self, follow: &str, mut publish: impl FnMut() -> &'static str) {
        let follower = Group::start(&self.shell(follow));
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "`{follow}` prints nothing");
            let expected = publish();
            if let Ok(line) = follower.0.output_within(Duration::from_millis(500)) {
                let line = String::from_utf8(line).unwrap();
                assert!(line.starts_with(expected), "{line}");
                return;
            }
        }
    }

    #[track_caller]
    fn check_curl(&self, watch: &str, publish: &str) {
        let watcher = Group::start(&self.shell(watch));
        while !watcher.0.line().starts_with("event: $ready") {}
        let published = run(self.shell(publish));
        assert_eq!(published.code, Some(0), "{}", published.stderr);
        assert!(published.stdout.contains("\"id\""), "{}", published.stdout);
        while watcher.0.line() != "data: hello" {}
    }
}

/// A shell and what it started, ended together.
pub(crate) struct Group(pub(crate) Program);

impl Group {
    pub(crate) fn start(command: &Command) -> Self {
        // `setsid` makes a group of which the shell is the leader.
        let mut group = Command::new("setsid");
        group.arg(command.get_program()).args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            group.current_dir(folder);
        }
        for (name, value) in command.get_envs() {
            group.env(name, value.expect("nothing is removed"));
        }
        Self(Program::start(group))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .args(["-s", "KILL", "--", &format!("-{}", self.0.pid())])
            .status();
    }
}

/// The lines of the `sh` blocks, without comments.
fn shown(readme: &'static str) -> Vec<&'static str> {
    let lines = code(readme, "sh").into_iter().flat_map(str::lines);
    let commands = lines.map(|line| line.split(" #").next().unwrap_or(line).trim());
    commands.filter(|command| !command.is_empty()).collect()
}

/// The code blocks of a language.
pub(crate) fn code(readme: &'static str, language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    let starts = readme
        .match_indices(&fence)
        .map(|(at, fence)| at + fence.len());
    starts
        .map(|at| readme[at..].split("```").next().expect("a block"))
        .collect()
}

/// The only line shown that contains all of `words`.
#[track_caller]
fn line(lines: &[&str], words: &[&str]) -> String {
    let found: Vec<_> = lines
        .iter()
        .filter(|line| words.iter().all(|word| line.contains(word)))
        .collect();
    assert_eq!(found.len(), 1, "{words:?}: {found:?}");
    (*found[0]).to_owned()
}

#[test]
fn the_readme_shows_no_line_that_these_tests_do_not_run() {
    for line in shown(README) {
        let known = line.starts_with(RUN)
            || line.starts_with("curl ")
            || line.starts_with("tail -f ")
            || line.starts_with("tidegate subscribe ")
            // Not run here: it is what runs this test, and it builds what is run here.
            || ["cargo xtask test", "cargo install --path crates/tidegate"].contains(&line);
        assert!(known, "`{line}` is run by no test");
    }
}

#[test]
fn the_readmes_hub_starts_at_the_address_it_names() {
    let line = line(&shown(README), &[RUN]);
    let arguments: Vec<_> = line.strip_prefix(RUN).unwrap().split_whitespace().collect();
    assert_eq!(arguments, ["dev"]);
    // The address is the default; to run beside other hubs the test must choose another.
    let help = run(tidegate(&["dev", "--help"])).stdout;
    assert!(
        help.contains(&format!("[default: {ITS_ADDRESS}]")),
        "{help}"
    );
    let mut command = tidegate(&arguments);
    command.env("TIDEGATE_LISTEN", "127.0.0.1:0");
    let hub = Program::start(command);
    assert!(hub.line().starts_with("Tidegate is up: http://127.0.0.1:"));
}

#[test]
fn the_readmes_curl_lines_watch_and_publish() {
    let lines = shown(README);
    Trial::new().check_curl(&line(&lines, &["curl -N"]), &line(&lines, &["curl -d"]));
}

#[test]
fn the_readmes_pipe_publishes_what_a_program_prints() {
    let lines = shown(README);
    let publish = line(&lines, &["tail -f", "| tidegate publish"]);
    let follow = line(&lines, &["tidegate subscribe"]);
    let trial = Trial::new();
    trial.check_log(&publish, &follow);
    trial.check_log(&publish, &format!("{follow} --ws"));
}

#[test]
fn the_readmes_script_receives_events_in_a_browser() {
    let trial = Trial::new();
    let mut browser = Browser::start();
    browser.open(&trial.hub.url("/"));
    let [script] = code(README, "js")[..] else {
        panic!("the README shows one script");
    };
    let script = script.replace(ITS_ADDRESS, trial.hub.address());
    browser.evaluate(&format!("(() => {{ {script}; window.shown = source }})()"));
    browser.wait("window.shown.readyState === 1");
    let began = Instant::now();
    while !browser
        .said()
        .iter()
        .any(|said| said.contains("seen by the script"))
    {
        assert!(began.elapsed() < PATIENCE, "{:?}", browser.said());
        trial.hub.publish("demo", "seen by the script");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_lines_of_the_crates_readme_work_together() {
    let lines = shown(CRATE_README);
    let [dev, subscribe, publish] = lines[..] else {
        panic!("{lines:?}");
    };
    assert_eq!(dev, "tidegate dev");
    let trial = Trial::new();
    trial.check_follower(subscribe, || {
        let published = run(trial.shell(publish));
        assert_eq!(published.code, Some(0), "{}", published.stderr);
        "hello"
    });
}

#[test]
fn the_lines_that_dev_prints_over_tls_work_as_printed() {
    let trial = Trial::of(Hub::start_with(&["--listen", "127.0.0.1:0", "--tls"]));
    let printed: Vec<_> = trial.hub.greeting().iter().map(String::as_str).collect();
    let publish = line(&printed, &["| tidegate publish", "https://", "--ca"]);
    trial.check_log(&publish, &line(&printed, &["tidegate subscribe", "--ca"]));
}

#[test]
fn the_lines_that_dev_prints_work_as_printed() {
    let trial = Trial::new();
    let printed: Vec<_> = trial.hub.greeting().iter().map(String::as_str).collect();
    trial.check_curl(&line(&printed, &["curl -N"]), &line(&printed, &["curl -d"]));
    let publish = line(&printed, &["| tidegate publish"]);
    trial.check_log(&publish, &line(&printed, &["tidegate subscribe"]));
    let url = printed[0].strip_prefix("Tidegate is up: ").unwrap();
    let page = run(crate::hub::curl(&["-f", url]));
    assert!(
        page.stdout.contains("<title>Tidegate</title>"),
        "{}",
        page.stderr
    );
}
