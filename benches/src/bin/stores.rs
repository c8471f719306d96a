//! Prints the figures of `docs/stores.md`: `cargo run --release -p benches --bin stores`.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use benches::stores::{publish, raw, runtime, sqlite};
use replay_store::Retention;

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = runtime();
    let rounds: usize = std::env::args()
        .nth(1)
        .map_or(5, |n| n.parse().expect("rounds"));
    for round in 0..rounds {
        let mut line = String::new();
        for publishers in [1, 16, 64, 256] {
            let path = folder.path().join(format!("{round}-{publishers}.db"));
            let store = sqlite(&path, Retention::default());
            let events = 600 * publishers;
            publish(&runtime, &store, publishers, events / 10);
            let took = publish(&runtime, &store, publishers, events);
            let rate = events as f64 / took.as_secs_f64();
            let floor = raw(&folder.path().join("raw"), publishers, events).expect("raw");
            let floor = events as f64 / floor.as_secs_f64();
            line += &format!(" | {publishers}: {rate:.0}/s raw {floor:.0}/s");
        }
        println!("{line}");
    }
}
