//! Prints the figures of `docs/stores.md`: `cargo run --release -p benches --bin stores [ROUNDS]`.
//! `stores fill PATH EVENTS` is what it kills.
#![expect(
    clippy::print_stdout,
    reason = "a program for the terminal: what it prints is its result"
)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use benches::stores::{clock, fill, publish, raw, read_all, runtime, sqlite, sqlite_with, topic};
use replay_sqlite::Check;
use replay_store::{
    After, Epoch, Limit, MemoryConfig, MemoryStore, ReplayStore, Retention, Selector,
};
use tokio::runtime::Runtime;

const PUBLISHERS: [u64; 4] = [1, 16, 64, 256];
const MANY: u64 = 1_000_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["fill", path, events] => {
            let store = sqlite(Path::new(path), Retention::UNBOUNDED);
            let runtime = runtime();
            fill(&runtime, &store, events.parse().expect("a number"));
            println!("filled");
            publish(&runtime, &store, 16, u64::MAX);
        }
        ["appends", rounds] => appends(rounds.parse().expect("a number")),
        ["reads"] => reads(),
        ["openings"] => openings(),
        [] => {
            appends(7);
            reads();
            openings();
        }
        _ => println!("stores [appends ROUNDS | reads | openings]"),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Acknowledged appends per second. Each ratio is of two runs that follow each other, and the
/// median over the rounds; so is each rate, on its own.
fn appends(rounds: usize) {
    let runtime = runtime();
    let folder = tempfile::tempdir().expect("a folder");
    // At their bounds, where each append trims another event, and far from them.
    let full = Retention {
        events: 1000,
        ..Retention::default()
    };
    let mut rates = [const { Vec::new() }; 4].map(|_: Vec<f64>| [const { Vec::<f64>::new() }; 6]);
    for round in 0..rounds {
        let mut alone = 0.0;
        for (at, publishers) in PUBLISHERS.into_iter().enumerate() {
            let rate = |took: Duration, events: u64| events as f64 / took.as_secs_f64();
            let path = |name: &str| {
                folder
                    .path()
                    .join(format!("{name}-{round}-{publishers}.db"))
            };
            let events = 300 * publishers.min(64);
            let store = sqlite(&path("new"), Retention::default());
            publish(&runtime, &store, publishers, events / 10);
            let filling = rate(publish(&runtime, &store, publishers, events), events);
            drop(store);
            let raw = raw(&path("raw"), publishers, events).expect("it writes");
            let raw = rate(raw, events);
            let store = sqlite(&path("full"), full);
            fill(&runtime, &store, 16_000);
            let trimming = rate(publish(&runtime, &store, publishers, events), events);
            drop(store);
            let memory = memory(Retention::default());
            let in_memory = rate(
                publish(&runtime, &memory, publishers, events * 10),
                events * 10,
            );
            if publishers == 1 {
                alone = filling;
            }
            let row = [
                filling,
                trimming,
                filling / alone,
                raw,
                filling / raw,
                in_memory,
            ];
            for (column, value) in rates[at].iter_mut().zip(row) {
                column.push(value);
            }
        }
    }
    println!(
        "| publishers | SQLite | SQLite, trimming | times one publisher | raw | times raw | memory |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (publishers, columns) in PUBLISHERS.into_iter().zip(rates) {
        let [filling, trimming, grouped, raw, ratio, memory] = columns.map(median);
        println!(
            "| {publishers} | {filling:.0} | {trimming:.0} | {grouped:.1} | {raw:.0} | {ratio:.2} | {memory:.0} |"
        );
    }
}

fn memory(retention: Retention) -> MemoryStore {
    let config = MemoryConfig {
        retention,
        ..MemoryConfig::default()
    };
    MemoryStore::new(config, Epoch(1), clock())
}

fn timed<S: ReplayStore>(runtime: &Runtime, store: &S, selector: &Selector, events: usize) -> f64 {
    let times = (0..15).map(|_| {
        let start = Instant::now();
        assert_eq!(read_all(runtime, store, selector), events);
        start.elapsed().as_secs_f64() * 1000.0
    });
    median(times.collect())
}

/// Milliseconds for 10,000 events, in pages of 512.
fn reads() {
    const EVENTS: u64 = 160_000;
    let runtime = runtime();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let sqlite = sqlite(&path, Retention::UNBOUNDED);
    let memory = memory(Retention::UNBOUNDED);
    fill(&runtime, &sqlite, EVENTS);
    fill(&runtime, &memory, EVENTS);
    let one = Selector::new(vec![topic(3)]).expect("a selector");
    println!("| read of 10,000 events | SQLite, ms | memory, ms |");
    println!("|---|---|---|");
    println!(
        "| of one topic among 16, 160,000 events in all | {:.1} | {:.1} |",
        timed(&runtime, &sqlite, &one, 10_000),
        timed(&runtime, &memory, &one, 10_000)
    );
    println!(
        "| of all topics, per 10,000 of 160,000 | {:.1} | {:.1} |",
        timed(&runtime, &sqlite, &Selector::all(), 160_000) / 16.0,
        timed(&runtime, &memory, &Selector::all(), 160_000) / 16.0
    );
}

/// What a kill leaves of a million events, and how long it takes to have it back.
fn openings() {
    let runtime = runtime();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let mut victim = Command::new(std::env::current_exe().expect("this program"))
        .args(["fill", path.to_str().expect("UTF-8"), &MANY.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let stdout = victim.stdout.take().expect("piped");
    let filled = BufReader::new(stdout).lines().next();
    assert!(filled.is_some_and(|line| line.is_ok_and(|line| line == "filled")));
    std::thread::sleep(Duration::from_millis(300));
    let victims = resident(victim.id());
    victim.kill().expect("it runs");
    victim.wait().expect("it ends");
    let copy = folder.path().join("copy.db");
    println!("| opening after kill -9, 1,000,000 events | ms |");
    println!("|---|---|");
    for (name, check) in [
        ("without a check", Check::Never),
        ("checked", Check::AfterCrash),
    ] {
        for suffix in ["", "-wal"] {
            let name = |path: &Path| format!("{}{suffix}", path.display());
            fs::copy(name(&path), name(&copy)).expect("it is copied");
        }
        let start = Instant::now();
        let store = sqlite_with(&copy, Retention::UNBOUNDED, check);
        let opened = start.elapsed();
        let all = Selector::all();
        let read = store.read(&all, After::Latest, Limit::default());
        let page = runtime.block_on(read).expect("the store reads");
        assert!(page.bounds.tail >= MANY);
        println!("| {name} | {:.0} |", opened.as_secs_f64() * 1000.0);
        if check == Check::AfterCrash {
            let to = folder.path().join("backup.db");
            let start = Instant::now();
            let backup = runtime.block_on(store.backup(&to)).expect("it is taken");
            println!(
                "| a backup of it | {:.0} |",
                start.elapsed().as_secs_f64() * 1000.0
            );
            println!("\nthe backup has {} bytes", backup.bytes);
        }
    }
    let len = |suffix| fs::metadata(format!("{}{suffix}", path.display())).map_or(0, |it| it.len());
    println!("the file has {} bytes, its log {}", len(""), len("-wal"));
    println!("the process that filled it had {victims} KiB resident");
    let before = resident(std::process::id());
    let memory = memory(Retention::UNBOUNDED);
    fill(&runtime, &memory, MANY);
    let after = resident(std::process::id());
    println!("the memory store takes {} KiB for as many", after - before);
}

/// KiB of memory that a process has, as Linux tells.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_default()
}
