//! The `tidegate` command: a push hub, and a publisher and subscriber for the shell.

#![forbid(unsafe_code)]

mod args;
mod bench;
mod certificate;
mod descriptors;
mod host;
mod output;
mod page;
mod publish;
mod purge;
mod retain;
mod store;
mod subscribe;
mod trust;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::args::{Backup, Command, CommandLine, LogFormat};

// Measured against the system's allocator and mimalloc: least resident memory per connection.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let CommandLine {
        command,
        log,
        log_format,
    } = CommandLine::parse();
    start_log(log.as_deref(), log_format, &command);
    match run(command) {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::notice(&format!("{error:#}"));
            let usage = error.is::<push_client::ConfigError>();
            ExitCode::from(if usage { USAGE } else { FAILED })
        }
    }
}

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    Done,
    Interrupted,
}

fn run(command: Command) -> anyhow::Result<Ending> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        match command {
            Command::Dev(args) => host::dev(args).await.map(|()| Ending::Done),
            Command::Serve(args) => host::serve(args).await.map(|()| Ending::Done),
            Command::Publish(args) => publish::run(args).await,
            Command::Purge(args) => purge::run(args).await.map(|()| Ending::Done),
            Command::Backup(args) => back_up(args).await.map(|()| Ending::Done),
            Command::Subscribe(args) => subscribe::run(args).await.map(|()| Ending::Done),
            // It has this thread to itself; those of the runtime sleep.
            Command::Bench(args) => bench::run(&args).map(|()| Ending::Done),
        }
    });
    // A read of standard input that is under way cannot be cancelled; it must not hold us up.
    runtime.shutdown_background();
    result
}

/// `tidegate backup`: a store, copied into a file.
async fn back_up(Backup { to, store }: Backup) -> anyhow::Result<()> {
    let done = tokio::task::spawn_blocking(move || store.back_up(&to)).await??;
    output::notice(&done);
    Ok(())
}

fn start_log(filter: Option<&str>, format: LogFormat, command: &Command) {
    let default = match command {
        Command::Dev(_) | Command::Serve(_) => "info",
        // These say on standard error themselves what their user has to know.
        Command::Publish(_)
        | Command::Purge(_)
        | Command::Backup(_)
        | Command::Subscribe(_)
        | Command::Bench(_) => "error",
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter.unwrap_or(default)))
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
