//! A hub: `cargo bench -p benches --bench hub`. What a publish costs by the number of topics.

use benches::hub::{DATA, EVENTS, Topics};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn publish(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for count in [1, 1_000, 100_000] {
        let mut topics = Topics::new(count);
        group.bench_function(BenchmarkId::new("topics", count), |bencher| {
            bencher.iter(|| assert!(topics.publish() > EVENTS * DATA.len()));
        });
    }
    group.finish();
}

criterion_group!(benches, publish);
criterion_main!(benches);
