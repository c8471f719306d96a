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

const HELP: &str = include_str!("help.txt");

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
