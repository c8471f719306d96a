//! `cargo xtask bench`: criterion; and instruction counts, which a busy machine does not change.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::compare;
use crate::report::Report;
use crate::workspace::{Workspace, capture, run};

/// The counts that are accepted, one a line: subject, instructions of one run.
const STORED: &str = "benches/counts.txt";

/// What a change of a count may be, in per cent, before it counts as one.
const TOLERANCE: f64 = 2.0;

/// Runs criterion on the subjects named, or on all; or counts; or compares hubs.
///
/// # Errors
///
/// When criterion fails. A count that is wrong is a failed step of `report`.
pub(crate) fn run_subjects(
    workspace: &Workspace,
    subjects: &[&str],
    option: &str,
    report: &mut Report,
) -> Result<()> {
    match (subjects, option) {
        (["compare", named @ ..], "" | "--quick") => {
            let wanted = compare::Wanted::parse(named, option == "--quick")?;
            report.step("bench compare", || compare::run_all(workspace, &wanted));
            return Ok(());
        }
        (_, "--quick") => bail!("`--quick` goes with `bench compare`"),
        _ => {}
    }
    let mut cargo = workspace.cargo("bench -p benches");
    for subject in subjects {
        cargo.args(["--bench", subject]);
    }
    match (option, subjects) {
        ("", _) => return run(&mut cargo).map(drop),
        (_, []) => report.step("counts", || count(workspace, option == "--record")),
        _ => bail!("`bench {option}` counts all subjects"),
    }
    Ok(())
}

/// Counts the instructions of each subject and compares them with those that are stored, or stores
/// them.
///
/// # Errors
///
/// When one takes over [`TOLERANCE`] more than is stored, or is not stored, or no longer there.
fn count(workspace: &Workspace, record: bool) -> Result<String> {
    let valgrind = capture(workspace.command("valgrind").arg("--version"));
    valgrind.context("the counter is missing; on Debian: apt-get install valgrind")?;
    run(&mut workspace.cargo("build --release -p benches --bin counts"))?;
    let program = workspace.target.join("release/counts");
    let mut found = BTreeMap::new();
    for subject in capture(&mut workspace.command(&program))?.lines() {
        let instructions = |times: u64| {
            let mut valgrind = workspace.command("valgrind");
            valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
            collected(valgrind.arg(&program).args([subject, &times.to_string()]))
        };
        // Start, preparation, and buffers that grow for the first time are in both.
        let count = (instructions(3)? - instructions(1)?) / 2;
        println!("{subject} {count}");
        found.insert(subject.to_owned(), count);
    }
    let path = workspace.root.join(STORED);
    if record {
        let lines = found
            .iter()
            .map(|(subject, count)| format!("{subject} {count}\n"));
        fs::write(&path, lines.collect::<String>())?;
        return Ok(format!("{} stored", found.len()));
    }
    let stored = fs::read_to_string(&path).with_context(|| STORED.to_owned())?;
    let (findings, notes) = judge(&parse(&stored)?, &found);
    for line in findings.iter().chain(&notes) {
        println!("{line}");
    }
    if !findings.is_empty() {
        bail!(
            "{} findings; if so it must be: cargo xtask bench --record",
            findings.len()
        );
    }
    Ok(format!("{} within {TOLERANCE} %", found.len()))
}

/// What valgrind says it has collected.
fn collected(valgrind: &mut Command) -> Result<u64> {
    let output = valgrind.output().context("valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("valgrind ended with {}: {said}", output.status);
    }
    let count = said
        .lines()
        .find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    count.with_context(|| format!("valgrind says nothing of what it collected: {said}"))
}

fn parse(stored: &str) -> Result<BTreeMap<String, u64>> {
    let line = |line: &str| {
        let (subject, count) = line.rsplit_once(' ')?;
        Some((subject.to_owned(), count.parse().ok()?))
    };
    let lines = stored.lines().map(|text| {
        line(text).with_context(|| format!("{STORED}: not a subject and a count: {text}"))
    });
    lines.collect()
}

/// What is wrong, and what is merely worth storing.
fn judge(
    stored: &BTreeMap<String, u64>,
    found: &BTreeMap<String, u64>,
) -> (Vec<String>, Vec<String>) {
    let (mut findings, mut notes) = (Vec::new(), Vec::new());
    for (subject, count) in found {
        let Some(before) = stored.get(subject) else {
            findings.push(format!("{subject}: not in {STORED}"));
            continue;
        };
        let change = (*count as f64 - *before as f64) * 100.0 / *before as f64;
        let line = format!("{subject}: {before} before, {count} now, {change:+.1} %");
        if change > TOLERANCE {
            findings.push(line);
        } else if change < -TOLERANCE {
            notes.push(line);
        }
    }
    let gone = stored
        .keys()
        .filter(|subject| !found.contains_key(*subject));
    findings.extend(gone.map(|subject| format!("{subject}: in {STORED}, but no longer a subject")));
    (findings, notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_more_instructions_than_the_tolerance_and_unknown_subjects_are_findings() {
        let stored = parse("a 1000\nb/c d 1000\ngone 5\nlevel 1000\n").unwrap();
        let found = parse("a 1021\nb/c d 900\nlevel 1020\nnew 7\n").unwrap();
        let (findings, notes) = judge(&stored, &found);
        assert_eq!(
            findings,
            [
                "a: 1000 before, 1021 now, +2.1 %",
                "new: not in benches/counts.txt",
                "gone: in benches/counts.txt, but no longer a subject",
            ]
        );
        assert_eq!(notes, ["b/c d: 1000 before, 900 now, -10.0 %"]);
        assert!(parse("a\n").is_err() && parse("a b\n").is_err());
    }
}
