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
const EMPTY_NAMES: &str = " common helper helpers manager managers misc types util utils ";

/// Crates whose errors carry numbers and borrowed data only.
const PROTOCOL: [&str; 3] = ["sse-proto", "ws-proto", "session-proto"];

/// Macros that do not belong in finished code. Cut in two, for this file is judged as well.
const MACROS: [&str; 3] = [
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
];

/// What a lower crate does without.
const OUTSIDE: [(&str, &str); 4] = [
    (concat!("Instant", "::now"), "takes the time as an argument"),
    (
        concat!("SystemTime", "::now"),
        "takes the time as an argument",
    ),
    (concat!("std", "::net"), "does no IO"),
    (concat!("std", "::fs"), "does no IO"),
];

/// What its tests do without as well.
const SLEEP: [&str; 2] = [concat!("thread", "::sleep"), concat!("time", "::sleep")];

pub(crate) fn run(workspace: &Workspace) -> Result<String> {
    let sources = sources::read(workspace)?;
    let findings = inspect(workspace, &sources);
    for finding in &findings {
        eprintln!("{finding}");
    }
    if !findings.is_empty() {
        bail!("findings: {}", findings.len());
    }
    let mut note = format!("{} files", sources.len());
    for Source { path, text } in &sources {
        let lines = text.lines().count();
        if path.ends_with(".rs") && lines > GOOD_LINES {
            note.push_str(&format!("; split {path}, {lines} lines"));
        }
    }
    Ok(note)
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
        findings.extend(published(package, sources));
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
            "{path}: {lines} lines, {MAX_LINES} is the limit: split it"
        ));
    }
    let mut names = path.trim_end_matches(".rs").split('/');
    if let Some(name) = names.find(|name| EMPTY_NAMES.contains(&format!(" {name} "))) {
        findings.push(format!("{path}: `{name}` does not say what is inside"));
    }
    let of = |names: &[&str]| {
        names
            .iter()
            .any(|name| path.starts_with(&format!("crates/{name}/")))
    };
    // An example shows a whole program, with the clock and the IO that the crate leaves to it.
    let lower = of(&LOWER) && !path.contains("/examples/");
    let protocol_error = of(&PROTOCOL) && path.ends_with("/error.rs");
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
        if MACROS.iter().any(|name| line.contains(name)) {
            find("unfinished work");
        }
        if lower && SLEEP.iter().any(|name| line.contains(name)) {
            find("a lower crate never sleeps, its tests neither: move a virtual clock");
        }
        let outside = OUTSIDE.iter().find(|(name, _)| line.contains(name));
        if let Some((name, rule)) = outside.filter(|_| lower && path.contains("/src/")) {
            find(&format!("{name}: a lower crate {rule}"));
        }
        if protocol_error && (line.contains("String)") || line.contains(": String")) {
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
            // After a letter it is the middle of a longer path or of an address.
            let begins = |at: usize| {
                line[..at]
                    .chars()
                    .next_back()
                    .is_none_or(|c| " \"'`(=:<".contains(c))
            };
            if line.match_indices(&folder).any(|(at, _)| begins(at)) {
                findings.push(format!(
                    "{path}:{number}: {folder} is a path of one machine"
                ));
            }
        }
    }
    findings
}

/// What a published crate has beside its code.
fn published(package: &Package, sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    let name = &package.name;
    let has = |file: &str, good: fn(&str) -> bool| {
        let path = format!("crates/{name}/{file}");
        sources
            .iter()
            .any(|source| source.path == path && source.text.lines().any(good))
    };
    if !has("README.md", |_| true) {
        findings.push(format!("{name}: it has no README.md"));
    }
    if !has("CHANGELOG.md", |line| line == "## Unreleased") {
        findings.push(format!(
            "{name}: it has no CHANGELOG.md with a section `## Unreleased`"
        ));
    }
    if !has("Cargo.toml", |line| line.starts_with("version = \"")) {
        findings.push(format!("{name}: its Cargo.toml sets no version of its own"));
    }
    for dependency in package
        .dependencies
        .iter()
        .filter(|d| d.ours && !d.dev && !d.versioned)
    {
        let of = &dependency.name;
        findings.push(format!(
            "{name}: {of} has no version here; write {of}.workspace = true"
        ));
    }
    findings
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

    #[track_caller]
    fn check(path: &str, text: &str, findings: usize) {
        let found = rust(&source(path, text));
        assert_eq!(found.len(), findings, "{path} {text}: {found:#?}");
    }

    /// A line of a file that is else without fault.
    #[track_caller]
    fn check_line(path: &str, line: &str, findings: usize) {
        check(path, &format!("//! A.\n{line}\n"), findings);
    }

    #[test]
    fn the_tree_is_tidy() {
        let workspace = Workspace::load().unwrap();
        let findings = inspect(&workspace, &sources::read(&workspace).unwrap());
        assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
    }

    #[test]
    fn a_file_says_what_it_is_and_ends_before_it_is_a_book() {
        check("crates/x/tests/a.rs", "use x::y;\n", 1);
        check("crates/x/src/a.rs", "/// A.\nfn f() {}\n", 1);
        check("crates/x/src/a.rs", &"//!\n".repeat(MAX_LINES), 0);
        check("crates/x/src/a.rs", &"//!\n".repeat(MAX_LINES + 1), 1);
    }

    #[test]
    fn file_and_module_names_are_nouns() {
        check_line("crates/x/src/frame.rs", "", 0);
        check_line("crates/x/src/common_prefix.rs", "", 0);
        check_line("crates/x/src/utils.rs", "", 1);
        check_line("crates/x/tests/common/mod.rs", "", 1);
    }

    #[test]
    fn lints_are_suppressed_by_expect_only() {
        check_line("a.rs", "#[expect(dead_code, reason = \"x\")]", 0);
        check_line("a.rs", "if policy.allow(x) {}", 0);
        check_line("a.rs", concat!("#[all", "ow(dead_code)]"), 1);
        check_line(
            "a.rs",
            concat!("#![cfg_attr(test, all", "ow(dead_code))]"),
            1,
        );
    }

    #[test]
    fn unfinished_and_silently_ignored_work_is_found() {
        check_line("a.rs", concat!("fn f() { to", "do!() }"), 1);
        check_line("a.rs", concat!("    db", "g!(x);"), 1);
        check_line("a.rs", concat!("unimplement", "ed!(\"later\")"), 1);
        check_line("a.rs", concat!("#[ign", "ore]"), 1);
        check_line("a.rs", "#[ignore = \"takes an hour\"]", 0);
    }

    #[test]
    fn lower_crates_have_neither_clock_nor_sleep_nor_io() {
        let (sleep, clock) = (
            concat!("thread", "::sleep(d);"),
            concat!("Instant", "::now()"),
        );
        check_line("crates/backpressure/tests/a.rs", sleep, 1);
        check_line("crates/backpressure/src/a.rs", clock, 1);
        check_line(
            "crates/sse-proto/src/a.rs",
            concat!("use std", "::net::TcpStream;"),
            1,
        );
        check_line("crates/sse-proto/src/a.rs", &format!("/// with {clock}"), 0);
        check_line("crates/sse-proto/examples/a.rs", sleep, 0);
        check_line("crates/push-server/tests/a.rs", sleep, 0);
    }

    #[test]
    fn errors_of_protocol_crates_carry_no_strings() {
        for field in ["Bad(String),", "Worse { why: String },"] {
            check_line("crates/ws-proto/src/error.rs", field, 1);
            check_line("crates/push-client/src/error.rs", field, 0);
        }
        check_line("crates/ws-proto/src/error.rs", "Code(u16),", 0);
    }

    #[test]
    fn white_space_is_visible() {
        check_line("a.rs", "\tlet x = 1;", 1);
        check_line("a.rs", "let y = 2; ", 1);
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
    fn a_published_crate_has_its_files_a_version_and_dependencies_by_version() {
        let package = |versioned| Package {
            name: "x".to_owned(),
            published: true,
            dir: "crates/x".into(),
            dependencies: [(false, versioned), (true, false)]
                .map(|(dev, versioned)| Dependency {
                    name: "y".to_owned(),
                    dev,
                    ours: true,
                    versioned,
                })
                .into(),
        };
        let files = [
            source("crates/x/README.md", "# x\n"),
            source("crates/x/CHANGELOG.md", "# Changelog\n\n## Unreleased\n"),
            source("crates/x/Cargo.toml", "[package]\nversion = \"0.1.0\"\n"),
        ];
        assert_eq!(published(&package(true), &files), [""; 0]);
        assert_eq!(published(&package(false), &files).len(), 1);
        let bad = ["# x", "# Changelog", "version.workspace = true"];
        for (at, text) in bad.into_iter().enumerate().skip(1) {
            let mut files = files.each_ref().map(|file| source(&file.path, &file.text));
            files[at].text = text.to_owned();
            assert_eq!(published(&package(true), &files).len(), 1, "{text}");
        }
        assert_eq!(published(&package(true), &files[1..]).len(), 1);
    }
}
