//! Fan-out and its peers under criterion, which says how sure a time is:
//! `cargo bench --manifest-path benches/compare/Cargo.toml --bench fan_out`. The program `fan_out` has
//! them take turns instead, and counts memory.

use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fan_out::{EVENT, PEERS};

#[path = "../src/fan_out.rs"]
mod fan_out;

const READERS: [(usize, usize); 3] = [(1, 1000), (1000, 1000), (100_000, 16)];

/// An event to so many readers, which are drained after every `backlog` events, outside the time.
fn append(criterion: &mut Criterion) {
    let event = Bytes::from_static(&EVENT);
    let mut group = criterion.benchmark_group("append");
    for (readers, backlog) in READERS {
        for (name, make) in PEERS {
            let mut peer = make(readers, backlog);
            group.bench_function(BenchmarkId::new(name, readers), |bencher| {
                bencher.iter_custom(|events| {
                    let mut time = Duration::ZERO;
                    let mut left = events as usize;
                    while left > 0 {
                        let events = left.min(backlog);
                        let start = Instant::now();
                        for _ in 0..events {
                            peer.publish(&event);
                        }
                        time += start.elapsed();
                        assert_eq!(peer.drain(), readers * events * EVENT.len());
                        left -= events;
                    }
                    time
                });
            });
        }
    }
}

/// So many readers take a backlog.
fn drain(criterion: &mut Criterion) {
    let event = Bytes::from_static(&EVENT);
    let mut group = criterion.benchmark_group("drain");
    for (readers, backlog) in READERS {
        group.throughput(Throughput::Elements((readers * backlog) as u64));
        for (name, make) in PEERS {
            let mut peer = make(readers, backlog);
            group.bench_function(BenchmarkId::new(name, readers), |bencher| {
                bencher.iter_custom(|times| {
                    let mut time = Duration::ZERO;
                    for _ in 0..times {
                        for _ in 0..backlog {
                            peer.publish(&event);
                        }
                        let start = Instant::now();
                        let bytes = peer.drain();
                        time += start.elapsed();
                        assert_eq!(bytes, readers * backlog * EVENT.len());
                    }
                    time
                });
            });
        }
    }
}

/// 100,000 publishers with one reader each, of which each publishes one event that is read at once.
fn many_logs(criterion: &mut Criterion) {
    let event = Bytes::from_static(&EVENT);
    let mut group = criterion.benchmark_group("publish and read");
    for (name, make) in PEERS {
        let mut peers: Vec<_> = (0..100_000).map(|_| make(1, 16)).collect();
        let mut at = 0;
        group.bench_function(BenchmarkId::new(name, "100000 logs"), |bencher| {
            bencher.iter(|| {
                at = (at + 1) % peers.len();
                peers[at].publish(&event);
                assert_eq!(peers[at].drain(), EVENT.len());
            });
        });
    }
}

fn config() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group!(name = all; config = config(); targets = append, drain, many_logs);
criterion_main!(all);
