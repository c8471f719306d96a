//! `cargo xtask layers`: which crate may reach which, judged from what Cargo would really build.
//!
//! The rules are those of `docs/ARCHITECTURE.md`. To reach further, change the design first.

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

/// Crates that carry a runtime, IO, HTTP, entropy or a clock.
const RUNTIME: &str = "async-io async-std chrono fastrand getrandom h2 http http-body hyper \
    hyper-util mio quanta rand rand_core smol socket2 time tokio tokio-util web-time";

/// Crates whose source says `#![no_std]`.
const NO_STD: [&str; 3] = ["sse-proto", "ws-proto", "session-proto"];

/// What one crate may reach. Lists are separated by spaces.
#[derive(Debug)]
struct Row {
    name: &'static str,
    /// Crates of ours that it may reach, directly or not.
    ours: &'static str,
    /// Foreign crates that it may name in its manifest; `None` leaves that to review.
    foreign: Option<&'static str>,
    /// Foreign crates that it must not reach under any feature, directly or not.
    never: &'static str,
}

const fn row(name: &'static str, ours: &'static str) -> Row {
    Row {
        name,
        ours,
        foreign: None,
        never: "",
    }
}

const fn lower(name: &'static str, foreign: &'static str) -> Row {
    Row {
        name,
        ours: "",
        foreign: Some(foreign),
        never: RUNTIME,
    }
}

const TABLE: [Row; 14] = [
    lower("sse-proto", "memchr bytes serde"),
    lower("ws-proto", "sha1 base64 bytes cpufeatures zlib-rs simdutf8"),
    lower("session-proto", "serde serde_json"),
    lower("backpressure", "futures-core bytes"),
    lower("replay-store", "bytes futures thiserror"),
    Row {
        name: "replay-sqlite",
        ours: "replay-store",
        foreign: Some("bytes futures rusqlite thiserror"),
        never: "tokio hyper http",
    },
    row("replay-redis", "replay-store"),
    row("replay-nats", "replay-store"),
    row(
        "push-server",
        "sse-proto ws-proto session-proto backpressure replay-store",
    ),
    row("push-client", "sse-proto ws-proto session-proto"),
    row(
        "tidegate",
        "sse-proto ws-proto session-proto backpressure replay-store \
         replay-sqlite replay-redis replay-nats push-server push-client",
    ),
    row("testkit", ""),
    row(
        "benches",
        "sse-proto ws-proto session-proto backpressure replay-store \
         replay-sqlite replay-redis replay-nats push-server testkit",
    ),
    row("xtask", ""),
];

/// The crates that only the binary names.
const BACKENDS: [&str; 3] = ["replay-sqlite", "replay-redis", "replay-nats"];

fn lists(list: &str, name: &str) -> bool {
    list.split_whitespace().any(|listed| listed == name)
}

pub(crate) fn run(workspace: &Workspace) -> Result<String> {
    let ours = workspace.names();
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
        many => bail!("violations: {many}; the table is in xtask/src/layers.rs"),
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
        let Self {
            name,
            ours,
            foreign,
            never,
        } = self;
        if is_ours {
            return (!lists(ours, reached)).then(|| {
                if BACKENDS.contains(&reached) {
                    format!("only tidegate names a backend, {name} works on any store")
                } else if ours.is_empty() {
                    format!("{name} may reach no other crate of ours")
                } else {
                    format!("of ours {name} may reach only {ours}")
                }
            });
        }
        if lists(never, reached) {
            return Some(format!(
                "{name} must never reach {reached}, under any feature"
            ));
        }
        let foreign = foreign.filter(|list| depth == 1 && !lists(list, reached))?;
        Some(format!("the manifest of {name} may name only {foreign}"))
    }
}

/// Tests may reach further than the crate, but by path alone: a version would put a circle into the
/// order in which the crates are published.
fn judge_dev(name: &str, dependencies: &[Dependency]) -> Vec<String> {
    let allowed = TABLE
        .iter()
        .find(|row| row.name == name)
        .map_or("", |row| row.ours);
    let further = |d: &&Dependency| d.dev && d.ours && !lists(allowed, &d.name);
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

    /// The tree is written with a dot for each step down below the first.
    #[track_caller]
    fn check(name: &'static str, tree: &'static str, expected: &[&str]) {
        let line = |word: &'static str| {
            let reached = word.trim_start_matches('.');
            (1 + word.len() - reached.len(), reached)
        };
        let mut lines = vec![(0, name)];
        lines.extend(tree.split(' ').map(line));
        assert_eq!(judge(name, &lines, &OURS), expected);
    }

    #[test]
    fn what_the_table_allows_passes() {
        check("sse-proto", "bytes memchr", &[]);
        check(
            "replay-sqlite",
            "replay-store .futures rusqlite .libsqlite3-sys",
            &[],
        );
        check("tidegate", "push-server replay-sqlite .rusqlite tokio", &[]);
    }

    #[test]
    fn a_runtime_is_refused_in_a_lower_crate_however_deep_it_hides() {
        let never = "sse-proto -> tokio: sse-proto must never reach tokio, under any feature";
        check("sse-proto", "memchr tokio .memchr", &[never]);
        let never = "replay-store -> futures -> futures-io -> getrandom: \
                     replay-store must never reach getrandom, under any feature";
        check(
            "replay-store",
            "bytes futures .futures-io ..getrandom thiserror",
            &[never],
        );
    }

    #[test]
    fn a_lower_crate_reaches_no_other() {
        let none = "ws-proto -> session-proto: ws-proto may reach no other crate of ours";
        check("ws-proto", "session-proto .serde", &[none]);
    }

    #[test]
    fn only_the_binary_names_a_backend() {
        let backend = "push-server -> replay-sqlite: \
                       only tidegate names a backend, push-server works on any store";
        check(
            "push-server",
            "replay-store replay-sqlite .replay-store",
            &[backend],
        );
    }

    #[test]
    fn server_and_client_stay_apart() {
        let apart = "push-server -> push-client: of ours push-server may reach only \
                     sse-proto ws-proto session-proto backpressure replay-store";
        check("push-server", "push-client", &[apart]);
    }

    #[test]
    fn a_new_foreign_dependency_of_a_small_crate_is_a_decision() {
        let named =
            "sse-proto -> regex: the manifest of sse-proto may name only memchr bytes serde";
        check("sse-proto", "memchr .libc regex", &[named]);
    }

    #[test]
    fn a_crate_without_a_row_is_refused() {
        check(
            "push-magic",
            "bytes",
            &["push-magic: it has no row in the table of layers"],
        );
    }

    #[test]
    fn the_tree_is_read_as_cargo_prints_it() {
        let tree = "0 ws-proto v0.1.0 (/w/crates/ws-proto)\n1 sha1 v0.11.0\n2 cfg-if v1.0.4 (*)\n";
        let lines = [(0, "ws-proto"), (1, "sha1"), (2, "cfg-if")];
        assert_eq!(parse_tree(tree).as_deref(), Some(&lines[..]));
        assert_eq!(parse_tree("[build-dependencies]\n"), None);
    }

    #[test]
    fn tests_reach_further_only_by_path() {
        let judge = |name: &str, versioned| {
            let name = name.to_owned();
            judge_dev(
                "push-server",
                &[Dependency {
                    name,
                    dev: true,
                    ours: true,
                    versioned,
                }],
            )
        };
        assert_eq!(judge("sse-proto", true), [""; 0]);
        assert_eq!(judge("push-client", false), [""; 0]);
        assert_eq!(judge("push-client", true).len(), 1);
    }
}
