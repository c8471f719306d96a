//! Prints the text of an OpenAI-style completion recorded in a file, and says if it was cut off:
//! `cargo run -p sse-proto --example openai -- FILE`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal: what it prints is its result"
)]

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::time::Duration;

use sse_proto::Item;
use sse_proto::source::{Action, End, Mode, Response, Sentinel, Source, State};

fn main() -> Result<(), Box<dyn Error>> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/openai.txt");
    let path = std::env::args_os().nth(1).unwrap_or_else(|| default.into());
    let mut body = File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;

    // With HTTP, the head of the response would decide whether this is a stream at all.
    let mode = Mode::SingleShot(Some(Sentinel::Data("[DONE]")));
    let mut source = Source::new("https://api.openai.com/v1/chat/completions", mode, |_| None);
    let head = Response::new(200).content_type(b"text/event-stream");
    source.handle_response(head, Duration::ZERO, 0);

    let mut buffer = [0; 100];
    while source.state() == State::Open {
        let len = body.read(&mut buffer)?;
        if len == 0 {
            source.handle_end(End::Eof, Duration::ZERO, 0);
        }
        let mut items = source.push(&buffer[..len]);
        while let Some(item) = items.next() {
            if let Item::Event(event) = item {
                let chunk: serde_json::Value = serde_json::from_str(event.data)?;
                print!(
                    "{}",
                    chunk["choices"][0]["delta"]["content"]
                        .as_str()
                        .unwrap_or("")
                );
            }
        }
    }
    println!();
    match source.action() {
        Action::Closed => Ok(()),
        other => {
            eprintln!("not complete: {other:?}");
            std::process::exit(1)
        }
    }
}
