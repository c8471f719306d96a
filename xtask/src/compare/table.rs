//! The record of `cargo xtask bench compare` as tables of `docs/benchmarks.md`.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::rows::ROWS;
use super::targets::targets;

const BEGIN: &str = "<!-- written by cargo xtask bench compare: begin -->";
const END: &str = "<!-- written by cargo xtask bench compare: end -->";

/// A figure of a report.
#[derive(Clone, Copy)]
pub(super) struct Figure {
    title: &'static str,
    pointer: &'static str,
    /// What the report's number is divided by, and the digits that are shown.
    unit: f64,
    digits: usize,
    pub(super) more_is_better: bool,
}

const fn less(title: &'static str, pointer: &'static str, unit: f64, digits: usize) -> Figure {
    Figure {
        title,
        pointer,
        unit,
        digits,
        more_is_better: false,
    }
}

const fn more(title: &'static str, pointer: &'static str) -> Figure {
    Figure {
        more_is_better: true,
        ..less(title, pointer, 1.0, 0)
    }
}

pub(super) const CPU: Figure = less(
    "us of processor per delivery",
    "/server_cpu_us_per_delivery",
    1.0,
    2,
);
pub(super) const PUBLISH_CPU: Figure = less(
    "us of processor per publish",
    "/server_cpu_us_per_publish",
    1.0,
    1,
);
pub(super) const DELIVERIES: Figure = more("deliveries/s", "/deliveries_per_second");
pub(super) const PUBLISHES: Figure = more("publishes/s", "/publishes_per_second");
pub(super) const P50: Figure = less("p50 ms", "/latency_us/p50", 1e3, 2);
pub(super) const P99: Figure = less("p99 ms", "/latency_us/p99", 1e3, 2);
pub(super) const RSS: Figure = less("B per connection", "/rss_per_connection", 1.0, 0);
const PEAK: Figure = less("MiB at most", "/rss_peak", 1_048_576.0, 1);
const CONNECTS: Figure = more("connects/s", "/connects_per_second");
pub(super) const LAST: Figure = less("last caught up, ms", "/replay/last_ms", 1.0, 1);
pub(super) const FIRST: Figure = less("first, ms", "/replay/first_ms", 1.0, 1);
const REPLAY_CPU: Figure = less(
    "us of processor per message",
    "/replay/server_cpu_us_per_message",
    1.0,
    3,
);

/// The figures of a row, the one that counts first, and the hub that it is compared with.
fn figures(row: &str) -> (&'static [Figure], &'static str) {
    match row {
        "one" | "h2" => (&[CPU, DELIVERIES, P50, P99], "floor"),
        "window-1k" | "window-10k" => (&[DELIVERIES, CPU, P50, P99], "floor-batch"),
        "rate" => (&[P50, P99, CPU], "floor"),
        "idle-5k" | "idle-15k" | "idle-h2" => (&[RSS, CONNECTS], "nchan SSE"),
        "all-read" | "tenth-stalled" | "one-stalled" => (&[PUBLISH_CPU, P99, PEAK], "nchan SSE"),
        "replay-1" | "replay-100" => (&[LAST, FIRST, REPLAY_CPU], "nchan SSE"),
        _ => (&[PUBLISHES, PUBLISH_CPU, P99], "floor"),
    }
}

impl Figure {
    fn of(self, report: &Value) -> Option<f64> {
        Some(report.pointer(self.pointer)?.as_f64()? / self.unit)
    }

    fn show(self, value: Option<f64>) -> String {
        value.map_or_else(
            || "-".to_owned(),
            |value| format!("{value:.*}", self.digits),
        )
    }

    /// The median over the runs of a hub.
    pub(super) fn median(self, record: &Value, row: &str, hub: &str) -> Option<f64> {
        middle(self.values(record, row, hub))
    }

    /// The median of the ratios of a hub to another, each of runs of the same round: the machine is
    /// now faster and now slower, for as long as a round takes or longer.
    pub(super) fn ratio(self, record: &Value, row: &str, hub: &str, other: &str) -> Option<f64> {
        let rounds = self.values(record, row, hub);
        let rounds = rounds.zip(self.values(record, row, other));
        let rounds = rounds.filter(|(_, other)| *other > 0.0);
        middle(rounds.map(|(value, other)| value / other))
    }

    fn values(self, record: &Value, row: &str, hub: &str) -> impl Iterator<Item = f64> {
        reports(record, row, hub).filter_map(move |report| self.of(report))
    }
}

fn middle(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values = values.collect::<Vec<_>>();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        even if even % 2 == 0 => Some((values[middle - 1] + values[middle]) / 2.0),
        _ => Some(values[middle]),
    }
}

/// The runs of a record.
fn runs(record: &Value) -> impl Iterator<Item = &Value> {
    record["runs"].as_array().into_iter().flatten()
}

fn reports<'a>(record: &'a Value, row: &str, hub: &str) -> impl Iterator<Item = &'a Value> {
    runs(record)
        .filter(move |run| run["row"] == row && run["hub"] == hub)
        .filter_map(|run| run.get("report"))
}

/// The hubs of a row in the order of their first runs.
fn hubs<'a>(record: &'a Value, row: &str) -> Vec<&'a str> {
    let mut hubs = Vec::new();
    for run in runs(record).filter(|run| run["row"] == row) {
        let hub = run["hub"].as_str().unwrap_or_default();
        if !hubs.contains(&hub) {
            hubs.push(hub);
        }
    }
    hubs
}

/// The figures of one run, for somebody who watches.
pub(super) fn glance(row: &str, report: &Value) -> String {
    let shown = figures(row).0.iter();
    let shown = shown.map(|figure| format!("{} {}", figure.show(figure.of(report)), figure.title));
    shown.collect::<Vec<_>>().join(", ")
}

/// All tables.
pub(super) fn render(record: &Value) -> String {
    let mut text = String::new();
    targets(record, &mut text);
    for row in &ROWS {
        table(record, row.name, row.what, &mut text);
    }
    losses(record, &mut text);
    provenance(record, &mut text);
    text
}

fn table(record: &Value, row: &str, what: &str, text: &mut String) {
    let (figures, reference) = figures(row);
    let main = figures[0];
    let titles = figures.iter().map(|figure| figure.title);
    let titles = titles.collect::<Vec<_>>().join(" | ");
    let _ = writeln!(text, "\n### {row}: {what}\n");
    let _ = writeln!(text, "| hub | {titles} | x {reference} | runs |");
    let _ = writeln!(text, "|---|{}---|---|", "---|".repeat(figures.len()));
    for hub in hubs(record, row) {
        let number = reports(record, row, hub).count();
        if number == 0 {
            let why = runs(record)
                .find(|run| run["row"] == row && run["hub"] == hub)
                .and_then(|run| run["failed"].as_str());
            let why = why.unwrap_or("no report").replace('|', "/");
            let cells = "- | ".repeat(figures.len() + 1);
            let _ = writeln!(text, "| {hub} | {cells}not measured: {why} |");
            continue;
        }
        let cells = figures
            .iter()
            .map(|figure| figure.show(figure.median(record, row, hub)));
        let cells = cells.collect::<Vec<_>>().join(" | ");
        let ratio = main.ratio(record, row, hub, reference);
        let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let bad = reports(record, row, hub).filter(|report| report["exact"] == false);
        let note = match bad.count() {
            0 => String::new(),
            bad => format!(", {bad} of them with losses, repeats or disorder"),
        };
        let _ = writeln!(text, "| {hub} | {cells} | {ratio} | {number}{note} |");
    }
}

/// Everything in which somebody else's main figure is better than the best of ours.
fn losses(record: &Value, text: &mut String) {
    text.push_str("\n### Where others are better\n\n");
    let mut none = true;
    for row in &ROWS {
        let main = figures(row.name).0[0];
        let ours = |hub: &&str| hub.starts_with("tidegate");
        let hubs = hubs(record, row.name);
        let mut values = Vec::new();
        for hub in &hubs {
            values.extend(
                main.median(record, row.name, hub)
                    .map(|value| (*hub, value)),
            );
        }
        let better = |a: f64, b: f64| if main.more_is_better { a > b } else { a < b };
        let best = values.iter().filter(|(hub, _)| ours(hub));
        let best = best
            .copied()
            .reduce(|a, b| if better(b.1, a.1) { b } else { a });
        let Some((hub, best)) = best else {
            continue;
        };
        let ahead = values
            .iter()
            .filter(|(hub, value)| !ours(hub) && better(*value, best));
        let ahead = ahead.map(|(hub, value)| format!("{hub} {}", main.show(Some(*value))));
        let ahead = ahead.collect::<Vec<_>>().join(", ");
        if !ahead.is_empty() {
            none = false;
            let (title, value) = (main.title, main.show(Some(best)));
            let _ = writeln!(text, "* **{}**, {title}: {hub} {value}; {ahead}", row.name);
        }
    }
    if none {
        text.push_str("Nowhere in these rows.\n");
    }
}

fn provenance(record: &Value, text: &mut String) {
    let word = |pointer: &str| {
        let value = record.pointer(pointer);
        value
            .and_then(Value::as_str)
            .unwrap_or("unknown")
            .to_owned()
    };
    let _ = writeln!(
        text,
        "\nMeasured {} at commit {} on {} ({} cores, {}); load averages {} before and {} after. \
         Versions: {}; {}, {}; {} Node.js {}, {}; {}.",
        word("/date"),
        word("/commit"),
        word("/machine/processor"),
        record["machine"]["cores"],
        word("/machine/kernel"),
        word("/load_before"),
        word("/load_after"),
        word("/versions/rustc"),
        word("/versions/crates"),
        word("/versions/durable_streams"),
        word("/versions/debian"),
        word("/versions/node"),
        word("/versions/npm"),
        word("/versions/pip")
    );
    for again in record["again"].as_array().into_iter().flatten() {
        let rows = again["rows"].as_array().into_iter().flatten();
        let rows = rows.filter_map(Value::as_str).collect::<Vec<_>>();
        let commit = again["commit"].as_str().unwrap_or_default();
        let _ = writeln!(
            text,
            "Measured again at commit {commit}: {}.",
            rows.join(", ")
        );
    }
}

/// The page with the tables between their marks.
///
/// # Errors
///
/// When the page has no such marks.
pub(super) fn insert(page: &str, tables: &str, record: &str) -> Result<String> {
    let (before, rest) = page
        .split_once(BEGIN)
        .with_context(|| format!("docs/benchmarks.md has no line {BEGIN}"))?;
    let (_, after) = rest
        .split_once(END)
        .with_context(|| format!("docs/benchmarks.md has no line {END}"))?;
    let note = format!("Medians of the runs in `{record}`.");
    Ok(format!("{before}{BEGIN}\n\n{note}\n{tables}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::compare::targets::SSE;

    fn run(row: &str, hub: &str, report: &Value) -> Value {
        json!({ "row": row, "hub": hub, "report": report })
    }

    fn record() -> Value {
        let cpu = |value: f64| json!({ "server_cpu_us_per_delivery": value, "exact": true });
        let lossy = json!({ "server_cpu_us_per_delivery": 4.0, "exact": false });
        json!({ "runs": [
            run("one", "floor", &cpu(5.0)),
            run("one", SSE, &cpu(9.0)),
            run("one", "axum SSE", &lossy),
            run("one", "floor", &cpu(7.0)),
            run("one", SSE, &cpu(6.0)),
            run("one", SSE, &cpu(7.5)),
            { "row": "one", "hub": "ws", "failed": "no | node" },
        ] })
    }

    #[test]
    fn a_table_has_medians_ratios_and_what_failed() {
        let mut text = String::new();
        table(&record(), "one", "x", &mut text);
        let lines = text.lines().skip(3).collect::<Vec<_>>();
        let expected = [
            "| hub | us of processor per delivery | deliveries/s | p50 ms | p99 ms | x floor | runs |",
            "|---|---|---|---|---|---|---|",
            "| floor | 6.00 | - | - | - | 1.00 | 2 |",
            "| tidegate SSE | 7.50 | - | - | - | 1.33 | 3 |",
            "| axum SSE | 4.00 | - | - | - | 0.80 | 1, 1 of them with losses, repeats or disorder |",
            "| ws | - | - | - | - | - | not measured: no / node |",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_target_is_met_or_missed_and_a_loss_is_named() {
        let mut text = String::new();
        targets(&record(), &mut text);
        let missed = "| one | tidegate SSE | <= 1.1 x floor | 1.33 | **missed** |";
        assert!(text.contains(missed), "{text}");
        assert!(text.contains("| - | not measured |"), "{text}");
        let mut text = String::new();
        losses(&record(), &mut text);
        let named =
            "* **one**, us of processor per delivery: tidegate SSE 7.50; floor 6.00, axum SSE 4.00";
        assert!(text.contains(named), "{text}");
    }

    #[test]
    fn tables_replace_those_before_them_and_nothing_else() {
        let page = format!("above\n{BEGIN}\nold\n{END}\nbelow\n");
        let once = insert(&page, "new", "r.json").unwrap();
        assert!(once.starts_with("above\n") && once.ends_with("\nbelow\n"));
        assert!(once.contains("new") && !once.contains("old"));
        assert_eq!(insert(&once, "new", "r.json").unwrap(), once);
        assert!(insert("no marks", "new", "r.json").is_err());
    }
}
