//! The tasks of this workspace. `cargo xtask help` lists them.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal: what it prints is its result"
)]

mod check;
mod layers;
mod loom;
mod report;
mod sources;
mod spec;
mod test;
mod tidy;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};
use report::Report;
use workspace::Workspace;

const HELP: &str = "\
The tasks of this workspace. People and CI use the same ones.

Usage: cargo xtask <task>

  test [CRATE..] [-- ARGS..]
        Installs what the tests need, then runs every test: the protocol and store
        crates with each set of features, the glue, the binary end to end. With CRATE
        only that crate's; ARGS go to the test programs.
            cargo xtask test ws-proto -- close
        Tools: curl, Chromium, Node and Python by apt-get (as root, or by sudo where it
        asks no password; else the task fails and prints the command), and under
        target/tools what npm and pip bring. Nothing is ever skipped.

  tools
        Only installs them, so that plain `cargo test -p CRATE` works from then on.

  check [STEP..]
        Everything else that must hold. All steps run, then a table. Steps:
            fmt     cargo fmt --check
            clippy  each crate by itself, all targets, warnings are errors
            layers  which crate may reach which (docs/ARCHITECTURE.md, xtask/src/layers.rs)
            tidy    rules of the source that no compiler knows (xtask/src/tidy.rs)
            docs    rustdoc, warnings are errors
            loom    every interleaving of the models in backpressure
        `cargo xtask layers`, `tidy` and `loom` also run alone.

  tidy --bless
        Accepts the present sources as described by the docs: rewrites the hashes in
        docs/*.md lines `<!-- source: PATH fnv1a64:HEX -->`. Read the doc first.

  ci    test, then check, in one table. What CI runs.

CARGO_TARGET_DIR is honoured, the tools move with it.
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut bless = false;
    let mut words = Vec::new();
    let mut arguments = std::env::args_os().skip(1).collect::<Vec<_>>();
    let harness = match arguments.iter().position(|argument| argument == "--") {
        Some(at) => arguments.split_off(at).split_off(1),
        None => Vec::new(),
    };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            lexopt::Arg::Short('h') | lexopt::Arg::Long("help") => words.insert(0, "help".into()),
            lexopt::Arg::Long("bless") => bless = true,
            lexopt::Arg::Value(word) => words.push(word.to_string_lossy().into_owned()),
            other => return Err(other.unexpected().into()),
        }
    }
    let words = words.iter().map(String::as_str).collect::<Vec<_>>();
    let (task, rest) = words.split_first().unwrap_or((&"help", &[]));
    if *task != "test" && !harness.is_empty() || *task != "tidy" && bless {
        bail!("only `test` takes `-- ARGS`, and only `tidy` takes `--bless`");
    }
    if !matches!(*task, "test" | "check" | "help") && !rest.is_empty() {
        bail!("`{task}` takes no arguments; see `cargo xtask help`");
    }
    let workspace = Workspace::load()?;
    let mut report = Report::default();
    match *task {
        "help" => print!("{HELP}"),
        "test" => test::run_suites(&workspace, rest, &harness, &mut report)?,
        "tools" => tools::install(&workspace).map(drop)?,
        "check" => check::run_steps(&workspace, rest, &mut report)?,
        "tidy" if bless => tidy::bless(&workspace)?,
        "layers" | "tidy" | "loom" => check::run_steps(&workspace, &[task], &mut report)?,
        "ci" => {
            test::run_suites(&workspace, &[], &[], &mut report)?;
            check::run_steps(&workspace, &[], &mut report)?;
        }
        unknown => bail!("no task `{unknown}`; see `cargo xtask help`"),
    }
    report.finish()
}
