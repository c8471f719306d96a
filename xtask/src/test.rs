//! `cargo xtask test`: every test, from the bottom of the workspace to its top.

use std::ffi::OsString;

use anyhow::{Result, bail};

use crate::layers::LOWER;
use crate::report::Report;
use crate::tools;
use crate::workspace::{Workspace, run, run_tests};

/// Sets of features, other than the default one, under which a crate is built and tested.
pub(crate) const FEATURES: [(&str, &str); 5] = [
    ("sse-proto", "--no-default-features"),
    ("sse-proto", "--all-features"),
    ("ws-proto", "--no-default-features"),
    ("ws-proto", "--all-features"),
    ("session-proto", "--no-default-features"),
];

const BINARY: &str = "tidegate";

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
    let all = workspace.names();
    if let Some(unknown) = only.iter().find(|name| !all.contains(name)) {
        bail!("no crate `{unknown}` here; there are {}", all.join(", "));
    }
    let names = if only.is_empty() { &all } else { only };

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
        report.step("build", || run(&mut workspace.cargo("build -p tidegate")));
    }
    for (name, arguments) in suites(names) {
        report.step(&name, || {
            let mut command = workspace.cargo(&arguments);
            command.envs(tools.clone().into_iter().flatten());
            if !harness.is_empty() {
                command.arg("--").args(harness);
            }
            let count = run_tests(&mut command)?;
            if count.passed == 0 && harness.is_empty() {
                bail!("it ran no test");
            }
            Ok(count.to_string())
        });
    }
    Ok(())
}

/// The name and the arguments of each `cargo test`.
fn suites(names: &[&str]) -> Vec<(String, String)> {
    let mut suites = Vec::new();
    let mut suite = |title: &str, features: &str, member: &dyn Fn(&str) -> bool| {
        let packages = names.iter().filter(|name| member(name));
        let packages = packages
            .map(|name| format!(" -p {name}"))
            .collect::<String>();
        if !packages.is_empty() {
            let arguments = format!("test --no-fail-fast{packages} {features}");
            suites.push((format!("{title} {features}"), arguments));
        }
    };
    let lower = |name: &str| LOWER.contains(&name);
    suite("lower crates", "", &lower);
    for (of, features) in FEATURES {
        suite(of, features, &|name| name == of);
    }
    suite("stores and glue", "", &|name| {
        !lower(name) && name != BINARY
    });
    suite("end to end", "", &|name| name == BINARY);
    suites
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(names: &[&str], expected: &[&str]) {
        let suites = suites(names).into_iter().map(|(name, arguments)| {
            let packages = arguments.trim_start_matches("test --no-fail-fast").trim();
            format!("{}: {packages}", name.trim())
        });
        assert_eq!(suites.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn suites_go_from_the_lower_crates_with_their_features_up_to_the_binary() {
        check(
            &["tidegate", "push-server", "ws-proto", "xtask", "sse-proto"],
            &[
                "lower crates: -p ws-proto -p sse-proto",
                "sse-proto --no-default-features: -p sse-proto --no-default-features",
                "sse-proto --all-features: -p sse-proto --all-features",
                "ws-proto --no-default-features: -p ws-proto --no-default-features",
                "ws-proto --all-features: -p ws-proto --all-features",
                "stores and glue: -p push-server -p xtask",
                "end to end: -p tidegate",
            ],
        );
    }

    #[test]
    fn one_crate_alone_runs_only_its_own_suites() {
        check(&["replay-store"], &["lower crates: -p replay-store"]);
        check(&["tidegate"], &["end to end: -p tidegate"]);
    }
}
