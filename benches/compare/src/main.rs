//! Event-stream decoders side by side: prints the table of `docs/benchmarks.md`.
//!
//! Every decoder gets the same pieces and its answer is checked. All of them take turns, many times,
//! and the best time of each counts, so that a busy machine disturbs all of them alike.
//! `compare ROW..` runs those rows only.

mod peers;

use std::env;
use std::hint::black_box;
use std::time::{Duration, Instant};

use benches::sse::{self, Answer, Row};
use bytes::Bytes;

/// Takes turns for this long per row.
const BUDGET: Duration = Duration::from_secs(6);

type Decode = fn(&Row, &[Bytes]) -> Answer;

const DECODERS: [(&str, Decode); 7] = [
    ("sse-proto borrowed", |row, _| sse::borrowed(row)),
    ("sse-proto owned", |row, _| sse::owned(row)),
    ("sse-core", peers::sse_core),
    ("sse-stream", peers::sse_stream),
    ("sse-parse", peers::sse_parse),
    ("eventsource-client", peers::eventsource_client),
    ("eventsource-stream", peers::eventsource_stream),
];

fn main() {
    let only: Vec<String> = env::args().skip(1).collect();
    print!("| row |");
    for (name, _) in DECODERS {
        print!(" {name} |");
    }
    println!(
        " memchr walk | memcpy | borrowed / best peer | owned / best peer | borrowed / walk |"
    );
    println!("|{}", "---|".repeat(DECODERS.len() + 6));
    for row in sse::rows() {
        if only.is_empty() || only.iter().any(|name| name == row.name) {
            measure(&row);
        }
    }
}

fn measure(row: &Row) {
    let chunks: Vec<Bytes> = row
        .chunks
        .iter()
        .map(|chunk| Bytes::from(chunk.clone()))
        .collect();
    let mut copy = Vec::with_capacity(row.bytes());
    let mut best = [f64::INFINITY; DECODERS.len() + 2];
    let mut slow = [false; DECODERS.len() + 2];
    let begun = Instant::now();
    let mut round = 0;
    while begun.elapsed() < BUDGET || round < 3 {
        for (at, best) in best.iter_mut().enumerate() {
            // One that is a hundred times slower than the rest need not take every turn.
            if slow[at] && round % 20 != 0 {
                continue;
            }
            let start = Instant::now();
            match DECODERS.get(at) {
                Some((name, decode)) => {
                    let answer = decode(black_box(row), black_box(&chunks));
                    assert_eq!(answer, row.answer, "{name} on {}", row.name);
                }
                None if at == DECODERS.len() => {
                    assert!(sse::walk(black_box(row)) >= row.units);
                }
                None => {
                    copy.clear();
                    for chunk in &row.chunks {
                        copy.extend_from_slice(black_box(chunk));
                    }
                    assert_eq!(black_box(&copy).len(), row.bytes());
                }
            }
            let seconds = start.elapsed().as_secs_f64();
            *best = best.min(seconds);
            slow[at] = seconds > 0.1;
        }
        round += 1;
    }
    let peer = best[2..DECODERS.len()]
        .iter()
        .copied()
        .fold(f64::INFINITY, f64::min);
    print!("| {} {} |", row.name, row.what);
    for seconds in best {
        print!(" {} |", per_unit(seconds, row));
    }
    println!(
        " {:.2} x | {:.2} x | {:.2} x |",
        peer / best[0],
        peer / best[1],
        best[0] / best[DECODERS.len()]
    );
}

/// Time per event, or throughput where events are large.
fn per_unit(seconds: f64, row: &Row) -> String {
    let bytes = row.bytes() as f64;
    if bytes / row.units as f64 > 10_000.0 {
        format!("{:.2} GiB/s", bytes / seconds / f64::from(1 << 30))
    } else {
        format!("{:.1} ns", seconds / row.units as f64 * 1e9)
    }
}
