//! The pages of `docs/` that show a task: every line of a shell that they show is run as shown.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::admin::Metrics;
use crate::browser::Browser;
use crate::hub::{Hub, curl_json, tidegate};
use crate::program::{PATIENCE, run};
use crate::quick_start::{Group, code};

const ADDRESS: &str = "127.0.0.1:8080";
const ADMIN: &str = "127.0.0.1:9090";

/// A folder in which a page is followed, with the hub that it speaks of.
struct Reader {
    folder: tempfile::TempDir,
    hub: Option<Hub>,
    /// What follows the log until it is ended.
    followers: Vec<Group>,
}

impl Reader {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut serve = tidegate(&["serve", "--listen", "127.0.0.1:0"]);
        serve.env("TIDEGATE_ADMIN", "127.0.0.1:0");
        serve.current_dir(folder.path());
        Self {
            hub: Some(Hub::run(serve)),
            folder,
            followers: Vec::new(),
        }
    }

    fn hub(&self) -> &Hub {
        self.hub.as_ref().expect("a hub runs")
    }

    /// The line as a shell runs it in this folder, for this hub.
    fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        let address = self.hub.as_ref().map_or(ADDRESS, Hub::address);
        let admin = self.hub.as_ref().map(|hub| hub.admin(""));
        let admin = admin.as_deref().and_then(|url| url.strip_prefix("http://"));
        let binary = Path::new(env!("CARGO_BIN_EXE_tidegate"));
        let mut path = binary.parent().unwrap().as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        command
            .args([
                "-c",
                &line
                    .replace(ADDRESS, address)
                    .replace(ADMIN, admin.unwrap_or(ADMIN)),
            ])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("TIDEGATE_URL", format!("http://{address}"))
            .env("TIDEGATE_LISTEN", "127.0.0.1:0")
            .env("TIDEGATE_ADMIN", "127.0.0.1:0")
            .env("no_proxy", "*");
        command
    }

    fn block(&mut self, block: &str) {
        // Where a page starts a hub, the one before has ended.
        if block.contains("tidegate serve")
            && let Some(hub) = self.hub.take()
        {
            let (status, _) = hub.end_with("TERM");
            assert!(status.success(), "{status}");
        }
        for line in block.lines().filter(|line| !line.is_empty()) {
            self.line(line);
        }
    }

    fn line(&mut self, line: &str) {
        if line.contains("tidegate serve") {
            self.hub = None;
            let (variable, serve) = line.split_at(line.find("tidegate").unwrap());
            self.hub = Some(Hub::run(self.shell(&format!("{variable}exec {serve}"))));
        } else if line.contains("curl -N") || line.starts_with("tidegate subscribe") {
            self.followers.push(Group::start(&self.shell(line)));
        } else {
            let shown = line.replace("curl ", "curl -sS --fail-with-body ");
            let finished = run(self.shell(&shown));
            let (code, stderr) = (finished.code, finished.stderr);
            assert_eq!(code, Some(0), "`{line}`: {stderr}{}", finished.stdout);
        }
    }
}

/// Follows a page from its top to its end.
#[track_caller]
fn follow(page: &'static str) -> Reader {
    let mut reader = Reader::new();
    let blocks = code(page, "sh");
    assert!(!blocks.is_empty());
    for block in blocks {
        reader.block(block);
    }
    reader
}

/// Topic and data of everything that the hub has.
fn all(hub: &Hub) -> Vec<(String, String)> {
    let page = curl_json(&["-f", &hub.url("/history?topic=**&limit=1000")]);
    let events = page["events"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    events
        .map(|it| (text(&it["topic"]), text(&it["data"])))
        .collect()
}

#[test]
fn the_page_on_publishing() {
    let reader = follow(include_str!("../../../../docs/publish.md"));
    let events = all(reader.hub());
    let events: Vec<_> = events
        .iter()
        .map(|(topic, data)| (&**topic, &**data))
        .collect();
    assert_eq!(
        events,
        [
            ("demo", "hello"),
            ("shop/apples", "12.50"),
            ("orders/42", "paid"),
            ("demo", "a line is an event"),
            ("demo", "one event"),
            ("orders/43", "paid"),
            ("stock", "-1"),
        ]
    );
}

#[test]
fn the_page_on_subscribing() {
    let page = include_str!("../../../../docs/subscribe.md");
    let reader = follow(page);
    let [one, several, ours, sockets] = &reader.followers[..] else {
        panic!("{} followers", reader.followers.len());
    };
    let mut browser = Browser::start();
    // A page of another origin may not read from this hub.
    browser.open(&reader.hub().url("/nothing-here"));
    let script = code(page, "js")[0].replace(ADDRESS, reader.hub().address());
    browser.evaluate(&format!("(() => {{ {script}; window.shown = source }})()"));
    browser.wait("window.shown.readyState === 1");
    let follows = |it: &Group, text: &str| it.0.seen().contains(text);
    let (chat, alert) = ("news of chat/1/messages", "news of alerts/fire");
    // No line tells when a subscription begins.
    let began = Instant::now();
    while !follows(one, "news of demo")
        || !follows(several, chat)
        || !follows(several, alert)
        || !follows(ours, chat)
        || !follows(ours, alert)
        || !follows(sockets, alert)
        || !browser
            .said()
            .iter()
            .any(|it| it.contains("chat/1/messages"))
    {
        assert!(began.elapsed() < PATIENCE, "{:?}", browser.said());
        for topic in ["demo", "chat/1/messages", "alerts/fire"] {
            reader.hub().publish(topic, &format!("news of {topic}"));
        }
        thread::sleep(Duration::from_millis(300));
    }
    for follower in [several, ours, sockets] {
        assert!(!follows(follower, "news of demo"));
    }
    assert!(!follows(sockets, chat));
}

#[test]
fn the_page_on_reading() {
    follow(include_str!("../../../../docs/history.md"));
}

#[test]
fn the_page_on_retention() {
    let reader = follow(include_str!("../../../../docs/retention.md"));
    // The last hub that it starts takes its rules from the environment.
    for number in 0..60 {
        reader.hub().publish("chat/lobby", &number.to_string());
    }
    assert_eq!(all(reader.hub()).len(), 50);
}

#[test]
fn the_page_on_ending() {
    let mut reader = follow(include_str!("../../../../docs/end.md"));
    let subscriber = &mut reader.followers[0].0;
    let (status, _) = subscriber.wait();
    assert!(status.success(), "{status}");
    assert_eq!(subscriber.line(), "100 %");
    assert_eq!(subscriber.output(), None);
    subscriber.wait_for_stderr("jobs/7 has ended");
}

#[test]
fn the_page_on_purging() {
    let mut reader = Reader::new();
    for topic in ["sessions/42", "drafts/a/b", "kept"] {
        reader.hub().publish(topic, "data");
    }
    for block in code(include_str!("../../../../docs/purge.md"), "sh") {
        reader.block(block);
    }
    assert_eq!(all(reader.hub()), [("kept".to_owned(), "data".to_owned())]);
}

#[test]
fn the_page_on_backups() {
    let mut reader = Reader::new();
    reader.hub().publish("t", "before");
    let [back_up, restore] = code(include_str!("../../../../docs/backup.md"), "sh")[..] else {
        panic!("two blocks");
    };
    reader.block(back_up);
    reader.hub().publish("t", "after");
    reader.block(restore);
    assert_eq!(all(reader.hub()), [("t".to_owned(), "before".to_owned())]);
}

#[test]
fn the_page_on_watching() {
    let page = include_str!("../../../../docs/metrics.md");
    let reader = follow(page);
    let metrics = Metrics::scrape(reader.hub());
    let table = metrics.table();
    assert!(
        page.contains(&table),
        "the page should have this table:\n{table}"
    );
    let word = |it: char| !it.is_ascii_alphanumeric() && it != '_';
    let named = page
        .split(word)
        .filter(|it| it.starts_with("tidegate_") || it.starts_with("process_"));
    for name in named {
        assert!(metrics.has(name), "{name} is not counted");
    }
}
