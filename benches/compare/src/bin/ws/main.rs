//! WebSocket libraries side by side: prints the tables of `docs/benchmarks.md`.
//!
//! All of them take turns, many times, and the best time of each counts, so that a busy machine
//! disturbs all of them alike. Each runs once more before it is timed. Every decoder's answer is checked. `ws ROW..` runs those rows only.

mod peers;

use std::cell::RefCell;
use std::env;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use benches::ws::{self, Answer, Row};
use ws_proto::{OpCode, Prepared, apply_mask, encode_server_frame};

/// Takes turns for this long per row.
const BUDGET: Duration = Duration::from_millis(1500);

/// Something that is measured, and how many units one run of it has.
type Subject = (&'static str, Box<dyn FnMut() -> usize>);

/// A decoder of one row, kept from run to run.
type Decode = Box<dyn FnMut() -> Answer>;

fn main() {
    let only: Vec<String> = env::args().skip(1).collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|it| it == name);

    println!("Receiving at a server, ns a message:\n");
    let mut table = Table::default();
    for row in ws::rows() {
        if wanted(row.name) {
            // One leak a row; everybody may keep a reference then.
            table.measure(
                &format!("{} {}", row.name, row.what),
                decoders(Box::leak(Box::new(row))),
            );
        }
    }

    println!("\nMasking in the first level cache, ns a payload:\n");
    let mut table = Table::default();
    for len in ws::MASK_LENGTHS {
        let name = format!("M{len}");
        if wanted(&name) {
            table.measure(&format!("{name} {len} B"), masks(len));
        }
    }

    println!("\nSending, ns a message:\n");
    let mut table = Table::default();
    for (name, what, len, client) in [
        ("E16s", "16 B, server", 16, false),
        ("E16c", "16 B, client", 16, true),
        ("E1Ks", "1 KiB, server", 1024, false),
        ("E1Kc", "1 KiB, client", 1024, true),
        ("E16Ks", "16 KiB, server", 16 * 1024, false),
        ("E16Kc", "16 KiB, client", 16 * 1024, true),
    ] {
        if wanted(name) {
            table.measure(&format!("{name} {what}"), encoders(len, client));
        }
    }

    if wanted("P") {
        println!("\nA message for everybody, ns a receiver:\n");
        let mut table = Table::default();
        for len in [16, 1024, 1024 * 1024] {
            table.measure(&format!("P{len} {len} B"), prepared(len));
        }
    }
    if wanted("Z") {
        println!("\nCompression with context takeover of 290 B of JSON, ns a message:\n");
        compression();
    }
    if wanted("I") {
        println!("\nAn idle connection of a server that has received one message of 16 B:\n");
        idle();
    }
}

/// Prints a row, and the names in front of the first.
#[derive(Default)]
struct Table {
    has_head: bool,
}

impl Table {
    /// Lets the subjects take turns. The first is ours, the second the floor.
    fn measure(&mut self, title: &str, mut subjects: Vec<Subject>) {
        let mut best = vec![f64::INFINITY; subjects.len()];
        let begun = Instant::now();
        let mut round = 0;
        while begun.elapsed() < BUDGET || round < 3 {
            for (best, (_, run)) in best.iter_mut().zip(&mut subjects) {
                // It finds in the caches what it left there, not what the one before it did.
                run();
                let start = Instant::now();
                let units = run();
                *best = best.min(start.elapsed().as_secs_f64() / units as f64 * 1e9);
            }
            round += 1;
        }
        if !self.has_head {
            let names = subjects.iter().map(|(name, _)| format!(" {name} |"));
            println!(
                "| row |{} / floor | best peer / ours |",
                names.collect::<String>()
            );
            println!("|{}", "---|".repeat(subjects.len() + 3));
            self.has_head = true;
        }
        let cells = best.iter().map(|ns| match ns {
            0.0..100.0 => format!(" {ns:.1} |"),
            _ => format!(" {ns:.0} |"),
        });
        let peer = best[2..].iter().copied().fold(f64::INFINITY, f64::min);
        println!(
            "| {title} |{} {:.2} x | {:.2} x |",
            cells.collect::<String>(),
            best[0] / best[1],
            peer / best[0]
        );
    }
}

fn decoders(row: &'static Row) -> Vec<Subject> {
    let checked = |(name, mut decode): (&'static str, Decode)| -> Subject {
        let run = move || {
            let answer = decode();
            assert_eq!(answer, row.answer, "{name} on {}", row.name);
            answer.messages
        };
        (name, Box::new(run))
    };
    // Both read into the same one: where it lies makes a difference too.
    let buffer = Rc::new(RefCell::new(vec![0; ws::BUFFER]));
    let (mut connection, same) = (ws::server(), Rc::clone(&buffer));
    let ours: Decode =
        Box::new(move || ws::decode(black_box(row), &mut connection, &mut same.borrow_mut()));
    let floor = move || {
        let seen = ws::copy_and_xor(black_box(row), &mut buffer.borrow_mut());
        assert_eq!(seen, row.wire.len());
        row.answer.messages
    };
    let mut subjects = vec![
        checked(("ws-proto", ours)),
        ("copy and xor", Box::new(floor) as Box<dyn FnMut() -> usize>),
    ];
    subjects.extend(peers::decoders(row).into_iter().map(checked));
    subjects
}

fn masks(len: usize) -> Vec<Subject> {
    type Mask = fn(&mut [u8], [u8; 4]);
    let subject = |name, mask: Mask| -> Subject {
        let (mut arena, count) = ws::mask_arena(len);
        let run = move || {
            for _ in 0..8 {
                ws::mask_all(black_box(&mut arena), len, mask);
            }
            8 * count
        };
        (name, Box::new(run))
    };
    let mut subjects = vec![
        subject("ws-proto", |bytes, key| {
            apply_mask(bytes, key, 0);
        }),
        subject("xor by words", |bytes, key| {
            let word = u32::from_ne_bytes(key);
            let (words, tail) = bytes.as_chunks_mut::<4>();
            for chunk in words {
                *chunk = (u32::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
            }
            for (byte, key) in tail.iter_mut().zip(key) {
                *byte ^= key;
            }
        }),
    ];
    for (name, mask) in peers::MASKS {
        subjects.push(subject(name, mask));
    }
    subjects
}

/// How many messages one run encodes.
fn batch(len: usize) -> usize {
    (64 * 1024 / len).clamp(4, 256)
}

fn encoders(len: usize, client: bool) -> Vec<Subject> {
    let (count, payload) = (batch(len), vec![0xa5; len]);
    let (ours, mut out) = (payload.clone(), Vec::new());
    let (mut from_server, mut from_client) = (ws::server(), ws::client());
    let run = move || {
        let payload = black_box(&ours);
        let encoded = if client {
            ws::encode(&mut from_client, payload, count, &mut out)
        } else {
            ws::encode(&mut from_server, payload, count, &mut out)
        };
        assert!(encoded > count * len);
        black_box(&out);
        count
    };
    let (floor, mut copy) = (payload.clone(), Vec::new());
    let copy = move || {
        copy.clear();
        for _ in 0..count {
            copy.extend_from_slice(black_box(&floor));
        }
        black_box(&copy);
        count
    };
    let mut subjects: Vec<Subject> = vec![("ws-proto", Box::new(run)), ("memcpy", Box::new(copy))];
    subjects.extend(peers::encoders(&payload, client, count));
    subjects
}

fn prepared(len: usize) -> Vec<Subject> {
    const COUNT: usize = 256;
    let payload = vec![0xa5; len];
    let (mut connection, message) = (ws::server(), Prepared::binary(&payload));
    let ours = move || {
        let sent = ws::send_prepared(&mut connection, black_box(&message), COUNT);
        assert!(sent > COUNT * len);
        COUNT
    };
    let mut frame = Vec::new();
    encode_server_frame(OpCode::Binary, &payload, &mut frame);
    let frame = bytes::Bytes::from(frame);
    let floor = move || {
        for _ in 0..COUNT {
            black_box(black_box(&frame).clone());
        }
        COUNT
    };
    let mut subjects: Vec<Subject> = vec![("ws-proto", Box::new(ours)), ("clone", Box::new(floor))];
    subjects.extend(peers::encoders(&payload, false, batch(len)));
    subjects
}

fn compression() {
    let texts: &[String] = Box::leak(ws::ticks().into_boxed_slice());
    let plain: usize = texts.iter().map(String::len).sum();
    println!("| library | ns | ratio |\n|---|---|---|");
    let (mut server, mut deflater, mut out) = (ws::server(), ws::deflater(), Vec::new());
    let ours: (&str, Box<dyn FnMut() -> usize>) = (
        "ws-proto",
        Box::new(move || ws::deflate(&mut server, &mut deflater, texts, &mut out)),
    );
    for (name, mut run) in [ours].into_iter().chain(peers::compressors(texts)) {
        let (mut best, mut compressed) = (f64::INFINITY, 0);
        let begun = Instant::now();
        while begun.elapsed() < BUDGET {
            let start = Instant::now();
            compressed = run();
            best = best.min(start.elapsed().as_secs_f64());
        }
        let ns = best / texts.len() as f64 * 1e9;
        println!(
            "| {name} | {ns:.0} | {:.2} |",
            plain as f64 / compressed as f64
        );
    }
}

/// What each library holds for a connection, the connection itself included, on glibc's allocator.
fn idle() {
    const COUNT: usize = 200;
    let in_use = || {
        // SAFETY: it reads the allocator's own statistics and takes no argument.
        let info = unsafe { libc::mallinfo2() };
        info.uordblks + info.hblkhd
    };
    let rows = ws::rows();
    let row: &Row = rows
        .iter()
        .find(|row| row.name == "S16")
        .expect("it is one");
    let mut row = row.clone();
    // One message and no more.
    row.wire.truncate(row.read);
    row.answer = Answer {
        messages: 1,
        bytes: 16,
        firsts: 0xa5,
    };
    let row: &'static Row = Box::leak(Box::new(row));
    println!("| library | bytes |\n|---|---|");
    let mut buffer = vec![0; ws::BUFFER];
    let mut kept = Vec::with_capacity(COUNT);
    let before = in_use();
    for _ in 0..COUNT {
        let mut connection = Box::new(ws::server());
        assert_eq!(ws::decode(row, &mut connection, &mut buffer), row.answer);
        kept.push(connection);
    }
    println!("| ws-proto | {} |", (in_use() - before) / COUNT);
    for at in 0..peers::decoders(row).len() {
        let mut kept = Vec::with_capacity(COUNT);
        let mut name = "";
        let before = in_use();
        for _ in 0..COUNT {
            let (found, mut decode) = peers::decoders(row).swap_remove(at);
            assert_eq!(decode(), row.answer);
            name = found;
            kept.push(decode);
        }
        println!("| {name} | {} |", (in_use() - before) / COUNT);
    }
}
