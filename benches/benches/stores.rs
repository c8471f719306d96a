//! Stores: `cargo bench -p benches --bench stores`. What depends on a disk is compared with the
//! floor in the same run; `--bin stores` prints the table of `docs/stores.md`.

use benches::stores::{
    EVENT_BYTES, PUBLISHERS, fill, memory, nats, publish, raw, read, redis, runtime, sqlite, topic,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use replay_store::{ReplayStore, Retention, Selector};
use testkit::{NatsServer, RedisServer, SYNCED};

fn append(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = runtime();
    let (on_redis, on_nats) = (RedisServer::start(&SYNCED), NatsServer::start());
    let memory = memory(Retention::default());
    let redis = redis(&runtime, &on_redis, Retention::default());
    let nats = nats(&runtime, &on_nats);
    let mut group = criterion.benchmark_group("append");
    group.sample_size(10);
    group.throughput(Throughput::Elements(1));
    for publishers in PUBLISHERS {
        let id = |name| BenchmarkId::new(name, publishers);
        let path = folder.path().join(format!("{publishers}.db"));
        let sqlite = sqlite(&path, Retention::default());
        group.bench_function(id("sqlite"), |bencher| {
            bencher.iter_custom(|events| publish(&runtime, &sqlite, publishers, events));
        });
        let raw_path = folder.path().join("raw");
        group.bench_function(id("raw write and fdatasync"), |bencher| {
            bencher.iter_custom(|events| raw(&raw_path, publishers, events).expect("it writes"));
        });
        group.bench_function(id("memory"), |bencher| {
            bencher.iter_custom(|events| publish(&runtime, &memory, publishers, events));
        });
        group.bench_function(id("redis"), |bencher| {
            bencher.iter_custom(|events| publish(&runtime, &redis, publishers, events));
        });
        group.bench_function(id("nats"), |bencher| {
            bencher.iter_custom(|events| publish(&runtime, &nats, publishers, events));
        });
    }
    group.finish();
}

const EVENTS: usize = 10_000;

fn read_10000(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let (on_redis, on_nats) = (RedisServer::start(&SYNCED), NatsServer::start());
    let runtime = runtime();
    let all = Retention::UNBOUNDED;
    reads(criterion, "memory", &memory(all));
    reads(
        criterion,
        "sqlite",
        &sqlite(&folder.path().join("events.db"), all),
    );
    reads(criterion, "redis", &redis(&runtime, &on_redis, all));
    reads(criterion, "nats", &nats(&runtime, &on_nats));
}

fn reads<S: ReplayStore>(criterion: &mut Criterion, name: &str, store: &S) {
    let runtime = runtime();
    fill(&runtime, store, EVENTS as u64);
    let mut group = criterion.benchmark_group("read of 10000 events");
    group.sample_size(10);
    let four = Selector::new((0..4).map(topic).collect()).expect("a selector");
    for (kind, selector, events) in [
        ("all", Selector::all(), EVENTS),
        ("4 of 16 topics", four, EVENTS / 4),
    ] {
        group.throughput(Throughput::Bytes((events * EVENT_BYTES) as u64));
        group.bench_function(BenchmarkId::new(name, kind), |bencher| {
            bencher.iter(|| assert_eq!(read(&runtime, store, &selector, usize::MAX), events));
        });
    }
    group.finish();
}

criterion_group!(stores, append, read_10000);
criterion_main!(stores);
