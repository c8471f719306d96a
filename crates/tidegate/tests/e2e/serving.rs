//! `tidegate serve` as an operator uses it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::hub::{Hub, curl, tidegate};
use crate::program::{PATIENCE, Program, run};

/// `tidegate serve` in this folder, with nothing but a port.
fn serve_in(folder: &Path) -> Command {
    let mut command = tidegate(&["serve", "--listen", "127.0.0.1:0"]);
    command.current_dir(folder);
    command
}

/// The data of everything that the hub has retained of a pattern, read until `$ready`.
#[track_caller]
fn retained(hub: &Hub, pattern: &str) -> Vec<String> {
    let subscribe = [
        "subscribe",
        pattern,
        "--after",
        "earliest",
        "--json",
        "--ws",
    ];
    let subscriber = Program::start(hub.command(&subscribe));
    let mut data = Vec::new();
    loop {
        let item: Value = serde_json::from_str(&subscriber.line()).expect("JSON");
        match item["type"].as_str() {
            Some("event") => data.push(item["data"].as_str().expect("text").to_owned()),
            Some("ready") => return data,
            _ => {}
        }
    }
}

#[test]
fn serve_keeps_events_in_a_folder_it_makes_and_ends_in_order() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..2 {
        let hub = Hub::run(serve_in(folder.path()));
        assert_eq!(
            hub.greeting()[1],
            "Store: sqlite:tidegate-data/events.db (events survive a restart)"
        );
        hub.publish("kept", &round.to_string());
        let expected: Vec<_> = (0..=round).map(|it| it.to_string()).collect();
        assert_eq!(retained(&hub, "kept"), expected);
        let signal = ["TERM", "INT"][round];
        let (status, _) = hub.end_with(signal);
        assert!(status.success(), "{signal}: {status}");
    }
    // A write-ahead log that is gone says that the database was closed, not abandoned.
    let data = folder.path().join("tidegate-data");
    assert!(data.join("events.db").exists() && !data.join("events.db-wal").exists());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = data.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "nobody else reads it");
    }
}

#[test]
fn serve_listens_beyond_loopback_only_when_told_that_it_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = tidegate(&["serve", "--listen", "0.0.0.0:0"]);
    let refused = run({
        command.current_dir(folder.path());
        command
    });
    assert_eq!(refused.code, Some(1));
    for said in ["0.0.0.0:0", "no access rules", "--open", "127.0.0.1:8080"] {
        assert!(refused.stderr.contains(said), "{said}: {}", refused.stderr);
    }
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[test]
fn one_connection_too_many_waits_until_another_ends() {
    let hub = Hub::serve(&["--store", "memory", "--max-connections", "2"]);
    let subscribe = || {
        let mut stream = TcpStream::connect(hub.address()).unwrap();
        let request = format!(
            "GET /events?topic=a HTTP/1.1\r\nhost: {}\r\n\r\n",
            hub.address()
        );
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let hears = |stream: &mut TcpStream, patience| {
        stream.set_read_timeout(Some(patience)).unwrap();
        stream.read(&mut [0]).is_ok_and(|read| read == 1)
    };
    let (mut first, mut second) = (subscribe(), subscribe());
    assert!(hears(&mut first, PATIENCE) && hears(&mut second, PATIENCE));
    let mut third = subscribe();
    assert!(!hears(&mut third, Duration::from_millis(300)));
    drop(first);
    assert!(hears(&mut third, PATIENCE));
}

/// How many descriptors a process may have: by itself, and if it asks.
#[cfg(target_os = "linux")]
fn descriptors(pid: u32) -> (u64, u64) {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let mut numbers = line.unwrap().split_whitespace().skip(3);
    let mut number = || numbers.next().unwrap().parse().unwrap();
    (number(), number())
}

#[cfg(target_os = "linux")]
#[test]
fn a_hub_takes_all_descriptors_that_it_may_have_and_asks_for_no_more() {
    let limited = |max: &str| {
        let mut command = Command::new("sh");
        let shell = r#"ulimit -Sn 64; ulimit -Hn 500; exec "$@""#;
        let hub = tidegate(&["serve", "--listen", "127.0.0.1:0", "--store", "memory"]);
        command.args(["-c", shell, "sh"]).arg(hub.get_program());
        command
            .args(hub.get_args())
            .args(["--max-connections", max]);
        for (name, value) in hub.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    };
    let hub = Hub::run(limited("400"));
    assert_eq!(descriptors(hub.pid()), (500, 500));
    let refused = run(limited("500"));
    assert_eq!(refused.code, Some(1));
    for said in ["532 descriptors", "at most 468 connections", "LimitNOFILE"] {
        assert!(refused.stderr.contains(said), "{said}: {}", refused.stderr);
    }
}

#[track_caller]
fn check_status(hub: &Hub, header: &str, expected: &str) {
    let url = hub.url("/events?topic=a");
    let answer = run(curl(&[
        "-d",
        "x",
        "-H",
        header,
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        &url,
    ]));
    assert_eq!(answer.stdout, expected, "{header}: {}", answer.stderr);
}

#[test]
fn a_hub_that_is_open_serves_any_host_name_but_no_foreign_website() {
    let closed = Hub::serve(&["--store", "memory"]);
    check_status(&closed, "Host: hub.example", "403");
    let open = Hub::serve(&["--store", "memory", "--open"]);
    check_status(&open, "Host: hub.example", "200");
    check_status(&open, "Origin: https://evil.example", "403");
    assert!(open.greeting()[2].starts_with("Open: whoever reaches it"));
}

#[test]
fn serve_has_no_page_and_no_way_to_drop_connections() {
    let hub = Hub::serve(&["--store", "memory"]);
    assert_eq!(hub.http().request("GET", "/", &[], b"").status, 404);
    assert_eq!(
        hub.http().request("POST", "/dev/drop", &[], b"").status,
        404
    );
}

#[test]
fn retention_is_as_the_command_line_and_the_environment_say() {
    let folder = tempfile::tempdir().unwrap();
    for store in ["memory", "sqlite:events.db"] {
        let mut command = serve_in(folder.path());
        command
            .args(["--store", store, "--retain-events", "3"])
            .args(["--retain", "chat/**=events:2", "--retain", "big=bytes:2KiB"])
            .env("TIDEGATE_RETAIN_EVENTS", "1");
        let hub = Hub::run(command);
        for topic in ["chat/a", "other", "big"] {
            for number in 0..5 {
                hub.publish(topic, &format!("{number}{}", "x".repeat(512)));
            }
        }
        let counts = ["chat/*", "other", "big"].map(|it| retained(&hub, it).len());
        assert_eq!(counts, [2, 3, 3], "{store}");
    }
    let mut command = serve_in(folder.path());
    command
        .env("TIDEGATE_STORE", "memory")
        .env("TIDEGATE_RETAIN", "a/*=events:1;b=events:2");
    let hub = Hub::run(command);
    for topic in ["a/x", "b", "c"] {
        for number in 0..3 {
            hub.publish(topic, &number.to_string());
        }
    }
    let counts = ["a/x", "b", "c"].map(|it| retained(&hub, it).len());
    assert_eq!(json!(counts), json!([1, 2, 3]));
}
