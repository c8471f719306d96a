//! WebSocket: `cargo bench -p benches --bench ws`.

use std::hint::black_box;

use benches::ws;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ws_proto::{Prepared, apply_mask};

fn decode(criterion: &mut Criterion) {
    let (mut connection, mut buffer) = (ws::server(), vec![0; ws::BUFFER]);
    for row in ws::rows() {
        let answer = ws::decode(&row, &mut connection, &mut buffer);
        assert_eq!(answer, row.answer, "{}", row.name);
        let mut group = criterion.benchmark_group(format!("decode/{}", row.name));
        group.throughput(Throughput::Elements(row.answer.messages as u64));
        group.bench_function("ws-proto", |bencher| {
            bencher.iter(|| ws::decode(black_box(&row), &mut connection, &mut buffer));
        });
        group.bench_function("floor", |bencher| {
            bencher.iter(|| ws::copy_and_xor(black_box(&row), &mut buffer));
        });
        group.finish();
    }
}

fn mask(criterion: &mut Criterion) {
    for len in ws::MASK_LENGTHS {
        let (mut arena, count) = ws::mask_arena(len);
        let mut group = criterion.benchmark_group(format!("mask/{len}"));
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function("ws-proto", |bencher| {
            bencher.iter(|| {
                ws::mask_all(black_box(&mut arena), len, |bytes, key| {
                    apply_mask(bytes, key, 0);
                });
            });
        });
        group.finish();
    }
}

fn encode(criterion: &mut Criterion) {
    let mut out = Vec::new();
    for len in [16, 16 * 1024] {
        let payload = vec![0xa5; len];
        let mut group = criterion.benchmark_group(format!("encode/{len}"));
        let (mut server, mut client) = (ws::server(), ws::client());
        group.bench_function("server", |bencher| {
            bencher.iter(|| ws::encode(&mut server, black_box(&payload), 1, &mut out));
        });
        group.bench_function("client", |bencher| {
            bencher.iter(|| ws::encode(&mut client, black_box(&payload), 1, &mut out));
        });
        let prepared = Prepared::binary(&payload);
        group.bench_function("prepared", |bencher| {
            bencher.iter(|| ws::send_prepared(&mut server, black_box(&prepared), 1));
        });
        group.finish();
    }
}

fn deflate(criterion: &mut Criterion) {
    let (texts, mut out) = (ws::ticks(), Vec::new());
    let (mut server, mut deflater) = (ws::server(), ws::deflater());
    let mut group = criterion.benchmark_group("deflate/ticks");
    group.throughput(Throughput::Elements(texts.len() as u64));
    group.bench_function("context", |bencher| {
        bencher.iter(|| ws::deflate(&mut server, &mut deflater, black_box(&texts), &mut out));
    });
    group.finish();
}

criterion_group!(ws, decode, mask, encode, deflate);
criterion_main!(ws);
