//! Stores: `cargo bench -p benches --bench stores`. What depends on a disk is compared with the
//! floor in the same run; `--bin stores` prints the table of `docs/stores.md`.

use benches::stores::{EVENT_BYTES, clock, fill, publish, raw, read_all, runtime, sqlite, topic};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use replay_store::{Epoch, MemoryConfig, MemoryStore, Retention, Selector};

const PUBLISHERS: [u64; 4] = [1, 16, 64, 256];

fn memory(retention: Retention) -> MemoryStore {
    let config = MemoryConfig {
        retention,
        ..MemoryConfig::default()
    };
    MemoryStore::new(config, Epoch(1), clock())
}

fn append(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = runtime();
    let mut group = criterion.benchmark_group("append");
    group.sample_size(10);
    group.throughput(Throughput::Elements(1));
    for publishers in PUBLISHERS {
        let id = |name| BenchmarkId::new(name, publishers);
        let path = folder.path().join(format!("{publishers}.db"));
        let store = sqlite(&path, Retention::default());
        group.bench_function(id("sqlite"), |bencher| {
            bencher.iter_custom(|events| publish(&runtime, &store, publishers, events));
        });
        let raw_path = folder.path().join("raw");
        group.bench_function(id("raw write and fdatasync"), |bencher| {
            bencher.iter_custom(|events| raw(&raw_path, publishers, events).expect("it writes"));
        });
        let store = memory(Retention::default());
        group.bench_function(id("memory"), |bencher| {
            bencher.iter_custom(|events| publish(&runtime, &store, publishers, events));
        });
    }
    group.finish();
}

fn read(criterion: &mut Criterion) {
    const EVENTS: usize = 10_000;
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = runtime();
    let sqlite = sqlite(&folder.path().join("events.db"), Retention::UNBOUNDED);
    let memory = memory(Retention::UNBOUNDED);
    fill(&runtime, &sqlite, EVENTS as u64);
    fill(&runtime, &memory, EVENTS as u64);
    let mut group = criterion.benchmark_group("read of 10000 events");
    group.sample_size(10);
    group.throughput(Throughput::Bytes((EVENTS * EVENT_BYTES) as u64));
    let four = Selector::new((0..4).map(topic).collect()).expect("a selector");
    for (name, selector, events) in [
        ("all", Selector::all(), EVENTS),
        ("4 of 16 topics", four, EVENTS / 4),
    ] {
        group.bench_function(BenchmarkId::new("sqlite", name), |bencher| {
            bencher.iter(|| assert_eq!(read_all(&runtime, &sqlite, &selector), events));
        });
        group.bench_function(BenchmarkId::new("memory", name), |bencher| {
            bencher.iter(|| assert_eq!(read_all(&runtime, &memory, &selector), events));
        });
    }
    group.finish();
}

criterion_group!(stores, append, read);
criterion_main!(stores);
