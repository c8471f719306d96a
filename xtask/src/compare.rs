//! `cargo xtask bench compare`: our hub and others, side by side, through sockets.
//!
//! Every run starts a server of its own on core 0 and `tidegate bench` on core 1. Within a row the
//! hubs take turns, A B C A B C, so that what changes on the machine disturbs all of them alike.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::table;
use crate::tools;
use crate::workspace::{Workspace, capture, run};

/// How long a server may take to listen, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A row of the comparison.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// The options of `tidegate bench`.
    options: &'static str,
    /// Which hubs take part: words of their groups.
    groups: &'static str,
    /// How often the hubs in `AGAIN` run, and how often the rest.
    rounds: [u32; 2],
}

/// Everything that targets speak of runs more often.
const AGAIN: &str = "floor ours";

pub(crate) const ROWS: [Row; 11] = [
    Row {
        name: "one",
        what: "one message in flight, 64 B, 1,000 subscribers",
        options: "--connections 1000 --window 1 --seconds 2 --warm-up 50",
        groups: "floor ours rust nchan node",
        rounds: [3, 2],
    },
    Row {
        name: "window-1k",
        what: "backlog (window 8), 64 B, 1,000 subscribers",
        options: "--connections 1000 --window 8 --seconds 2 --warm-up 50",
        groups: "floor ours rust nchan node",
        rounds: [3, 1],
    },
    Row {
        name: "window-10k",
        what: "backlog (window 8), 64 B, 10,000 subscribers",
        options: "--connections 10000 --window 8 --seconds 2.5 --warm-up 10",
        groups: "floor ours rust nchan",
        rounds: [2, 1],
    },
    Row {
        name: "rate",
        what: "20 messages/s to 1,000 subscribers (20,000 deliveries/s), 64 B",
        options: "--connections 1000 --rate 20 --seconds 3 --warm-up 20",
        groups: "floor ours rust nchan node",
        rounds: [2, 1],
    },
    Row {
        name: "idle-5k",
        what: "5,000 idle subscribers",
        options: "--connections 5000 --seconds 0 --idle 1",
        groups: "floor ours rust nchan node",
        rounds: [1, 1],
    },
    Row {
        name: "idle-15k",
        what: "15,000 idle subscribers",
        options: "--connections 15000 --seconds 0 --idle 1",
        groups: "floor ours rust nchan",
        rounds: [1, 1],
    },
    Row {
        name: "all-read",
        what: "1 KiB to 100 subscribers, all of which read",
        options: "--connections 100 --size 1024 --window 1 --seconds 3 --warm-up 50",
        groups: "ours nchan",
        rounds: [2, 2],
    },
    Row {
        name: "one-stalled",
        what: "1 KiB to 100 subscribers, one of which does not read",
        options: "--connections 100 --size 1024 --window 1 --seconds 3 --warm-up 50 --stalled 1",
        groups: "ours nchan",
        rounds: [2, 2],
    },
    Row {
        name: "replay-1",
        what: "10,000 missed messages to one client",
        options: "--connections 1 --replay 10000",
        groups: "ours replay",
        rounds: [3, 3],
    },
    Row {
        name: "replay-100",
        what: "10,000 missed messages to 100 clients at once",
        options: "--connections 100 --replay 10000",
        groups: "ours replay",
        rounds: [2, 2],
    },
    Row {
        name: "topics",
        what: "publishing to 1,000 topics with a subscriber each, 32 connections publish",
        options: "--connections 1000 --topics 1000 --publishers 32 --window 64 --seconds 2",
        groups: "floor ours rust nchan node",
        rounds: [2, 1],
    },
];

/// A server, and how the generator speaks to it.
struct Hub {
    name: &'static str,
    groups: &'static str,
    server: Server,
    options: &'static [&'static str],
}

#[derive(Clone, Copy, Debug)]
enum Server {
    Ours,
    /// A server of `benches/compare`'s `hubs`.
    Compared(&'static str),
    Nchan,
    /// A script in `benches/compare/hubs`.
    Node(&'static str),
}

/// What `SUB` and `PUB` stand for are the addresses for subscribing and publishing.
const PLAIN: &[&str] = &[
    "--hub",
    "nchan",
    "--subscribe-url",
    "http://SUB/sub/{topic}",
];
const PLAIN_WS: &[&str] = &[
    "--hub",
    "nchan",
    "--ws",
    "--subscribe-url",
    "http://SUB/sub/{topic}",
];

const HUBS: [Hub; 14] = [
    hub("floor", "floor", Server::Compared("floor"), PLAIN),
    hub(
        "floor-batch",
        "floor",
        Server::Compared("floor-batch"),
        PLAIN,
    ),
    hub("tidegate SSE", "ours", Server::Ours, &[]),
    hub("tidegate WebSocket", "ours", Server::Ours, &["--ws"]),
    // `Expect` keeps a connection in hyper: what framework users get.
    hub(
        "tidegate SSE, in hyper",
        "ours",
        Server::Ours,
        &["--subscribe-header", "Expect: 100-continue"],
    ),
    hub("nchan SSE", "nchan replay", Server::Nchan, PLAIN),
    hub("nchan WebSocket", "nchan", Server::Nchan, PLAIN_WS),
    hub("axum SSE", "rust", Server::Compared("axum-sse"), PLAIN),
    hub(
        "axum WebSocket",
        "rust",
        Server::Compared("axum-ws"),
        PLAIN_WS,
    ),
    hub(
        "tokio-websockets",
        "rust",
        Server::Compared("tokio-websockets"),
        PLAIN_WS,
    ),
    hub(
        "fastwebsockets",
        "rust",
        Server::Compared("fastwebsockets"),
        PLAIN_WS,
    ),
    hub("better-sse", "node", Server::Node("better-sse.cjs"), PLAIN),
    hub("ws", "node", Server::Node("ws.cjs"), PLAIN_WS),
    hub(
        "socket.io",
        "node",
        Server::Node("socket.io.cjs"),
        &[
            "--hub",
            "nchan",
            "--ws",
            "--subscribe-url",
            "http://SUB/socket.io/?EIO=4&transport=websocket&topic={topic}",
            "--ws-send",
            "40",
        ],
    ),
];

const fn hub(
    name: &'static str,
    groups: &'static str,
    server: Server,
    options: &'static [&'static str],
) -> Hub {
    Hub {
        name,
        groups,
        server,
        options,
    }
}

/// Hubs that are not run, and why.
const NOT_RUN: [(&str, &str); 2] = [
    (
        "uWebSockets, Pushpin",
        "neither is a package of crates.io or npm; measured by hand only",
    ),
    (
        "durable-streams",
        "a stream has to be created before it can be read, which the generator does not do",
    ),
];

/// Runs everything; with `quick` a tenth of it, which leaves `docs` and `benches/records` alone.
///
/// # Errors
///
/// When there is nothing to compare with. A run that fails is noted in the record and the table.
pub(crate) fn run_all(workspace: &Workspace, quick: bool) -> Result<String> {
    let cores = thread::available_parallelism()?.get();
    if cores < 2 {
        bail!("server and generator need a core each, and there is one");
    }
    run(&mut workspace.cargo("build --release -p tidegate"))?;
    let manifest = "build --release --bin hubs --manifest-path benches/compare/Cargo.toml";
    run(workspace
        .cargo(manifest)
        .arg("--target-dir")
        .arg(&workspace.target))?;
    let bench = Bench {
        workspace,
        quick,
        nchan: tools::install_nchan(workspace).map_err(|error| format!("{error:#}")),
        node: tools::install_node_hubs(workspace).map_err(|error| format!("{error:#}")),
        scratch: workspace.target.join("compare"),
    };
    fs::create_dir_all(&bench.scratch)?;
    let before = load();
    let mut runs = Vec::new();
    for row in &ROWS {
        eprintln!("\n{}: {}", row.name, row.what);
        let hubs = HUBS.iter().filter(|hub| share(hub.groups, row.groups));
        let hubs = hubs.collect::<Vec<_>>();
        let rounds = if quick {
            1
        } else {
            row.rounds.into_iter().max().unwrap_or(1)
        };
        for round in 0..rounds {
            for hub in &hubs {
                if round < row.rounds[usize::from(!share(hub.groups, AGAIN))] {
                    runs.push(bench.once(row, hub));
                }
            }
        }
    }
    let record = json!({
        "date": word(workspace, "date", &["-u", "+%F"]),
        "quick": quick,
        "commit": word(workspace, "git", &["rev-parse", "--short", "HEAD"]),
        "machine": machine(workspace, cores),
        "load_before": before,
        "load_after": load(),
        "versions": versions(workspace),
        "not_run": NOT_RUN.map(|(hub, why)| json!({ "hub": hub, "why": why })),
        "runs": runs,
    });
    let text = serde_json::to_string_pretty(&record)? + "\n";
    let tables = table::render(&record);
    if quick {
        let path = bench.scratch.join("quick.json");
        fs::write(&path, text)?;
        println!("\nCrowds and times were cut: these figures mean nothing.\n{tables}");
        return Ok(format!("{} runs, {}", runs.len(), path.display()));
    }
    let date = record["date"].as_str().unwrap_or("undated");
    let path = format!("benches/records/{date}.json");
    fs::create_dir_all(workspace.root.join("benches/records"))?;
    fs::write(workspace.root.join(&path), text)?;
    let docs = workspace.root.join("docs/benchmarks.md");
    let page = fs::read_to_string(&docs)?;
    fs::write(&docs, table::insert(&page, &tables, &path)?)?;
    Ok(format!("{} runs, {path}, docs/benchmarks.md", runs.len()))
}

/// Whether two lists of words have one in common.
fn share(one: &str, other: &str) -> bool {
    one.split(' ')
        .any(|word| other.split(' ').any(|w| w == word))
}

struct Bench<'a> {
    workspace: &'a Workspace,
    quick: bool,
    /// Where these are, or why they are not.
    nchan: Result<PathBuf, String>,
    node: Result<PathBuf, String>,
    scratch: PathBuf,
}

/// A server that runs, until this is dropped.
struct Running {
    child: Child,
    publish: SocketAddr,
    subscribe: SocketAddr,
}

impl Drop for Running {
    fn drop(&mut self) {
        // nginx ends its workers when it is asked to, not when it is killed.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &pid]).status();
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bench<'_> {
    /// One run: what the generator reports, or why there is nothing.
    fn once(&self, row: &Row, hub: &Hub) -> Value {
        let mut object = json!({ "row": row.name, "hub": hub.name });
        match self.measure(row, hub) {
            Ok(report) => {
                let bad = report["exact"] == false;
                let note = if bad { "NOT all once and in order" } else { "" };
                eprintln!(
                    "  {:<24}{}  {note}",
                    hub.name,
                    table::glance(row.name, &report)
                );
                object["report"] = report;
            }
            Err(error) => {
                eprintln!("  {:<24}not measured: {error:#}", hub.name);
                object["failed"] = format!("{error:#}").into();
            }
        }
        object
    }

    fn measure(&self, row: &Row, hub: &Hub) -> Result<Value> {
        let server = self.start(hub.server)?;
        let program = self.workspace.target.join("release/tidegate");
        let mut generator = self.on_core(1, &program);
        generator.args(["bench", "--json", "--pid"]);
        generator.arg(server.child.id().to_string());
        generator.args(["--url", &format!("http://{}", server.publish)]);
        let (publish, subscribe) = (server.publish.to_string(), server.subscribe.to_string());
        for option in hub.options {
            generator.arg(option.replace("SUB", &subscribe).replace("PUB", &publish));
        }
        let mut options = row.options.split(' ').collect::<Vec<_>>();
        if self.quick {
            shorten(&mut options);
        }
        let output = generator.args(options).stderr(Stdio::piped()).output()?;
        // It fails when something was lost, and reports all the same.
        serde_json::from_slice(&output.stdout).map_err(|_| {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().last().unwrap_or("it said nothing");
            anyhow::anyhow!("{}", last.trim_start_matches("tidegate: ").to_owned())
        })
    }

    /// A command bound to one core, with as many descriptors as may be.
    fn on_core(&self, core: u32, program: &Path) -> Command {
        let mut shell = self.workspace.command("sh");
        let line = r#"ulimit -n "$(ulimit -Hn)"; exec taskset -c "$@""#;
        shell
            .args(["-c", line, "sh", &core.to_string()])
            .arg(program);
        shell
    }

    fn start(&self, server: Server) -> Result<Running> {
        let release = self.workspace.target.join("release");
        let mut command = match server {
            Server::Ours => {
                let mut command = self.on_core(0, &release.join("tidegate"));
                command.args(["dev", "--listen", "127.0.0.1:0", "--log", "error"]);
                command
            }
            Server::Compared(name) => {
                let mut command = self.on_core(0, &release.join("hubs"));
                command.arg(name);
                command
            }
            Server::Node(script) => {
                let modules = self.node.as_ref().map_err(|why| anyhow::anyhow!("{why}"))?;
                let mut command = self.on_core(0, Path::new("node"));
                command.arg(
                    self.workspace
                        .root
                        .join("benches/compare/hubs")
                        .join(script),
                );
                command
                    .env("NODE_PATH", modules)
                    .env("NODE_ENV", "production");
                command
            }
            Server::Nchan => return self.start_nchan(),
        };
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take();
        let mut running = Running {
            child,
            publish: ([127, 0, 0, 1], 0).into(),
            subscribe: ([127, 0, 0, 1], 0).into(),
        };
        let mut lines = BufReader::new(stdout.context("its output")?).lines();
        let line = lines.next().context("the server ended at once")??;
        // The rest is of no interest, but somebody must read it.
        thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let addresses = line
            .trim_start_matches("listening ")
            .trim_start_matches("Tidegate is up: http://")
            .trim_end_matches('/');
        let mut addresses = addresses.split(' ').map(str::parse);
        running.publish = addresses.next().context("no address")??;
        running.subscribe = addresses.next().unwrap_or(Ok(running.publish))?;
        Ok(running)
    }

    fn start_nchan(&self) -> Result<Running> {
        let module = self
            .nchan
            .as_ref()
            .map_err(|why| anyhow::anyhow!("{why}"))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let dir = self.scratch.join("nchan");
        fs::create_dir_all(&dir)?;
        let configuration = NGINX
            .replace("MODULE", &module.display().to_string())
            .replace("DIR", &dir.display().to_string())
            .replace("PORT", &port.to_string());
        let path = dir.join("nginx.conf");
        fs::write(&path, configuration)?;
        let mut command = self.on_core(0, Path::new("nginx"));
        command.arg("-c").arg(path).arg("-p").arg(&dir);
        command.arg("-e").arg(dir.join("error.log"));
        let address = ([127, 0, 0, 1], port).into();
        let mut running = Running {
            child: command.spawn()?,
            publish: address,
            subscribe: address,
        };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            if running.child.try_wait()?.is_some() || began.elapsed() > PATIENCE {
                bail!(
                    "nginx does not start; see {}",
                    dir.join("error.log").display()
                );
            }
            thread::sleep(Duration::from_millis(10));
        }
        // Its worker must be there before the generator looks for it.
        thread::sleep(Duration::from_millis(200));
        Ok(running)
    }
}

/// A part of the time and of the crowd, enough to see that everything runs.
fn shorten(options: &mut [&str]) {
    let short = BTreeMap::from([
        ("2", "0.4"),
        ("2.5", "0.4"),
        ("3", "0.6"),
        ("5000", "500"),
        ("10000", "900"),
        ("15000", "1500"),
        ("1000", "200"),
    ]);
    for option in options {
        if let Some(shorter) = short.get(*option) {
            *option = shorter;
        }
    }
}

/// One worker, no log, room for the 10,000 messages of the replay rows.
const NGINX: &str = "\
load_module MODULE;
user root;
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid DIR/nginx.pid;
error_log DIR/error.log crit;
events { worker_connections 19900; }
http {
  access_log off;
  tcp_nodelay on;
  keepalive_requests 100000000;
  client_body_temp_path DIR/body;
  proxy_temp_path DIR/proxy;
  fastcgi_temp_path DIR/fastcgi;
  uwsgi_temp_path DIR/uwsgi;
  scgi_temp_path DIR/scgi;
  nchan_shared_memory_size 512m;
  nchan_message_buffer_length 20000;
  server {
    listen 127.0.0.1:PORT backlog=4096;
    location ~ ^/pub/(.+)$ { nchan_publisher; nchan_channel_id $1; }
    location ~ ^/sub/(.+)$ {
      nchan_subscriber;
      nchan_channel_id $1;
      nchan_subscriber_first_message newest;
    }
  }
}
";

fn word(workspace: &Workspace, program: &str, arguments: &[&str]) -> String {
    let said = capture(workspace.command(program).args(arguments));
    said.unwrap_or_default().trim().to_owned()
}

/// The load averages of the machine.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn machine(workspace: &Workspace, cores: usize) -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map(|rest| rest.trim_start_matches([' ', '\t', ':']));
    json!({
        "processor": model,
        "cores": cores,
        "kernel": word(workspace, "uname", &["-sr"]),
    })
}

fn versions(workspace: &Workspace) -> Value {
    let manifest = fs::read_to_string(workspace.root.join("benches/compare/Cargo.lock"));
    let manifest = manifest.unwrap_or_default();
    let locked = |name: &str| {
        let (_, rest) = manifest.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        Some(format!("{name} {}", rest.split('"').next()?))
    };
    let crates = [
        "axum",
        "hyper",
        "tokio",
        "tokio-websockets",
        "fastwebsockets",
    ];
    let nchan = "dpkg-query -W -f '${Package} ${Version}, ' nginx libnginx-mod-nchan";
    json!({
        "rustc": word(workspace, "rustc", &["--version"]),
        "crates": crates.into_iter().filter_map(locked).collect::<Vec<_>>().join(", "),
        "nchan": word(workspace, "sh", &["-c", nchan]).trim_end_matches(','),
        "node": word(workspace, "node", &["--version"]),
        "npm": tools::NODE_HUBS.replace(' ', ", ").replace('@', " "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_ours_and_somebody_to_compare_with() {
        for row in &ROWS {
            let hubs = HUBS.iter().filter(|hub| share(hub.groups, row.groups));
            let (ours, others): (Vec<_>, Vec<_>) = hubs.partition(|hub| hub.groups == "ours");
            assert!(ours.len() == 3 && !others.is_empty(), "{}", row.name);
        }
    }

    #[test]
    fn a_quick_run_is_short() {
        for row in &ROWS {
            let mut options = row.options.split(' ').collect::<Vec<_>>();
            shorten(&mut options);
            let long = ["2", "2.5", "3", "1000", "5000", "10000", "15000"];
            assert!(
                !options.iter().any(|option| long.contains(option)),
                "{options:?}"
            );
        }
    }
}
