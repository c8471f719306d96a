//! Prints the figures of `docs/stores.md`: `cargo run --release -p benches --bin stores`, in about
//! four minutes. `stores memory sqlite redis nats` measures those that are named.
//! The servers are its own, on free loopback ports. `stores fill PATH` is what it kills.
#![expect(
    clippy::print_stdout,
    reason = "a program for the terminal: what it prints is its result"
)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use benches::stores::{
    PUBLISHERS, fill, memory, nats, publish, rate, raw, read, redis, runtime, sqlite, sqlite_with,
    topic,
};
use replay_sqlite::Check;
use replay_store::{After, Limit, ReplayStore, Retention, Selector};
use testkit::{NatsServer, RedisServer, SYNCED};
use tokio::runtime::Runtime;

const STORES: [&str; 4] = ["memory", "sqlite", "redis", "nats"];
const ROUNDS: usize = 3;
const LASTING: Duration = Duration::from_millis(500);
const MANY: u64 = 1_000_000;
const READ: usize = 10_000;

/// Everything is kept.
const ALL: Retention = Retention::UNBOUNDED;

/// Each append trims another event.
fn full() -> Retention {
    Retention {
        events: 1000,
        ..Retention::default()
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match &words[..] {
        ["fill", path] => {
            let store = sqlite(Path::new(path), ALL);
            let runtime = runtime();
            fill(&runtime, &store, MANY);
            println!("filled");
            publish(&runtime, &store, 16, u64::MAX);
        }
        words if words.iter().all(|word| STORES.contains(word)) => {
            let stores = if words.is_empty() { &STORES } else { words };
            appends(stores);
            logs(stores);
        }
        _ => println!("stores [{}]", STORES.join(" | ")),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Prints a table: each row has its cells, and each cell the values of the rounds, of which the
/// median counts.
fn table(head: &[String], rows: Vec<(String, Vec<Vec<f64>>)>, digits: usize) {
    println!("\n| {} |", head.join(" | "));
    println!("|{}", "---|".repeat(head.len()));
    for (name, cells) in rows {
        let cells = cells.into_iter().map(median);
        let cells: Vec<_> = cells.map(|cell| format!("{cell:.digits$}")).collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
}

fn words(head: &[&str]) -> Vec<String> {
    head.iter().map(|word| (*word).to_owned()).collect()
}

/// Acknowledged appends per second. A round measures everything once, so that what is compared was
/// measured at about the same time.
fn appends(stores: &[&str]) {
    let runtime = runtime();
    let mut head = vec!["publishers".to_owned()];
    let mut rows = PUBLISHERS.map(|publishers| (publishers.to_string(), Vec::<Vec<f64>>::new()));
    let mut grouped = PUBLISHERS.map(|_| [const { Vec::<f64>::new() }; 4]);
    for round in 0..ROUNDS {
        let mut column = 0;
        let mut put = |name: &str, measured: [f64; 4]| {
            if round == 0 {
                head.push(name.to_owned());
                rows.iter_mut()
                    .for_each(|(_, cells)| cells.push(Vec::new()));
            }
            for ((_, cells), value) in rows.iter_mut().zip(measured) {
                cells[column].push(value);
            }
            column += 1;
        };
        for store in stores {
            match *store {
                "memory" => put("memory", rates(&runtime, || memory(Retention::default()))),
                "sqlite" => {
                    let measured = sqlite_appends(&runtime);
                    put("SQLite", measured.map(|[appends, ..]| appends));
                    for (cells, [appends, trimming, raw]) in grouped.iter_mut().zip(measured) {
                        let alone = measured[0][0];
                        let values = [trimming, appends / alone, raw, appends / raw];
                        for (cell, value) in cells.iter_mut().zip(values) {
                            cell.push(value);
                        }
                    }
                }
                "redis" => {
                    for fsync in ["always", "everysec"] {
                        let setting = format!("appendfsync {fsync}");
                        let server = RedisServer::start(&["appendonly yes", &setting]);
                        let store = redis(&runtime, &server, Retention::default());
                        put(
                            &format!("Redis, {fsync}"),
                            rates(&runtime, || store.clone()),
                        );
                    }
                }
                _ => {
                    let server = NatsServer::start();
                    let store = nats(&runtime, &server);
                    put("NATS", rates(&runtime, || store.clone()));
                }
            }
        }
    }
    table(&head, rows.into(), 0);
    if stores.contains(&"sqlite") {
        let head = ["publishers", "trimming", "times one", "raw", "times raw"];
        let rows = PUBLISHERS.iter().map(ToString::to_string).zip(grouped);
        let rows = rows.map(|(name, cells)| (name, cells.into()));
        table(&words(&head), rows.collect(), 2);
    }
}

fn rates<S: ReplayStore + Clone>(runtime: &Runtime, store: impl Fn() -> S) -> [f64; 4] {
    PUBLISHERS.map(|publishers| rate(runtime, &store(), publishers, LASTING))
}

/// Appends per second of a new file, of one in which each append trims another event, and of the
/// same batches written to a file and synced.
fn sqlite_appends(runtime: &Runtime) -> [[f64; 3]; 4] {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let mut measured = [[0.0; 3]; 4];
    for (publishers, measured) in PUBLISHERS.into_iter().zip(&mut measured) {
        let store = sqlite(&path(&format!("{publishers}")), Retention::default());
        let appends = rate(runtime, &store, publishers, LASTING);
        let events = (appends * LASTING.as_secs_f64()) as u64;
        let took = raw(&path("raw"), publishers, events).expect("it writes");
        let full = sqlite(&path(&format!("full {publishers}")), full());
        fill(runtime, &full, 16_000);
        let trimming = rate(runtime, &full, publishers, LASTING);
        *measured = [appends, trimming, events as f64 / took.as_secs_f64()];
    }
    measured
}

/// What a log of a million events takes, how it opens after its process was killed, and how it is
/// read.
fn logs(stores: &[&str]) {
    let runtime = runtime();
    let head = words(&[
        "a million events",
        "opens after kill -9, ms",
        "10,000 events of all topics, ms",
        "10,000 of one topic among 16, ms",
        "memory, MB",
        "disk, MB",
        "filled, events/s",
    ]);
    let mut rows = Vec::new();
    let mut notes = Vec::new();
    for store in stores {
        let (name, log) = match *store {
            "memory" => ("memory", memory_log(&runtime)),
            "sqlite" => ("SQLite", sqlite_log(&runtime, &mut notes)),
            "redis" => ("Redis, always", redis_log(&runtime)),
            _ => ("NATS", nats_log(&runtime)),
        };
        let cells = [
            log.opened, log.all, log.one, log.memory, log.disk, log.filled,
        ];
        let cells = cells.map(|cell| vec![cell]);
        rows.push((name.to_owned(), cells.into()));
    }
    table(&head, rows, 1);
    notes.iter().for_each(|note| println!("\n{note}"));
}

#[derive(Default)]
struct Log {
    opened: f64,
    all: f64,
    one: f64,
    memory: f64,
    disk: f64,
    filled: f64,
}

impl Log {
    /// Fills a store.
    fn fill<S: ReplayStore>(runtime: &Runtime, store: &S) -> Self {
        let start = Instant::now();
        fill(runtime, store, MANY);
        Self {
            filled: MANY as f64 / start.elapsed().as_secs_f64(),
            ..Self::default()
        }
    }

    /// Opens a store, whose events are all there.
    fn open<S: ReplayStore>(&mut self, runtime: &Runtime, open: impl FnOnce() -> S) -> S {
        let start = Instant::now();
        let store = open();
        let all = Selector::all();
        let page = runtime.block_on(store.read(&all, After::Latest, Limit::default()));
        self.opened = millis(start);
        assert!(page.expect("the store reads").bounds.tail >= MANY);
        store
    }

    fn read<S: ReplayStore>(&mut self, runtime: &Runtime, store: &S) {
        let one = Selector::from(topic(3));
        for (selector, cell) in [(Selector::all(), &mut self.all), (one, &mut self.one)] {
            let times = (0..7).map(|_| {
                let start = Instant::now();
                let events = read(runtime, store, &selector, READ);
                assert!(events >= READ);
                millis(start) * READ as f64 / events as f64
            });
            *cell = median(times.collect());
        }
    }
}

fn millis(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

fn memory_log(runtime: &Runtime) -> Log {
    let before = resident(std::process::id());
    let store = memory(ALL);
    let mut log = Log::fill(runtime, &store);
    log.memory = resident(std::process::id()) - before;
    log.read(runtime, &store);
    log
}

fn sqlite_log(runtime: &Runtime, notes: &mut Vec<String>) -> Log {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let start = Instant::now();
    let mut victim = Command::new(std::env::current_exe().expect("this program"))
        .args(["fill", path.to_str().expect("UTF-8")])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let stdout = victim.stdout.take().expect("piped");
    let filled = BufReader::new(stdout).lines().next();
    assert!(filled.is_some_and(|line| line.is_ok_and(|line| line == "filled")));
    let mut log = Log {
        filled: MANY as f64 / start.elapsed().as_secs_f64(),
        ..Log::default()
    };
    // It is killed as it publishes.
    std::thread::sleep(Duration::from_millis(300));
    log.memory = resident(victim.id());
    victim.kill().expect("it runs");
    victim.wait().expect("it ends");
    log.disk = size(folder.path());

    let copy = folder.path().join("copy.db");
    for suffix in ["", "-wal"] {
        let name = |path: &Path| format!("{}{suffix}", path.display());
        fs::copy(name(&path), name(&copy)).expect("it is copied");
    }
    log.open(runtime, || sqlite_with(&copy, ALL, Check::Never));
    notes.push(format!(
        "SQLite opens in {:.0} ms without a check",
        log.opened
    ));
    let store = log.open(runtime, || sqlite_with(&path, ALL, Check::AfterCrash));
    log.read(runtime, &store);
    let to = folder.path().join("backup.db");
    let start = Instant::now();
    let backup = runtime.block_on(store.backup(&to)).expect("it is taken");
    notes.push(format!(
        "a backup of SQLite takes {:.0} ms and has {:.0} MB",
        millis(start),
        backup.bytes as f64 / 1e6
    ));
    log
}

fn redis_log(runtime: &Runtime) -> Log {
    let mut server = RedisServer::start(&SYNCED);
    let mut log = Log::fill(runtime, &redis(runtime, &server, ALL));
    log.memory = server.pid().map_or(0.0, resident);
    server.kill();
    log.disk = size(server.folder());
    let store = log.open(runtime, || {
        server.up();
        redis(runtime, &server, ALL)
    });
    log.read(runtime, &store);
    log
}

fn nats_log(runtime: &Runtime) -> Log {
    let mut server = NatsServer::start();
    let mut log = Log::fill(runtime, &nats(runtime, &server));
    log.memory = server.pid().map_or(0.0, resident);
    server.kill();
    log.disk = size(server.folder());
    let store = log.open(runtime, || {
        server.up();
        nats(runtime, &server)
    });
    log.read(runtime, &store);
    log
}

/// MB of memory that a process has, as Linux tells.
fn resident(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or_default() * 1024.0 / 1e6
}

/// MB of the files in a folder.
fn size(folder: &Path) -> f64 {
    let entries = fs::read_dir(folder).expect("it is there");
    let sizes = entries.map(|entry| {
        let entry = entry.expect("it can be read");
        let kind = entry.metadata().expect("it is there");
        if kind.is_dir() {
            size(&entry.path())
        } else {
            kind.len() as f64 / 1e6
        }
    });
    sizes.sum()
}
