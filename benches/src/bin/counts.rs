//! Runs one subject a number of times, for an instruction counter: `counts SUBJECT TIMES`. Without
//! arguments it lists the subjects. `cargo xtask bench --counts` counts each with two numbers of
//! times, so that start and preparation cancel out.
#![expect(
    clippy::print_stdout,
    reason = "a program for the terminal: what it prints is its result"
)]

use std::hint::black_box;
use std::process::ExitCode;

use benches::fan_out::{EVENT, EVENTS, OneLog};
use benches::hub::{self, Topics};
use benches::{sse, ws};

type Subject = (String, Box<dyn FnMut()>);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut subjects = subjects();
    let [name, times] = &arguments[..] else {
        for (name, _) in subjects {
            println!("{name}");
        }
        return ExitCode::SUCCESS;
    };
    let subject = subjects.iter_mut().find(|(found, _)| found == name);
    let (Some((_, run)), Ok(times)) = (subject, times.parse::<usize>()) else {
        println!("counts [SUBJECT TIMES]; without arguments it lists the subjects");
        return ExitCode::FAILURE;
    };
    for _ in 0..times {
        run();
    }
    ExitCode::SUCCESS
}

fn subjects() -> Vec<Subject> {
    let mut subjects = Vec::<Subject>::new();
    for row in sse::rows() {
        let mut add = |kind: &str, decode: fn(&sse::Row) -> sse::Answer| {
            let name = format!("sse/decode/{}/{kind}", row.name);
            let row = row.clone();
            let run = move || assert_eq!(decode(black_box(&row)), row.answer);
            subjects.push((name, Box::new(run)));
        };
        add("borrowed", sse::borrowed);
        add("owned", sse::owned);
    }
    for (name, text) in sse::texts() {
        let mut out = Vec::new();
        let run = move || assert!(sse::encode(black_box(&text), &mut out) > text.len());
        let name = name.replace(' ', "-");
        subjects.push((format!("sse/encode/{name}"), Box::new(run)));
    }
    for row in ws::rows() {
        let name = format!("ws/decode/{}", row.name);
        let (mut connection, mut buffer) = (ws::server(), vec![0; ws::BUFFER]);
        let run = move || {
            let answer = ws::decode(black_box(&row), &mut connection, &mut buffer);
            assert_eq!(answer, row.answer);
        };
        subjects.push((name, Box::new(run)));
    }
    for len in ws::MASK_LENGTHS {
        let (mut arena, _) = ws::mask_arena(len);
        let run = move || {
            ws::mask_all(black_box(&mut arena), len, |bytes, key| {
                ws_proto::apply_mask(bytes, key, 0);
            });
        };
        subjects.push((format!("ws/mask/{len}"), Box::new(run)));
    }
    for len in [16, 16 * 1024] {
        let (payload, mut out) = (vec![0xa5; len], Vec::new());
        let mut server = ws::server();
        let copy = payload.clone();
        let run = move || assert!(ws::encode(&mut server, black_box(&copy), 8, &mut out) > len);
        subjects.push((format!("ws/encode/server/{len}"), Box::new(run)));
        let (mut client, mut out) = (ws::client(), Vec::new());
        let run = move || assert!(ws::encode(&mut client, black_box(&payload), 8, &mut out) > len);
        subjects.push((format!("ws/encode/client/{len}"), Box::new(run)));
    }
    let (texts, mut out) = (ws::ticks(), Vec::new());
    let (mut server, mut deflater) = (ws::server(), ws::deflater());
    let run = move || assert!(ws::deflate(&mut server, &mut deflater, &texts, &mut out) > 0);
    subjects.push(("ws/deflate/ticks".to_owned(), Box::new(run)));
    for readers in [1, 1_000, 100_000] {
        let mut log = None;
        let publish = move || log.get_or_insert_with(|| OneLog::new(readers)).publish();
        let name = format!("fan_out/publish/{readers}-readers");
        subjects.push((name, Box::new(publish)));
        let mut log = None;
        let both = move || {
            let log = log.get_or_insert_with(|| OneLog::new(readers));
            log.publish();
            assert_eq!(log.drain(), readers * EVENTS * EVENT.len());
        };
        let name = format!("fan_out/publish-and-drain/{readers}-readers");
        subjects.push((name, Box::new(both)));
    }
    let mut logs = None;
    let many = move || {
        let logs: &mut Vec<_> =
            logs.get_or_insert_with(|| (0..1_000).map(|_| OneLog::new(1)).collect());
        for log in logs {
            log.publish();
            assert_eq!(log.drain(), EVENTS * EVENT.len());
        }
    };
    subjects.push(("fan_out/many/1000-logs".to_owned(), Box::new(many)));
    for count in [1, 1_000, 100_000] {
        let mut topics = None;
        let publish = move || {
            let topics = topics.get_or_insert_with(|| Topics::new(count));
            assert!(topics.publish() > hub::EVENTS * hub::DATA.len());
        };
        let name = format!("hub/publish/{count}-topics");
        subjects.push((name, Box::new(publish)));
    }
    subjects
}
