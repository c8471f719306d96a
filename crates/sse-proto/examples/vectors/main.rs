//! Runs a file of conformance vectors (schema `sse-vectors/1`) and names each mismatch:
//! `cargo run -p sse-proto --example vectors -- FILE`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal: what it prints is its result"
)]

mod run;

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: vectors FILE, a JSON file of the schema sse-vectors/1");
        return ExitCode::FAILURE;
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    };
    let report = match run::run(&text) {
        Ok(report) => report,
        Err(why) => {
            eprintln!("{}: {why}", path.display());
            return ExitCode::FAILURE;
        }
    };
    for mismatch in &report.mismatches {
        println!("MISMATCH {mismatch}");
    }
    let [parser, encoder, client] = report.counts;
    println!(
        "{parser} parser, {encoder} encoder and {client} client vectors: {} mismatches",
        report.mismatches.len()
    );
    if report.mismatches.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
