//! What the stream must be like, and what the server tells of it.

use replay_store::{Epoch, Fingerprint};
use serde_json::{Value, json};

use crate::config::{NatsConfig, OpenError};
use crate::subject::Subjects;

/// The settings that a stream is made with.
pub(crate) fn settings(config: &NatsConfig, subjects: &Subjects) -> Value {
    let bound = |n: u64| i64::try_from(n).ok().filter(|n| *n > 0).unwrap_or(-1);
    // Zero is no bound for the server, either; nor is what it cannot count.
    let age = i64::try_from(config.max_age.as_nanos()).unwrap_or(0);
    let window = i64::try_from(config.dedup_window.as_nanos()).unwrap_or(i64::MAX);
    let window = if age == 0 { window } else { window.min(age) };
    json!({
        "name": config.stream,
        "description": "The event log of a Tidegate hub",
        "subjects": subjects.of_stream(),
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "num_replicas": config.replicas.max(1),
        "max_consumers": -1,
        "max_msgs": bound(config.max_events),
        "max_bytes": bound(config.max_bytes),
        "max_age": age,
        "max_msgs_per_subject": -1,
        "max_msg_size": -1,
        "duplicate_window": window,
        "deny_delete": true,
        "deny_purge": true,
        "allow_rollup_hdrs": false,
    })
}

pub(crate) fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The state of the stream, as its leader tells it.
#[derive(Clone, Debug)]
pub(crate) struct Info {
    /// When the stream was made, word for word.
    pub(crate) created: String,
    /// Events at or below this are gone, or some of them.
    pub(crate) floor: u64,
    pub(crate) last: u64,
    /// Messages are missing above `floor`, which only the list of them tells.
    pub(crate) holes: bool,
    pub(crate) settings: Value,
}

impl Info {
    pub(crate) fn parse(answer: &Value) -> Option<Self> {
        let state = answer.get("state")?;
        let number = |name| state.get(name).and_then(Value::as_u64);
        let missing = |list: Option<&Value>| {
            let seqs = list.and_then(Value::as_array).into_iter().flatten();
            seqs.filter_map(Value::as_u64).max()
        };
        let deleted = missing(state.get("deleted"));
        let lost = missing(state.get("lost").and_then(|lost| lost.get("msgs")));
        let known = deleted.max(lost);
        let floor = number("first_seq")?.saturating_sub(1);
        Some(Self {
            created: answer.get("created")?.as_str()?.to_owned(),
            floor: known.map_or(floor, |missing| floor.max(missing)),
            last: number("last_seq")?,
            holes: number("num_deleted").is_some_and(|n| n > 0) && deleted.is_none(),
            settings: answer.get("config")?.clone(),
        })
    }

    /// The epoch that the log of this stream began in.
    pub(crate) fn epoch(&self, stream: &str) -> Epoch {
        let text = format!("{stream}\0{}", self.created);
        let topic = replay_store::Topic::new("created").expect("a valid topic");
        let digest = Fingerprint::of(&replay_store::Append::new(topic, text)).to_bytes();
        let (low, high) = digest.split_at(8);
        let half = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        Epoch(half(low) ^ half(high))
    }

    pub(crate) fn setting(&self, name: &str) -> i64 {
        self.settings.get(name).and_then(Value::as_i64).unwrap_or(0)
    }

    /// Refuses settings by which events disappear, or come, without our knowing.
    pub(crate) fn check(&self, stream: &str, subjects: &Subjects) -> Result<(), OpenError> {
        let refuse = |detail: &str| {
            Err(OpenError::Unsafe {
                stream: stream.to_owned(),
                detail: format!("{detail} (`nats stream edit {stream}`), or name another stream"),
            })
        };
        let is = |name| self.settings.get(name).and_then(Value::as_bool) == Some(true);
        let has = |name| {
            self.settings
                .get(name)
                .is_some_and(|value| !value.is_null())
        };
        let mut taken: Vec<_> = self
            .settings
            .get("subjects")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        taken.sort_unstable();
        if taken != subjects.of_stream() {
            let [epochs, events] = subjects.of_stream();
            return refuse(&format!(
                "its subjects are {taken:?}; make them {epochs} and {events}"
            ));
        }
        if self.settings.get("retention").and_then(Value::as_str) != Some("limits") {
            return refuse("its retention drops what was acknowledged; make it `limits`");
        }
        if self.setting("max_msgs_per_subject") > 0 {
            return refuse("`max_msgs_per_subject` drops events in its middle; make it -1");
        }
        for (name, why) in [
            (
                "allow_rollup_hdrs",
                "lets a publisher drop events in its middle",
            ),
            ("allow_msg_ttl", "lets events end at times of their own"),
            ("allow_msg_counter", "changes what is published"),
            ("sealed", "lets nothing be appended"),
            ("no_ack", "acknowledges nothing"),
        ] {
            if is(name) {
                return refuse(&format!("`{name}` {why}; make it false"));
            }
        }
        for name in ["deny_delete", "deny_purge"] {
            if !is(name) {
                return refuse(&format!(
                    "without `{name}` events can be deleted in its middle; make it true"
                ));
            }
        }
        for name in ["mirror", "sources", "subject_transform"] {
            if has(name) {
                return refuse(&format!(
                    "`{name}` brings messages that are no events; remove it"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn subjects() -> Subjects {
        Subjects::new("S")
    }

    fn info(change: impl FnOnce(&mut Value)) -> Info {
        let config = NatsConfig {
            stream: "S".to_owned(),
            ..NatsConfig::default()
        };
        let mut answer = json!({
            "created": "2026-11-22T16:10:28.123456789Z",
            "config": settings(&config, &subjects()),
            "state": {"first_seq": 5, "last_seq": 9},
        });
        change(&mut answer);
        Info::parse(&answer).expect("it is whole")
    }

    #[test]
    fn a_stream_as_it_is_made_passes() {
        assert_eq!(info(|_| ()).check("S", &subjects()), Ok(()));
    }

    #[test]
    fn what_the_server_cannot_count_is_no_bound() {
        let config = NatsConfig {
            max_age: Duration::from_millis(u64::MAX),
            max_bytes: u64::MAX,
            max_events: 7,
            ..NatsConfig::default()
        };
        let settings = settings(&config, &subjects());
        assert_eq!(settings["max_age"], 0);
        assert_eq!(settings["max_bytes"], -1);
        assert_eq!(settings["max_msgs"], 7);
        assert_eq!(settings["duplicate_window"], 120_000_000_000_u64);
    }

    #[test]
    fn each_setting_that_loses_events_is_refused_by_name() {
        for (name, value) in [
            ("max_msgs_per_subject", json!(5)),
            ("allow_rollup_hdrs", json!(true)),
            ("allow_msg_ttl", json!(true)),
            ("deny_delete", json!(false)),
            ("deny_purge", json!(false)),
            ("sealed", json!(true)),
            ("no_ack", json!(true)),
            ("mirror", json!({"name": "other"})),
            ("sources", json!([])),
            ("retention", json!("workqueue")),
            ("subjects", json!(["S.>"])),
        ] {
            let refused = info(|answer| answer["config"][name] = value)
                .check("S", &subjects())
                .expect_err(name);
            assert!(refused.to_string().contains(name), "{refused}");
        }
    }

    #[test]
    fn what_is_missing_in_the_middle_raises_the_floor() {
        assert_eq!(info(|_| ()).floor, 4);
        let holes = info(|answer| answer["state"]["num_deleted"] = json!(2));
        assert!(holes.holes);
        let deleted = info(|answer| {
            answer["state"]["num_deleted"] = json!(2);
            answer["state"]["deleted"] = json!([6, 8]);
        });
        assert_eq!((deleted.holes, deleted.floor), (false, 8));
        let lost = info(|answer| answer["state"]["lost"] = json!({"msgs": [7]}));
        assert_eq!(lost.floor, 7);
    }

    #[test]
    fn a_stream_made_anew_has_another_epoch() {
        let later = info(|answer| answer["created"] = json!("2026-11-22T16:10:28.123456788Z"));
        assert_ne!(info(|_| ()).epoch("S"), later.epoch("S"));
        assert_ne!(later.epoch("S"), later.epoch("T"));
        assert_eq!(later.epoch("S"), later.epoch("S"));
    }
}
