//! `cargo xtask layers`: which crate may reach which, judged from what Cargo would really build.
//!
//! The table below is the one in `docs/ARCHITECTURE.md`. To reach further, change the design first.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::workspace::{Dependency, Package, Workspace, capture};

/// The crates below any runtime, bottom-up.
pub(crate) const LOWER: [&str; 5] = [
    "sse-proto",
    "ws-proto",
    "session-proto",
    "backpressure",
    "replay-store",
];

/// Crates that carry a runtime, HTTP, entropy or a clock.
const RUNTIME: &[&str] = &[
    "async-io",
    "async-std",
    "chrono",
    "fastrand",
    "getrandom",
    "h2",
    "http",
    "http-body",
    "hyper",
    "hyper-util",
    "mio",
    "quanta",
    "rand",
    "rand_core",
    "smol",
    "socket2",
    "time",
    "tokio",
    "tokio-util",
    "web-time",
];

/// Crates whose source says `#![no_std]`.
const NO_STD: [&str; 3] = ["sse-proto", "ws-proto", "session-proto"];

/// What one crate may reach.
#[derive(Debug)]
struct Row {
    name: &'static str,
    /// Crates of ours that it may reach, directly or not.
    ours: &'static [&'static str],
    /// Foreign crates that it may name in its manifest; `None` leaves that to review.
    foreign: Option<&'static [&'static str]>,
    /// Foreign crates that it must not reach under any feature, directly or not.
    never: &'static [&'static str],
}

impl Row {
    const fn new(name: &'static str, ours: &'static [&'static str]) -> Self {
        Self {
            name,
            ours,
            foreign: None,
            never: &[],
        }
    }

    const fn lower(name: &'static str, foreign: &'static [&'static str]) -> Self {
        Self {
            name,
            ours: &[],
            foreign: Some(foreign),
            never: RUNTIME,
        }
    }
}

const TABLE: &[Row] = &[
    Row::lower("sse-proto", &["memchr", "bytes", "serde"]),
    Row::lower(
        "ws-proto",
        &["sha1", "base64", "bytes", "zlib-rs", "simdutf8"],
    ),
    Row::lower("session-proto", &["serde", "serde_json"]),
    Row::lower("backpressure", &["futures-core", "bytes"]),
    Row::lower("replay-store", &["bytes", "futures", "thiserror"]),
    Row {
        name: "replay-sqlite",
        ours: &["replay-store"],
        foreign: Some(&["bytes", "futures", "rusqlite", "thiserror"]),
        never: &["tokio", "hyper", "http"],
    },
    Row::new("replay-redis", &["replay-store"]),
    Row::new("replay-nats", &["replay-store"]),
    Row::new(
        "push-server",
        &[
            "sse-proto",
            "ws-proto",
            "session-proto",
            "backpressure",
            "replay-store",
        ],
    ),
    Row::new("push-client", &["sse-proto", "ws-proto", "session-proto"]),
    Row::new(
        "tidegate",
        &[
            "sse-proto",
            "ws-proto",
            "session-proto",
            "backpressure",
            "replay-store",
            "replay-sqlite",
            "replay-redis",
            "replay-nats",
            "push-server",
            "push-client",
        ],
    ),
    Row::new("testkit", &[]),
    Row::new("xtask", &[]),
];

pub(crate) fn run(workspace: &Workspace) -> Result<String> {
    let ours = workspace
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect::<Vec<_>>();
    let mut violations = Vec::new();
    for package in &workspace.packages {
        // The prefix is the depth, from which an edge is told; the targets are all there are.
        let mut tree = workspace.cargo("tree -e normal,build --all-features --target all");
        tree.args(["--prefix", "depth", "--format", " {p}", "-p", &package.name]);
        let tree = capture(&mut tree)?;
        let tree = parse_tree(&tree).context("the output of cargo tree")?;
        violations.extend(judge(&package.name, &tree, &ours));
        violations.extend(judge_dev(&package.name, &package.dependencies));
        violations.extend(judge_source(package)?);
    }
    for violation in &violations {
        eprintln!("{violation}");
    }
    match violations.len() {
        0 => Ok(format!("{} crates", workspace.packages.len())),
        many => bail!("{many} violations; the table is in xtask/src/layers.rs"),
    }
}

/// Lines of `cargo tree --prefix depth`: how deep, and which crate.
fn parse_tree(text: &str) -> Option<Vec<(usize, &str)>> {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (depth, package) = line.split_once(' ')?;
            Some((depth.parse().ok()?, package.split(' ').next()?))
        })
        .collect()
}

/// What `name` reaches against its row of the table. Each crate is reported once, by the first path.
fn judge(name: &str, tree: &[(usize, &str)], ours: &[&str]) -> Vec<String> {
    let Some(row) = TABLE.iter().find(|row| row.name == name) else {
        return vec![format!("{name}: it has no row in the table of layers")];
    };
    let mut violations = Vec::new();
    let mut reported = vec![name];
    let mut path = Vec::new();
    for &(depth, reached) in tree {
        path.truncate(depth);
        path.push(reached);
        if reported.contains(&reached) {
            continue;
        }
        if let Some(rule) = row.forbids(reached, depth, ours.contains(&reached)) {
            violations.push(format!("{}: {rule}", path.join(" -> ")));
            reported.push(reached);
        }
    }
    violations
}

impl Row {
    /// The rule that `self` reaching `reached` breaks.
    fn forbids(&self, reached: &str, depth: usize, is_ours: bool) -> Option<String> {
        let name = self.name;
        if is_ours {
            return (!self.ours.contains(&reached)).then(|| match reached {
                "replay-sqlite" | "replay-redis" | "replay-nats" => {
                    format!("only tidegate names a backend, {name} works on any store")
                }
                _ if self.ours.is_empty() => format!("{name} may reach no other crate of ours"),
                _ => format!("of ours {name} may reach only {}", self.ours.join(", ")),
            });
        }
        if self.never.contains(&reached) {
            return Some(format!(
                "{name} must never reach {reached}, under any feature"
            ));
        }
        let foreign = self
            .foreign
            .filter(|list| depth == 1 && !list.contains(&reached))?;
        Some(format!(
            "the manifest of {name} may name only {}",
            foreign.join(", ")
        ))
    }
}

/// Tests may reach further than the crate, but by path alone: a version would put a circle into the
/// order in which the crates are published.
fn judge_dev(name: &str, dependencies: &[Dependency]) -> Vec<String> {
    let allowed = TABLE
        .iter()
        .find(|row| row.name == name)
        .map_or(&[][..], |row| row.ours);
    let further = |d: &&Dependency| d.dev && d.ours && !allowed.contains(&d.name.as_str());
    let versioned = dependencies.iter().filter(further).filter(|d| d.versioned);
    versioned
        .map(|d| {
            format!(
                "{name} -> {} (dev): name it by path, without a version",
                d.name
            )
        })
        .collect()
}

fn judge_source(package: &Package) -> Result<Option<String>> {
    if !NO_STD.contains(&package.name.as_str()) {
        return Ok(None);
    }
    let file = package.dir.join("src/lib.rs");
    let source = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let said = source.lines().any(|line| line.trim_end() == "#![no_std]");
    Ok((!said).then(|| format!("{}: src/lib.rs must say #![no_std]", package.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [&str; 6] = [
        "sse-proto",
        "ws-proto",
        "session-proto",
        "replay-store",
        "replay-sqlite",
        "push-client",
    ];

    #[track_caller]
    fn check(name: &str, tree: &str, expected: &[&str]) {
        let tree = parse_tree(tree).unwrap();
        assert_eq!(judge(name, &tree, &OURS), expected);
    }

    #[test]
    fn what_the_table_allows_passes() {
        check(
            "sse-proto",
            "0 sse-proto v0.1.0 (/w)\n1 bytes v1.0.0\n1 memchr v2.0.0\n",
            &[],
        );
        check(
            "replay-sqlite",
            "0 replay-sqlite v0\n1 replay-store v0\n2 futures v0\n",
            &[],
        );
    }

    #[test]
    fn a_runtime_is_refused_in_a_lower_crate() {
        check(
            "sse-proto",
            "0 sse-proto v0\n1 memchr v2\n1 tokio v1.54.1\n2 memchr v2 (*)\n",
            &["sse-proto -> tokio: sse-proto must never reach tokio, under any feature"],
        );
    }

    #[test]
    fn a_runtime_is_refused_however_deep_it_hides() {
        check(
            "replay-store",
            "0 replay-store v0\n1 bytes v1\n1 futures v0\n2 futures-io v0\n3 getrandom v0\n1 thiserror v2\n",
            &["replay-store -> futures -> futures-io -> getrandom: \
               replay-store must never reach getrandom, under any feature"],
        );
    }

    #[test]
    fn a_lower_crate_reaches_no_other() {
        check(
            "ws-proto",
            "0 ws-proto v0\n1 session-proto v0 (/w/crates/session-proto)\n2 serde v1\n",
            &["ws-proto -> session-proto: ws-proto may reach no other crate of ours"],
        );
    }

    #[test]
    fn only_the_binary_names_a_backend() {
        check(
            "tidegate",
            "0 tidegate v0\n1 replay-sqlite v0\n2 rusqlite v0\n",
            &[],
        );
        check(
            "push-server",
            "0 push-server v0\n1 replay-store v0\n1 replay-sqlite v0\n2 replay-store v0 (*)\n",
            &[
                "push-server -> replay-sqlite: only tidegate names a backend, push-server works on any store",
            ],
        );
    }

    #[test]
    fn server_and_client_stay_apart() {
        check(
            "push-server",
            "0 push-server v0\n1 push-client v0\n",
            &[
                "push-server -> push-client: of ours push-server may reach only \
               sse-proto, ws-proto, session-proto, backpressure, replay-store",
            ],
        );
    }

    #[test]
    fn a_new_foreign_dependency_of_a_small_crate_is_a_decision() {
        check(
            "sse-proto",
            "0 sse-proto v0\n1 memchr v2\n2 libc v0\n1 regex v1\n",
            &["sse-proto -> regex: the manifest of sse-proto may name only memchr, bytes, serde"],
        );
    }

    #[test]
    fn a_crate_without_a_row_is_refused() {
        check(
            "utils",
            "0 utils v0\n",
            &["utils: it has no row in the table of layers"],
        );
    }

    #[test]
    fn tests_reach_further_only_by_path() {
        let dependency = |name: &str, dev, versioned| Dependency {
            name: name.to_owned(),
            dev,
            ours: true,
            versioned,
        };
        let by_path = [
            dependency("push-client", true, false),
            dependency("sse-proto", true, true),
        ];
        assert_eq!(judge_dev("push-server", &by_path), [""; 0]);
        assert_eq!(
            judge_dev("push-server", &[dependency("push-client", true, true)]),
            ["push-server -> push-client (dev): name it by path, without a version"]
        );
    }
}
