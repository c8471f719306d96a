//! What cannot be had is one `$gap` with its reason, on both transports, and then it goes on.

use std::fs;

use crate::hub::{Hub, MEMORY};
use crate::program::run;
use crate::subscription::{Item, Make, Subscription};

const MAKES: [Make; 4] = [
    Make::CurlRaw,
    Make::PythonWebSockets,
    Make::OursSse,
    Make::OursWebSocket,
];

fn gap(reason: &str, after: Option<&str>, id: &str) -> Item {
    Item::Gap {
        reason: reason.to_owned(),
        after: after.map(str::to_owned),
        id: id.to_owned(),
    }
}

/// A subscriber that comes with this cursor is told of one gap, then gets these events, then what
/// is published live.
#[track_caller]
fn check(make: Make, hub: &Hub, topic: &str, cursor: &str, gap: Item, events: &[String]) {
    let mut subscription = Subscription::start(make, hub, &[topic], cursor);
    assert_eq!(
        subscription.next(),
        Some(gap),
        "{make:?}: the gap comes first"
    );
    let followed = until_ready(&mut subscription);
    assert!(
        followed == events,
        "{make:?}: {} events, {:?} to {:?}, in place of {}, {:?} to {:?}",
        followed.len(),
        followed.first(),
        followed.last(),
        events.len(),
        events.first(),
        events.last(),
    );
    let id = hub.publish(topic, "live");
    match subscription.next() {
        Some(Item::Event(live)) => assert_eq!((live.id, live.data), (id, "live".to_owned())),
        other => panic!("{make:?}: {other:?} in place of the live event"),
    }
}

/// The data of the events up to `$ready`; anything else but events is an error.
#[track_caller]
fn until_ready(subscription: &mut Subscription) -> Vec<String> {
    let mut events = Vec::new();
    loop {
        match subscription.next().expect("it goes on") {
            Item::Event(event) => events.push(event.data),
            Item::Ready { .. } => return events,
            other => panic!("{other:?} among the events"),
        }
    }
}

/// Everything that the hub retains of a topic.
#[track_caller]
fn retained(hub: &Hub, topic: &str) -> Vec<String> {
    until_ready(&mut Subscription::start(
        Make::CurlRaw,
        hub,
        &[topic],
        "earliest",
    ))
}

/// The cursor's epoch and number.
fn parts(cursor: &str) -> (&str, u64) {
    let (epoch, seq) = cursor.split_once('-').expect("a cursor");
    (epoch, seq.parse().expect("a number"))
}

#[test]
fn an_evicted_id_is_a_trimmed_gap_followed_by_all_that_is_retained() {
    const PUBLISHED: usize = 10_050;
    let hub = Hub::start(MEMORY);
    let first = hub.publish("a", "1");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines");
    let lines: String = (2..=PUBLISHED)
        .map(|number| format!("{number}\n"))
        .collect();
    fs::write(&file, lines).unwrap();
    let published = run(hub.command(&["publish", "a", "--file", file.to_str().unwrap()]));
    assert_eq!(published.code, Some(0), "{}", published.stderr);
    assert!(
        published.stderr.contains("published 10049 events"),
        "{}",
        published.stderr
    );

    let kept: Vec<_> = (51..=PUBLISHED).map(|number| number.to_string()).collect();
    assert!(
        retained(&hub, "a") == kept,
        "a topic keeps its last 10,000 events"
    );
    for make in MAKES {
        // Each make's live event pushes another one out.
        let kept = retained(&hub, "a");
        check(
            make,
            &hub,
            "a",
            &first,
            gap("trimmed", Some(&first), &first),
            &kept,
        );
    }
}

#[test]
fn an_id_of_another_epoch_is_an_epoch_changed_gap_followed_by_the_new_epoch() {
    let hub = Hub::start(MEMORY);
    let old = hub.publish("a", "lost");
    let hub = hub.restart(MEMORY);
    let first = hub.publish("a", "1");
    let (old_epoch, _) = parts(&old);
    let (epoch, seq) = parts(&first);
    assert_ne!(epoch, old_epoch);
    let birth = format!("{epoch}-{}", seq - 1);
    let mut events = vec!["1".to_owned()];
    for make in MAKES {
        check(
            make,
            &hub,
            "a",
            &old,
            gap("epoch_changed", Some(&old), &birth),
            &events,
        );
        events.push("live".to_owned());
    }
}

#[test]
fn an_id_that_is_no_cursor_is_an_unknown_gap_followed_by_all_that_is_retained() {
    let hub = Hub::start(MEMORY);
    let first = hub.publish("a", "1");
    let (epoch, seq) = parts(&first);
    let oldest = format!("{epoch}-{}", seq - 1);
    let mut events = vec!["1".to_owned()];
    let long = "x".repeat(1000);
    for malformed in ["nonsense", "42", "0-1-2", "\u{e9}", &long] {
        for make in MAKES {
            check(
                make,
                &hub,
                "a",
                malformed,
                gap("unknown", None, &oldest),
                &events,
            );
            events.push("live".to_owned());
        }
    }
}

#[test]
fn an_id_ahead_of_the_store_is_an_ahead_gap_followed_by_what_is_published_next() {
    let hub = Hub::start(MEMORY);
    let mut last = hub.publish("a", "1");
    for make in MAKES {
        let (epoch, seq) = parts(&last);
        let ahead = format!("{epoch}-{}", seq + 1000);
        check(
            make,
            &hub,
            "a",
            &ahead,
            gap("ahead", Some(&ahead), &last),
            &[],
        );
        // The live event is the log's end now.
        last = format!("{epoch}-{}", seq + 1);
    }
}

#[test]
fn a_gap_is_told_once_and_the_id_it_carries_resumes_without_another() {
    let hub = Hub::start(MEMORY);
    hub.publish("a", "1");
    for make in MAKES {
        let mut subscription = Subscription::start(make, &hub, &["a"], "nonsense");
        let Some(Item::Gap { id, .. }) = subscription.next() else {
            panic!("{make:?}: no gap");
        };
        drop(subscription);
        let mut resumed = Subscription::start(make, &hub, &["a"], &id);
        assert_eq!(resumed.event().data, "1", "{make:?}");
    }
}
