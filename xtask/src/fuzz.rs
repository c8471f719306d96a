//! `cargo xtask fuzz`: the targets of `crates/fuzz`, with libFuzzer, on the stable compiler.
//!
//! The coverage counters are LLVM's and need no nightly compiler; the address sanitizer would, and is
//! left out. What a run finds is under `fuzz/artifacts` in the target directory.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::report::Report;
use crate::workspace::{Workspace, capture, run};

/// Without its own target triple, the counters would also go into build scripts.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Ccodegen-units=1 --cfg fuzzing";

/// Runs the targets named, or all, for ten seconds each or for ten minutes.
///
/// # Errors
///
/// When there is no such target, or nothing can be built. A find is a failed step of `report`.
pub(crate) fn run_targets(
    workspace: &Workspace,
    only: &[&str],
    smoke: bool,
    report: &mut Report,
) -> Result<()> {
    let folder = workspace.root.join("crates/fuzz");
    let mut all = Vec::new();
    for file in fs::read_dir(folder.join("targets")).context("crates/fuzz/targets")? {
        let name = file?.file_name().to_string_lossy().into_owned();
        all.extend(name.strip_suffix(".rs").map(str::to_owned));
    }
    all.sort();
    if let Some(unknown) = only.iter().find(|name| !all.iter().any(|it| it == *name)) {
        bail!("no target `{unknown}`; there are {}", all.join(", "));
    }
    let version = capture(workspace.command("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc -vV names no host")?;
    let target = workspace.target.join("fuzz");
    let mut cargo = workspace.cargo("build --release --manifest-path crates/fuzz/Cargo.toml");
    cargo.args(["--target", host]);
    run(cargo
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", FLAGS))?;

    let seconds = if smoke { 10 } else { 600 };
    for name in all
        .iter()
        .filter(|name| only.is_empty() || only.contains(&name.as_str()))
    {
        report.step(&format!("fuzz {name}"), || {
            let corpus = target.join("corpus").join(name);
            let artifacts = target.join("artifacts").join(name);
            fs::create_dir_all(&corpus)?;
            fs::create_dir_all(&artifacts)?;
            let mut fuzz = workspace.command(target.join(host).join("release").join(name));
            fuzz.arg(format!("-max_total_time={seconds}"));
            fuzz.arg(format!("-artifact_prefix={}/", artifacts.display()));
            fuzz.args(["-print_final_stats=1", "-timeout=10", "-verbosity=0"]);
            let words = folder
                .join(name.split('_').next().unwrap_or(name))
                .with_extension("dict");
            if words.exists() {
                fuzz.arg(format!("-dict={}", words.display()));
            }
            run(fuzz.arg(corpus))
        });
    }
    Ok(())
}
