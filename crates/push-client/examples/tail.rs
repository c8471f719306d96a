//! Prints the events of some topics: `tail [--ws] [--after CURSOR] URL TOPIC...`.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use push_client::{Delivery, SubscribeOptions, Subscriber, Transport};

const USAGE: &str = "usage: tail [--ws] [--after CURSOR] URL TOPIC...";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match tail().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error is gone too there is nobody left to tell.
            let _nobody = writeln!(std::io::stderr(), "tail: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn tail() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1).peekable();
    let mut transport = Transport::Sse;
    let mut after = String::new();
    while let Some(flag) = args.next_if(|arg| arg.starts_with("--")) {
        match flag.as_str() {
            "--ws" => transport = Transport::WebSocket,
            "--after" => after = args.next().ok_or(USAGE)?,
            _ => return Err(USAGE.into()),
        }
    }
    let url = args.next().ok_or(USAGE)?;
    let mut options = SubscribeOptions::new(args);
    options.transport(transport).after(after);

    let mut subscriber = Subscriber::new(&url, options)?;
    let mut out = std::io::stdout();
    while let Some(delivery) = subscriber.next().await {
        match delivery {
            Ok(Delivery::Event(event)) => {
                write!(out, "{} {} ", event.id, event.topic)?;
                out.write_all(&event.data)?;
                writeln!(out)?;
            }
            Ok(Delivery::Gap(gap)) => writeln!(out, "{} gap: {}", gap.id, gap.reason.as_str())?,
            Ok(Delivery::Ready { id }) => writeln!(out, "{id} ready")?,
            Ok(Delivery::Connected) => writeln!(out, "connected")?,
            Ok(Delivery::Disconnected { retry_in, why }) => {
                writeln!(out, "{why}; trying again in {retry_in:.1?}")?;
            }
            Ok(_) => {}
            Err(error) if error.is_final() => return Err(error.into()),
            Err(error) => writeln!(out, "{error}")?,
        }
    }
    Ok(())
}
