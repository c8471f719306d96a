//! What a run found, for people and for machines.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::check::Tally;
use super::crowd::Crowd;
use super::load::Stage;
use super::options::Bench;

#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) connecting: Option<Connecting>,
    pub(crate) memory: Option<Memory>,
    pub(crate) stalled: u32,
    pub(crate) load: Option<Load>,
    pub(crate) replay: Option<Replay>,
}

#[derive(Debug)]
pub(crate) struct Connecting {
    pub(crate) took: Duration,
    pub(crate) cpu: Duration,
}

/// Resident memory of the server, in bytes.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) before: u64,
    pub(crate) idle: u64,
    pub(crate) peak: u64,
    pub(crate) after: u64,
}

#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) stage: Stage,
    pub(crate) server: Duration,
    pub(crate) client: Duration,
    pub(crate) wall: Duration,
}

#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) missed: u32,
    pub(crate) publishing: Duration,
    /// When each had caught up, in ascending order.
    pub(crate) times: Vec<Duration>,
    pub(crate) server: Duration,
    pub(crate) client: Duration,
}

/// Rounded, so that nobody takes digits for precision that are none.
fn rounded(value: f64) -> f64 {
    if value.is_finite() {
        (value * 1000.0).round() / 1000.0
    } else {
        0.0
    }
}

fn per(time: Duration, count: u64) -> f64 {
    rounded(time.as_secs_f64() * 1e6 / count as f64)
}

fn rate(count: u64, time: Duration) -> f64 {
    rounded(count as f64 / time.as_secs_f64()).round()
}

/// In microseconds.
fn percentiles(histogram: &Histogram<u64>) -> Value {
    let micros = |nanos: u64| rounded(nanos as f64 / 1e3);
    let at = |quantile| micros(histogram.value_at_quantile(quantile));
    json!({
        "min": micros(histogram.min()),
        "mean": rounded(histogram.mean() / 1e3),
        "p50": at(0.5),
        "p90": at(0.9),
        "p99": at(0.99),
        "p999": at(0.999),
        "max": micros(histogram.max()),
    })
}

impl Report {
    /// The object of `--json`.
    pub(crate) fn json(&self, options: &Bench, crowd: &Crowd, measured: bool) -> Value {
        let figures = &crowd.figures;
        let tally = &crowd.tally;
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| {
            object.insert(name.to_owned(), value);
        };
        put("version", env!("CARGO_PKG_VERSION").into());
        put("transport", if options.ws { "ws" } else { "sse" }.into());
        put("http", if options.http2 { "2" } else { "1.1" }.into());
        put("tls", crowd.target.subscribe.tls.is_some().into());
        put("connections", options.connections.into());
        put("topics", options.topics.into());
        put("publishers", options.publishers.into());
        put("size", options.size.into());
        if let Some(connecting) = &self.connecting {
            let connections = u64::from(options.connections);
            put(
                "connect_seconds",
                rounded(connecting.took.as_secs_f64()).into(),
            );
            put(
                "connects_per_second",
                rate(connections, connecting.took).into(),
            );
            if measured {
                let cpu = per(connecting.cpu, connections);
                put("server_cpu_us_per_connect", cpu.into());
            }
        }
        if let Some(memory) = &self.memory {
            put("rss_before", memory.before.into());
            put("rss_idle", memory.idle.into());
            put("rss_peak", memory.peak.into());
            put("rss_after", memory.after.into());
            if self.replay.is_none() {
                put("rss_per_connection", memory.per(options.connections).into());
            }
        }
        if let Some(load) = &self.load {
            match options.rate {
                Some(rate) => put("rate", rate.into()),
                None => put("window", options.window.into()),
            }
            put("stalled", self.stalled.into());
            put("published", load.stage.published.into());
            put("publish_failed", figures.failed.into());
            put("unsent", load.stage.unsent.into());
            put("seconds", rounded(load.stage.took.as_secs_f64()).into());
            put(
                "publishes_per_second",
                rate(figures.accepted, load.stage.took).into(),
            );
            put("publish_latency_us", percentiles(&figures.publish_latency));
            put("deliveries", figures.received.into());
            put(
                "deliveries_per_second",
                rate(figures.received, load.stage.took).into(),
            );
            put("latency_us", percentiles(&figures.latency));
            let client = per(load.client, figures.received);
            put("client_cpu_us_per_delivery", client.into());
            put("client_cpu_share", load.client_share().into());
            let messages = figures.received as f64 / figures.reads.max(1) as f64;
            put("deliveries_per_read", rounded(messages).into());
            put("gave_up", load.stage.gave_up.into());
            if measured {
                let cpu = |count| Value::from(per(load.server, count));
                put("server_cpu_us_per_delivery", cpu(figures.received));
                put("server_cpu_us_per_publish", cpu(load.stage.published));
                let share = load.server.as_secs_f64() / load.wall.as_secs_f64();
                put("server_cpu_share", rounded(share).into());
            }
        }
        if let Some(replay) = &self.replay {
            put(
                "replay",
                replay.json(figures.received, options.connections, measured),
            );
        }
        put("received", tally.received.into());
        put("lost", tally.lost.into());
        put("duplicates", tally.duplicates.into());
        put("disordered", tally.disordered.into());
        put("misrouted", tally.misrouted.into());
        put("gaps", tally.gaps.into());
        put("skipped", tally.skipped.into());
        put("closed", figures.closed.into());
        put("exact", (!tally.is_bad()).into());
        put("warnings", self.warnings(crowd).into());
        Value::Object(object)
    }

    /// The summary, line by line.
    pub(crate) fn text(&self, options: &Bench, crowd: &Crowd, measured: bool) -> Vec<String> {
        let figures = &crowd.figures;
        let tally = &crowd.tally;
        let mut lines = Vec::new();
        let mut row = |name: &str, what: String| lines.push(format!("{name:<12}{what}"));
        let mut transport = if options.ws { "WebSocket" } else { "SSE" }.to_owned();
        if options.http2 {
            transport.push_str(&format!(" over HTTP/2 ({} a connection)", options.streams));
        }
        if crowd.target.subscribe.tls.is_some() {
            transport.push_str(" in TLS");
        }
        row(
            "load",
            format!(
                "{} subscribers by {transport}, {} topic(s), {} publisher(s), {} B, {}",
                options.connections,
                options.topics,
                options.publishers,
                options.size,
                match (options.rate, options.replay) {
                    (_, Some(missed)) => format!("{missed} missed messages"),
                    (Some(rate), _) => format!("{rate} messages/s"),
                    (None, _) => format!("window {}", options.window),
                }
            ),
        );
        if let Some(connecting) = &self.connecting {
            let rate = rate(options.connections.into(), connecting.took);
            row("connect", format!("{rate}/s"));
        }
        if let Some(memory) = &self.memory {
            let each = match self.replay {
                Some(_) => String::new(),
                None => format!("{} B per connection, ", memory.per(options.connections)),
            };
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            row(
                "memory",
                format!(
                    "{each}{:.1} MiB before, {:.1} idle, {:.1} at most",
                    mib(memory.before),
                    mib(memory.idle),
                    mib(memory.peak)
                ),
            );
        }
        if let Some(load) = &self.load {
            let took = load.stage.took;
            let deliveries = figures.received;
            row(
                "publish",
                format!(
                    "{} messages, {}/s, answered in p50 {} p99 {}",
                    load.stage.published,
                    rate(figures.accepted, took),
                    millis(figures.publish_latency.value_at_quantile(0.5)),
                    millis(figures.publish_latency.value_at_quantile(0.99))
                ),
            );
            row(
                "deliver",
                format!("{deliveries} deliveries, {}/s", rate(deliveries, took)),
            );
            let latency = [0.5, 0.9, 0.99, 0.999].map(|q| figures.latency.value_at_quantile(q));
            let [p50, p90, p99, p999] = latency.map(millis);
            let max = millis(figures.latency.max());
            row(
                "latency",
                format!("p50 {p50}  p90 {p90}  p99 {p99}  p99.9 {p999}  max {max}"),
            );
            if measured {
                row(
                    "server",
                    format!(
                        "{} us of processor per delivery, {} per message",
                        per(load.server, deliveries),
                        per(load.server, load.stage.published)
                    ),
                );
            }
            if self.stalled > 0 {
                row(
                    "stalled",
                    format!("{} subscribers did not read", self.stalled),
                );
            }
        }
        if let Some(replay) = &self.replay {
            let edge = |time: Option<&Duration>| time.map_or(0.0, Duration::as_secs_f64) * 1e3;
            row(
                "replay",
                format!(
                    "{} of {} caught up, the first after {:.1} ms, the last after {:.1} ms",
                    replay.times.len(),
                    options.connections,
                    edge(replay.times.first()),
                    edge(replay.times.last())
                ),
            );
        }
        let verdict = match tally {
            tally if tally.is_bad() => bad(tally),
            _ => format!("{} received, each once and in order", tally.received),
        };
        row("check", verdict);
        if tally.gaps > 0 {
            row(
                "gaps",
                format!("{} announced, for {} messages", tally.gaps, tally.skipped),
            );
        }
        lines
    }

    /// What makes the figures doubtful.
    pub(crate) fn warnings(&self, crowd: &Crowd) -> Vec<String> {
        let figures = &crowd.figures;
        let mut warnings = Vec::new();
        if let Some(why) = &figures.first_failure {
            let failed = figures.failed;
            warnings.push(format!("{failed} publishes failed, the first: {why}"));
        }
        if let Some(why) = &figures.first_end {
            let closed = figures.closed;
            warnings.push(format!(
                "{closed} subscribers were cut off, the first: {why}"
            ));
        }
        if let Some(load) = &self.load {
            if load.stage.gave_up {
                let patience = crowd.patience.as_secs_f64();
                warnings.push(format!(
                    "gave up: for {patience} s nothing arrived although something was missing"
                ));
            }
            if load.stage.unsent > 0 {
                let unsent = load.stage.unsent;
                warnings.push(format!(
                    "{unsent} messages were due and not sent: the hub answers publishes more slowly \
                     than the rate; more --publishers need more --topics"
                ));
            }
            if load.client_share() > 0.9 {
                let text = "this program was busy over 90 % of the time: what it saw as the hub's \
                            rate and latency is partly its own; processor per delivery is not";
                warnings.push(text.to_owned());
            }
        }
        warnings
    }
}

impl Memory {
    fn per(&self, connections: u32) -> u64 {
        self.idle.saturating_sub(self.before) / u64::from(connections)
    }
}

impl Load {
    fn client_share(&self) -> f64 {
        rounded(self.client.as_secs_f64() / self.wall.as_secs_f64())
    }
}

impl Replay {
    fn json(&self, received: u64, connections: u32, measured: bool) -> Value {
        let edge = |time: Option<&Duration>| rounded(time.map_or(0.0, Duration::as_secs_f64) * 1e3);
        let last = self.times.last().copied().unwrap_or_default();
        let mut object = json!({
            "missed": self.missed,
            "publishing_seconds": rounded(self.publishing.as_secs_f64()),
            "complete": self.times.len(),
            "connections": connections,
            "first_ms": edge(self.times.first()),
            "median_ms": edge(self.times.get(self.times.len() / 2)),
            "last_ms": edge(self.times.last()),
            "messages_per_second": rate(received, last),
            "client_cpu_us_per_message": per(self.client, received),
        });
        if measured {
            object["server_cpu_us_per_message"] = per(self.server, received).into();
        }
        object
    }
}

fn millis(nanos: u64) -> String {
    format!("{:.2} ms", nanos as f64 / 1e6)
}

/// What was not exact.
pub(crate) fn bad(tally: &Tally) -> String {
    format!(
        "{} lost without a gap, {} duplicates, {} out of order, {} of another topic",
        tally.lost, tally.duplicates, tally.disordered, tally.misrouted
    )
}
