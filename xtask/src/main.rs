//! The tasks of this workspace. `cargo xtask help` lists them.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal: what it prints is its result"
)]

mod autobahn;
mod bench;
mod check;
mod compare;
mod conformance;
mod fuzz;
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

/// The options there are, each with its task.
const OPTIONS: [&str; 6] = [
    "tidy --bless",
    "fuzz --smoke",
    "bench --counts",
    "bench --record",
    "bench --quick",
    "conformance --full",
];

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
    let mut option = String::new();
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
            lexopt::Arg::Long(name) => option = format!("--{name}"),
            lexopt::Arg::Value(word) => words.push(word.to_string_lossy().into_owned()),
            other => return Err(other.unexpected().into()),
        }
    }
    let words = words.iter().map(String::as_str).collect::<Vec<_>>();
    let (task, rest) = words.split_first().unwrap_or((&"help", &[]));
    let option = option.as_str();
    if *task != "test" && !harness.is_empty() {
        bail!("only `test` takes `-- ARGS`");
    }
    if !option.is_empty() && !OPTIONS.contains(&format!("{task} {option}").as_str()) {
        bail!("`{task}` takes no `{option}`; see `cargo xtask help`");
    }
    let takes_names = ["test", "check", "help", "fuzz", "bench", "conformance"].contains(task);
    if !takes_names && !rest.is_empty() {
        bail!("`{task}` takes no arguments; see `cargo xtask help`");
    }
    let workspace = Workspace::load()?;
    let mut report = Report::default();
    match *task {
        "help" => print!("{HELP}"),
        "test" => run_tests(&workspace, rest, &harness, &mut report)?,
        "tools" => tools::install(&workspace).map(drop)?,
        "check" => run_checks(&workspace, rest, &mut report)?,
        "tidy" if option == "--bless" => tidy::bless(&workspace)?,
        "layers" | "tidy" | "loom" => check::run_steps(&workspace, &[task], &mut report)?,
        "conformance" => {
            conformance::run_suites(&workspace, rest, option == "--full", &mut report)?
        }
        "fuzz" => fuzz::run_targets(&workspace, rest, option == "--smoke", &mut report)?,
        "bench" => bench::run_subjects(&workspace, rest, option, &mut report)?,
        "ci" => {
            run_tests(&workspace, &[], &[], &mut report)?;
            run_checks(&workspace, &[], &mut report)?;
        }
        unknown => bail!("no task `{unknown}`; see `cargo xtask help`"),
    }
    report.finish()
}

/// The suites of the crates named; of all, and then also the event-stream vectors in Chromium and the
/// comparison with wsproto.
fn run_tests(
    workspace: &Workspace,
    names: &[&str],
    harness: &[std::ffi::OsString],
    report: &mut Report,
) -> Result<()> {
    test::run_suites(workspace, names, harness, report)?;
    if names.is_empty() && harness.is_empty() {
        conformance::run_suites(workspace, &["sse", "wsproto"], false, report)?;
    }
    Ok(())
}

/// The steps named; all, and then ten seconds of each fuzz target too.
fn run_checks(workspace: &Workspace, steps: &[&str], report: &mut Report) -> Result<()> {
    check::run_steps(workspace, steps, report)?;
    if steps.is_empty() {
        fuzz::run_targets(workspace, &[], true, report)?;
    }
    Ok(())
}
