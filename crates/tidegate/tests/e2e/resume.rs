//! A subscriber that is cut off and comes back gets exactly what it missed.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use crate::hub::{Hub, MEMORY};
use crate::program::Program;
use crate::random::Random;
use crate::raw::Http;
use crate::subscription::{Event, Item, Make, Subscription};

/// Publishes while a subscriber of this make is killed at random points and started again with
/// the last cursor it had; what it saw in all must be what was published.
#[track_caller]
fn check_random_cuts(make: Make, topics: &[&str], events: u64) {
    let hub = Hub::start(MEMORY);
    let mut random = Random::new();
    let mut pace = random.split();
    thread::scope(|scope| {
        let address = hub.address();
        let publishing = scope.spawn(move || {
            let mut http = Http::connect(address);
            for number in 0..events {
                let topic = topics[pace.below(topics.len() as u64) as usize];
                http.publish(topic, &number.to_string());
                // Events of others, which move the log's end and must not disturb.
                if pace.below(4) == 0 {
                    http.publish("others", "x");
                }
                if pace.below(8) == 0 {
                    thread::sleep(Duration::from_millis(pace.below(150)));
                }
            }
        });

        let mut cursor = "earliest".to_owned();
        let mut seen: Vec<Event> = Vec::new();
        let mut cuts = 0;
        while seen.len() < events as usize {
            let mut subscription = Subscription::start(make, &hub, topics, &cursor);
            // Zero cuts it off before anything was read; a few items, within the opening.
            for _ in 0..random.below(40) {
                let item = subscription.next().expect("the hub goes on");
                cursor = item.cursor().map_or(cursor, str::to_owned);
                match item {
                    Item::Event(event) => seen.push(event),
                    Item::Gap { .. } => panic!("nothing was lost, yet {item:?}"),
                    Item::Start(_) | Item::Ready { .. } => {}
                }
                if seen.len() == events as usize {
                    break;
                }
            }
            cuts += 1;
        }
        publishing.join().unwrap();
        assert!(cuts > 3, "it was cut off {cuts} times only");
        let numbers: Vec<_> = seen.iter().map(|event| event.data.clone()).collect();
        let expected: Vec<_> = (0..events).map(|number| number.to_string()).collect();
        assert_eq!(numbers, expected, "{make:?} after {cuts} cuts");
        check_chains(&seen);
    });
}

/// Each event names the one before it in its topic.
#[track_caller]
fn check_chains(events: &[Event]) {
    let mut last: HashMap<&str, u64> = HashMap::new();
    for (topic, seq, prev) in events.iter().filter_map(|event| event.place.as_ref()) {
        let before = last.insert(topic, *seq).unwrap_or(0);
        assert_eq!(*prev, Some(before), "{topic} {seq}");
    }
}

#[test]
fn curl_resumes_exactly_after_random_cuts() {
    check_random_cuts(Make::CurlRaw, &["a"], 400);
    check_random_cuts(Make::CurlJson, &["a", "b/c"], 400);
}

#[test]
fn httpx_sse_resumes_exactly_after_random_cuts() {
    check_random_cuts(Make::HttpxSse, &["a", "b/c"], 300);
}

#[test]
fn python_websockets_resumes_exactly_after_random_cuts() {
    check_random_cuts(Make::PythonWebSockets, &["a", "b/c"], 300);
}

#[test]
fn our_subscriber_resumes_exactly_after_random_cuts_on_both_transports() {
    check_random_cuts(Make::OursSse, &["a", "b/c"], 300);
    check_random_cuts(Make::OursWebSocket, &["a", "b/c"], 300);
}

/// A client that was connected and cut off before any event came, while events were published.
#[track_caller]
fn check_drop_before_the_first_event(make: Make) {
    let hub = Hub::start(MEMORY);
    hub.publish("a", "before it subscribed");
    let mut subscription = Subscription::start(make, &hub, &["a"], "");
    let first = subscription.next().expect("the opening");
    let cursor = first
        .cursor()
        .expect("the opening says where it begins")
        .to_owned();
    drop(subscription);
    for data in ["1", "2", "3"] {
        hub.publish("a", data);
    }
    let mut resumed = Subscription::start(make, &hub, &["a"], &cursor);
    let seen: Vec<_> = (0..3).map(|_| resumed.event().data).collect();
    assert_eq!(seen, ["1", "2", "3"], "{make:?}");
}

#[test]
fn a_drop_before_the_first_event_loses_nothing() {
    check_drop_before_the_first_event(Make::CurlRaw);
    check_drop_before_the_first_event(Make::CurlJson);
    check_drop_before_the_first_event(Make::HttpxSse);
    check_drop_before_the_first_event(Make::PythonWebSockets);
    check_drop_before_the_first_event(Make::OursSse);
    check_drop_before_the_first_event(Make::OursWebSocket);
}

#[test]
fn earliest_again_after_a_drop_before_the_first_event_loses_nothing() {
    let hub = Hub::start(MEMORY);
    for make in [Make::CurlRaw, Make::PythonWebSockets] {
        let topic = format!("{make:?}");
        hub.publish(&topic, "1");
        let mut subscription = Subscription::start(make, &hub, &[&topic], "earliest");
        assert_ne!(subscription.next(), None);
        drop(subscription);
        let mut again = Subscription::start(make, &hub, &[&topic], "earliest");
        assert_eq!(again.event().data, "1", "{make:?}");
    }
}

/// Our subscriber makes its connections again by itself, with the delay that the hub asks for.
#[track_caller]
fn check_internal_reconnects(make: Make) {
    let hub = Hub::start(MEMORY);
    let mut random = Random::new();
    let mut subscription = Subscription::start(make, &hub, &["a"], "");
    subscription.ready();
    let mut http = hub.http();
    let mut published = 0;
    let mut seen = 0;
    for _ in 0..3 {
        for _ in 0..random.below(50) {
            http.publish("a", &published.to_string());
            published += 1;
        }
        hub.drop_connections();
        for _ in 0..=random.below(50) {
            http.publish("a", &published.to_string());
            published += 1;
        }
        while seen < published {
            assert_eq!(next_event(&mut subscription), seen.to_string(), "{make:?}");
            seen += 1;
        }
    }
}

#[test]
fn our_subscriber_reconnects_by_itself_and_misses_nothing() {
    // Mostly they wait, as the hub asks them to.
    thread::scope(|scope| {
        scope.spawn(|| check_internal_reconnects(Make::OursSse));
        scope.spawn(|| check_internal_reconnects(Make::OursWebSocket));
    });
}

#[test]
fn a_hub_that_is_killed_again_and_again_loses_and_repeats_nothing_on_sqlite() {
    const KILLS: u64 = 4;
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("events.db").display());
    let mut random = Random::new();
    let mut hub = Hub::start(&store);
    let address = hub.address().to_owned();
    let mut publisher = Program::start(hub.command(&["publish", "a"]));
    let mut subscriptions = [Make::OursSse, Make::OursWebSocket]
        .map(|make| Subscription::start(make, &hub, &["a"], "earliest"));

    let mut written = 0;
    let mut write = |publisher: &mut Program, count: u64| {
        for line in written..written + count {
            publisher.write(&format!("{line}\n"));
        }
        written += count;
    };
    for _ in 0..KILLS {
        write(&mut publisher, 300);
        // Somewhere among those lines; whatever is under way then is tried again.
        thread::sleep(Duration::from_millis(random.below(300)));
        hub.kill();
        write(&mut publisher, 20);
        hub = Hub::start_at(&address, &store);
    }
    write(&mut publisher, 300);
    publisher.close_stdin();
    // However slow the machine is, each line has its time.
    for subscription in &mut subscriptions {
        for line in 0..written {
            assert_eq!(next_event(subscription), line.to_string());
        }
    }
    let (status, _) = publisher.wait();
    assert!(status.success(), "{}", publisher.stderr());
    hub.publish("a", "end");
    for subscription in &mut subscriptions {
        assert_eq!(next_event(subscription), "end");
    }
}

/// The next event's data; a gap before it is an error.
#[track_caller]
fn next_event(subscription: &mut Subscription) -> String {
    loop {
        match subscription.next().expect("it goes on") {
            Item::Event(event) => return event.data,
            Item::Gap { .. } => panic!("nothing was lost, yet there is a gap"),
            Item::Start(_) | Item::Ready { .. } => {}
        }
    }
}
