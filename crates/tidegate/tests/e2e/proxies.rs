//! nginx and HAProxy before the hub, configured as the page on proxies shows.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Tool, free_port, tool};

use crate::hub::{Hub, MEMORY, free_address, tidegate};
use crate::program::{PATIENCE, Program};
use crate::quick_start::code;
use crate::raw::Http;

const PAGE: &str = include_str!("../../../../docs/proxies.md");

/// The address of the hub on the page.
const HUB: &str = "127.0.0.1:8080";

/// Longer than proxies let a connection be silent by default.
const IDLE: Duration = Duration::from_secs(62);

/// What an event may take through a proxy that does not hold it back.
const AT_ONCE: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// `proxy_pass` and nothing else: without WebSocket.
    BareNginx,
    Nginx,
    Haproxy,
}

/// A proxy that can be killed and started again.
struct Proxy {
    kind: Kind,
    hub: String,
    address: String,
    folder: tempfile::TempDir,
    program: Program,
}

impl Proxy {
    fn start(kind: Kind, hub: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let program = run(kind, hub, &address, folder.path());
        Self {
            kind,
            hub: hub.to_owned(),
            address,
            folder,
            program,
        }
    }

    fn restart(&mut self) {
        self.program.kill();
        self.program = run(self.kind, &self.hub, &self.address, self.folder.path());
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn run(kind: Kind, hub: &str, address: &str, folder: &Path) -> Program {
    let shown = |language| code(PAGE, language)[0].replace(HUB, hub);
    let file = folder.join("proxy.conf");
    let (program, configuration) = match kind {
        Kind::BareNginx => {
            let location = format!("location / {{ proxy_pass http://{hub}; }}");
            let server = format!("server {{ listen {address};\n{location} }}");
            (Tool::Nginx, in_nginx(folder, &server))
        }
        Kind::Nginx => {
            let server = shown("nginx").replace("listen 80;", &format!("listen {address};"));
            (Tool::Nginx, in_nginx(folder, &server))
        }
        Kind::Haproxy => {
            let shown = shown("haproxy").replace("bind :80", &format!("bind {address}"));
            (Tool::Haproxy, shown)
        }
    };
    assert!(configuration.contains(address), "{configuration}");
    std::fs::write(&file, configuration).unwrap();
    let mut command = Command::new(tool(program));
    match kind {
        Kind::Haproxy => command.args(["-db", "-f"]).arg(&file),
        _ => command.args(["-e", "stderr", "-c"]).arg(&file),
    };
    let program = Program::start(command);
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(began.elapsed() < PATIENCE, "{}", program.stderr());
        thread::sleep(Duration::from_millis(10));
    }
    program
}

/// What stands around a server in a file of nginx, for one process that keeps its files in `folder`.
fn in_nginx(folder: &Path, server: &str) -> String {
    let folder = folder.display();
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let paths = kinds.map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"));
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nevents {{}}\n\
         http {{\naccess_log off;\n{}{server}\n}}\n",
        paths.concat()
    )
}

fn open_hub() -> Hub {
    Hub::serve(&["--open", "--store", MEMORY, "--drain", "0"])
}

/// One event, published through the proxy as a page of the hub's own site would.
#[track_caller]
fn publish(proxy: &Proxy, data: &str) {
    let origin = match proxy.kind {
        // It does not pass on by what name it was asked.
        Kind::BareNginx => format!("http://{}", proxy.hub),
        _ => proxy.url(),
    };
    let mut http = Http::connect(&proxy.address);
    let body = data.as_bytes();
    let answer = http.request("POST", "/events?topic=a", &[("origin", &origin)], body);
    assert_eq!(answer.status, 200, "{:?}", proxy.kind);
}

/// Reads on until this has come.
#[track_caller]
fn read_to(http: &mut Http, wanted: &str) {
    let mut seen = String::new();
    while !seen.contains(wanted) {
        let more = http.read();
        assert!(!more.is_empty(), "the connection ended after {seen:?}");
        seen.push_str(&String::from_utf8(more).unwrap());
    }
}

/// The quickest of many deliveries: what the machine does besides makes some of them slow, and a proxy
/// that waits for more makes all of them slow.
fn quickest(proxy: &Proxy, mut receive: impl FnMut(&str)) -> Duration {
    let deliveries = (0..50).map(|number| {
        let data = format!("number {number}");
        let began = Instant::now();
        publish(proxy, &data);
        receive(&data);
        began.elapsed()
    });
    deliveries.min().expect("some were made")
}

fn check_event_stream(kind: Kind) {
    let hub = open_hub();
    let proxy = Proxy::start(kind, hub.address());
    let mut http = Http::connect(&proxy.address);
    let request = "GET /events?topic=a HTTP/1.1\r\nhost: hub.example\r\n\r\n";
    http.send(request.as_bytes());
    assert_eq!(http.head().status, 200, "{kind:?}");
    read_to(&mut http, "event: $ready");
    let quickest = quickest(&proxy, |data| read_to(&mut http, data));
    assert!(quickest < AT_ONCE, "{kind:?}: {quickest:?}");
    thread::sleep(IDLE);
    publish(&proxy, "still here");
    read_to(&mut http, "still here");
}

fn check_websocket(kind: Kind) {
    let hub = open_hub();
    let proxy = Proxy::start(kind, hub.address());
    let url = proxy.url();
    let subscribe = ["subscribe", "a", "--ws", "--json", "--url", &url];
    let subscriber = Program::start(tidegate(&subscribe));
    let next = || serde_json::from_str::<Value>(&subscriber.line()).expect("JSON");
    assert_eq!(next()["type"], "ready");
    let event = |data: &str| {
        let event = next();
        assert_eq!(event["data"], data, "{event}");
    };
    let quickest = quickest(&proxy, event);
    assert!(quickest < AT_ONCE, "{kind:?}: {quickest:?}");
    thread::sleep(IDLE);
    publish(&proxy, "still here");
    event("still here");
    assert_eq!(subscriber.stderr(), "", "{kind:?}: it had to come again");
}

#[test]
fn events_come_at_once_and_idle_connections_stay_through_nginx_and_haproxy() {
    thread::scope(|scope| {
        for kind in [Kind::BareNginx, Kind::Nginx, Kind::Haproxy] {
            scope.spawn(move || check_event_stream(kind));
        }
        for kind in [Kind::Nginx, Kind::Haproxy] {
            scope.spawn(move || check_websocket(kind));
        }
    });
}

#[test]
fn nothing_is_lost_or_repeated_when_the_proxy_and_the_hub_behind_it_are_killed() {
    const LINES: usize = 300;
    for kind in [Kind::Nginx, Kind::Haproxy] {
        let folder = tempfile::tempdir().unwrap();
        let store = format!("sqlite:{}", folder.path().join("events.db").display());
        let address = free_address();
        let start = || {
            let listening = ["serve", "--open", "--listen", &address, "--store", &store];
            Hub::run(tidegate(&listening))
        };
        let mut hub = start();
        let mut proxy = Proxy::start(kind, &address);
        let url = proxy.url();
        let subscribe = ["subscribe", "a", "--after", "earliest", "--url", &url];
        let subscribers = [&[][..], &["--ws"]]
            .map(|transport| Program::start(tidegate(&[&subscribe[..], transport].concat())));
        let mut publisher = Program::start(tidegate(&["publish", "a", "--url", &url]));
        for part in 0..3 {
            for number in part * LINES / 3..(part + 1) * LINES / 3 {
                publisher.write(&format!("line {number}\n"));
            }
            // Something has come, so that there is a connection to lose.
            for subscriber in &subscribers {
                assert_eq!(subscriber.line(), format!("line {part}"));
            }
            match part {
                0 => proxy.restart(),
                1 => {
                    hub.kill();
                    hub = start();
                }
                _ => {}
            }
        }
        publisher.close_stdin();
        let (status, _) = publisher.wait();
        assert!(status.success(), "{status}: {}", publisher.stderr());
        for subscriber in &subscribers {
            for number in 3..LINES {
                assert_eq!(subscriber.line(), format!("line {number}"), "{kind:?}");
            }
        }
        drop(hub);
    }
}

#[test]
fn the_hub_starts_as_the_page_on_proxies_shows() {
    let line = code(PAGE, "sh")[0].trim_end().replace(HUB, "127.0.0.1:0");
    let words: Vec<_> = line.split(' ').skip(1).collect();
    let folder = tempfile::tempdir().unwrap();
    let mut command = tidegate(&words);
    command
        .current_dir(folder.path())
        .env("TIDEGATE_ADMIN", "off");
    let hub = Hub::run(command);
    hub.publish("a", "x");
}
