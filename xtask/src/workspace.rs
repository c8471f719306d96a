//! What `cargo metadata` says of this workspace, and commands that run in it.

use std::collections::BTreeSet;
use std::env;
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

    /// A command that runs at the root of the workspace.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(&self.root);
        command
    }

    /// Cargo, at the root of the workspace. The arguments are separated by spaces.
    pub(crate) fn cargo(&self, arguments: &str) -> Command {
        let mut command = self.command(cargo_program());
        command.args(arguments.split_whitespace());
        command
    }
}

fn cargo_program() -> PathBuf {
    env::var_os("CARGO")
        .unwrap_or_else(|| "cargo".into())
        .into()
}

/// Prints a command and runs it to its end.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    announce(command);
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| missing(command))?;
    if !status.success() {
        bail!("{} ended with {status}", words(command));
    }
    Ok(())
}

/// Runs a command and hands back what it wrote to its standard output.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| missing(command))?;
    if !output.status.success() {
        bail!("{} ended with {}", words(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("the output of {}", words(command)))
}

/// Runs `cargo test`, passes its output on, and counts the tests.
pub(crate) fn run_tests(command: &mut Command) -> Result<Count> {
    announce(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| missing(command))?;
    let mut count = Count::default();
    if let Some(stdout) = child.stdout.take() {
        let mut out = std::io::stdout().lock();
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line?;
            out.write_all(&line)?;
            out.write_all(b"\n")?;
            count.add(&String::from_utf8_lossy(&line));
        }
        out.flush()?;
    }
    let status = child.wait()?;
    if count.failed > 0 {
        bail!(
            "{} of {} tests failed",
            count.failed,
            count.passed + count.failed
        );
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
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Count {
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        let of = |what: &str| {
            let (number, _) = result.split_once(&format!(" {what};"))?;
            number.rsplit(' ').next()?.parse::<u64>().ok()
        };
        self.passed += of("passed").unwrap_or(0);
        self.failed += of("failed").unwrap_or(0);
        self.ignored += of("ignored").unwrap_or(0);
    }
}

fn announce(command: &Command) {
    eprintln!("$ {}", words(command));
}

/// The command as a person would type it, with the variables set for it.
fn words(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let variables = command
        .get_envs()
        .filter(|(name, _)| !name.to_string_lossy().starts_with("TIDEGATE_TEST_"))
        .filter_map(|(name, value)| Some(format!("{}={:?}", name.to_string_lossy(), value?)));
    let arguments = command
        .get_args()
        .map(|argument| argument.to_string_lossy().into_owned());
    variables
        .chain([program.into_owned()])
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

fn missing(command: &Command) -> String {
    format!("cannot start {}", command.get_program().to_string_lossy())
}

#[cfg(test)]
mod tests {
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
        let metadata = serde_json::json!({
            "workspace_root": "/w", "target_directory": "/t",
            "packages": [
                { "name": "a", "manifest_path": "/w/crates/a/Cargo.toml", "publish": null, "dependencies": [
                    { "name": "b", "kind": "dev", "req": "*" },
                    { "name": "tokio", "kind": null, "req": "^1" } ] },
                { "name": "b", "manifest_path": "/w/crates/b/Cargo.toml", "publish": [], "dependencies": [] }
            ]
        });
        let workspace = Workspace::parse(&metadata).unwrap();
        let [a, b] = &workspace.packages[..] else {
            panic!("two packages")
        };
        assert!(a.published && !b.published);
        assert_eq!(a.dir, Path::new("/w/crates/a"));
        let [dev, tokio] = &a.dependencies[..] else {
            panic!("two dependencies")
        };
        assert!(dev.dev && dev.ours && !dev.versioned);
        assert!(!tokio.dev && !tokio.ours && tokio.versioned);
    }
}
