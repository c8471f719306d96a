//! `cargo xtask bench compare`: our hub and others, side by side, through sockets.
//!
//! Every run starts a server of its own on core 0 and `tidegate bench` on core 1. Within a row the
//! hubs take turns, A B C A B C, so that what changes on the machine disturbs all of them alike.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::tools;
use crate::workspace::{Workspace, capture, run};
use hubs::{HUBS, Hub, NGINX, Server};
use rows::{AGAIN, ROWS, Row, share, shorten};

mod hubs;
mod rows;
mod table;
mod targets;

/// How long a server may take to listen, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to run, of what could be.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// A tenth of the time and of the crowds.
    quick: bool,
    /// Rows by name; all, if there are none.
    rows: Vec<&'static str>,
    /// More servers: name and program.
    hubs: Vec<(&'static str, &'static str)>,
}

impl Wanted {
    /// `named` has names of rows, and servers as `NAME=PROGRAM`.
    ///
    /// # Errors
    ///
    /// When there is no such row or program.
    pub(crate) fn parse(named: &[&str], quick: bool) -> Result<Self> {
        let mut wanted = Self {
            quick,
            ..Self::default()
        };
        for named in named {
            if let Some((name, program)) = named.split_once('=') {
                let path = fs::canonicalize(program).with_context(|| program.to_owned())?;
                // They live as long as the hubs that are always there.
                let [name, program] = [name.to_owned(), path.display().to_string()];
                wanted.hubs.push((name.leak(), program.leak()));
                continue;
            }
            let row = ROWS.iter().find(|row| row.name == *named);
            let rows = || ROWS.map(|row| row.name).join(", ");
            let row = row.with_context(|| format!("no row {named}; there are: {}", rows()))?;
            wanted.rows.push(row.name);
        }
        Ok(wanted)
    }

    fn has(&self, row: &Row) -> bool {
        self.rows.is_empty() || self.rows.contains(&row.name)
    }
}

/// Runs what is wanted. Rows by name replace those in the record of the day; without one, and when
/// `quick`, `docs` and `benches/records` are left alone.
///
/// # Errors
///
/// When there is nothing to compare with. A run that fails is noted in the record and the table.
pub(crate) fn run_all(workspace: &Workspace, wanted: &Wanted) -> Result<String> {
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
        quick: wanted.quick,
        nchan: tools::install_nchan(workspace).map_err(|error| format!("{error:#}")),
        node: tools::install_node_hubs(workspace).map_err(|error| format!("{error:#}")),
        uwebsockets: tools::install_uwebsockets(workspace).map_err(|error| format!("{error:#}")),
        pushpin: tools::install_pushpin(workspace).map_err(|error| format!("{error:#}")),
        durable_streams: tools::install_durable_streams(workspace)
            .map_err(|error| format!("{error:#}")),
        scratch: workspace.target.join("compare"),
    };
    fs::create_dir_all(&bench.scratch)?;
    let before = load();
    let mut runs = Vec::new();
    let given = wanted.hubs.iter();
    let given: Vec<_> = given
        .map(|(name, program)| Hub::given(name, program))
        .collect();
    for row in ROWS.iter().filter(|row| wanted.has(row)) {
        eprintln!("\n{}: {}", row.name, row.what);
        let hubs = HUBS.iter().chain(&given);
        let hubs = hubs.filter(|hub| share(hub.groups, row.groups));
        let hubs = hubs.collect::<Vec<_>>();
        let rounds = if wanted.quick {
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
        "quick": wanted.quick,
        "commit": word(workspace, "git", &["rev-parse", "--short", "HEAD"]),
        "machine": machine(workspace, cores),
        "load_before": before,
        "load_after": load(),
        "versions": versions(workspace),
        "runs": runs,
    });
    let date = record["date"].as_str().unwrap_or("undated");
    let path = format!("benches/records/{date}.json");
    let whole = workspace.root.join(&path);
    let count = runs_of(&record).len();
    let record = match (wanted.quick, wanted.rows.is_empty()) {
        (false, true) => record,
        (false, false) if whole.exists() => {
            let earlier = serde_json::from_str(&fs::read_to_string(&whole)?)?;
            with_rows(earlier, &record, &wanted.rows)
        }
        _ => {
            let path = bench.scratch.join("part.json");
            fs::write(&path, serde_json::to_string_pretty(&record)? + "\n")?;
            println!("\n{}", table::render(&record));
            if wanted.quick {
                println!("Crowds and times were cut: these figures mean nothing.");
            }
            return Ok(format!("{count} runs, {}", path.display()));
        }
    };
    fs::create_dir_all(workspace.root.join("benches/records"))?;
    fs::write(whole, serde_json::to_string_pretty(&record)? + "\n")?;
    let docs = workspace.root.join("docs/benchmarks.md");
    let page = fs::read_to_string(&docs)?;
    fs::write(&docs, table::insert(&page, &table::render(&record), &path)?)?;
    Ok(format!("{count} runs, {path}, docs/benchmarks.md"))
}

fn runs_of(record: &Value) -> &[Value] {
    record["runs"].as_array().map_or(&[], Vec::as_slice)
}

/// A record in which some rows were measured again.
fn with_rows(mut earlier: Value, again: &Value, rows: &[&str]) -> Value {
    let anew = |run: &Value| rows.iter().any(|row| run["row"] == *row);
    let kept = runs_of(&earlier).iter().filter(|run| !anew(run)).cloned();
    let runs: Vec<_> = kept.chain(runs_of(again).iter().cloned()).collect();
    earlier["runs"] = runs.into();
    let note = json!({ "rows": rows, "commit": again["commit"] });
    match earlier["again"].as_array_mut() {
        Some(notes) => notes.push(note),
        None => earlier["again"] = json!([note]),
    }
    earlier
}

struct Bench<'a> {
    workspace: &'a Workspace,
    quick: bool,
    /// Where these are, or why they are not.
    nchan: Result<PathBuf, String>,
    node: Result<PathBuf, String>,
    uwebsockets: Result<PathBuf, String>,
    pushpin: Result<(), String>,
    durable_streams: Result<PathBuf, String>,
    scratch: PathBuf,
}

/// A server that runs, until this is dropped.
struct Running {
    child: Child,
    publish: SocketAddr,
    subscribe: SocketAddr,
    /// The certificate to trust, if it speaks TLS.
    certificate: Option<PathBuf>,
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
        if let Some(certificate) = &server.certificate {
            let url = format!("https://localhost:{}", server.publish.port());
            generator.args(["--url", &url, "--ca"]).arg(certificate);
        } else {
            generator.args(["--url", &format!("http://{}", server.publish)]);
        }
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

    /// A hub among the scripts of `benches/compare`.
    fn script(&self, interpreter: impl AsRef<Path>, script: &str) -> Command {
        let mut command = self.on_core(0, interpreter.as_ref());
        let scripts = self.workspace.root.join("benches/compare/hubs");
        command.arg(scripts.join(script));
        command
    }

    fn start(&self, server: Server) -> Result<Running> {
        let release = self.workspace.target.join("release");
        let mut trusted = None;
        let mut command = match server {
            Server::Ours | Server::OursTls => {
                let mut command = self.on_core(0, &release.join("tidegate"));
                command.args(["serve", "--listen", "127.0.0.1:0", "--log", "error"]);
                command.args(["--store", "memory", "--drain", "0", "--ws-over-h2"]);
                command.env("TIDEGATE_ADMIN", "off");
                if let Server::OursTls = server {
                    let (certificate, key) = self.certificate()?;
                    command.arg("--tls-cert").arg(&certificate);
                    command.arg("--tls-key").arg(key);
                    trusted = Some(certificate);
                }
                command
            }
            Server::Given(program) => self.on_core(0, Path::new(program)),
            Server::DurableStreams => return self.start_durable_streams(),
            Server::Compared(name) => {
                let mut command = self.on_core(0, &release.join("hubs"));
                command.arg(name);
                command
            }
            Server::Node(script) => {
                let modules = self.node.as_ref().map_err(|why| anyhow::anyhow!("{why}"))?;
                let mut command = self.script("node", script);
                command
                    .env("NODE_PATH", modules)
                    .env("NODE_ENV", "production");
                command
            }
            Server::UWebSockets => {
                let python = self.uwebsockets.as_ref();
                let python = python.map_err(|why| anyhow::anyhow!("{why}"))?;
                self.script(python, "uwebsockets.py")
            }
            Server::Pushpin => {
                let installed = self.pushpin.as_ref();
                installed.map_err(|why| anyhow::anyhow!("{why}"))?;
                self.script("node", "pushpin.cjs")
            }
            Server::Nchan => return self.start_nchan(),
        };
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take();
        let mut running = Running {
            child,
            publish: ([127, 0, 0, 1], 0).into(),
            subscribe: ([127, 0, 0, 1], 0).into(),
            certificate: trusted,
        };
        let mut lines = BufReader::new(stdout.context("its output")?).lines();
        let line = lines.next().context("the server ended at once")??;
        // The rest is of no interest, but somebody must read it.
        thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let addresses = line
            .trim_start_matches("listening ")
            .trim_start_matches("Tidegate is up: ")
            .trim_start_matches("http://")
            .trim_start_matches("https://")
            .trim_end_matches('/');
        let mut addresses = addresses.split(' ').map(str::parse);
        running.publish = addresses.next().context("no address")??;
        running.subscribe = addresses.next().unwrap_or(Ok(running.publish))?;
        Ok(running)
    }

    /// A certificate for `localhost` and its key, made for this comparison.
    fn certificate(&self) -> Result<(PathBuf, PathBuf)> {
        let certificate = self.scratch.join("certificate.pem");
        let key = self.scratch.join("key.pem");
        let make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
                    -subj /CN=localhost -addext subjectAltName=DNS:localhost \
                    -addext basicConstraints=critical,CA:FALSE -keyout";
        let mut openssl = self.workspace.command("openssl");
        openssl.args(make.split_whitespace()).arg(&key);
        capture(openssl.arg("-out").arg(&certificate))?;
        Ok((certificate, key))
    }

    /// A server that does not say where it listens: on a port that was free a moment ago.
    fn start_on(
        &self,
        program: &Path,
        configure: impl FnOnce(&mut Command, &Path, u16) -> Result<()>,
    ) -> Result<Running> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let name = program.file_name().context("a program has a name")?;
        let dir = self.scratch.join(name);
        // What an earlier run left is none of this one's business.
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir)?;
        let mut command = self.on_core(0, program);
        configure(&mut command, &dir, port)?;
        let address = ([127, 0, 0, 1], port).into();
        let mut running = Running {
            child: command.spawn()?,
            publish: address,
            subscribe: address,
            certificate: None,
        };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            if running.child.try_wait()?.is_some() || began.elapsed() > PATIENCE {
                let (name, dir) = (program.display(), dir.display());
                bail!("{name} does not start; see {dir}");
            }
            thread::sleep(Duration::from_millis(10));
        }
        // Its workers must be there before the generator looks for them.
        thread::sleep(Duration::from_millis(200));
        Ok(running)
    }

    fn start_durable_streams(&self) -> Result<Running> {
        let program = self.durable_streams.as_ref();
        let program = program.map_err(|why| anyhow::anyhow!("{why}"))?;
        self.start_on(program, |command, dir, port| {
            let log = fs::File::create(dir.join("log"))?;
            command.args(["--port", &port.to_string(), "--data-dir"]);
            command.arg(dir).stdout(log.try_clone()?).stderr(log);
            Ok(())
        })
    }

    fn start_nchan(&self) -> Result<Running> {
        let module = self.nchan.as_ref();
        let module = module.map_err(|why| anyhow::anyhow!("{why}"))?;
        self.start_on(Path::new("nginx"), |command, dir, port| {
            let configuration = NGINX
                .replace("MODULE", &module.display().to_string())
                .replace("DIR", &dir.display().to_string())
                .replace("PORT", &port.to_string());
            let path = dir.join("nginx.conf");
            fs::write(&path, configuration)?;
            command.arg("-c").arg(path).arg("-p").arg(dir);
            command.arg("-e").arg(dir.join("error.log"));
            Ok(())
        })
    }
}

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
    let debian = "dpkg-query -W -f '${Package} ${Version}, ' nginx libnginx-mod-nchan pushpin zurl";
    json!({
        "rustc": word(workspace, "rustc", &["--version"]),
        "crates": crates.into_iter().filter_map(locked).collect::<Vec<_>>().join(", "),
        "durable_streams": format!("{} {}", tools::DURABLE_STREAMS.0, tools::DURABLE_STREAMS.1),
        "debian": word(workspace, "sh", &["-c", debian]).trim_end_matches(','),
        "pip": tools::SOCKETIFY.replace(' ', ", ").replace("==", " "),
        "node": word(workspace, "node", &["--version"]),
        "npm": tools::NODE_HUBS.replace(' ', ", ").replace('@', " "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_were_measured_again_replace_those_before_and_are_noted() {
        let run = |row: &str, cpu: u32| json!({ "row": row, "report": cpu });
        let earlier =
            json!({ "commit": "a", "runs": [run("one", 1), run("h2", 2), run("one", 3)] });
        let again = json!({ "commit": "b", "runs": [run("one", 4)] });
        let record = with_rows(earlier, &again, &["one"]);
        assert_eq!(record["runs"], json!([run("h2", 2), run("one", 4)]));
        assert_eq!(record["again"], json!([{ "rows": ["one"], "commit": "b" }]));
        assert_eq!(record["commit"], "a");
    }
}
