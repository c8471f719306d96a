//! What the tests run against us: foreign programs, at pinned versions.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::workspace::{Workspace, run};

/// The newest one that Debian 12's Node 18 runs.
const NPM: &str = "playwright-core@1.61.1";

/// `websockets`, `httpx-sse`, and what they depend on.
const PYTHON: [&str; 9] = [
    "websockets==17.4",
    "httpx-sse==0.4.3",
    "httpx==0.28.1",
    "anyio==4.16.0",
    "certifi==2026.10.18",
    "h11==0.16.0",
    "httpcore==1.0.9",
    "idna==3.20",
    "typing_extensions==4.16.0",
];

/// A program that Debian brings, and the package it is in.
const SYSTEM: [(&str, &str); 8] = [
    ("cc", "build-essential"),
    ("make", "build-essential"),
    ("git", "git"),
    ("curl", "curl"),
    ("chromium", "chromium"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("python3", "python3"),
];

/// Where each tool is, as the environment variables that `testkit::tool` reads.
pub(crate) type Tools = [(&'static str, PathBuf); 5];

/// Installs whatever is missing.
///
/// # Errors
///
/// When something cannot be installed; it names the command that would do it.
pub(crate) fn install(workspace: &Workspace) -> Result<Tools> {
    install_system(workspace)?;
    let dir = workspace.target.join("tools");
    let node_modules = install_npm(workspace, &dir.join("node"))?;
    let python = install_python(workspace, &dir.join("python"))?;
    let tools = [
        ("TIDEGATE_TEST_CHROMIUM", program("chromium")?),
        ("TIDEGATE_TEST_CURL", program("curl")?),
        ("TIDEGATE_TEST_NODE", program("node")?),
        ("TIDEGATE_TEST_NODE_MODULES", node_modules),
        ("TIDEGATE_TEST_PYTHON", python),
    ];
    for (variable, path) in &tools {
        eprintln!("{variable}={}", path.display());
    }
    Ok(tools)
}

fn install_system(workspace: &Workspace) -> Result<()> {
    let missing = missing_packages(workspace);
    if missing.is_empty() {
        return Ok(());
    }
    let install = format!(
        "apt-get install -y --no-install-recommends {}",
        missing.join(" ")
    );
    let sudo: &[&str] = if ask(workspace, "id", &["-u"]).is_some_and(|id| id.trim() == "0") {
        &[]
    } else if ask(workspace, "sudo", &["-n", "true"]).is_some() {
        &["sudo", "-n"]
    } else {
        bail!("the tests need what is not installed here; run: sudo {install}");
    };
    if find("apt-get").is_none() {
        bail!("the tests need what is not installed here; on Debian it would be: {install}");
    }
    for line in ["apt-get update", &install] {
        // Another apt may hold the lock; the front end asks nothing.
        let words = ["env", "DEBIAN_FRONTEND=noninteractive"];
        let line = line.split(' ').chain(["-o", "DPkg::Lock::Timeout=600"]);
        let words = sudo
            .iter()
            .copied()
            .chain(words)
            .chain(line)
            .collect::<Vec<_>>();
        run(workspace.command(words[0]).args(&words[1..]))?;
    }
    match missing_packages(workspace).as_slice() {
        [] => Ok(()),
        still => bail!(
            "installed, yet not found on PATH: what {} should bring",
            still.join(", ")
        ),
    }
}

fn missing_packages(workspace: &Workspace) -> Vec<&'static str> {
    let absent = SYSTEM.iter().filter(|(name, _)| find(name).is_none());
    let mut packages = absent.map(|(_, package)| *package).collect::<Vec<_>>();
    packages.dedup();
    if ask(workspace, "python3", &["-c", "import ensurepip, venv"]).is_none() {
        packages.push("python3-venv");
    }
    packages
}

fn install_npm(workspace: &Workspace, dir: &Path) -> Result<PathBuf> {
    once(dir, NPM, || {
        let options = [
            "install",
            "--no-audit",
            "--no-fund",
            "--no-save",
            "--ignore-scripts",
            "--prefix",
        ];
        run(workspace.command("npm").args(options).arg(dir).arg(NPM))
    })?;
    Ok(dir.join("node_modules"))
}

fn install_python(workspace: &Workspace, dir: &Path) -> Result<PathBuf> {
    let python = dir.join("bin/python");
    once(dir, &PYTHON.join(" "), || {
        run(workspace.command("python3").args(["-m", "venv"]).arg(dir))?;
        let pip = [
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-deps",
            "--quiet",
        ];
        run(workspace.command(&python).args(pip).args(PYTHON))?;
        run(workspace.command(&python).args(["-m", "pip", "check"]))
    })?;
    Ok(python)
}

/// Fills `dir` by `install` unless a mark in it says that exactly `wanted` is there.
fn once(dir: &Path, wanted: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let mark = dir.join("installed.txt");
    if fs::read_to_string(&mark).is_ok_and(|present| present == wanted) {
        return Ok(());
    }
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("clearing {}", dir.display()))?;
    }
    fs::create_dir_all(dir)?;
    install().with_context(|| format!("installing {wanted}"))?;
    fs::write(mark, wanted).context("marking what is installed")
}

/// The output of a command, if it could be run and succeeded.
fn ask(workspace: &Workspace, program: &str, arguments: &[&str]) -> Option<String> {
    let output = workspace.command(program).args(arguments).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn program(name: &str) -> Result<PathBuf> {
    find(name).with_context(|| format!("{name} is not on PATH"))
}

fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_runs_again_only_when_what_is_wanted_changes_or_it_failed() {
        let dir = env::temp_dir().join(format!("xtask-once-{}", std::process::id()));
        let mut runs = 0;
        let mut ask = |wanted: &str, works: bool| {
            let _ = once(&dir, wanted, || {
                runs += 1;
                if works { Ok(()) } else { bail!("offline") }
            });
            runs
        };
        assert_eq!(ask("a==1", false), 1);
        assert_eq!(ask("a==1", true), 2);
        assert_eq!(ask("a==1", true), 2);
        assert_eq!(ask("a==2", true), 3);
        fs::remove_dir_all(dir).unwrap();
    }
}
