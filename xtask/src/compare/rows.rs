//! What is measured: a row of options each.

use std::collections::BTreeMap;

/// A row of the comparison.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// The options of `tidegate bench`.
    pub(super) options: &'static str,
    /// Which hubs take part: words of their groups.
    pub(super) groups: &'static str,
    /// How often the hubs in `AGAIN` run, and how often the rest.
    pub(super) rounds: [u32; 2],
}

/// Everything that targets speak of runs more often.
pub(super) const AGAIN: &str = "floor ours";

pub(super) const ROWS: [Row; 13] = [
    Row {
        name: "one",
        what: "one message in flight, 64 B, 1,000 subscribers",
        options: "--connections 1000 --window 1 --seconds 2 --warm-up 50",
        groups: "floor ours rust nchan node",
        rounds: [9, 4],
    },
    Row {
        name: "h2",
        what: "one message in flight, 64 B, 1,000 subscribers; with HTTP/2, 100 streams on a connection",
        options: "--connections 1000 --window 1 --seconds 2 --warm-up 50",
        groups: "floor h2",
        rounds: [5, 5],
    },
    Row {
        name: "window-1k",
        what: "backlog (window 8), 64 B, 1,000 subscribers",
        options: "--connections 1000 --window 8 --seconds 2 --warm-up 50",
        groups: "floor ours rust nchan node",
        rounds: [3, 2],
    },
    Row {
        name: "window-10k",
        what: "backlog (window 8), 64 B, 10,000 subscribers",
        options: "--connections 10000 --window 8 --seconds 2.5 --warm-up 10",
        groups: "floor ours rust nchan",
        rounds: [2, 1],
    },
    Row {
        name: "rate",
        what: "20 messages/s to 1,000 subscribers (20,000 deliveries/s), 64 B",
        options: "--connections 1000 --rate 20 --seconds 3 --warm-up 20",
        groups: "floor ours rust nchan node",
        rounds: [5, 2],
    },
    Row {
        name: "idle-5k",
        what: "5,000 idle subscribers",
        options: "--connections 5000 --seconds 0 --idle 1",
        groups: "floor ours h2 tls rust nchan node",
        rounds: [1, 1],
    },
    Row {
        name: "idle-15k",
        what: "15,000 idle subscribers",
        options: "--connections 15000 --seconds 0 --idle 1",
        groups: "floor ours h2 tls rust nchan",
        rounds: [1, 1],
    },
    Row {
        name: "all-read",
        what: "1 KiB to 100 subscribers, all of which read",
        options: "--connections 100 --size 1024 --window 1 --seconds 3 --warm-up 50",
        groups: "ours nchan",
        rounds: [2, 2],
    },
    Row {
        name: "one-stalled",
        what: "1 KiB to 100 subscribers, one of which does not read",
        options: "--connections 100 --size 1024 --window 1 --seconds 3 --warm-up 50 --stalled 1",
        groups: "ours nchan",
        rounds: [2, 2],
    },
    Row {
        name: "tenth-stalled",
        what: "1 KiB to 100 subscribers, ten of which do not read",
        options: "--connections 100 --size 1024 --window 1 --seconds 3 --warm-up 50 --stalled 10",
        groups: "ours nchan",
        rounds: [2, 2],
    },
    Row {
        name: "replay-1",
        what: "10,000 missed messages to one client",
        options: "--connections 1 --replay 10000",
        groups: "ours replay",
        rounds: [3, 3],
    },
    Row {
        name: "replay-100",
        what: "10,000 missed messages to 100 clients at once",
        options: "--connections 100 --replay 10000",
        groups: "ours replay",
        rounds: [2, 2],
    },
    Row {
        name: "topics",
        what: "publishing to 1,000 topics with a subscriber each, 32 connections publish",
        options: "--connections 1000 --topics 1000 --publishers 32 --window 64 --seconds 2",
        groups: "floor ours rust nchan node",
        rounds: [5, 3],
    },
];

/// Whether two lists of words have one in common.
pub(super) fn share(one: &str, other: &str) -> bool {
    one.split(' ')
        .any(|word| other.split(' ').any(|w| w == word))
}

/// A part of the time and of the crowd, enough to see that everything runs.
pub(super) fn shorten(options: &mut [&str]) {
    let short = BTreeMap::from([
        ("2", "0.4"),
        ("2.5", "0.4"),
        ("3", "0.6"),
        ("5000", "500"),
        ("10000", "900"),
        ("15000", "1500"),
        ("1000", "200"),
    ]);
    for option in options {
        if let Some(shorter) = short.get(*option) {
            *option = shorter;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Wanted;
    use crate::compare::hubs::HUBS;

    #[test]
    fn every_row_has_ours_and_somebody_to_compare_with() {
        for row in &ROWS {
            let hubs = HUBS.iter().filter(|hub| share(hub.groups, row.groups));
            let (ours, others): (Vec<_>, Vec<_>) =
                hubs.partition(|hub| hub.name.starts_with("tidegate"));
            assert!(!ours.is_empty() && !others.is_empty(), "{}", row.name);
        }
    }

    #[test]
    fn rows_and_servers_are_wanted_by_name() {
        let wanted = Wanted::parse(&["h2", "mine=/bin/sh"], false).unwrap();
        let named = ROWS.iter().filter(|row| wanted.has(row));
        assert_eq!(named.map(|row| row.name).collect::<Vec<_>>(), ["h2"]);
        let unknown = Wanted::parse(&["h3"], false).unwrap_err().to_string();
        assert!(unknown.contains("idle-15k"), "{unknown}");
        assert!(Wanted::parse(&["mine=/nowhere"], false).is_err());
    }

    #[test]
    fn a_quick_run_is_short() {
        for row in &ROWS {
            let mut options = row.options.split(' ').collect::<Vec<_>>();
            shorten(&mut options);
            let long = ["2", "2.5", "3", "1000", "5000", "10000", "15000"];
            assert!(
                !options.iter().any(|option| long.contains(option)),
                "{options:?}"
            );
        }
    }
}
