//! `/status`: what a hub does now.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use replay_store::ReplayStore as _;
use serde_json::{Map, Value, json};

use super::{Inner, process};
use crate::hub::Hub;
use crate::metrics::{Transport, Via};
use crate::ready::NotReady;

/// How many topics are named.
const MOST: usize = 10;

pub(super) fn of(inner: &Inner, readiness: &Result<(), NotReady>) -> Value {
    let reason = readiness.as_ref().err().map(ToString::to_string);
    let mut status = json!({
        "version": inner.version,
        "started": date(inner.started_at),
        "uptime_seconds": inner.started.elapsed().as_secs(),
        "state": match readiness {
            Ok(()) => "ready",
            Err(reason) => reason.state(),
        },
        "reason": reason,
        "resident_memory_bytes": process::resident_bytes(),
        "open_fds": process::open_fds(),
    });
    if let (Some((hub, store)), Some(fields)) = (inner.hub.get(), status.as_object_mut()) {
        fields.extend(of_hub(hub, store));
    }
    status
}

fn of_hub(hub: &Hub, store: &str) -> Map<String, Value> {
    let registry = hub.registry();
    let watermark = hub.fanout().watermark();
    let subscribed = hub.fanout().subscribed(MOST);
    let mut connections = Map::new();
    for transport in Transport::ALL {
        for via in Via::ALL {
            let open = registry.open(*transport, *via);
            if open > 0 {
                connections.insert(
                    format!("{}/{}", transport.as_str(), via.as_str()),
                    open.into(),
                );
            }
        }
    }
    let most = subscribed.most.into_iter();
    let slow = registry.slow().into_iter().rev().map(|slow| {
        json!({
            "at": date(slow.at),
            "connection": slow.connection,
            "policy": slow.policy,
            "skipped": slow.skipped,
        })
    });
    let can = hub.store().capabilities();
    let fields = json!({
        "epoch": watermark.epoch.to_string(),
        "watermark": watermark.seq,
        "connections": connections,
        "subscriptions": hub.subscriptions(),
        "topics": {
            "subscribed": subscribed.topics,
            "wildcards": subscribed.wildcards,
            "most_subscriptions": most
                .map(|(topic, count)| json!({ "topic": topic, "subscriptions": count }))
                .collect::<Vec<_>>(),
        },
        "tails": {
            "bytes": hub.tails_memory(),
            "limit_bytes": hub.config().tails_bytes,
        },
        "slow": slow.collect::<Vec<_>>(),
        "store": {
            "name": store,
            "readable": registry.is_store_up(),
            "tail": registry.store_tail(),
            "dense": can.dense,
            "exact_gaps": can.exact_gaps,
            "atomic_batch": can.atomic_batch,
            "per_topic_retention": can.per_topic_retention,
            "survives_process": can.survives_process,
            "survives_power": can.survives_power,
            "survives_failover": can.survives_failover,
            "dedup_window_seconds": can.dedup_window.as_secs(),
            "max_event_bytes": can.max_event_bytes,
        },
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn date(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The same for people: a line for each value.
pub(super) fn to_text(status: &Value) -> String {
    let mut out = String::new();
    lines(status, 0, &mut out);
    out
}

fn lines(value: &Value, depth: usize, out: &mut String) {
    let Value::Object(fields) = value else {
        return;
    };
    for (name, value) in fields {
        let _infallible = write!(out, "{:1$}{name}:", "", depth * 2);
        match value {
            Value::Null => out.push_str(" -\n"),
            Value::String(text) => {
                let _infallible = writeln!(out, " {text}");
            }
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                lines(value, depth + 1, out);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                for item in items {
                    let _infallible = writeln!(out, "{:1$}{item}", "", depth * 2 + 2);
                }
            }
            Value::Object(_) | Value::Array(_) => out.push_str(" none\n"),
            other => {
                let _infallible = writeln!(out, " {other}");
            }
        }
    }
}
