//! `cargo xtask conformance`: other people's implementations against ours.

use anyhow::{Result, bail};

use crate::report::Report;
use crate::tools;
use crate::workspace::{Workspace, run};

/// Name and what Cargo runs.
const SUITES: [(&str, &[&str]); 1] = [(
    "sse",
    &[
        "run -q -p sse-proto --example vectors -- crates/sse-proto/tests/vectors/sse_vectors.json",
        "run -q -p sse-proto --example chromium",
    ],
)];

/// Runs the suites named, or all.
///
/// # Errors
///
/// When there is no such suite. One that fails is a failed step of `report`.
pub(crate) fn run_suites(workspace: &Workspace, only: &[&str], report: &mut Report) -> Result<()> {
    let all = SUITES.map(|(name, _)| name);
    if let Some(unknown) = only.iter().find(|name| !all.contains(name)) {
        bail!("no suite `{unknown}`; there are {}", all.join(", "));
    }
    for (name, commands) in SUITES {
        if only.is_empty() || only.contains(&name) {
            report.step(&format!("conformance {name}"), || {
                let tools = tools::install(workspace)?;
                for arguments in commands {
                    run(workspace.cargo(arguments).envs(tools.clone()))?;
                }
                Ok(String::new())
            });
        }
    }
    Ok(())
}
