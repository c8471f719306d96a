//! `cargo xtask loom`: every interleaving of the models in `backpressure`, up to two preemptions.

use anyhow::{Result, bail};

use crate::workspace::{Workspace, run_tests};

pub(crate) fn run(workspace: &Workspace) -> Result<String> {
    let mut cargo = workspace.cargo("test -p backpressure --lib --release loom_");
    cargo
        // Its own folder: with other RUSTFLAGS every build would throw the other's away.
        .env("CARGO_TARGET_DIR", workspace.target.join("loom"))
        .env("RUSTFLAGS", "--cfg loom -C debug_assertions")
        .env("LOOM_MAX_PREEMPTIONS", "2")
        .env("LOOM_MAX_BRANCHES", "10000");
    let count = run_tests(&mut cargo)?;
    if count.passed == 0 {
        bail!("no loom model ran; they are the tests of backpressure whose names begin with loom_");
    }
    Ok(count.to_string())
}
