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
    if let Some(unknown) = only
        .iter()
        .find(|name| STEPS.iter().all(|(step, _)| step != *name))
    {
        bail!(
            "no step `{unknown}`; there are {}",
            STEPS.map(|(name, _)| name).join(", ")
        );
    }
    for (name, step) in STEPS
        .iter()
        .filter(|(name, _)| only.is_empty() || only.contains(name))
    {
        report.step(name, || step(workspace));
    }
    Ok(())
}

fn fmt(workspace: &Workspace) -> Result<String> {
    run(&mut workspace.cargo("fmt --all --check"))?;
    Ok(String::new())
}

/// Each crate by itself: in one run over the workspace, features that one crate turns on would hide
/// that another forgot to ask for them.
fn clippy(workspace: &Workspace) -> Result<String> {
    let default = workspace
        .packages
        .iter()
        .map(|package| (package.name.as_str(), ""));
    let mut failed = Vec::new();
    let mut runs = 0;
    for (name, features) in default.chain(FEATURES) {
        let arguments = format!("clippy --quiet -p {name} {features} --all-targets -- -D warnings");
        runs += 1;
        if run(&mut workspace.cargo(&arguments)).is_err() {
            failed.push(format!("{name} {features}").trim_end().to_owned());
        }
    }
    if !failed.is_empty() {
        bail!("{}", failed.join(", "));
    }
    Ok(format!("{runs} runs"))
}

fn docs(workspace: &Workspace) -> Result<String> {
    let mut cargo = workspace.cargo("doc --workspace --no-deps --all-features");
    run(cargo.env("RUSTDOCFLAGS", "-Dwarnings"))?;
    Ok(String::new())
}
