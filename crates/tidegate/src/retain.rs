//! How much of the log a hub keeps, as the command line says it.

use std::str::FromStr;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use replay_store::{Pattern, Retention, RetentionRules, TopicRetention};

/// What `--retain...` says. The oldest events go first.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Retention (of a topic: whichever bound is reached first)")]
pub(crate) struct Retain {
    /// Events kept of each topic, or `unlimited`. In memory, as on disk, an event takes its data,
    /// its texts and about 128 bytes.
    #[arg(long, env = "TIDEGATE_RETAIN_EVENTS", value_name = "N", hide_env_values = true,
          default_value = "10000", value_parser = count)]
    retain_events: u64,

    /// Bytes kept of each topic, such as 10MiB, or `unlimited`. With the memory store this much
    /// memory for each topic, with SQLite this much disk.
    #[arg(long, env = "TIDEGATE_RETAIN_BYTES", value_name = "SIZE", hide_env_values = true,
          default_value = "64MiB", value_parser = size)]
    retain_bytes: u64,

    /// How long an event is kept, such as 90s, 15m, 24h or 7d, or `unlimited`. Costs nothing by
    /// itself.
    #[arg(long, env = "TIDEGATE_RETAIN_AGE", value_name = "TIME", hide_env_values = true,
          default_value = "24h", value_parser = time)]
    retain_age: Duration,

    /// Bytes kept over all topics, or `unlimited`: the most memory that the memory store takes for
    /// events, or the size that the SQLite file stays below, times about 1.3.
    #[arg(long, env = "TIDEGATE_RETAIN_LOG_BYTES", value_name = "SIZE", hide_env_values = true,
          default_value = "1GiB", value_parser = size)]
    retain_log_bytes: u64,

    /// Other bounds for the topics of a pattern: 'chat/**=events:1000,age:1h,bytes:10MiB'. What it
    /// leaves out is as for other topics. Repeat it, or separate rules with `;`; the first one that
    /// matches a topic counts.
    #[arg(
        long,
        env = "TIDEGATE_RETAIN",
        value_name = "RULE",
        hide_env_values = true,
        value_delimiter = ';'
    )]
    retain: Vec<Rule>,
}

impl Retain {
    pub(crate) fn retention(&self) -> Retention {
        Retention {
            events: usize::try_from(self.retain_events).unwrap_or(usize::MAX),
            bytes: self.retain_bytes,
            age: self.retain_age,
            log_bytes: self.retain_log_bytes,
            ..Retention::default()
        }
    }

    /// Refuses bounds of topics, for a store that has none. What is left at its default is not
    /// asked for.
    pub(crate) fn only_of_the_log(&self) -> anyhow::Result<()> {
        let default = Retention::default();
        let Retention { events, bytes, .. } = self.retention();
        if (events, bytes) != (default.events, default.bytes) || !self.retain.is_empty() {
            bail!("leave out --retain, --retain-events and --retain-bytes with this store");
        }
        Ok(())
    }

    pub(crate) fn rules(&self) -> RetentionRules {
        let others = self.retention().of_topic();
        let rules = self.retain.iter();
        RetentionRules::new(
            rules
                .map(|rule| (rule.pattern.clone(), rule.bounds(others)))
                .collect(),
        )
    }
}

/// `PATTERN=events:N,bytes:SIZE,age:TIME`, each bound at most once and in any order.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Rule {
    pattern: Pattern,
    events: Option<u64>,
    bytes: Option<u64>,
    age: Option<Duration>,
}

impl Rule {
    fn bounds(&self, others: TopicRetention) -> TopicRetention {
        TopicRetention {
            events: self.events.map_or(others.events, |events| {
                usize::try_from(events).unwrap_or(usize::MAX)
            }),
            bytes: self.bytes.unwrap_or(others.bytes),
            age: self.age.unwrap_or(others.age),
        }
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const WANT: &str = "want something like 'chat/**=events:1000,age:1h,bytes:10MiB'";
        // A topic may contain `=`, a bound cannot.
        let (pattern, bounds) = text.rsplit_once('=').ok_or(WANT)?;
        let mut rule = Self {
            pattern: Pattern::new(pattern).map_err(|error| format!("{error}; {WANT}"))?,
            events: None,
            bytes: None,
            age: None,
        };
        for bound in bounds.split(',') {
            let (name, value) = bound.split_once(':').ok_or(WANT)?;
            let again = match name.trim() {
                "events" => rule.events.replace(count(value)?).is_some(),
                "bytes" => rule.bytes.replace(size(value)?).is_some(),
                "age" => rule.age.replace(time(value)?).is_some(),
                other => return Err(format!("no bound is called `{other}`; {WANT}")),
            };
            if again {
                return Err(format!("`{}` is given twice; {WANT}", name.trim()));
            }
        }
        Ok(rule)
    }
}

const UNLIMITED: &str = "unlimited";

fn count(text: &str) -> Result<u64, String> {
    number(text, &[("", 1)], "a number of events, such as 10000")
}

fn size(text: &str) -> Result<u64, String> {
    let units = [
        ("", 1),
        ("B", 1),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
    ];
    number(text, &units, "a size, such as 512KiB, 10MiB or 1GiB")
}

fn time(text: &str) -> Result<Duration, String> {
    let units = [
        ("ms", 1),
        ("s", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
    ];
    number(text, &units, "a time, such as 90s, 15m, 24h or 7d").map(Duration::from_millis)
}

/// A whole number with a unit, in the smallest unit; at least 1. The largest one stands for no
/// bound.
fn number(text: &str, units: &[(&str, u64)], want: &str) -> Result<u64, String> {
    let text = text.trim();
    if text == UNLIMITED {
        return Ok(u64::MAX);
    }
    let (digits, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let factor = units.iter().find(|(name, _)| *name == unit.trim());
    let value: Option<u64> = digits.parse().ok();
    value
        .zip(factor)
        .and_then(|(value, (_, factor))| value.checked_mul(*factor))
        .filter(|value| *value > 0)
        .ok_or_else(|| format!("want {want}, at least 1, or `{UNLIMITED}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[track_caller]
    fn check(text: &str, pattern: &str, bounds: [Option<u64>; 2], age: Option<Duration>) {
        let [events, bytes] = bounds;
        let expected = Rule {
            pattern: Pattern::new(pattern).unwrap(),
            events,
            bytes,
            age,
        };
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }

    #[test]
    fn a_rule_is_a_pattern_and_its_bounds() {
        let bounds = [Some(1000), Some(10 << 20)];
        let all = "chat/**=events:1000,age:1h,bytes:10MiB";
        check(all, "chat/**", bounds, Some(HOUR));
        check("a=age:1h", "a", [None, None], Some(HOUR));
        check("a=b=events:1", "a=b", [Some(1), None], None);
        check(
            "a=events: 5, bytes: 1 KiB",
            "a",
            [Some(5), Some(1024)],
            None,
        );
        check("a=bytes:unlimited", "a", [None, Some(u64::MAX)], None);
        for wrong in [
            "",
            "a",
            "a=",
            "=events:1",
            "a=events",
            "a=events:",
            "a=events:0",
            "a=events:-1",
            "a=events:1.5",
            "a=events:1KiB",
            "a=bytes:1KB",
            "a=bytes:99999999999TiB",
            "a=age:1",
            "a=age:1y",
            "a=events:1,events:2",
            "a=colour:1",
            "a//b=events:1",
            "a=events:1,",
        ] {
            let parsed = wrong.parse::<Rule>();
            assert!(parsed.is_err(), "{wrong}: {parsed:?}");
        }
    }

    #[test]
    fn what_a_rule_leaves_out_is_as_for_other_topics() {
        let rule: Rule = "a=events:3".parse().unwrap();
        let others = Retention::default().of_topic();
        assert_eq!(
            rule.bounds(others),
            TopicRetention {
                events: 3,
                ..others
            }
        );
    }
}
