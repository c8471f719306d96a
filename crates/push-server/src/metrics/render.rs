//! Every metric of a hub, with its name.

use std::fmt;

use backpressure::{Policy, Verdict};

use super::labels::{Closed, FAILURES, GAPS, Operation, POLICIES, Reader, Source, Transport, Via};
use super::text::{Format, Kind, Text};
use super::{BUCKETS, Histogram, Registry, Stripe, delivery, link};
use crate::http::problem::Problem;
use crate::hub::Hub;

/// What a hub counts, for Prometheus and what understands its formats. Each rendering is a look at
/// the counters at that moment.
///
/// Names begin with `tidegate_`; `docs/metrics.md` of the repository lists them. Labels have few
/// values, all of which are there from the start: a page takes about 15 KiB, whatever the hub does.
#[derive(Clone)]
pub struct Metrics {
    hub: Hub,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Hub {
    /// What this hub counts.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics { hub: self.clone() }
    }
}

impl Metrics {
    /// The content type of [`to_prometheus`](Self::to_prometheus).
    pub const PROMETHEUS: &str = Format::Prometheus.content_type();

    /// The content type of [`to_openmetrics`](Self::to_openmetrics).
    pub const OPENMETRICS: &str = Format::OpenMetrics.content_type();

    /// In the text format of Prometheus, version 0.0.4. Visits every topic that is subscribed to.
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let mut text = Text::new(Format::Prometheus);
        self.write(&mut text);
        text.finish()
    }

    /// In the text format of OpenMetrics, version 1.0. Visits every topic that is subscribed to.
    #[must_use]
    pub fn to_openmetrics(&self) -> String {
        let mut text = Text::new(Format::OpenMetrics);
        self.write(&mut text);
        text.finish()
    }

    pub(crate) fn write(&self, text: &mut Text) {
        let registry = self.hub.registry();
        connections(registry, text);
        self.subscriptions(text);
        published(registry, text);
        delivered(registry, text);
        slow(registry, text);
        self.store(text);
    }

    fn subscriptions(&self, text: &mut Text) {
        let hub = &self.hub;
        text.family(
            "tidegate_subscriptions",
            Kind::Gauge,
            "Subscriptions that are open.",
        )
        .value(hub.subscriptions());
        let subscribed = hub.fanout().subscribed(0);
        text.family(
            "tidegate_subscribed_patterns",
            Kind::Gauge,
            "Different topics, and patterns with a wildcard, that have a subscription.",
        )
        .sample("", &[("kind", "topic")], subscribed.topics)
        .sample("", &[("kind", "wildcard")], subscribed.wildcards);
        text.family(
            "tidegate_tails_bytes",
            Kind::Gauge,
            "Memory that the tails take: recent events for subscribers that are a little behind.",
        )
        .value(hub.tails_memory());
        text.family(
            "tidegate_tails_limit_bytes",
            Kind::Gauge,
            "The bound of tidegate_tails_bytes.",
        )
        .value(hub.config().tails_bytes);
        text.family(
            "tidegate_draining",
            Kind::Gauge,
            "1 once the hub drains, before 0.",
        )
        .value(u8::from(hub.is_draining()));
    }

    fn store(&self, text: &mut Text) {
        let registry = self.hub.registry();
        text.family(
            "tidegate_store_up",
            Kind::Gauge,
            "1 if the last read of the store succeeded, otherwise 0.",
        )
        .value(u8::from(registry.is_store_up()));
        let failures = text.family(
            "tidegate_store_errors_total",
            Kind::Counter,
            "Operations that the store failed at.",
        );
        for operation in Operation::ALL {
            for (index, error) in FAILURES.iter().enumerate() {
                let count = registry.sum(|it| it.store_failures[*operation as usize].get(index));
                let labels = [("operation", operation.as_str()), ("error", *error)];
                failures.sample("", &labels, count);
            }
        }
        text.family(
            "tidegate_store_read_duration_seconds",
            Kind::Histogram,
            "How long the store took to read a page, by who read.",
        );
        for reader in Reader::ALL {
            let labels = [("reader", reader.as_str())];
            duration(registry, text, &labels, |it| &it.reading[*reader as usize]);
        }
        // The tail first: the watermark is not behind what it was then without a reason.
        let tail = registry.store_tail();
        text.family(
            "tidegate_store_tail_seq",
            Kind::Gauge,
            "The seq of the newest event that the store was seen to have.",
        )
        .value(tail);
        text.family(
            "tidegate_watermark_seq",
            Kind::Gauge,
            "The seq up to which events were handed to subscribers that are live.",
        )
        .value(self.hub.fanout().watermark().seq);
    }
}

fn counter(
    text: &mut Text,
    registry: &Registry,
    name: &'static str,
    help: &str,
    count: impl Fn(&Stripe) -> u64,
) {
    let count = registry.sum(count);
    text.family(name, Kind::Counter, help).value(count);
}

fn links() -> impl Iterator<Item = (Transport, Via)> {
    let all = Transport::ALL
        .iter()
        .flat_map(|transport| Via::ALL.iter().map(|via| (*transport, *via)));
    // Only event streams leave HTTP.
    all.filter(|it| *it != (Transport::WebSocket, Via::Socket))
}

fn connections(registry: &Registry, text: &mut Text) {
    let open = text.family(
        "tidegate_connections",
        Kind::Gauge,
        "Event streams and WebSocket sessions that are open, by what carries them.",
    );
    for (transport, via) in links() {
        let labels = [("transport", transport.as_str()), ("via", via.as_str())];
        open.sample("", &labels, registry.open(transport, via));
    }
    let opened = text.family(
        "tidegate_connections_opened_total",
        Kind::Counter,
        "Event streams and WebSocket sessions that were opened.",
    );
    for (transport, via) in links() {
        let labels = [("transport", transport.as_str()), ("via", via.as_str())];
        let count = registry.sum(|it| it.opened.get(link(transport, via)));
        opened.sample("", &labels, count);
    }
    let closed = text.family(
        "tidegate_connections_closed_total",
        Kind::Counter,
        "Event streams and WebSocket sessions that are over, by the reason.",
    );
    for transport in Transport::ALL {
        for reason in Closed::ALL {
            let labels = [
                ("transport", transport.as_str()),
                ("reason", reason.as_str()),
            ];
            let all = |via: &Via| {
                registry.sum(|it| it.closed[*reason as usize].get(link(*transport, *via)))
            };
            closed.sample("", &labels, Via::ALL.iter().map(all).sum::<u64>());
        }
    }
    text.family(
        "tidegate_tcp_connections",
        Kind::Gauge,
        "TCP connections that are open, whatever they are used for.",
    )
    .value(registry.tcp_open());
    counter(
        text,
        registry,
        "tidegate_tcp_connections_accepted_total",
        "TCP connections that were accepted.",
        |it| it.tcp_opened.get(0),
    );
    counter(
        text,
        registry,
        "tidegate_accept_errors_total",
        "Failures to accept a TCP connection, such as when descriptors have run out.",
        |it| it.accept_failures.get(0),
    );
    counter(
        text,
        registry,
        "tidegate_tls_handshake_errors_total",
        "TLS handshakes that failed or took too long.",
        |it| it.tls_failures.get(0),
    );
}

fn published(registry: &Registry, text: &mut Text) {
    counter(
        text,
        registry,
        "tidegate_published_events_total",
        "Events that were published on this node and are stored.",
        |it| it.published.get(0),
    );
    counter(
        text,
        registry,
        "tidegate_published_bytes_total",
        "Data of the events that were published on this node.",
        |it| it.published_bytes.get(0),
    );
    counter(
        text,
        registry,
        "tidegate_published_duplicates_total",
        "Events that were not stored because their idempotency key was used for them before.",
        |it| it.duplicates.get(0),
    );
    text.family(
        "tidegate_publish_duration_seconds",
        Kind::Histogram,
        "How long the store took to answer an append of one event or one batch.",
    );
    duration(registry, text, &[], |it| &it.publishing);
    let refused = text.family(
        "tidegate_refused_total",
        Kind::Counter,
        "Requests, and publishes over WebSocket, that were refused, by the code of the answer.",
    );
    for (index, code) in Problem::CODES.iter().enumerate() {
        let count = registry.sum(|it| it.refused.get(index));
        refused.sample("", &[("code", code)], count);
    }
}

fn delivered(registry: &Registry, text: &mut Text) {
    let each = |text: &mut Text, count: &dyn Fn(&Stripe, usize) -> u64| {
        for source in Source::ALL {
            for transport in Transport::ALL {
                let labels = [
                    ("transport", transport.as_str()),
                    ("source", source.as_str()),
                ];
                let index = delivery(*transport, *source);
                text.sample("", &labels, registry.sum(|it| count(it, index)));
            }
        }
    };
    text.family(
        "tidegate_delivered_events_total",
        Kind::Counter,
        "Events handed to connections, out of the tail or replayed from the store.",
    );
    each(text, &|it, index| it.delivered_events.get(index));
    text.family(
        "tidegate_delivered_bytes_total",
        Kind::Counter,
        "What tidegate_delivered_events_total took on the wire, without HTTP and TLS.",
    );
    each(text, &|it, index| it.delivered_bytes.get(index));
    let heartbeats = text.family(
        "tidegate_heartbeats_total",
        Kind::Counter,
        "Heartbeats sent to connections.",
    );
    for transport in Transport::ALL {
        let count = registry.sum(|it| it.heartbeats.get(*transport as usize));
        heartbeats.sample("", &[("transport", transport.as_str())], count);
    }
    let gaps = text.family(
        "tidegate_gaps_total",
        Kind::Counter,
        "Gaps that subscribers were told of, by the reason.",
    );
    for (index, reason) in GAPS.iter().enumerate() {
        let count = registry.sum(|it| it.gaps.get(index));
        gaps.sample("", &[("reason", reason.as_str())], count);
    }
}

fn slow(registry: &Registry, text: &mut Text) {
    let skipped = text.family(
        "tidegate_skipped_events_total",
        Kind::Counter,
        "Events that a policy dropped; the subscriber was told how many, by a gap.",
    );
    let drops = |policy: &Policy| policy.judge_evicted() == Verdict::Jump;
    for (index, policy) in POLICIES.iter().enumerate().filter(|it| drops(it.1)) {
        let count = registry.sum(|it| it.skipped.get(index));
        skipped.sample("", &[("policy", policy.as_str())], count);
    }
    counter(
        text,
        registry,
        "tidegate_conflated_events_total",
        "Events that were left out under the policy conflate because their key has a later one.",
        |it| it.superseded.get(0),
    );
    let slow = text.family(
        "tidegate_slow_disconnects_total",
        Kind::Counter,
        "Subscriptions that a policy ended because they were too far behind.",
    );
    for (index, policy) in POLICIES.iter().enumerate().filter(|it| !drops(it.1)) {
        let count = registry.sum(|it| it.slow.get(index));
        slow.sample("", &[("policy", policy.as_str())], count);
    }
    counter(
        text,
        registry,
        "tidegate_tail_falls_total",
        "How often a subscriber had to read the store because the tail no longer held what is next.",
        |it| it.tail_falls.get(0),
    );
}

fn duration(
    registry: &Registry,
    text: &mut Text,
    labels: &[(&str, &str)],
    histogram: impl Fn(&Stripe) -> &Histogram,
) {
    let mut count = 0;
    for (index, bound) in BUCKETS.iter().map(Some).chain([None]).enumerate() {
        count += registry.sum(|it| histogram(it).buckets.get(index));
        let bound = bound.map_or_else(|| "+Inf".to_owned(), |it| seconds(*it).to_string());
        let labels = [labels, &[("le", &bound)]].concat();
        text.sample("_bucket", &labels, count);
    }
    let micros = registry.sum(|it| {
        let micros = &histogram(it).microseconds;
        micros.load(std::sync::atomic::Ordering::Relaxed)
    });
    text.sample("_sum", labels, seconds(micros));
    text.sample("_count", labels, count);
}

fn seconds(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64()
}
