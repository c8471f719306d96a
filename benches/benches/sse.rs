//! Event streams: `cargo bench -p benches --bench sse`.

use std::hint::black_box;

use benches::sse::{borrowed, encode, owned, rows, texts, walk};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn decode(criterion: &mut Criterion) {
    for row in rows() {
        assert_eq!(borrowed(&row), row.answer, "{}", row.name);
        assert_eq!(owned(&row), row.answer, "{}", row.name);
        let mut group = criterion.benchmark_group(format!("decode/{}", row.name));
        group.throughput(Throughput::Bytes(row.bytes() as u64));
        group.bench_function("borrowed", |bencher| {
            bencher.iter(|| borrowed(black_box(&row)))
        });
        group.bench_function("owned", |bencher| bencher.iter(|| owned(black_box(&row))));
        group.bench_function("floor", |bencher| bencher.iter(|| walk(black_box(&row))));
        group.finish();
    }
}

fn encode_all(criterion: &mut Criterion) {
    let mut out = Vec::new();
    for (name, text) in texts() {
        let len = encode(&text, &mut out);
        assert!(len > text.len() && out.ends_with(b"\n\n"));
        let mut group = criterion.benchmark_group(format!("encode/{name}"));
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function("reused", |bencher| {
            bencher.iter(|| encode(black_box(&text), &mut out));
        });
        group.finish();
    }
}

criterion_group!(sse, decode, encode_all);
criterion_main!(sse);
