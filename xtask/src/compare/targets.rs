//! What was to be reached, against what was.

use std::fmt::Write as _;

use serde_json::Value;

use super::table::{CPU, DELIVERIES, FIRST, Figure, LAST, P50, P99, PUBLISH_CPU, PUBLISHES, RSS};

/// A target: ours against a bound.
struct Target {
    what: &'static str,
    row: &'static str,
    figure: Figure,
    hub: &'static str,
    /// A hub in the same row, or `None` for the bare figure.
    against: Option<&'static str>,
    bound: f64,
}

pub(super) const SSE: &str = "tidegate SSE";
const WS: &str = "tidegate WebSocket";
const H2: &str = "tidegate SSE, HTTP/2";
const HYPER: &str = "tidegate SSE, in hyper";

const fn target(
    what: &'static str,
    row: &'static str,
    figure: Figure,
    hub: &'static str,
    against: Option<&'static str>,
    bound: f64,
) -> Target {
    Target {
        what,
        row,
        figure,
        hub,
        against,
        bound,
    }
}

const TARGETS: [Target; 27] = [
    target(
        "processor per delivery",
        "one",
        CPU,
        SSE,
        Some("floor"),
        1.10,
    ),
    target(
        "processor per delivery",
        "one",
        CPU,
        WS,
        Some("floor"),
        1.10,
    ),
    target(
        "processor per delivery",
        "one",
        CPU,
        HYPER,
        Some("floor"),
        1.35,
    ),
    target("processor per delivery", "h2", CPU, H2, Some("floor"), 0.3),
    target(
        "deliveries/s, backlog",
        "window-1k",
        DELIVERIES,
        SSE,
        Some("floor-batch"),
        0.5,
    ),
    target(
        "deliveries/s, backlog",
        "window-1k",
        DELIVERIES,
        SSE,
        Some("nchan SSE"),
        5.0,
    ),
    target(
        "deliveries/s, backlog",
        "window-1k",
        DELIVERIES,
        SSE,
        Some("axum SSE"),
        2.0,
    ),
    target(
        "deliveries/s, backlog",
        "window-1k",
        DELIVERIES,
        WS,
        Some("floor-batch"),
        0.5,
    ),
    target(
        "deliveries/s, backlog",
        "window-10k",
        DELIVERIES,
        SSE,
        Some("floor-batch"),
        0.5,
    ),
    target(
        "deliveries/s, backlog",
        "window-10k",
        DELIVERIES,
        SSE,
        Some("nchan SSE"),
        5.0,
    ),
    target(
        "deliveries/s, backlog",
        "window-10k",
        DELIVERIES,
        SSE,
        Some("axum SSE"),
        2.0,
    ),
    target(
        "deliveries/s, backlog",
        "window-10k",
        DELIVERIES,
        WS,
        Some("floor-batch"),
        0.5,
    ),
    target("p50 at a fixed rate", "rate", P50, SSE, Some("floor"), 1.25),
    target("p99 at a fixed rate", "rate", P99, SSE, Some("floor"), 1.25),
    target("p50 at a fixed rate", "rate", P50, WS, Some("floor"), 1.25),
    target("p99 at a fixed rate", "rate", P99, WS, Some("floor"), 1.25),
    target(
        "resident B per idle connection",
        "idle-5k",
        RSS,
        SSE,
        None,
        2560.0,
    ),
    target(
        "resident B per idle connection",
        "idle-5k",
        RSS,
        WS,
        None,
        2560.0,
    ),
    target(
        "resident B per idle connection",
        "idle-15k",
        RSS,
        SSE,
        None,
        2560.0,
    ),
    target(
        "resident B per idle connection",
        "idle-15k",
        RSS,
        WS,
        None,
        2560.0,
    ),
    target(
        "resident B per idle stream",
        "idle-5k",
        RSS,
        H2,
        None,
        3584.0,
    ),
    target(
        "resident B per idle stream",
        "idle-15k",
        RSS,
        H2,
        None,
        3584.0,
    ),
    target(
        "time to catch up",
        "replay-1",
        LAST,
        SSE,
        Some("nchan SSE"),
        0.1,
    ),
    target(
        "time to catch up",
        "replay-100",
        LAST,
        SSE,
        Some("nchan SSE"),
        0.1,
    ),
    target(
        "time to catch up",
        "replay-100",
        LAST,
        WS,
        Some("nchan SSE"),
        0.1,
    ),
    target(
        "publishes/s",
        "topics",
        PUBLISHES,
        SSE,
        Some("nchan SSE"),
        1.5,
    ),
    target(
        "publishes/s",
        "topics",
        PUBLISHES,
        WS,
        Some("nchan WebSocket"),
        1.5,
    ),
];

pub(super) fn targets(record: &Value, text: &mut String) {
    text.push_str(
        "\n### Targets\n\n| what | row | hub | target | measured | |\n|---|---|---|---|---|---|\n",
    );
    let mut line =
        |what: &str, row: &str, hub: &str, goal: String, value: Option<f64>, met: bool| {
            let verdict = match (value, met) {
                (None, _) => "not measured",
                (_, true) => "met",
                (_, false) => "**missed**",
            };
            let value = value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
            let _ = writeln!(
                text,
                "| {what} | {row} | {hub} | {goal} | {value} | {verdict} |"
            );
        };
    for target in &TARGETS {
        let (figure, row, hub) = (target.figure, target.row, target.hub);
        let value = match target.against {
            None => figure.median(record, row, hub),
            Some(other) => figure.ratio(record, row, hub, other),
        };
        let more = target.figure.more_is_better;
        let met =
            value.is_some_and(|value| (value >= target.bound) == more || value == target.bound);
        let sign = if more { ">=" } else { "<=" };
        let unit = target
            .against
            .map_or(String::new(), |other| format!(" x {other}"));
        let goal = format!("{sign} {}{unit}", target.bound);
        line(target.what, target.row, target.hub, goal, value, met);
    }
    for hub in [SSE, WS] {
        let cost = |row| PUBLISH_CPU.median(record, row, hub);
        for row in ["one-stalled", "tenth-stalled"] {
            let value = cost(row)
                .zip(cost("all-read"))
                .map(|(with, without)| with / without);
            let met = value.is_some_and(|value| value <= 1.2);
            let goal = "<= 1.2 x all-read".to_owned();
            line("processor per publish", row, hub, goal, value, met);
        }
        let edge = |figure: Figure| figure.median(record, "replay-100", hub);
        let value = edge(LAST)
            .zip(edge(FIRST))
            .map(|(last, first)| last / first);
        let met = value.is_some_and(|value| value <= 2.0);
        let goal = "<= 2 x the first".to_owned();
        line(
            "the last of 100 to catch up",
            "replay-100",
            hub,
            goal,
            value,
            met,
        );
    }
}
