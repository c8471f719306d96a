//! A backup beside a hub that runs, and what its restoring means to subscribers.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use crate::hub::{Hub, curl_json, tidegate};
use crate::program::run;
use crate::raw::Http;

fn page(hub: &Hub, after: &str) -> Value {
    curl_json(&[
        "-f",
        &hub.url(&format!("/history?topic=t&after={after}&limit=1000")),
    ])
}

fn data(page: &Value) -> Vec<&str> {
    let events = page["events"].as_array().unwrap().iter();
    events
        .map(|event| event["data"].as_str().unwrap())
        .collect()
}

#[test]
fn a_backup_of_a_running_hub_restores_with_gaps_only_for_who_had_seen_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let copy = folder.path().join("copy.db");
    let store = format!("sqlite:{}", path.display());
    let hub = Hub::start(&store);
    let early = hub.publish("t", "0");
    // The hub keeps as many; a machine may be slow to take a backup, and fast to publish.
    const RETAINED: usize = 10_000;
    let done = AtomicBool::new(false);
    let mut acknowledged = 1;
    // Publishing goes on while the backup is taken.
    let published = thread::scope(|scope| {
        let address = hub.address();
        let publishing = scope.spawn(|| {
            let mut http = Http::connect(address);
            let mut number = 1;
            while !done.load(Ordering::Acquire) && number < RETAINED / 2 {
                http.publish("t", &number.to_string());
                number += 1;
            }
            number
        });
        while acknowledged < 50 {
            acknowledged = data(&page(&hub, "earliest")).len();
        }
        let taken = run(tidegate(&[
            "backup",
            "--store",
            &store,
            copy.to_str().unwrap(),
        ]));
        done.store(true, Ordering::Release);
        assert_eq!(taken.code, Some(0), "{}", taken.stderr);
        assert!(
            taken.stderr.contains("has all up to event "),
            "{}",
            taken.stderr
        );
        publishing.join().unwrap()
    });
    let late = hub.publish("t", &published.to_string());
    assert_eq!(page(&hub, &early).get("gap"), None);

    // A second one does not overwrite it.
    let again = run(tidegate(&[
        "backup",
        "--store",
        &store,
        copy.to_str().unwrap(),
    ]));
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("copy.db"), "{}", again.stderr);

    let address = hub.address().to_owned();
    hub.kill();
    for name in ["events.db", "events.db-wal", "events.db-shm"] {
        let _not_there = fs::remove_file(folder.path().join(name));
    }
    fs::rename(&copy, &path).unwrap();
    let hub = Hub::start_at(&address, &store);
    let everything = page(&hub, "earliest");
    let kept = data(&everything);
    let expected: Vec<_> = (0..kept.len()).map(|it| it.to_string()).collect();
    assert_eq!(kept, expected);
    assert!(
        kept.len() >= acknowledged,
        "{} of {acknowledged}",
        kept.len()
    );

    let news = hub.publish("t", "after the restore");
    let resumed = page(&hub, &early);
    assert_eq!(
        resumed.get("gap"),
        None,
        "it has seen nothing that was lost"
    );
    assert_eq!(data(&resumed).len(), kept.len());
    let told = page(&hub, &late);
    assert_eq!(told["gap"]["reason"], "epoch_changed");
    assert_eq!(data(&told), ["after the restore"]);
    assert_eq!(told["events"][0]["id"], news.as_str());
}

#[test]
fn what_cannot_be_copied_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy.db");
    for (store, said) in [
        ("memory", "only a store of the kind sqlite:PATH"),
        ("sqlite:/no/such/events.db", "/no/such/events.db"),
    ] {
        let refused = run(tidegate(&[
            "backup",
            "--store",
            store,
            to.to_str().unwrap(),
        ]));
        assert_eq!(refused.code, Some(1), "{store}");
        assert!(refused.stderr.contains(said), "{store}: {}", refused.stderr);
        assert!(!to.exists());
    }
}
