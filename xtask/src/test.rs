//! `cargo xtask test`: every test, from the bottom of the workspace to its top.

use std::ffi::OsString;

use anyhow::{Result, bail};

use crate::layers::LOWER;
use crate::report::Report;
use crate::tools;
use crate::workspace::{Count, Workspace, run, run_tests};

/// Sets of features, other than the default one, under which a crate is built and tested.
pub(crate) const FEATURES: [(&str, &str); 3] = [
    ("sse-proto", "--all-features"),
    ("ws-proto", "--no-default-features"),
    ("session-proto", "--no-default-features"),
];

const BINARY: &str = "tidegate";

/// One `cargo test`.
#[derive(Debug, Eq, PartialEq)]
struct Suite {
    name: String,
    arguments: String,
}

/// Runs the tests of the crates named, or of all.
///
/// # Errors
///
/// When there is no such crate. A test that fails is a failed step of `report`.
pub(crate) fn run_suites(
    workspace: &Workspace,
    only: &[&str],
    harness: &[OsString],
    report: &mut Report,
) -> Result<()> {
    let names = workspace
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect::<Vec<_>>();
    if let Some(unknown) = only.iter().find(|name| !names.contains(name)) {
        bail!("no crate `{unknown}` here; there are {}", names.join(", "));
    }
    let chosen = |name: &str| only.is_empty() || only.contains(&name);
    let names = names
        .into_iter()
        .filter(|name| chosen(name))
        .collect::<Vec<_>>();

    let mut tools = None;
    if names.iter().any(|name| !LOWER.contains(name)) {
        report.step("tools", || {
            tools = Some(tools::install(workspace)?);
            Ok(String::new())
        });
        if tools.is_none() {
            return Ok(());
        }
    }
    if names.contains(&BINARY) {
        report.step("build", || {
            run(&mut workspace.cargo("build -p tidegate"))?;
            Ok(String::new())
        });
    }
    for Suite { name, arguments } in suites(&names) {
        report.step(&name, || {
            let mut command = workspace.cargo(&arguments);
            command.envs(
                tools
                    .iter()
                    .flatten()
                    .map(|(variable, path)| (variable, path)),
            );
            if !harness.is_empty() {
                command.arg("--").args(harness);
            }
            let Count {
                passed, ignored, ..
            } = run_tests(&mut command)?;
            if passed == 0 && harness.is_empty() {
                bail!("it ran no test");
            }
            let note = if ignored == 0 {
                String::new()
            } else {
                format!(", {ignored} ignored")
            };
            Ok(format!("{passed} passed{note}"))
        });
    }
    Ok(())
}

fn suites(names: &[&str]) -> Vec<Suite> {
    let (lower, upper): (Vec<&str>, Vec<_>) = names.iter().partition(|name| LOWER.contains(name));
    let (binary, glue): (Vec<&str>, Vec<_>) = upper.iter().partition(|name| **name == BINARY);
    let suite = |name: String, names: &[&str], features: &str| Suite {
        name,
        arguments: format!("test --no-fail-fast -p {} {features}", names.join(" -p ")),
    };
    let mut suites = Vec::new();
    if !lower.is_empty() {
        suites.push(suite("lower crates".to_owned(), &lower, ""));
    }
    for (name, features) in FEATURES.iter().filter(|(name, _)| names.contains(name)) {
        suites.push(suite(format!("{name} {features}"), &[name], features));
    }
    if !glue.is_empty() {
        suites.push(suite("stores and glue".to_owned(), &glue, ""));
    }
    if !binary.is_empty() {
        suites.push(suite("end to end".to_owned(), &binary, ""));
    }
    suites
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(names: &[&str], expected: &[(&str, &str)]) {
        let suites = suites(names);
        let suites = suites
            .iter()
            .map(|s| (s.name.as_str(), s.arguments.trim_end()));
        assert_eq!(suites.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn suites_go_from_the_lower_crates_with_their_features_up_to_the_binary() {
        check(
            &["tidegate", "push-server", "ws-proto", "xtask", "sse-proto"],
            &[
                (
                    "lower crates",
                    "test --no-fail-fast -p ws-proto -p sse-proto",
                ),
                (
                    "sse-proto --all-features",
                    "test --no-fail-fast -p sse-proto --all-features",
                ),
                (
                    "ws-proto --no-default-features",
                    "test --no-fail-fast -p ws-proto --no-default-features",
                ),
                (
                    "stores and glue",
                    "test --no-fail-fast -p push-server -p xtask",
                ),
                ("end to end", "test --no-fail-fast -p tidegate"),
            ],
        );
    }

    #[test]
    fn one_crate_alone_runs_only_its_own_suites() {
        check(
            &["replay-store"],
            &[("lower crates", "test --no-fail-fast -p replay-store")],
        );
        check(
            &["tidegate"],
            &[("end to end", "test --no-fail-fast -p tidegate")],
        );
    }
}
