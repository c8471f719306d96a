//! What `cargo metadata` says of this workspace, and commands that run in it.

use std::collections::BTreeSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// The workspace as it lies on disk.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

/// One crate of ours.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) published: bool,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One line of a manifest's dependency tables.
#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) dev: bool,
    pub(crate) ours: bool,
    /// Whether the manifest asks for a version, not only a path.
    pub(crate) versioned: bool,
}

impl Workspace {
    pub(crate) fn load() -> Result<Self> {
        let output = Command::new(cargo_program())
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .stderr(Stdio::inherit())
            .output()
            .context("cargo metadata")?;
        if !output.status.success() {
            bail!("cargo metadata failed; a manifest does not parse");
        }
        Self::parse(&serde_json::from_slice(&output.stdout)?)
            .context("cargo metadata answered in a form this xtask does not know")
    }

    fn parse(metadata: &Value) -> Option<Self> {
        let path = |value: &Value| value.as_str().map(PathBuf::from);
        let packages = metadata["packages"].as_array()?;
        let names = packages
            .iter()
            .filter_map(|p| p["name"].as_str())
            .collect::<BTreeSet<_>>();
        let dependency = |value: &Value| {
            let name = value["name"].as_str()?;
            Some(Dependency {
                name: name.to_owned(),
                dev: value["kind"] == "dev",
                ours: names.contains(name),
                versioned: value["req"] != "*",
            })
        };
        let package = |value: &Value| {
            Some(Package {
                name: value["name"].as_str()?.to_owned(),
                dir: path(&value["manifest_path"])?.parent()?.to_owned(),
                published: value["publish"].is_null(),
                dependencies: value["dependencies"]
                    .as_array()?
                    .iter()
                    .map(dependency)
                    .collect::<Option<_>>()?,
            })
        };
        Some(Self {
            root: path(&metadata["workspace_root"])?,
            target: path(&metadata["target_directory"])?,
            packages: packages.iter().map(package).collect::<Option<_>>()?,
        })
    }

    /// The names of our crates.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.packages
            .iter()
            .map(|package| package.name.as_str())
            .collect()
    }

    /// A command that runs at the root of the workspace and reads nothing.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).stdin(Stdio::null());
        command
    }

    /// Cargo, at the root of the workspace. The arguments are separated by spaces.
    pub(crate) fn cargo(&self, arguments: &str) -> Command {
        let mut command = self.command(cargo_program());
        command.args(arguments.split_whitespace());
        command
    }
}

fn cargo_program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Prints a command and runs it to its end. There is nothing to note.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    eprintln!("$ {}", words(command));
    let status = command.status().with_context(|| words(command))?;
    if !status.success() {
        bail!("{} ended with {status}", words(command));
    }
    Ok(String::new())
}

/// Runs a command and hands back what it wrote to its standard output.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| words(command))?;
    if !output.status.success() {
        bail!("{} ended with {}", words(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| words(command))
}

/// Runs `cargo test`, passes its output on, and counts the tests.
pub(crate) fn run_tests(command: &mut Command) -> Result<Count> {
    eprintln!("$ {}", words(command));
    let child = command.stdout(Stdio::piped()).spawn();
    let mut child = child.with_context(|| words(command))?;
    let mut count = Count::default();
    let mut out = std::io::stdout().lock();
    for line in BufReader::new(child.stdout.take().context("stdout")?).split(b'\n') {
        let mut line = line?;
        count.add(&String::from_utf8_lossy(&line));
        line.push(b'\n');
        out.write_all(&line)?;
    }
    let status = child.wait()?;
    if count.failed > 0 {
        bail!("{} failed, {count}", count.failed);
    }
    if !status.success() {
        bail!("{} ended with {status}", words(command));
    }
    Ok(count)
}

/// What the closing lines of a `cargo test` add up to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    failed: u64,
    ignored: u64,
}

impl Count {
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        let of = |what: &str| {
            let (before, _) = result.split_once(what)?;
            before.rsplit(' ').next()?.parse::<u64>().ok()
        };
        self.passed += of(" passed;").unwrap_or(0);
        self.failed += of(" failed;").unwrap_or(0);
        self.ignored += of(" ignored;").unwrap_or(0);
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed", self.passed)?;
        if self.ignored > 0 {
            write!(f, ", {} ignored", self.ignored)?;
        }
        Ok(())
    }
}

/// The command as a person would type it at the root, with the variables that decide what it does.
fn words(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        let name = name.to_string_lossy();
        if let Some(value) = value.filter(|_| !name.starts_with("TIDEGATE_TEST_")) {
            words.push(format!("{name}={value:?}"));
        }
    }
    let program = Path::new(command.get_program()).file_name();
    for word in program.into_iter().chain(command.get_args()) {
        words.push(word.to_string_lossy().into_owned());
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn closing_lines_of_several_test_programs_add_up_and_other_lines_do_not_count() {
        let mut count = Count::default();
        count.add("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s");
        count.add("test result: FAILED. 2 passed; 5 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s");
        count.add("test prints_9_passed; ... ok");
        assert_eq!(
            count,
            Count {
                passed: 14,
                failed: 5,
                ignored: 1
            }
        );
    }

    #[test]
    fn a_printed_command_can_be_pasted_but_leaves_out_the_tool_paths() {
        let mut command = Command::new("/usr/bin/cargo");
        command
            .args(["test", "-p", "x"])
            .env("RUSTFLAGS", "--cfg loom")
            .env("TIDEGATE_TEST_CURL", "/usr/bin/curl");
        assert_eq!(words(&command), "RUSTFLAGS=\"--cfg loom\" cargo test -p x");
    }

    #[test]
    fn metadata_tells_dev_and_path_only_dependencies_apart() {
        let b = json!({ "name": "b", "kind": "dev", "req": "*" });
        let tokio = json!({ "name": "tokio", "kind": null, "req": "^1" });
        let a = json!({ "name": "a", "publish": null, "dependencies": [b, tokio],
            "manifest_path": "/w/crates/a/Cargo.toml" });
        let b = json!({ "name": "b", "publish": [], "dependencies": [],
            "manifest_path": "/w/crates/b/Cargo.toml" });
        let metadata =
            json!({ "workspace_root": "/w", "target_directory": "/t", "packages": [a, b] });
        let workspace = Workspace::parse(&metadata).unwrap();
        let [a, b] = &workspace.packages[..] else {
            panic!("two packages")
        };
        assert!(a.published && !b.published && a.dir == Path::new("/w/crates/a"));
        let [dev, tokio] = &a.dependencies[..] else {
            panic!("two dependencies")
        };
        assert!(dev.dev && dev.ours && !dev.versioned);
        assert!(!tokio.dev && !tokio.ours && tokio.versioned);
    }
}
