//! `cargo xtask check`: everything that must hold and is not a test.

use anyhow::{Result, bail};

use crate::report::Report;
use crate::test::FEATURES;
use crate::workspace::{Workspace, run};
use crate::{layers, loom, tidy};

type Step = (&'static str, fn(&Workspace) -> Result<String>);

const STEPS: [Step; 6] = [
    ("fmt", fmt),
    ("clippy", clippy),
    ("layers", layers::run),
    ("tidy", tidy::run),
    ("docs", docs),
    ("loom", loom::run),
];

/// Runs the steps named, or all.
///
/// # Errors
///
/// When there is no such step. A step that fails is remembered by `report`.
pub(crate) fn run_steps(workspace: &Workspace, only: &[&str], report: &mut Report) -> Result<()> {
    let all = STEPS.map(|(name, _)| name);
    if let Some(unknown) = only.iter().find(|name| !all.contains(name)) {
        bail!("no step `{unknown}`; there are {}", all.join(", "));
    }
    for (name, step) in STEPS {
        if only.is_empty() || only.contains(&name) {
            report.step(name, || step(workspace));
        }
    }
    Ok(())
}

fn fmt(workspace: &Workspace) -> Result<String> {
    run(&mut workspace.cargo("fmt --all --check"))
}

/// Each crate by itself: in one run over the workspace, features that one crate turns on would hide
/// that another forgot to ask for them.
fn clippy(workspace: &Workspace) -> Result<String> {
    let mut failed = Vec::new();
    for (name, features) in workspace
        .names()
        .into_iter()
        .map(|name| (name, ""))
        .chain(FEATURES)
    {
        let arguments = format!("clippy --quiet -p {name} {features} --all-targets -- -D warnings");
        if run(&mut workspace.cargo(&arguments)).is_err() {
            failed.push(format!("{name} {features}").trim_end().to_owned());
        }
    }
    if !failed.is_empty() {
        bail!("{}", failed.join(", "));
    }
    Ok(String::new())
}

fn docs(workspace: &Workspace) -> Result<String> {
    let mut cargo = workspace.cargo("doc --workspace --no-deps --all-features --keep-going");
    run(cargo.env("RUSTDOCFLAGS", "-Dwarnings"))
}
