//! `cargo xtask conformance`: other people's implementations against ours.

use anyhow::{Result, bail};

use crate::report::Report;
use crate::workspace::{Workspace, run};
use crate::{autobahn, tools};

/// Runs one suite, all of it or the part that is worth waiting for, and says what its report should.
type Suite = fn(&Workspace, bool) -> Result<String>;

const SUITES: [(&str, Suite); 3] = [
    ("sse", run_event_streams),
    ("ws", autobahn::run_websocket),
    ("wsproto", run_wsproto),
];

/// Runs the suites named, or all.
///
/// # Errors
///
/// When there is no such suite. One that fails is a failed step of `report`.
pub(crate) fn run_suites(
    workspace: &Workspace,
    only: &[&str],
    full: bool,
    report: &mut Report,
) -> Result<()> {
    let all = SUITES.map(|(name, _)| name);
    if let Some(unknown) = only.iter().find(|name| !all.contains(name)) {
        bail!("no suite `{unknown}`; there are {}", all.join(", "));
    }
    for (name, suite) in SUITES {
        if only.is_empty() || only.contains(&name) {
            report.step(&format!("conformance {name}"), || suite(workspace, full));
        }
    }
    Ok(())
}

fn run_event_streams(workspace: &Workspace, _full: bool) -> Result<String> {
    let tools = tools::install(workspace)?;
    for arguments in [
        "run -q -p sse-proto --example vectors -- crates/sse-proto/tests/vectors/sse_vectors.json",
        "run -q -p sse-proto --example chromium",
    ] {
        run(workspace.cargo(arguments).envs(tools.clone()))?;
    }
    Ok(String::new())
}

fn run_wsproto(workspace: &Workspace, full: bool) -> Result<String> {
    let tools = tools::install(workspace)?;
    let cases = if full { 400_000 } else { 4000 };
    let example = "run -q --release -p ws-proto --features deflate --example wsproto";
    let arguments = format!("{example} -- {cases}");
    run(workspace.cargo(&arguments).envs(tools))?;
    Ok(format!("{cases} cases"))
}
