//! Runs one subject a number of times, for an instruction counter: `counts SUBJECT TIMES`. Without
//! arguments it lists the subjects. `cargo xtask bench --counts` counts each with two numbers of
//! times, so that start and preparation cancel out.
#![expect(
    clippy::print_stdout,
    reason = "a program for the terminal: what it prints is its result"
)]

use std::hint::black_box;
use std::process::ExitCode;

use benches::sse;

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
    subjects
}
