//! `cargo xtask conformance ws`: the Autobahn cases, as the pinned runner `kosoku` has them, against
//! `ws-proto` at both ends of a connection.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value};

use crate::tools;
use crate::workspace::{Workspace, run};

/// The cases that may end otherwise than `OK`, each with its reason.
const EXPECTATIONS: &str = include_str!("autobahn.txt");

/// How many cases there are without those of compression.
const PLAIN: usize = 301;

/// Runs the suite against the server and against the client.
///
/// # Errors
///
/// When a case ends otherwise than expected, better than expected included, or did not run.
pub(crate) fn run_websocket(workspace: &Workspace) -> Result<String> {
    let kosoku = tools::install_kosoku(workspace)?;
    for package in [
        "push-server --example ws_echo",
        "push-client --example ws_echo_client",
    ] {
        run(&mut workspace.cargo(&format!("build --release -p {package}")))?;
    }
    let expected = expectations(EXPECTATIONS)?;
    let mut notes = Vec::new();
    for (end, judge) in [("server", judge_server as Judge), ("client", judge_client)] {
        let reports = workspace.target.join("conformance").join(end);
        if reports.exists() {
            fs::remove_dir_all(&reports)?;
        }
        fs::create_dir_all(&reports)?;
        judge(workspace, &kosoku, &reports)?;
        notes.push(format!("{end} {}", verdict(&reports, &expected, PLAIN)?));
    }
    Ok(notes.join("; "))
}

type Judge = fn(&Workspace, &Path, &Path) -> Result<()>;

fn judge_server(workspace: &Workspace, kosoku: &Path, reports: &Path) -> Result<()> {
    let program = workspace.target.join("release/examples/ws_echo");
    let mut server = workspace.command(program);
    let mut server = Running(server.arg("127.0.0.1:0").stdout(Stdio::piped()).spawn()?);
    let mut line = String::new();
    let output = server.0.stdout.take().context("the server's output")?;
    BufReader::new(output).read_line(&mut line)?;
    let address = line
        .trim()
        .strip_prefix("listening on ")
        .context("the server does not say where it listens")?;
    let mut suite = workspace.command(kosoku);
    suite.args(["-m", "fuzzingclient", "-p", "2"]);
    exclude(suite.arg("-o").arg(reports)).arg(address);
    // Its exit code counts cases that are expected to fail; the index is judged instead.
    let _failed_cases = run(&mut suite);
    Ok(())
}

fn judge_client(workspace: &Workspace, kosoku: &Path, reports: &Path) -> Result<()> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut suite = workspace.command(kosoku);
    suite.args(["-m", "fuzzingserver"]);
    exclude(suite.arg("-o").arg(reports)).arg(address.to_string());
    let mut suite = Running(suite.stdout(Stdio::null()).spawn()?);
    until("the suite listens", || {
        Ok(TcpStream::connect(address).is_ok())
    })?;
    let program = workspace.target.join("release/examples/ws_echo_client");
    run(workspace.command(program).arg(format!("ws://{address}")))?;
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

fn exclude(suite: &mut std::process::Command) -> &mut std::process::Command {
    suite.args(["-x", "12.*", "-x", "13.*"])
}

/// Reads the index that the suite wrote, and holds it against what is expected.
fn verdict(reports: &Path, expected: &[(&str, &str)], count: usize) -> Result<String> {
    let index = reports.join("index.json");
    let text = fs::read_to_string(&index)
        .with_context(|| format!("the suite left no {}", index.display()))?;
    let index = serde_json::from_str::<Value>(&text)?;
    let agents = index.as_object().context("the index")?;
    let cases = agents.values().next().and_then(Value::as_object);
    let cases = cases.context("the index names no agent")?;
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
    fn every_expectation_has_a_reason() {
        expectations(EXPECTATIONS).unwrap();
        assert!(expectations("7.1.6 INFORMATIONAL").is_err());
    }
}
