//! `cargo xtask tidy`: rules of the source that no compiler knows. Also a unit test of this crate.

use std::fs;

use anyhow::{Result, bail};

use crate::layers::LOWER;
use crate::sources::{self, Source};
use crate::spec;
use crate::workspace::{Package, Workspace};

/// A longer file is refused.
const MAX_LINES: usize = 900;
/// A longer file is worth splitting.
const GOOD_LINES: usize = 500;

/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 9] = [
    "common", "helper", "helpers", "manager", "managers", "misc", "types", "util", "utils",
];

/// Crates whose errors carry numbers and borrowed data only.
const PROTOCOL: [&str; 3] = ["sse-proto", "ws-proto", "session-proto"];

/// Macros that do not belong into finished code. Cut in two, for this file is judged as well.
const MACROS: [&str; 3] = [
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
];

/// What a lower crate takes as an argument instead.
const OUTSIDE: [(&str, &str); 6] = [
    (concat!("Instant", "::now"), "takes the time as an argument"),
    (
        concat!("SystemTime", "::now"),
        "takes the time as an argument",
    ),
    (
        concat!("thread", "::sleep"),
        "has no sleep, not even in a test: move a virtual clock",
    ),
    (
        concat!("time", "::sleep"),
        "has no sleep, not even in a test: move a virtual clock",
    ),
    (concat!("std", "::net"), "does no IO"),
    (concat!("std", "::fs"), "does no IO"),
];

pub(crate) fn run(workspace: &Workspace) -> Result<String> {
    let sources = sources::read(workspace)?;
    let findings = inspect(workspace, &sources);
    for finding in &findings {
        eprintln!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    let long = sources
        .iter()
        .filter(|source| source.path.ends_with(".rs") && source.text.lines().count() > GOOD_LINES);
    let long = long.map(|source| source.path.as_str()).collect::<Vec<_>>();
    if !long.is_empty() {
        return Ok(format!("over {GOOD_LINES} lines: {}", long.join(", ")));
    }
    Ok(format!("{} files", sources.len()))
}

/// Rewrites the hashes that documents hold of the sources they specify.
pub(crate) fn bless(workspace: &Workspace) -> Result<()> {
    for (path, text) in spec::bless(&sources::read(workspace)?) {
        fs::write(workspace.root.join(path), text)?;
        eprintln!("blessed {path}");
    }
    Ok(())
}

fn inspect(workspace: &Workspace, sources: &[Source]) -> Vec<String> {
    let mut findings = spec::check(sources);
    for source in sources {
        findings.extend(machine_paths(source));
        if source.path.ends_with(".rs") {
            findings.extend(rust(source));
        }
    }
    for package in workspace
        .packages
        .iter()
        .filter(|package| package.published)
    {
        let dir = package
            .dir
            .strip_prefix(&workspace.root)
            .unwrap_or(&package.dir);
        let published = workspace.packages.iter().filter(|other| other.published);
        let published = published
            .map(|other| other.name.as_str())
            .collect::<Vec<_>>();
        findings.extend(crate_files(&dir.to_string_lossy(), sources));
        findings.extend(versions(package, &published));
    }
    findings
}

fn rust(Source { path, text }: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    if !text.starts_with("//!") {
        findings.push(format!(
            "{path}:1: a file begins with //! and says what it is"
        ));
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        findings.push(format!(
            "{path}: {lines} lines; split it by its nouns, {MAX_LINES} is the limit"
        ));
    }
    let mut names = path.strip_suffix(".rs").unwrap_or(path).split('/');
    if let Some(name) = names.find(|name| EMPTY_NAMES.contains(name)) {
        findings.push(format!("{path}: `{name}` does not say what is inside"));
    }
    let in_crates = |names: &[&str]| {
        names
            .iter()
            .any(|name| path.starts_with(&format!("crates/{name}/")))
    };
    let (lower, protocol) = (in_crates(&LOWER), in_crates(&PROTOCOL));
    let of_errors = protocol && path.ends_with("/error.rs");
    for (line, number) in text.lines().zip(1..) {
        let mut find = |what: &str| findings.push(format!("{path}:{number}: {what}"));
        if line.contains('\t') || line.ends_with(' ') {
            find("a tab, or a space at the end of the line; in a string write \\t or \\x20");
        }
        let line = line.trim_start();
        if line.starts_with("//") {
            continue;
        }
        if line.starts_with('#') && line.contains("allow(") || line.starts_with("allow(") {
            find("write #[expect(.., reason = \"..\")] instead of allow");
        }
        if line.starts_with(concat!("#[", "ignore]")) {
            find("say why: #[ignore = \"..\"]");
        }
        if let Some(name) = MACROS.iter().find(|name| line.contains(**name)) {
            find(&format!(
                "{} is unfinished work",
                name.trim_end_matches('(')
            ));
        }
        if lower && let Some((name, rule)) = OUTSIDE.iter().find(|(name, _)| line.contains(name)) {
            find(&format!("{name}: a lower crate {rule}"));
        }
        if of_errors && (line.contains("String)") || line.contains(": String")) {
            find("an error of a protocol crate carries no String: callers match on its variants");
        }
    }
    findings
}

/// Paths of the machine that somebody wrote the file on.
fn machine_paths(Source { path, text }: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        for folder in ["work", "root", "home"].map(|name| format!("/{name}/")) {
            let mut found = line
                .match_indices(&folder)
                .map(|(at, _)| line[..at].chars().next_back());
            // After a letter it is the middle of a longer path or of an address.
            if found
                .any(|before| before.is_none_or(|c| !c.is_alphanumeric() && !".-_}*/~".contains(c)))
            {
                findings.push(format!(
                    "{path}:{number}: {folder} is a path of one machine"
                ));
            }
        }
    }
    findings
}

/// What a published crate has beside its code.
fn crate_files(dir: &str, sources: &[Source]) -> Vec<String> {
    let text = |name: &str| {
        let path = format!("{dir}/{name}");
        sources
            .iter()
            .find(|source| source.path == path)
            .map(|source| source.text.as_str())
    };
    let mut findings = Vec::new();
    if text("README.md").is_none() {
        findings.push(format!("{dir}: it has no README.md"));
    }
    if !text("CHANGELOG.md").is_some_and(|log| log.lines().any(|line| line == "## Unreleased")) {
        findings.push(format!(
            "{dir}: it has no CHANGELOG.md with a section `## Unreleased`"
        ));
    }
    let manifest = text("Cargo.toml").unwrap_or_default();
    let version = manifest.lines().find(|line| line.starts_with("version"));
    if !version.is_some_and(|line| line.starts_with("version = \"")) {
        findings.push(format!("{dir}: its Cargo.toml sets no version of its own"));
    }
    findings
}

/// A published crate can only depend on a published one, by a version; the root manifest has it.
fn versions(package: &Package, published: &[&str]) -> Vec<String> {
    let name = &package.name;
    let normal = package.dependencies.iter().filter(|d| d.ours && !d.dev);
    normal
        .filter_map(
            |d| match (published.contains(&d.name.as_str()), d.versioned) {
                (true, true) => None,
                (true, false) => Some(format!(
                    "{name}: write {}.workspace = true, a path alone cannot be published",
                    d.name
                )),
                (false, _) => Some(format!(
                    "{name}: it depends on {}, which is not published",
                    d.name
                )),
            },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn source(path: &str, text: &str) -> Source {
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// The lines at which a Rust file is found wanting; 0 for the file as a whole.
    #[track_caller]
    fn check(path: &str, text: &str, expected: &[usize]) {
        let findings = rust(&source(path, text));
        let line = |finding: &String| {
            let rest = &finding[path.len() + 1..];
            rest.split(':')
                .next()
                .and_then(|number| number.parse().ok())
                .unwrap_or(0)
        };
        assert_eq!(
            findings.iter().map(line).collect::<Vec<usize>>(),
            expected,
            "{findings:#?}"
        );
    }

    #[test]
    fn the_tree_is_tidy() {
        let workspace = Workspace::load().unwrap();
        let findings = inspect(&workspace, &sources::read(&workspace).unwrap());
        assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
    }

    #[test]
    fn a_file_says_what_it_is() {
        check("crates/x/src/a.rs", "//! A.\nfn f() {}\n", &[]);
        check("crates/x/tests/a.rs", "use x::y;\n", &[1]);
        check("crates/x/src/a.rs", "/// A.\nfn f() {}\n", &[1]);
    }

    #[test]
    fn a_file_ends_before_it_has_nine_hundred_lines() {
        check("src/a.rs", &"//!\n".repeat(MAX_LINES), &[]);
        check("src/a.rs", &"//!\n".repeat(MAX_LINES + 1), &[0]);
    }

    #[test]
    fn names_have_nouns() {
        check("crates/x/src/frame.rs", "//! A.\n", &[]);
        check("crates/x/src/utils.rs", "//! A.\n", &[0]);
        check("crates/x/tests/common/mod.rs", "//! A.\n", &[0]);
        check("crates/x/src/common_prefix.rs", "//! A.\n", &[]);
    }

    #[test]
    fn lints_are_suppressed_by_expect_only() {
        check(
            "a.rs",
            "//! A.\n#[expect(dead_code, reason = \"x\")]\n",
            &[],
        );
        check(
            "a.rs",
            concat!("//! A.\n", "#[all", "ow(dead_code)]\n"),
            &[2],
        );
        check(
            "a.rs",
            concat!("//! A.\n", "#![cfg_attr(test, all", "ow(dead_code))]\n"),
            &[2],
        );
        check(
            "a.rs",
            "//! A.\nif policy.allow(x) {\n// #[allow(x)]\n",
            &[],
        );
    }

    #[test]
    fn unfinished_work_is_found() {
        check(
            "a.rs",
            concat!("//! A.\n", "fn f() { to", "do!() }\n", "    db", "g!(x);\n"),
            &[2, 3],
        );
        check(
            "a.rs",
            concat!("//! A.\n", "unimplement", "ed!(\"later\")\n"),
            &[2],
        );
    }

    #[test]
    fn an_ignored_test_says_why() {
        check("a.rs", concat!("//! A.\n", "#[ign", "ore]\n"), &[2]);
        check("a.rs", "//! A.\n#[ignore = \"takes an hour\"]\n", &[]);
    }

    #[test]
    fn lower_crates_have_neither_clock_nor_sleep_nor_io() {
        let text = concat!(
            "//! A.\n",
            "std::thread",
            "::sleep(d);\n",
            "let now = Instant",
            "::now();\n"
        );
        check("crates/backpressure/tests/a.rs", text, &[2, 3]);
        check("crates/push-server/tests/a.rs", text, &[]);
        check(
            "crates/sse-proto/src/a.rs",
            concat!("//! A.\n", "use std", "::net::TcpStream;\n"),
            &[2],
        );
        check(
            "crates/sse-proto/src/a.rs",
            concat!("//! A.\n", "/// let now = Instant", "::now();\n"),
            &[],
        );
    }

    #[test]
    fn errors_of_protocol_crates_carry_no_strings() {
        let text =
            "//! A.\nenum E {\n    Bad(String),\n    Worse { why: String },\n    Code(u16),\n}\n";
        check("crates/ws-proto/src/error.rs", text, &[3, 4]);
        check("crates/ws-proto/src/frame.rs", text, &[]);
        check("crates/push-client/src/error.rs", text, &[]);
    }

    #[test]
    fn white_space_is_visible() {
        check("a.rs", "//! A.\n\tlet x = 1;\nlet y = 2; \n", &[2, 3]);
    }

    #[test]
    fn paths_of_one_machine_are_found_and_addresses_are_not() {
        let found = |text: &str| machine_paths(&source("a.md", text)).len();
        assert_eq!(found(concat!("see /wo", "rk/x and `/ro", "ot/.cargo`")), 2);
        assert_eq!(found(concat!("/ho", "me/me/x")), 1);
        assert_eq!(
            found("https://example.com/home/x, /var/work/x, docs/work/y"),
            0
        );
    }

    #[test]
    fn a_published_crate_has_a_readme_a_changelog_and_a_version() {
        let files = |log: &str, version: &str| {
            vec![
                source("crates/x/README.md", "# x\n"),
                source("crates/x/CHANGELOG.md", log),
                source("crates/x/Cargo.toml", version),
            ]
        };
        let good = files(
            "# Changelog\n\n## Unreleased\n",
            "[package]\nversion = \"0.1.0\"\n",
        );
        assert_eq!(crate_files("crates/x", &good), [""; 0]);
        assert_eq!(
            crate_files("crates/x", &files("", "version.workspace = true\n")).len(),
            2
        );
        assert_eq!(crate_files("crates/y", &good).len(), 3);
    }

    #[test]
    fn published_crates_depend_on_each_other_by_version() {
        let package = |versioned| Package {
            name: "x".to_owned(),
            dir: "crates/x".into(),
            published: true,
            dependencies: vec![
                Dependency {
                    name: "y".to_owned(),
                    dev: false,
                    ours: true,
                    versioned,
                },
                Dependency {
                    name: "kit".to_owned(),
                    dev: true,
                    ours: true,
                    versioned: false,
                },
            ],
        };
        assert_eq!(versions(&package(true), &["x", "y"]), [""; 0]);
        assert_eq!(versions(&package(false), &["x", "y"]).len(), 1);
        assert_eq!(versions(&package(true), &["x"]).len(), 1);
    }
}
