//! What the tests run against us: foreign programs, at pinned versions.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::workspace::{Workspace, run};

/// The newest ones that Debian 12's Node 18 runs.
const NPM: &str = "playwright-core@1.61.1 undici@6.29.1 ws@8.23.0";

/// `aiohttp`, `httpx-sse`, `prometheus-client`, `websockets`, `wsproto`, and what they depend on.
const PYTHON: &str = "aiohttp==3.14.5 httpx-sse==0.4.3 prometheus-client==0.26.0 websockets==17.4 \
    wsproto==1.3.2 \
    aiohappyeyeballs==2.7.1 aiosignal==1.4.0 anyio==4.16.0 attrs==26.1.0 certifi==2026.10.18 \
    frozenlist==1.8.0 h11==0.16.0 httpcore==1.0.9 httpx==0.28.1 idna==3.20 multidict==7.2.1 \
    propcache==0.5.4 typing_extensions==4.16.0 yarl==1.25.1";

/// The runner of the Autobahn cases.
pub(crate) const KOSOKU: &str = "kosoku==0.1.0";

/// The hubs of Node.js in `cargo xtask bench compare`.
pub(crate) const NODE_HUBS: &str = "better-sse@0.16.1 socket.io@4.8.4 ws@8.23.0";

/// uWebSockets for Python.
pub(crate) const SOCKETIFY: &str =
    "cffi==2.1.1 pycparser==3.12 setuptools==84.2.1 socketify==0.0.31";

/// A hub of crates.io.
pub(crate) const DURABLE_STREAMS: (&str, &str) = ("durable-streams", "0.1.5");

/// Where Debian puts nchan.
const NCHAN: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// A command that works where the tests can run, and the Debian package that brings it.
const SYSTEM: [(&str, &str); 12] = [
    ("command -v cc && command -v make", "build-essential"),
    ("command -v git", "git"),
    ("command -v curl", "curl"),
    ("command -v chromium", "chromium"),
    ("command -v node", "nodejs"),
    ("command -v npm", "npm"),
    (
        "command -v nats-server || test -x /usr/sbin/nats-server",
        "nats-server",
    ),
    ("command -v python3", "python3"),
    ("python3 -c 'import ensurepip, venv'", "python3-venv"),
    ("command -v redis-server", "redis-server"),
    ("command -v nginx || test -x /usr/sbin/nginx", "nginx-light"),
    ("command -v haproxy || test -x /usr/sbin/haproxy", "haproxy"),
];

/// Where each tool is, as the environment variables that `testkit::tool` reads.
pub(crate) type Tools = [(&'static str, PathBuf); 9];

/// Installs whatever is missing.
///
/// # Errors
///
/// When something cannot be installed; it names the command that would do it.
pub(crate) fn install(workspace: &Workspace) -> Result<Tools> {
    install_system(workspace, &SYSTEM)?;
    let (node, venv) = (
        workspace.target.join("tools/node"),
        workspace.target.join("tools/python"),
    );
    let python = venv.join("bin/python");
    install_npm(workspace, &node, NPM)?;
    install_python(workspace, &venv, PYTHON)?;
    let tools = [
        ("TIDEGATE_TEST_CHROMIUM", find("chromium")?),
        ("TIDEGATE_TEST_CURL", find("curl")?),
        ("TIDEGATE_TEST_HAPROXY", find("haproxy")?),
        ("TIDEGATE_TEST_NGINX", find("nginx")?),
        ("TIDEGATE_TEST_NODE", find("node")?),
        ("TIDEGATE_TEST_NODE_MODULES", node.join("node_modules")),
        ("TIDEGATE_TEST_NATS_SERVER", find("nats-server")?),
        ("TIDEGATE_TEST_PYTHON", python),
        ("TIDEGATE_TEST_REDIS_SERVER", find("redis-server")?),
    ];
    for (variable, path) in &tools {
        eprintln!("{variable}={}", path.display());
    }
    Ok(tools)
}

/// Installs the runner of the Autobahn cases and says where it is. It has an environment of its own,
/// since only `cargo xtask conformance` needs it.
///
/// # Errors
///
/// When it cannot be installed.
pub(crate) fn install_kosoku(workspace: &Workspace) -> Result<PathBuf> {
    let venv = workspace.target.join("tools/kosoku");
    install_python(workspace, &venv, KOSOKU)?;
    Ok(venv.join("bin/kosoku"))
}

/// Fills a folder with exactly the `packages`, separated by spaces.
fn install_npm(workspace: &Workspace, node: &Path, packages: &str) -> Result<()> {
    once(node, packages, || {
        let mut npm = workspace.command("npm");
        npm.args([
            "install",
            "--no-audit",
            "--no-fund",
            "--no-save",
            "--ignore-scripts",
        ]);
        let npm = npm.arg("--prefix").arg(node);
        run(npm.args(packages.split_whitespace()))
    })
}

/// Installs the hubs of Node.js that ours is measured against, and says where their modules are.
///
/// # Errors
///
/// When they cannot be installed.
pub(crate) fn install_node_hubs(workspace: &Workspace) -> Result<PathBuf> {
    install_system(workspace, &[SYSTEM[4], SYSTEM[5]])?;
    let node = workspace.target.join("tools/hubs");
    install_npm(workspace, &node, NODE_HUBS)?;
    Ok(node.join("node_modules"))
}

/// Installs uWebSockets for Python, and says which Python has it.
///
/// # Errors
///
/// When it cannot be installed.
pub(crate) fn install_uwebsockets(workspace: &Workspace) -> Result<PathBuf> {
    let found = "ldconfig -p | grep -q libuv.so.1";
    install_system(workspace, &[SYSTEM[7], SYSTEM[8], (found, "libuv1")])?;
    let venv = workspace.target.join("tools/uwebsockets");
    install_python(workspace, &venv, SOCKETIFY)?;
    Ok(venv.join("bin/python"))
}

/// Installs Pushpin, and what it asks its origin with; they are started from the path.
///
/// # Errors
///
/// When they cannot be installed.
pub(crate) fn install_pushpin(workspace: &Workspace) -> Result<()> {
    let pushpin = ("command -v pushpin", "pushpin");
    install_system(
        workspace,
        &[SYSTEM[4], pushpin, ("command -v zurl", "zurl")],
    )
}

/// Installs nginx with nchan and says where the module is.
///
/// # Errors
///
/// When it cannot be installed.
pub(crate) fn install_nchan(workspace: &Workspace) -> Result<PathBuf> {
    let test = format!("command -v nginx && test -e {NCHAN}");
    install_system(workspace, &[(&test, "nginx-light libnginx-mod-nchan")])?;
    Ok(NCHAN.into())
}

/// Installs the server of durable-streams and says where it is.
///
/// # Errors
///
/// When it cannot be built.
pub(crate) fn install_durable_streams(workspace: &Workspace) -> Result<PathBuf> {
    let root = workspace.target.join("tools/durable-streams");
    let (name, version) = DURABLE_STREAMS;
    once(&root, &format!("{name} {version}"), || {
        let install = format!("install --quiet --locked {name}@{version}");
        let mut cargo = workspace.cargo(&install);
        run(cargo
            .arg("--root")
            .arg(&root)
            .arg("--target-dir")
            .arg(root.join("build")))
    })?;
    Ok(root.join("bin/durable-streams-server"))
}

/// Fills a virtual environment with exactly the `packages`, separated by spaces.
fn install_python(workspace: &Workspace, venv: &Path, packages: &str) -> Result<()> {
    once(venv, packages, || {
        run(workspace.command("python3").args(["-m", "venv"]).arg(venv))?;
        let pip = || {
            let mut pip = workspace.command(venv.join("bin/python"));
            pip.args(["-m", "pip", "--disable-pip-version-check"]);
            pip
        };
        run(pip()
            .args(["install", "--quiet", "--no-deps"])
            .args(packages.split_whitespace()))?;
        run(pip().arg("check"))
    })
}

fn install_system(workspace: &Workspace, wanted: &[(&str, &str)]) -> Result<()> {
    let shell = |line: &str| {
        let mut shell = workspace.command("sh");
        shell.args(["-c", line]);
        shell
    };
    let works = |line: &str| {
        shell(line)
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let missing = || {
        let absent = wanted.iter().filter(|(line, _)| !works(line));
        absent
            .map(|(_, package)| *package)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    let install = format!("install -y --no-install-recommends {packages}");
    let sudo = match () {
        () if !works("command -v apt-get") => {
            bail!("not installed here: {packages}; on Debian it would be: apt-get {install}")
        }
        () if works("[ $(id -u) = 0 ]") => "",
        () if works("sudo -n true") => "sudo -n ",
        () => bail!("not installed here: {packages}; run: sudo apt-get {install}"),
    };
    for verb in ["update", &install] {
        // It asks nothing, and waits for another apt to finish.
        let options = "-o DPkg::Lock::Timeout=600";
        let line = format!("{sudo}env DEBIAN_FRONTEND=noninteractive apt-get {options} {verb}");
        run(&mut shell(&line))?;
    }
    match missing() {
        still if still.is_empty() => Ok(()),
        still => bail!("apt-get brought nothing for: {still}; look at PATH"),
    }
}

/// Fills `dir` by `install` unless a mark in it says that exactly `wanted` is there.
fn once(dir: &Path, wanted: &str, install: impl FnOnce() -> Result<String>) -> Result<()> {
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

fn find(program: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Debian keeps servers where the path of most users does not lead.
    let dirs = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let mut files = dirs.map(|dir| dir.join(program));
    files
        .find(|file| file.is_file())
        .with_context(|| format!("{program} is not on PATH"))
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
                if works {
                    Ok(String::new())
                } else {
                    bail!("offline")
                }
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
