//! The admin listener, as Prometheus, a load balancer and an operator use it.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Tool, tool};

use crate::hub::{Hub, curl, curl_json, tidegate};
use crate::program::{PATIENCE, Program, run};
use crate::raw::Http;
use crate::subscription::{Make, Subscription};

const ADMIN: &str = "127.0.0.1:0";

/// The samples of a page by name and labels, and the type of each family.
#[derive(Debug)]
pub(crate) struct Metrics {
    types: BTreeMap<String, String>,
    helps: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Metrics {
    #[track_caller]
    pub(crate) fn scrape(hub: &Hub) -> Self {
        Self::scrape_as(hub, "prometheus", "text/plain")
    }

    /// Asked for by curl, read by what Prometheus gives to Python programs.
    #[track_caller]
    fn scrape_as(hub: &Hub, format: &str, kind: &str) -> Self {
        let accept = format!("accept: {kind}");
        let page = run(curl(&["-f", "-H", &accept, &hub.admin("/metrics")]));
        assert_eq!(page.code, Some(0), "{}", page.stderr);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &page.stdout).unwrap();
        let mut parser = Command::new(tool(Tool::Python));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/metrics.py");
        parser.args([script, format]).arg(file.path());
        let parsed = run(parser);
        assert_eq!(parsed.code, Some(0), "{} of {}", parsed.stderr, page.stdout);
        let families: Value = serde_json::from_str(&parsed.stdout).unwrap();
        let mut metrics = Self {
            types: BTreeMap::new(),
            helps: BTreeMap::new(),
            samples: BTreeMap::new(),
        };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        for family in families.as_array().unwrap() {
            let name = text(&family["name"]);
            metrics.helps.insert(name.clone(), text(&family["help"]));
            let twice = metrics.types.insert(name, text(&family["type"]));
            assert_eq!(twice, None);
            for sample in family["samples"].as_array().unwrap() {
                let labels = sample[1].as_object().unwrap().iter();
                let labels: Vec<_> = labels
                    .map(|(name, it)| format!("{name}={}", text(it)))
                    .collect();
                let name = format!("{} {}", text(&sample[0]), labels.join(","));
                metrics
                    .samples
                    .insert(name.trim().to_owned(), sample[2].as_f64().unwrap());
            }
        }
        metrics
    }

    /// The names of a family's samples, and those of their labels.
    fn samples_of(&self, family: &str) -> Vec<(&str, Vec<&str>)> {
        let is_of = |name: &str| {
            let suffix = name.strip_prefix(family);
            suffix.is_some_and(|it| ["", "_total", "_bucket", "_count", "_sum"].contains(&it))
        };
        let samples = self.samples.keys().map(|sample| {
            let (name, labels) = sample.split_once(' ').unwrap_or((sample, ""));
            let labels = labels
                .split(',')
                .filter_map(|it| Some(it.split_once('=')?.0));
            (name, labels.filter(|it| *it != "le").collect())
        });
        samples.filter(|(name, _)| is_of(name)).collect()
    }

    /// All families, as `docs/metrics.md` has them.
    pub(crate) fn table(&self) -> String {
        let mut table = "| name | type | labels | what it counts |\n|---|---|---|---|\n".to_owned();
        for (family, kind) in &self.types {
            let samples = self.samples_of(family);
            let suffix = if kind == "counter" { "_total" } else { "" };
            let mut labels: Vec<_> = samples[0].1.iter().map(|it| format!("`{it}`")).collect();
            labels.sort();
            let (labels, help) = (labels.join(", "), &self.helps[family]);
            table.push_str(&format!(
                "| `{family}{suffix}` | {kind} | {labels} | {help} |\n"
            ));
        }
        table
    }

    /// Is this the name of samples, or of a histogram?
    pub(crate) fn has(&self, name: &str) -> bool {
        let mut names = self
            .samples
            .keys()
            .map(|it| it.split(' ').next().unwrap_or(it));
        names.any(|it| it == name) || self.types.contains_key(name)
    }

    #[track_caller]
    fn get(&self, sample: &str) -> f64 {
        let found = self.samples.get(sample);
        *found.unwrap_or_else(|| panic!("no {sample} in {:#?}", self.samples))
    }

    #[track_caller]
    fn check(&self, expected: &[(&str, f64)]) {
        for (sample, value) in expected {
            assert_eq!(self.get(sample), *value, "{sample} in {:#?}", self.samples);
        }
    }
}

/// Waits until a page shows it: connections end after their clients do.
#[track_caller]
fn wait_for(hub: &Hub, sample: &str, value: f64) {
    let began = Instant::now();
    loop {
        let metrics = Metrics::scrape(hub);
        if metrics.get(sample) == value {
            return;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "no {sample} = {value} in {metrics:#?}"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

fn status_of(hub: &Hub, path: &str, arguments: &[&str]) -> (String, String) {
    let url = hub.admin(path);
    let all = [arguments, &["-w", "\n%{http_code}", &url]].concat();
    let answered = run(curl(&all));
    let (body, code) = answered.stdout.rsplit_once('\n').unwrap();
    (code.to_owned(), body.to_owned())
}

#[test]
fn counters_move_by_what_was_done_on_every_transport() {
    let hub = Hub::serve(&["--store", "memory", "--admin", ADMIN]);
    let mut subscriptions = [Make::CurlRaw, Make::CurlRaw, Make::PythonWebSockets]
        .map(|make| Subscription::start(make, &hub, &["a"], ""));
    for subscription in &mut subscriptions {
        subscription.ready();
    }
    let over_h2 = Program::start(curl(&[
        "-N",
        "--http2-prior-knowledge",
        &hub.url("/events?topic=a"),
    ]));
    while over_h2.line() != "event: $ready" {}
    for number in 0..10 {
        hub.publish("a", &number.to_string());
    }
    for subscription in &mut subscriptions {
        for number in 0..10 {
            assert_eq!(subscription.event().data, number.to_string());
        }
    }
    while over_h2.line() != "data: 9" {}
    let refused = run(curl(&["-d", "x", &hub.url("/events?topic=a//b")]));
    assert!(refused.stdout.contains("topic_invalid"));

    let now = Metrics::scrape(&hub);
    now.check(&[
        ("tidegate_published_events_total", 10.0),
        ("tidegate_published_bytes_total", 10.0),
        ("tidegate_publish_duration_seconds_count", 10.0),
        ("tidegate_publish_duration_seconds_bucket le=+Inf", 10.0),
        (
            "tidegate_delivered_events_total source=tail,transport=sse",
            30.0,
        ),
        (
            "tidegate_delivered_events_total source=tail,transport=websocket",
            10.0,
        ),
        ("tidegate_connections transport=sse,via=socket", 2.0),
        ("tidegate_connections transport=sse,via=http1", 0.0),
        ("tidegate_connections transport=sse,via=http2", 1.0),
        ("tidegate_connections transport=websocket,via=http1", 1.0),
        ("tidegate_subscriptions", 4.0),
        ("tidegate_refused_total code=topic_invalid", 1.0),
        ("tidegate_watermark_seq", 10.0),
        ("tidegate_store_tail_seq", 10.0),
        ("tidegate_store_up", 1.0),
        ("tidegate_draining", 0.0),
        (
            concat!("tidegate_build_info version=", env!("CARGO_PKG_VERSION")),
            1.0,
        ),
    ]);
    let resident = now.get("process_resident_memory_bytes");
    assert!((1e6..1e9).contains(&resident), "{resident}");
    assert!(now.get("process_open_fds") < now.get("process_max_fds"));
    let open = Metrics::scrape_as(
        &hub,
        "openmetrics",
        "application/openmetrics-text; version=1.0.0",
    );
    assert_eq!(open.types, now.types);
    assert_eq!(open.helps, now.helps);

    let status = curl_json(&["-f", &hub.admin("/status")]);
    assert_eq!(status["state"], "ready");
    assert_eq!(status["connections"]["sse/socket"], 2);
    assert_eq!(status["topics"]["most_subscriptions"][0]["topic"], "a");
    assert_eq!(status["store"]["name"], "memory");

    drop((subscriptions, over_h2));
    wait_for(&hub, "tidegate_subscriptions", 0.0);
    wait_for(&hub, "tidegate_tcp_connections", 0.0);
    let after = Metrics::scrape(&hub);
    let closed = |transport: &str| {
        let by_client =
            format!("tidegate_connections_closed_total reason=client,transport={transport}");
        after.get(&by_client)
    };
    assert_eq!((closed("sse"), closed("websocket")), (3.0, 1.0));
    after.check(&[
        (
            "tidegate_connections_opened_total transport=sse,via=socket",
            2.0,
        ),
        (
            "tidegate_connections_opened_total transport=sse,via=http2",
            1.0,
        ),
        ("tidegate_connections transport=sse,via=socket", 0.0),
    ]);
}

#[test]
fn every_dropped_event_is_in_a_gap_in_the_counter_and_in_the_log_with_its_connection() {
    let hub = Hub::run(tidegate(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--store",
        "memory",
        "--admin",
        ADMIN,
        "--log-format",
        "json",
    ]));
    let mut slow = Http::connect(hub.address());
    let request = "GET /events?topic=a&policy=drop-oldest HTTP/1.1\r\nhost: localhost\r\n\r\n";
    slow.send(request.as_bytes());
    assert_eq!(slow.head().status, 200);
    let mut stream = String::new();
    while !stream.contains("$ready") {
        stream.push_str(&String::from_utf8(slow.read()).unwrap());
    }
    // More than the tail, the sockets and what the hub holds for a connection; soon enough, for who
    // takes nothing for long is cut off.
    let data = "x".repeat(100 * 1024);
    let mut publisher = Http::connect(hub.address());
    for _ in 0..400 {
        publisher.publish("a", &data);
    }
    let last = publisher.publish("a", "the last");
    // The last id is that of the last event, or of a gap if memory held nothing for this reader any more:
    // one that was evicted keeps nothing there. What the id is of ends with an empty line.
    let mut looked = 0;
    while !stream[looked..]
        .split_once(&last)
        .is_some_and(|(_, rest)| rest.contains("\n\n"))
    {
        if !stream[looked..].contains(&last) {
            looked = stream.len().saturating_sub(last.len());
        }
        let read = slow.read();
        assert!(!read.is_empty(), "the stream ended");
        stream.push_str(&String::from_utf8(read).unwrap());
    }
    let lines: Vec<_> = stream.lines().collect();
    let gaps = lines.iter().zip(&lines[1..]).filter_map(|(line, next)| {
        // The id comes between the event's type and its data, or after both.
        let data = [line, next]
            .into_iter()
            .find_map(|it| it.strip_prefix("data: {"))?;
        data.contains("\"gap\"").then(|| format!("{{{data}"))
    });
    let mut gaps: Vec<_> = gaps.collect();
    gaps.dedup();
    let told: u64 = gaps
        .iter()
        .map(|gap| {
            serde_json::from_str::<Value>(gap).unwrap()["skipped"]
                .as_u64()
                .unwrap()
        })
        .sum();
    assert!(told > 200, "{gaps:?}");
    let got = lines
        .iter()
        .filter(|line| line.starts_with("data: x") || **line == "data: the last")
        .count() as u64;
    assert_eq!(told + got, 401);
    let now = Metrics::scrape(&hub);
    now.check(&[
        (
            "tidegate_skipped_events_total policy=drop-oldest",
            told as f64,
        ),
        ("tidegate_gaps_total reason=lagged", gaps.len() as f64),
        (
            "tidegate_delivered_events_total source=tail,transport=sse",
            got as f64,
        ),
    ]);
    let status = curl_json(&["-f", &hub.admin("/status")]);
    let connection = &status["slow"][0]["connection"];
    drop(slow);
    wait_for(&hub, "tidegate_subscriptions", 0.0);
    let log = hub.into_log();
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let dropped: Vec<_> = lines.filter(|line| line["skipped"].is_u64()).collect();
    let logged: u64 = dropped
        .iter()
        .map(|line| line["skipped"].as_u64().unwrap())
        .sum();
    assert_eq!(logged, told, "{dropped:?}");
    assert!(
        dropped.iter().all(|line| line["connection"] == *connection),
        "{dropped:?}"
    );
}

#[test]
fn a_node_stops_being_ready_before_its_subscribers_go() {
    let hub = Hub::serve(&["--store", "memory", "--admin", ADMIN, "--drain", "600"]);
    assert_eq!(status_of(&hub, "/livez", &[]).0, "200");
    assert_eq!(
        status_of(&hub, "/readyz", &[]),
        ("200".to_owned(), "ready\n".to_owned())
    );
    // So many that one of them is told to stay for a while.
    let subscribers: Vec<_> = (0..20)
        .map(|_| {
            let mut http = Http::connect(hub.address());
            http.send(b"GET /events?topic=a HTTP/1.1\r\nhost: localhost\r\n\r\n");
            assert_eq!(http.head().status, 200);
            http
        })
        .collect();
    hub.signal("TERM");
    let began = Instant::now();
    let said = loop {
        let (code, said) = status_of(&hub, "/readyz", &[]);
        if code == "503" {
            break said;
        }
        assert!(began.elapsed() < PATIENCE);
    };
    assert!(said.contains("draining"), "{said}");
    assert_eq!(status_of(&hub, "/livez", &[]).0, "200");
    let now = Metrics::scrape(&hub);
    now.check(&[("tidegate_draining", 1.0)]);
    let status = curl_json(&["-f", &hub.admin("/status")]);
    assert_eq!(status["state"], "draining");
    drop(subscribers);
    let (status, _) = hub.end_with("TERM");
    assert!(status.success(), "{status}");
}

#[test]
fn a_store_that_is_gone_is_no_ready_node_until_it_is_back() {
    let mut redis = testkit::RedisServer::start(&testkit::SYNCED);
    let hub = Hub::serve(&["--store", &redis.url(), "--admin", ADMIN]);
    assert_eq!(status_of(&hub, "/readyz", &[]).0, "200");
    redis.kill();
    let (code, said) = status_of(&hub, "/readyz", &[]);
    assert_eq!(code, "503", "{said}");
    Metrics::scrape(&hub).check(&[("tidegate_store_up", 0.0)]);
    assert_eq!(status_of(&hub, "/livez", &[]).0, "200");
    redis.up();
    let began = Instant::now();
    while status_of(&hub, "/readyz", &[]).0 != "200" {
        assert!(began.elapsed() < PATIENCE, "{}", hub.stderr());
    }
    hub.wait_for_stderr("the store cannot be read");
    hub.wait_for_stderr("the store can be read again");
}

#[test]
fn a_website_cannot_ask_by_a_name_of_its_own() {
    let hub = Hub::serve(&["--store", "memory", "--admin", ADMIN]);
    for path in ["/status", "/metrics", "/readyz"] {
        let rebound = status_of(&hub, path, &["-H", "Host: evil.example"]);
        assert_eq!(rebound.0, "403", "{}", rebound.1);
        let page = status_of(&hub, path, &["-H", "Origin: https://evil.example"]);
        assert_eq!(page.0, "403", "{}", page.1);
    }
    // It is not on the public listener.
    let public = run(curl(&[
        "-w",
        "%{http_code}",
        "-o",
        "/dev/null",
        &hub.url("/metrics"),
    ]));
    assert_eq!(public.stdout, "404");
}

#[test]
fn a_taken_port_is_an_error_that_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--store",
        "memory",
        "--admin",
        &address,
    ];
    let failed = run(tidegate(&arguments));
    assert_eq!((failed.code, &*failed.stdout), (Some(1), ""));
    for said in [&*address, "--admin 127.0.0.1:0", "--admin off"] {
        assert!(
            failed.stderr.contains(said),
            "no {said} in {}",
            failed.stderr
        );
    }
}

#[test]
fn without_an_admin_listener_there_is_none() {
    let hub = Hub::start_with(&["--listen", "127.0.0.1:0"]);
    assert!(!hub.greeting().iter().any(|line| line.starts_with("Admin")));
}
