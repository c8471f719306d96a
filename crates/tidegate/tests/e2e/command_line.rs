//! `tidegate` as a person and a shell pipeline use it.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::hub::{Hub, MEMORY, curl_json, free_address, tidegate};
use crate::program::{Finished, Program, run};
use crate::subscription::{Item, Make, Subscription};

/// A command that must fail, how, and what its standard error must say.
#[track_caller]
fn check_failure(command: Command, code: i32, said: &[&str]) {
    let finished = run(command);
    assert_eq!(finished.code, Some(code), "{}", finished.stderr);
    assert_eq!(finished.stdout, "");
    for words in said {
        assert!(
            finished.stderr.contains(words),
            "no `{words}` in: {}",
            finished.stderr
        );
    }
}

#[track_caller]
fn succeeded(finished: Finished) -> String {
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    finished.stdout
}

fn sqlite_in(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("events.db").display())
}

#[test]
fn a_port_in_use_is_an_error_that_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let in_use = format!("port {} is in use", taken.local_addr().unwrap().port());
    let command = tidegate(&["dev", "--listen", &address]);
    check_failure(command, 1, &[&in_use, "--listen 127.0.0.1:0"]);
}

#[test]
fn dev_refuses_to_listen_beyond_loopback() {
    let command = tidegate(&["dev", "--listen", "0.0.0.0:8080"]);
    check_failure(command, 2, &["loopback only", "127.0.0.1:8080"]);
    let mut from_environment = tidegate(&["dev"]);
    from_environment.env("TIDEGATE_LISTEN", "[::]:8080");
    check_failure(from_environment, 2, &["loopback only"]);
}

#[test]
fn a_wrong_command_line_ends_with_2_and_a_reason() {
    check_failure(tidegate(&["publish"]), 2, &["TOPIC"]);
    check_failure(
        tidegate(&["dev", "--store", "redis"]),
        2,
        &["memory", "sqlite:PATH"],
    );
    let no_url = tidegate(&["publish", "a", "--data", "x", "--url", "127.0.0.1:8080"]);
    check_failure(no_url, 2, &["http://127.0.0.1:8080"]);
    let no_count = tidegate(&["subscribe", "a", "--count", "0"]);
    check_failure(no_count, 2, &["--count"]);
}

#[test]
fn a_store_that_cannot_be_opened_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let missing = format!(
        "sqlite:{}",
        folder.path().join("no/such/events.db").display()
    );
    let dev = |store: &str| tidegate(&["dev", "--listen", "127.0.0.1:0", "--store", store]);
    check_failure(dev(&missing), 1, &["no/such/events.db"]);
    let text = folder.path().join("notes.txt");
    fs::write(&text, "this is no event store, and must stay as it is").unwrap();
    check_failure(
        dev(&format!("sqlite:{}", text.display())),
        1,
        &["notes.txt"],
    );
    assert!(
        fs::read_to_string(&text)
            .unwrap()
            .starts_with("this is no event store")
    );
    let store = sqlite_in(folder.path());
    let _first = Hub::start(&store);
    check_failure(dev(&store), 1, &["events.db"]);
}

#[test]
fn help_teaches_with_examples() {
    for (arguments, taught) in [
        (&["--help"][..], "tidegate subscribe demo"),
        (&["dev", "--help"], "--store sqlite:events.db"),
        (&["serve", "--help"], "--listen 0.0.0.0:8080 --open"),
        (
            &["publish", "--help"],
            "tail -f /var/log/dpkg.log | tidegate publish logs",
        ),
        (&["subscribe", "--help"], "--after earliest"),
    ] {
        let help = succeeded(run(tidegate(arguments)));
        assert!(help.contains(taught), "{arguments:?}: {help}");
        assert!(help.contains("TIDEGATE_"), "{arguments:?}: {help}");
    }
}

#[test]
fn dev_ends_in_order_within_seconds_while_subscribers_are_connected() {
    for signal in ["TERM", "INT"] {
        let hub = Hub::start(MEMORY);
        let mut subscriptions = [Make::CurlRaw, Make::PythonWebSockets]
            .map(|make| Subscription::start(make, &hub, &["a"], ""));
        for subscription in &mut subscriptions {
            subscription.ready();
        }
        let (status, took) = hub.end_with(signal);
        assert!(status.success(), "{signal}: {status}");
        assert!(took < Duration::from_secs(20), "{signal}: {took:?}");
        let [mut curl, _] = subscriptions;
        assert_eq!(curl.next(), None, "the stream ends");
    }
}

#[test]
fn every_line_of_standard_input_is_an_event_at_once_and_in_order() {
    let hub = Hub::start(MEMORY);
    let mut subscription = Subscription::start(Make::CurlRaw, &hub, &["lines"], "");
    subscription.ready();
    let mut publisher = Program::start(hub.command(&["publish", "lines", "--event", "line"]));
    for line in ["one", "two  ", "", "\u{e9}"] {
        publisher.write(&format!("{line}\n"));
        // It is seen before the next line is written: nothing waits for the input's end.
        let event = subscription.event();
        assert_eq!(
            (event.data.as_str(), event.kind.as_deref()),
            (line, Some("line"))
        );
    }
    publisher.write("without an end");
    publisher.close_stdin();
    assert_eq!(subscription.event().data, "without an end");
    let (status, _) = publisher.wait();
    assert!(status.success());
    publisher.wait_for_stderr("published 5 events");
}

#[test]
fn publish_takes_data_and_files_and_says_which_line_was_refused() {
    let hub = Hub::start(MEMORY);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines");
    let mut subscription = Subscription::start(Make::CurlRaw, &hub, &["a"], "");
    subscription.ready();

    succeeded(run(hub.command(&[
        "publish",
        "a",
        "--data",
        "two\nlines",
        "--event",
        "greeting",
    ])));
    let event = subscription.event();
    assert_eq!(
        (event.data.as_str(), event.kind.as_deref()),
        ("two\nlines", Some("greeting"))
    );

    fs::write(&file, b"good\n\xff\xff\nnot reached\n").unwrap();
    let command = hub.command(&["publish", "a", "--file", file.to_str().unwrap()]);
    check_failure(command, 1, &["line 2", "not_text", "published 1 event,"]);
    assert_eq!(subscription.event().data, "good");

    let command = hub.command(&["publish", "a//b", "--data", "x"]);
    check_failure(command, 1, &["topic_invalid", "empty segment"]);
    let command = hub.command(&["publish", "a", "--file", "/no/such/file"]);
    check_failure(command, 1, &["/no/such/file"]);
}

#[test]
fn publish_waits_for_a_hub_that_is_away_and_publishes_each_line_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite_in(folder.path());
    let address = free_address();
    let mut command = tidegate(&["publish", "a"]);
    command.env("TIDEGATE_URL", format!("http://{address}"));
    let mut publisher = Program::start(command);
    publisher.write("1\n2\n");
    publisher.wait_for_stderr("waiting for the hub");

    let hub = Hub::start_at(&address, &store);
    publisher.wait_for_stderr("going on");
    let mut subscription = Subscription::start(Make::OursSse, &hub, &["a"], "earliest");
    let mut seen: Vec<_> = (0..2).map(|_| subscription.event().data).collect();
    drop(subscription);

    hub.kill();
    publisher.write("3\n4\n5\n");
    publisher.close_stdin();
    let hub = Hub::start_at(&address, &store);
    let (status, _) = publisher.wait();
    assert!(status.success(), "{}", publisher.stderr());
    publisher.wait_for_stderr("published 5 events");

    hub.publish("a", "end");
    let mut subscription = Subscription::start(Make::OursSse, &hub, &["a"], "earliest");
    seen.clear();
    while seen.last().is_none_or(|last| last != "end") {
        seen.push(subscription.event().data);
    }
    assert_eq!(seen, ["1", "2", "3", "4", "5", "end"]);
}

/// Runs over a restart of the hub on this store; returns what was delivered after it.
#[track_caller]
fn over_a_restart(make: Make, store: &str) -> Vec<Item> {
    let hub = Hub::start(store);
    let mut subscription = Subscription::start(make, &hub, &["a"], "");
    subscription.ready();
    hub.publish("a", "before");
    assert_eq!(subscription.event().data, "before");
    let hub = hub.restart(store);
    hub.publish("a", "after");
    let mut items = Vec::new();
    loop {
        let item = subscription.next().expect("it goes on");
        let over = matches!(&item, Item::Event(event) if event.data == "after");
        if !matches!(item, Item::Ready { .. }) {
            items.push(item);
        }
        if over {
            return items;
        }
    }
}

#[test]
fn subscribe_resumes_over_a_hub_restart_with_nothing_lost_on_sqlite() {
    thread::scope(|scope| {
        for make in [Make::OursSse, Make::OursWebSocket] {
            scope.spawn(move || {
                let folder = tempfile::tempdir().unwrap();
                let items = over_a_restart(make, &sqlite_in(folder.path()));
                assert_eq!(items.len(), 1, "{make:?}: {items:?}");
            });
        }
    });
}

#[test]
fn subscribe_tells_one_gap_over_a_hub_restart_on_memory() {
    thread::scope(|scope| {
        for make in [Make::OursSse, Make::OursWebSocket] {
            scope.spawn(move || {
                let items = over_a_restart(make, MEMORY);
                let [Item::Gap { reason, .. }, Item::Event(_)] = &items[..] else {
                    panic!("{make:?}: {items:?}");
                };
                assert_eq!(reason, "epoch_changed");
            });
        }
    });
}

#[test]
fn subscribe_prints_data_on_standard_output_and_gaps_on_standard_error() {
    let hub = Hub::start(MEMORY);
    hub.publish("a", "1");
    let finished = run(hub.command(&["subscribe", "a", "--after", "nonsense", "--count", "1"]));
    assert!(
        finished.stderr.contains("gap: unknown"),
        "{}",
        finished.stderr
    );
    assert_eq!(succeeded(finished), "1\n");
}

#[test]
fn subscribe_prints_json_with_every_field_of_the_event() {
    let hub = Hub::start(MEMORY);
    let published = curl_json(&[
        "-H",
        "event-type: t",
        "-d",
        "1",
        &hub.url("/events?topic=a"),
    ]);
    let id = published["id"].as_str().unwrap();
    let seq: u64 = id.split_once('-').unwrap().1.parse().unwrap();
    for transport in [&[][..], &["--ws"]] {
        let arguments = [
            "subscribe",
            "a",
            "--json",
            "--after",
            "earliest",
            "--count",
            "1",
        ];
        let printed = succeeded(run(hub.command(&[&arguments, transport].concat())));
        let mut event: Value = serde_json::from_str(&printed).expect("one line of JSON");
        let time = event
            .as_object_mut()
            .unwrap()
            .remove("time")
            .and_then(|time| time.as_u64());
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_millis() as u64;
        assert!(
            now - time.expect("the time of publishing") < 60_000,
            "{time:?}"
        );
        let expected = json!({
            "type": "event", "id": id, "seq": seq, "prev": 0, "topic": "a", "event": "t", "data": "1",
        });
        assert_eq!(event, expected, "{transport:?}");
    }
}

#[test]
fn subscribe_ends_after_count_and_continues_after_a_cursor() {
    let hub = Hub::start(MEMORY);
    let ids: Vec<_> = (0..5)
        .map(|number| hub.publish("a", &number.to_string()))
        .collect();
    let first = succeeded(run(hub.command(&[
        "subscribe",
        "a",
        "--after",
        "earliest",
        "--count",
        "2",
    ])));
    assert_eq!(first, "0\n1\n");
    let rest = hub.command(&["subscribe", "a", "--after", &ids[1], "--count", "3"]);
    assert_eq!(succeeded(run(rest)), "2\n3\n4\n");
}

#[test]
fn every_option_of_subscribe_can_come_from_the_environment() {
    let hub = Hub::start(MEMORY);
    hub.publish("a", "1");
    hub.publish("a", "2");
    let mut command = hub.command(&["subscribe", "a"]);
    command.envs([
        ("TIDEGATE_AFTER", "earliest"),
        ("TIDEGATE_COUNT", "1"),
        ("TIDEGATE_JSON", "1"),
        ("TIDEGATE_WS", "true"),
    ]);
    let printed = succeeded(run(command));
    assert_eq!(
        serde_json::from_str::<Value>(&printed).unwrap()["data"],
        "1"
    );
}

#[test]
fn subscribe_refused_by_the_hub_ends_with_1_and_the_reason() {
    let hub = Hub::start(MEMORY);
    for transport in [&[][..], &["--ws"]] {
        let command = hub.command(&[&["subscribe", "a//b"], transport].concat());
        check_failure(command, 1, &["topic_invalid", "empty segment"]);
    }
}

/// Runs `script` in a shell that finds `tidegate` and the hub.
fn shell(hub: &Hub, script: &str) -> Finished {
    let binary = Path::new(env!("CARGO_BIN_EXE_tidegate"));
    let mut path = binary.parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .env("PATH", path)
        .env("TIDEGATE_URL", hub.url(""));
    run(command)
}

#[test]
fn subscribe_ends_quietly_when_its_reader_does() {
    let hub = Hub::start(MEMORY);
    hub.publish("a", "1");
    for transport in ["", "--ws"] {
        // No further event comes: it must notice by itself that `head` has gone.
        let script = format!(
            "{{ tidegate subscribe a {transport} --after earliest; echo \"status $?\" >&2; }} | head -1"
        );
        let finished = shell(&hub, &script);
        assert_eq!(
            (finished.stdout.as_str(), finished.stderr.as_str()),
            ("1\n", "status 0\n")
        );
    }
    // More than a pipe holds: it is cut off while it writes.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines");
    let line = "x".repeat(200);
    let lines: String = (0..2000)
        .map(|number| format!("{number} {line}\n"))
        .collect();
    fs::write(&file, lines).unwrap();
    succeeded(run(hub.command(&[
        "publish",
        "many",
        "--file",
        file.to_str().unwrap(),
    ])));
    let finished = shell(
        &hub,
        "{ tidegate subscribe many --after earliest; echo \"status $?\" >&2; } | head -2",
    );
    assert_eq!(finished.stdout, format!("0 {line}\n1 {line}\n"));
    assert_eq!(finished.stderr, "status 0\n");
}

#[test]
fn publish_interrupted_says_how_far_it_came() {
    let hub = Hub::start(MEMORY);
    let mut publisher = Program::start(hub.command(&["publish", "a"]));
    // A hub that holds still for a moment: the publisher says when it has its answer.
    hub.signal("STOP");
    publisher.write("1\n");
    publisher.wait_for_stderr("waiting for the hub");
    hub.signal("CONT");
    publisher.wait_for_stderr("going on");
    publisher.signal("INT");
    let (status, _) = publisher.wait();
    assert_eq!(status.code(), Some(130));
    publisher.wait_for_stderr("published 1 event, the last");
    assert!(!publisher.stderr().contains("under way"));
}

#[test]
fn publish_interrupted_before_the_answer_names_what_may_be_published_or_not() {
    let hub = Hub::start(MEMORY);
    hub.signal("STOP");
    for (source, under_way) in [
        (&["--data", "x"][..], "the event was under way"),
        (&[], "line 1 was under way"),
    ] {
        let command = hub.command(&[&["publish", "a"], source].concat());
        let mut publisher = Program::start(command);
        if source.is_empty() {
            publisher.write("x\n");
        }
        publisher.wait_for_stderr("waiting for the hub");
        publisher.signal("INT");
        let (status, _) = publisher.wait();
        assert_eq!(status.code(), Some(130));
        publisher.wait_for_stderr(under_way);
        assert!(publisher.stderr().contains("published nothing"));
    }
}
