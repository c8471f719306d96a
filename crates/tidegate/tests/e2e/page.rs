//! The demo page and the browser client, in Chromium.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::hub::{Hub, MEMORY};
use crate::program::Program;

const SIDES: [&str; 2] = ["sse", "ws"];

/// The page of this hub, live on both sides.
#[track_caller]
fn open(hub: &Hub) -> Browser {
    let mut browser = Browser::start();
    browser.open(&hub.url("/?topic=demo"));
    wait_live(&mut browser);
    browser
}

#[track_caller]
fn wait_live(browser: &mut Browser) {
    browser.wait(
        "[...document.querySelectorAll('.state')].every((it) => it.dataset.state === 'live')",
    );
}

/// Waits until the last event on both sides has this data.
#[track_caller]
fn wait_for(browser: &mut Browser, data: &str) {
    for side in SIDES {
        browser.wait(&format!(
            "document.querySelector('#{side} li .data')?.textContent === {}",
            json!(data)
        ));
    }
}

/// Waits until the page says this of what was asked of it.
#[track_caller]
fn wait_report(browser: &mut Browser, beginning: &str) {
    browser.wait(&format!(
        "document.getElementById('report').textContent.startsWith({})",
        json!(beginning)
    ));
}

#[track_caller]
fn field(browser: &mut Browser, side: &str, name: &str) -> String {
    let value = browser.evaluate(&format!(
        "document.querySelector(`#{side} [data-field='{name}']`).textContent"
    ));
    value.as_str().expect("a text").to_owned()
}

/// The lines of one side, oldest first: id, text, and whether it is a gap.
#[track_caller]
fn lines(browser: &mut Browser, side: &str) -> Vec<(String, String, bool)> {
    let lines = browser.evaluate(&format!(
        "[...document.querySelectorAll('#{side} li')].reverse().map((it) => [
            it.querySelector('.id').title,
            it.querySelector('.data').textContent,
            it.classList.contains('gap'),
        ])"
    ));
    serde_json::from_value(lines).expect("lines")
}

#[track_caller]
fn data(browser: &mut Browser, side: &str) -> Vec<String> {
    lines(browser, side)
        .into_iter()
        .filter(|(.., gap)| !gap)
        .map(|(_, text, _)| text)
        .collect()
}

#[test]
fn the_page_shows_the_same_events_on_both_transports_and_publishes() {
    const MARKUP: &str = "<img src=x onerror=\"document.title='owned'\"> & </li>";
    let hub = Hub::start(MEMORY);
    let mut browser = open(&hub);
    browser.prefer("light");

    browser.fill("#data", "typed into the page");
    browser.press("#data", "Enter");
    wait_for(&mut browser, "typed into the page");
    hub.publish("demo", MARKUP);
    wait_for(&mut browser, MARKUP);
    hub.publish("elsewhere", "not for this page");
    let last = hub.publish("demo", "two\nlines");
    wait_for(&mut browser, "two\nlines");

    let [sse, ws] = SIDES.map(|side| lines(&mut browser, side));
    assert_eq!(sse, ws);
    let texts: Vec<_> = sse.iter().map(|(_, text, _)| text.as_str()).collect();
    assert_eq!(texts, ["typed into the page", MARKUP, "two\nlines"]);
    assert_eq!(
        browser.evaluate("document.querySelectorAll('li img').length"),
        0
    );
    assert_eq!(browser.evaluate("document.title"), "demo - Tidegate");
    for side in SIDES {
        assert_eq!(field(&mut browser, side, "events"), "3");
        assert_eq!(field(&mut browser, side, "id"), last);
        assert_eq!(field(&mut browser, side, "gaps"), "0");
        assert_eq!(field(&mut browser, side, "reconnects"), "0");
        let lag = field(&mut browser, side, "lag");
        let lag: u64 = lag
            .strip_suffix(" ms")
            .expect("a time")
            .parse()
            .expect("a number");
        assert!(
            lag < 60_000,
            "{side}: {lag} ms from publish to page on one machine"
        );
    }
    wait_report(&mut browser, "Published ");
    assert_eq!(browser.said(), [""; 0], "the console stays empty");

    check_picture(&mut browser, "page-light.png");
    browser.prefer("dark");
    check_picture(&mut browser, "page-dark.png");
    browser.resize(390, 844);
    check_picture(&mut browser, "page-narrow.png");
    let overflow = browser
        .evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth");
    assert_eq!(overflow, false, "a narrow page does not scroll sideways");
}

#[test]
fn the_page_shows_the_topics_of_a_pattern_and_publishes_to_one_of_them() {
    let hub = Hub::start(MEMORY);
    let mut browser = Browser::start();
    browser.open(&hub.url("/?topic=chat/**"));
    wait_live(&mut browser);
    hub.publish("chat/rooms/1", "from elsewhere");
    hub.publish("other", "not for this page");
    wait_for(&mut browser, "from elsewhere");
    browser.fill("#data", "typed");
    browser.press("#data", "Enter");
    wait_for(&mut browser, "typed");
    browser.fill("#to", "chat");
    browser.fill("#data", "to the shortest");
    browser.press("#data", "Enter");
    wait_for(&mut browser, "to the shortest");
    for side in SIDES {
        let topics = browser.evaluate(&format!(
            "[...document.querySelectorAll('#{side} li .topic')].reverse().map((it) => it.textContent)"
        ));
        assert_eq!(
            topics,
            json!(["chat/rooms/1", "chat/demo", "chat"]),
            "{side}"
        );
        assert_eq!(field(&mut browser, side, "gaps"), "0");
    }
    assert_eq!(browser.said(), [""; 0], "the console stays empty");
    browser.prefer("light");
    check_picture(&mut browser, "page-pattern.png");
    let commands = browser.evaluate("document.getElementById('commands').textContent");
    let watch = commands
        .as_str()
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .to_owned();
    assert!(watch.ends_with("/events?topic=chat/**'"), "{watch}");
    // What the page shows works in a shell.
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("exec {watch}")])
        .env("no_proxy", "*");
    let watcher = Program::start(shell);
    while !watcher.line().starts_with("event: $ready") {}
    hub.publish("chat/a", "seen by curl");
    while !watcher.line().contains("seen by curl") {}
}

/// The picture exists, and both sides are drawn in it where a person sees them.
#[track_caller]
fn check_picture(browser: &mut Browser, name: &str) {
    let path = browser.screenshot(name);
    let png = fs::read(&path).expect("it was saved");
    assert!(
        png.starts_with(b"\x89PNG") && png.len() > 10_000,
        "{} bytes",
        png.len()
    );
    let contrast = browser.evaluate(
        "(() => {
            const style = getComputedStyle(document.querySelector('#sse'))
            const light = (color) => color.match(/[\\d.]+/g).slice(0, 3).reduce((a, b) => a + +b, 0)
            return Math.abs(light(style.color) - light(style.backgroundColor))
        })()",
    );
    assert!(
        contrast.as_f64().unwrap() > 400.0,
        "ink stands out from its ground: {contrast}"
    );
    let drawn = browser.evaluate(
        "['sse', 'ws'].every((side) => {
            const item = document.querySelector(`#${side} li .data`)
            item.scrollIntoView()
            const box = item.getBoundingClientRect()
            return document.elementFromPoint(box.x + 2, box.y + box.height / 2) === item
        })",
    );
    assert_eq!(drawn, true, "{name}: nothing covers the events");
}

#[test]
fn dropped_connections_resume_on_both_sides_and_miss_nothing() {
    let hub = Hub::start(MEMORY);
    let mut browser = open(&hub);
    for number in 0..10 {
        hub.publish("demo", &number.to_string());
    }
    wait_for(&mut browser, "9");
    browser.click("#drop");
    // The click is not yet the request that drops them.
    wait_report(&mut browser, "Dropped. ");
    for number in 10..20 {
        hub.publish("demo", &number.to_string());
    }
    wait_for(&mut browser, "19");
    for side in SIDES {
        browser.wait(&format!(
            "document.querySelector(`#{side} [data-field='reconnects']`).textContent !== '0'"
        ));
    }
    wait_live(&mut browser);
    let expected: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    for side in SIDES {
        assert_eq!(data(&mut browser, side), expected, "{side}");
        assert_eq!(field(&mut browser, side, "reconnects"), "1", "{side}");
        assert_eq!(field(&mut browser, side, "gaps"), "0", "{side}");
    }
}

/// The page over a restart of the hub on this store; returns the gaps on each side.
#[track_caller]
fn over_a_restart(store: &str, picture: &str) -> [Vec<String>; 2] {
    let hub = Hub::start(store);
    let mut browser = open(&hub);
    hub.publish("demo", "before");
    wait_for(&mut browser, "before");
    let hub = hub.restart(store);
    hub.publish("demo", "after");
    wait_for(&mut browser, "after");
    wait_live(&mut browser);
    hub.publish("demo", "and on");
    wait_for(&mut browser, "and on");
    browser.screenshot(picture);
    SIDES.map(|side| {
        assert_eq!(
            data(&mut browser, side),
            ["before", "after", "and on"],
            "{side}"
        );
        let reconnects: u32 = field(&mut browser, side, "reconnects").parse().unwrap();
        assert!(reconnects >= 1, "{side}");
        let gaps: Vec<_> = lines(&mut browser, side)
            .into_iter()
            .filter(|(.., gap)| *gap)
            .map(|(_, text, _)| text)
            .collect();
        assert_eq!(
            field(&mut browser, side, "gaps"),
            gaps.len().to_string(),
            "{side}"
        );
        gaps
    })
}

#[test]
fn the_page_resumes_over_a_hub_restart_with_nothing_lost_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("events.db").display());
    let gaps = over_a_restart(&store, "page-restart-sqlite.png");
    assert_eq!(gaps, [const { Vec::<String>::new() }; 2]);
}

#[test]
fn the_page_shows_one_gap_over_a_hub_restart_on_memory_and_goes_on() {
    for gaps in over_a_restart(MEMORY, "page-restart-memory.png") {
        let [gap] = &gaps[..] else {
            panic!("{gaps:?}");
        };
        assert!(gap.starts_with("gap: epoch_changed after "), "{gap}");
    }
}

#[test]
fn the_page_comes_back_after_a_proxys_error_with_nothing_lost_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("events.db").display());
    let hub = Hub::start(&store);
    let mut browser = open(&hub);
    hub.publish("demo", "before");
    wait_for(&mut browser, "before");
    let address = hub.address().to_owned();
    hub.kill();
    // For EventSource any status but 200 is the end; the client must not take it for one.
    let proxy = BadGateway::start(&address);
    for side in SIDES {
        browser.wait(&format!(
            "document.querySelector('#{side} .state').textContent.startsWith('retry')"
        ));
    }
    proxy.stop();
    let hub = Hub::start_at(&address, &store);
    hub.publish("demo", "after");
    wait_for(&mut browser, "after");
    for side in SIDES {
        assert_eq!(data(&mut browser, side), ["before", "after"], "{side}");
        assert_eq!(field(&mut browser, side, "gaps"), "0", "{side}");
    }
}

/// Answers every request with 502, as a proxy does whose upstream is away.
struct BadGateway {
    stopped: Arc<AtomicBool>,
    address: String,
    thread: JoinHandle<()>,
}

impl BadGateway {
    fn start(address: &str) -> Self {
        let listener = TcpListener::bind(address).expect("the hub has left the address");
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        let thread = thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                // Browsers also connect ahead of time, and say nothing then.
                thread::spawn(move || {
                    let mut request = [0; 4096];
                    let _ = stream.read(&mut request);
                    let _ = stream.write_all(
                        b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                    );
                });
            }
        });
        Self {
            stopped,
            address: address.to_owned(),
            thread,
        }
    }

    /// Returns when the address is free again.
    fn stop(self) {
        self.stopped.store(true, Ordering::Release);
        let _ = TcpStream::connect(&self.address);
        self.thread.join().unwrap();
    }
}

/// What the browser client reports for these options, once `done` is true of its `log`.
#[track_caller]
fn client_log(browser: &mut Browser, options: &str, done: &str) -> Value {
    browser.evaluate(&format!(
        "import('/client.js').then(({{ connect }}) => {{
            const log = window.log = []
            const note = (kind) => (value) => log.push({{ kind, ...value }})
            window.subscription = connect({{
                onevent: note('event'), ongap: note('gap'), onready: note('ready'),
                onstate: note('state'), ...{options}
            }})
        }})"
    ));
    browser.wait(done);
    browser.evaluate("log")
}

#[test]
fn the_browser_client_ends_with_the_hubs_explanation_when_it_is_refused() {
    let hub = Hub::start(MEMORY);
    let mut browser = open(&hub);
    for transport in SIDES {
        let options = format!("{{ topics: ['a//b'], transport: '{transport}' }}");
        let log = client_log(&mut browser, &options, "log.at(-1)?.state === 'closed'");
        let last = log.as_array().unwrap().last().unwrap();
        let reason = last["reason"].as_str().expect("a reason");
        assert!(reason.contains("empty segment"), "{transport}: {reason}");
    }
}

#[test]
fn the_browser_client_begins_where_it_is_told_and_keeps_its_cursor() {
    let hub = Hub::start(MEMORY);
    let mut browser = open(&hub);
    for transport in SIDES {
        let ids = ["1", "2", "3"].map(|data| hub.publish(transport, data));
        let options = |after: &str| {
            format!(
                "{{ topics: ['{transport}'], transport: '{transport}', after: '{after}', \
                 storageKey: '{transport}' }}"
            )
        };
        let events = |log: &Value| -> Vec<String> {
            let events = log
                .as_array()
                .unwrap()
                .iter()
                .filter(|it| it["kind"] == "event");
            events
                .map(|event| event["data"].as_str().unwrap().to_owned())
                .collect()
        };
        let ready = "log.some((it) => it.kind === 'ready')";
        let log = client_log(&mut browser, &options(&ids[0]), ready);
        assert_eq!(events(&log), ["2", "3"], "{transport}");
        assert_eq!(
            browser.evaluate("subscription.cursor"),
            ids[2].as_str(),
            "{transport}"
        );

        browser.evaluate("subscription.close()");
        hub.publish(transport, "while away");
        // The stored cursor is newer than what the page says, so it wins.
        let log = client_log(&mut browser, &options("earliest"), ready);
        assert_eq!(events(&log), ["while away"], "{transport}");
        browser.evaluate("subscription.close()");
    }
}

#[test]
fn the_browser_client_draws_its_delays_from_zero_to_a_cap_of_30_s() {
    let hub = Hub::start(MEMORY);
    let mut browser = open(&hub);
    let delays = browser.evaluate(
        "import('/client.js').then(({ backoff }) =>
            [0, 1, 5, 6, 1000].map((n) => [backoff(n, () => 0), backoff(n, () => 0.999999)]))",
    );
    assert_eq!(
        delays,
        json!([[0, 499], [0, 999], [0, 15999], [0, 29999], [0, 29999]])
    );
}
