//! `cargo xtask conformance ws`: the Autobahn cases, as the pinned runner `kosoku` has them, against
//! `ws-proto` at both ends of a connection.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

use crate::tools;
use crate::workspace::{Workspace, capture, run};

/// The cases that may end otherwise than `OK`, each with its reason.
const EXPECTATIONS: &str = include_str!("autobahn.txt");

/// The sizes of message in the groups on compression, 12 and 13, that only `--full` runs: they take
/// most of an hour and try nothing that the smaller ones do not.
const LARGE: [u32; 11] = [7, 8, 9, 10, 12, 13, 14, 15, 16, 17, 18];

/// Runs the suite against the server and against the client.
///
/// # Errors
///
/// When a case ends otherwise than expected, better than expected included, or did not run.
pub(crate) fn run_websocket(workspace: &Workspace, full: bool) -> Result<String> {
    let kosoku = tools::install_kosoku(workspace)?;
    for package in [
        "push-server --example ws_echo",
        "push-client --example ws_echo_client",
    ] {
        run(&mut workspace.cargo(&format!("build --release -p {package}")))?;
    }
    let expected = expectations(EXPECTATIONS)?;
    let mut notes = Vec::new();
    let mut results = Map::new();
    for pass in &PASSES {
        let reports = workspace.target.join("conformance").join(pass.name);
        if reports.exists() {
            fs::remove_dir_all(&reports)?;
        }
        fs::create_dir_all(&reports)?;
        let suite = suite(workspace, &kosoku, &reports, pass, full);
        (pass.judge)(workspace, suite, pass.arguments)?;
        let (subset, all) = pass.cases;
        let count = if full { all } else { subset };
        let cases = cases(&reports)?;
        notes.push(format!(
            "{} {}",
            pass.name,
            verdict(&cases, &expected, count)?
        ));
        results.insert(pass.name.to_owned(), json!(groups(&cases)));
    }
    let result = json!({
        "suite": tools::KOSOKU,
        "command": if full { "cargo xtask conformance ws --full" } else { "cargo xtask conformance ws" },
        "date": capture(workspace.command("date").args(["-u", "+%F"]))?.trim(),
        "rustc": capture(workspace.command("rustc").arg("--version"))?.trim(),
        "results": results,
    });
    let path = workspace.target.join("conformance/ws.json");
    fs::write(&path, format!("{result:#}\n"))?;
    notes.push(format!("see {}", path.display()));
    Ok(notes.join("; "))
}

/// One run of the suite against one end.
struct Pass {
    name: &'static str,
    judge: Judge,
    /// Of our end.
    arguments: &'static [&'static str],
    /// Which cases.
    options: &'static [&'static str],
    /// How many those are without the large ones, and with them.
    cases: (usize, usize),
}

/// In the cases 13.2, 13.5 and 13.6 the suite's server declines a client that does not hint that it
/// would do without context takeover; one that always hints it would not be tried with it elsewhere.
const PASSES: [Pass; 3] = [
    Pass {
        name: "server",
        judge: judge_server,
        arguments: &["--deflate"],
        options: &[],
        cases: (385, 517),
    },
    Pass {
        name: "client",
        judge: judge_client,
        arguments: &["--deflate"],
        options: &["-x", "13.2.*", "-x", "13.5.*", "-x", "13.6.*"],
        cases: (364, 463),
    },
    Pass {
        name: "client-no-context-takeover",
        judge: judge_client,
        arguments: &["--deflate", "--no-context-takeover"],
        options: &["-i", "13.2.*", "-i", "13.5.*", "-i", "13.6.*"],
        cases: (21, 54),
    },
];

/// Runs the suite, given as far as its options, against one end with these arguments.
type Judge = fn(&Workspace, Command, &[&str]) -> Result<()>;

/// The suite, told which cases to run and where to put its reports.
fn suite(workspace: &Workspace, kosoku: &Path, reports: &Path, pass: &Pass, full: bool) -> Command {
    let mut suite = workspace.command(kosoku);
    suite.arg("-o").arg(reports).args(pass.options);
    if !full {
        for (group, size) in [12, 13]
            .into_iter()
            .flat_map(|group| LARGE.map(|size| (group, size)))
        {
            suite.args(["-x", &format!("{group}.*.{size}")]);
        }
    }
    suite
}

fn judge_server(workspace: &Workspace, mut suite: Command, arguments: &[&str]) -> Result<()> {
    let program = workspace.target.join("release/examples/ws_echo");
    let mut server = workspace.command(program);
    let mut server = Running(
        server
            .arg("127.0.0.1:0")
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()?,
    );
    let mut line = String::new();
    let output = server.0.stdout.take().context("the server's output")?;
    BufReader::new(output).read_line(&mut line)?;
    let address = line
        .trim()
        .strip_prefix("listening on ")
        .context("the server does not say where it listens")?;
    suite.args(["-m", "fuzzingclient", "-p", "2", address]);
    // Its exit code counts cases that are expected to fail; the index is judged instead.
    let _failed_cases = run(&mut suite);
    Ok(())
}

fn judge_client(workspace: &Workspace, mut suite: Command, arguments: &[&str]) -> Result<()> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    suite.args(["-m", "fuzzingserver", &address.to_string()]);
    let mut suite = Running(suite.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?);
    let said = suite.0.stderr.take().context("what the suite says")?;
    let mut said = BufReader::new(said);
    let mut line = String::new();
    while !line.contains("listening") {
        line.clear();
        if said.read_line(&mut line)? == 0 {
            bail!("the suite ended before it listened");
        }
        eprint!("{line}");
    }
    thread::spawn(move || io::copy(&mut said, &mut io::stderr()));
    let program = workspace.target.join("release/examples/ws_echo_client");
    run(workspace
        .command(program)
        .arg(format!("ws://{address}"))
        .args(arguments))?;
    until("the suite wrote its report", || {
        Ok(suite.0.try_wait()?.is_some())
    })
}

fn until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so()? {
        if Instant::now() > deadline {
            bail!("waited a minute until {what}");
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// The cases by name, as they are in the index that the suite wrote.
fn cases(reports: &Path) -> Result<Map<String, Value>> {
    let index = reports.join("index.json");
    let text = fs::read_to_string(&index)
        .with_context(|| format!("the suite left no {}", index.display()))?;
    let agents: Map<String, Value> = serde_json::from_str(&text)?;
    match agents.into_iter().next() {
        Some((_, Value::Object(cases))) => Ok(cases),
        _ => bail!("{} names no agent", index.display()),
    }
}

/// For each group how many of its cases ended how.
fn groups(cases: &Map<String, Value>) -> BTreeMap<String, BTreeMap<&str, usize>> {
    let mut groups = BTreeMap::<_, BTreeMap<_, _>>::new();
    for (case, result) in cases {
        let number = case.split('.').next().unwrap_or(case);
        let behavior = result["behavior"].as_str().unwrap_or("nothing");
        // With a zero in front the order of the names is that of the numbers.
        let group = groups.entry(format!("{number:0>2}")).or_default();
        *group.entry(behavior).or_default() += 1;
    }
    groups
}

/// Holds the cases against what is expected.
fn verdict(cases: &Map<String, Value>, expected: &[(&str, &str)], count: usize) -> Result<String> {
    let surprises = surprises(cases, expected);
    for surprise in &surprises {
        eprintln!("{surprise}");
    }
    if cases.len() != count {
        bail!("{} cases ran, not {count}", cases.len());
    }
    if !surprises.is_empty() {
        bail!(
            "not as expected: {}; see xtask/src/autobahn.txt",
            surprises.len()
        );
    }
    let ok = cases.values().filter(|case| case["behavior"] == "OK");
    let ok = ok.count();
    Ok(format!("{ok} OK, {} as expected", cases.len() - ok))
}

fn surprises(cases: &Map<String, Value>, expected: &[(&str, &str)]) -> Vec<String> {
    let mut surprises = Vec::new();
    for (case, result) in cases {
        let wanted = expected.iter().find(|(name, _)| name == case);
        let wanted = wanted.map_or("OK", |(_, behavior)| behavior);
        let behavior = result["behavior"].as_str().unwrap_or("nothing");
        if behavior != wanted {
            surprises.push(format!("case {case}: {behavior}, expected {wanted}"));
        }
        let close = result["behaviorClose"].as_str().unwrap_or("nothing");
        if !matches!(close, "OK" | "INFORMATIONAL") {
            surprises.push(format!("case {case}: its close was {close}"));
        }
    }
    surprises
}

/// The lines `CASE BEHAVIOR REASON`.
fn expectations(text: &str) -> Result<Vec<(&str, &str)>> {
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.splitn(3, ' ');
            match (words.next(), words.next(), words.next()) {
                (Some(case), Some(behavior), Some(_reason)) => Ok((case, behavior)),
                _ => bail!("not a case, a behavior and a reason: {line}"),
            }
        })
        .collect()
}

/// A program that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _already_ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_case_must_end_as_expected_no_better_and_no_worse_and_close_cleanly() {
        let index = json!({
            "1.1.1": { "behavior": "OK", "behaviorClose": "OK" },
            "6.4.1": { "behavior": "NON-STRICT", "behaviorClose": "OK" },
            "7.1.6": { "behavior": "OK", "behaviorClose": "INFORMATIONAL" },
            "7.3.6": { "behavior": "OK", "behaviorClose": "WRONG CODE" },
        });
        assert_eq!(
            surprises(index.as_object().unwrap(), &[("7.1.6", "INFORMATIONAL")]),
            [
                "case 6.4.1: NON-STRICT, expected OK",
                "case 7.1.6: OK, expected INFORMATIONAL",
                "case 7.3.6: its close was WRONG CODE",
            ]
        );
    }

    #[test]
    fn groups_are_counted_by_behavior() {
        let index = json!({
            "1.1.1": { "behavior": "OK" },
            "1.1.2": { "behavior": "OK" },
            "1.2.1": { "behavior": "NON-STRICT" },
            "10.1.1": { "behavior": "OK" },
        });
        assert_eq!(
            json!(groups(index.as_object().unwrap())),
            json!({ "01": { "OK": 2, "NON-STRICT": 1 }, "10": { "OK": 1 } })
        );
    }

    #[test]
    fn every_expectation_has_a_reason() {
        expectations(EXPECTATIONS).unwrap();
        assert!(expectations("7.1.6 INFORMATIONAL").is_err());
    }
}
