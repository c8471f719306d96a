//! `tidegate bench`: what it says of our hub, and of hubs that lose and repeat.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use crate::hub::{Hub, MEMORY, tidegate};
use crate::program::{Finished, run};

/// The machine may be busy: that is not the hub's silence.
const PATIENT: [&str; 2] = ["--patience", "60"];

fn bench(url: &str, options: &[&str]) -> Finished {
    run(tidegate(
        &[&["bench", "--url", url, "--json"], options].concat(),
    ))
}

/// Runs against our hub; everything must arrive once and in order.
#[track_caller]
fn exact(options: &[&str]) -> Value {
    let hub = Hub::start(MEMORY);
    let pid = hub.pid().to_string();
    let finished = bench(
        &hub.url(""),
        &[&["--pid", &pid], &PATIENT, options].concat(),
    );
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let report: Value = serde_json::from_str(&finished.stdout).expect("it prints an object");
    for nothing in [
        "lost",
        "duplicates",
        "disordered",
        "misrouted",
        "gaps",
        "closed",
    ] {
        assert_eq!(report[nothing], 0, "{nothing} in {report}");
    }
    assert_eq!(report["exact"], true);
    assert_eq!(report["warnings"], Value::Array(Vec::new()), "{report}");
    report
}

/// Of twenty subscribers, `reading` receive everything that is published in two seconds.
#[track_caller]
fn check_fan_out(options: &[&str], reading: u64) -> Value {
    let crowd = ["--connections", "20", "--seconds", "2"];
    let report = exact(&[&crowd, options].concat());
    let number = |name: &str| {
        report[name]
            .as_f64()
            .unwrap_or_else(|| panic!("{name}: {report}"))
    };
    let published = report["published"].as_u64().unwrap();
    assert!(published > 0);
    assert_eq!(report["deliveries"], published * reading, "{report}");
    assert!(number("server_cpu_us_per_delivery") > 0.0);
    // More before than idle is possible: an allocator gives back what a start has needed.
    assert!(number("rss_before") > 0.0 && number("rss_idle") > 0.0);
    let latency = |name: &str| report["latency_us"][name].as_f64().unwrap();
    assert!(latency("min") > 0.0 && latency("min") <= latency("p50"));
    assert!(latency("p50") <= latency("p99") && latency("p99") <= latency("max"));
    report
}

#[test]
fn every_delivery_of_a_closed_loop_is_counted_on_both_transports() {
    let sse = check_fan_out(&[], 20);
    assert_eq!(
        (&sse["transport"], &sse["window"]),
        (&"sse".into(), &1.into())
    );
    let ws = check_fan_out(&["--ws", "--window", "8"], 20);
    assert_eq!((&ws["transport"], &ws["window"]), (&"ws".into(), &8.into()));
}

#[test]
fn many_subscribers_share_a_connection_of_http2() {
    let streams = ["--http2", "--streams", "7"];
    let sse = check_fan_out(&streams, 20);
    assert_eq!(
        (&sse["transport"], &sse["http"]),
        (&"sse".into(), &"2".into())
    );
    let stalled = ["--stalled", "10", "--size", "1024"];
    let report = check_fan_out(&[&streams[..], &stalled].concat(), 18);
    assert_eq!(report["stalled"], 2);
    let replay = ["--connections", "10", "--replay", "500"];
    let report = exact(&[&streams[..], &replay].concat());
    assert_eq!(report["replay"]["complete"], 10);
}

#[test]
fn websockets_go_over_http2_where_the_hub_offers_it_and_the_remedy_is_named_where_not() {
    let options = ["--http2", "--streams", "7", "--ws"];
    let crowd = ["--connections", "20", "--window", "8"];
    let load = ["--messages", "50", "--seconds", "60"];
    let hub = Hub::serve(&["--store", "memory", "--ws-over-h2"]);
    let finished = bench(
        &hub.url(""),
        &[&options[..], &crowd, &load, &PATIENT].concat(),
    );
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let report: Value = serde_json::from_str(&finished.stdout).expect("it prints an object");
    assert_eq!(
        (&report["deliveries"], &report["closed"]),
        (&1000.into(), &0.into())
    );

    let hub = Hub::start(MEMORY);
    let finished = bench(&hub.url(""), &options);
    assert!(
        finished.stderr.contains("--ws-over-h2"),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_fixed_rate_publishes_what_is_due_and_no_more() {
    let report = check_fan_out(&["--rate", "50"], 20);
    assert_eq!(report["published"], 100);
    let few = check_fan_out(&["--rate", "50", "--messages", "7"], 20);
    assert_eq!(few["published"], 7);
}

#[test]
fn topics_and_publishers_share_the_load() {
    let spread = ["--topics", "20", "--publishers", "4", "--window", "8"];
    let report = check_fan_out(&spread, 1);
    assert!(report["publishes_per_second"].as_f64().unwrap() > 0.0);
}

#[test]
fn stalled_subscribers_do_not_keep_the_others_from_anything() {
    let report = check_fan_out(&["--stalled", "10", "--size", "1024"], 18);
    assert_eq!(report["stalled"], 2);
}

#[test]
fn missed_messages_are_caught_up_with_on_both_transports() {
    for transport in [&[][..], &["--ws"]] {
        let crowd = ["--connections", "10", "--replay", "500"];
        let report = exact(&[&crowd, transport].concat());
        let replay = &report["replay"];
        assert_eq!(
            (&replay["missed"], &replay["complete"]),
            (&500.into(), &10.into())
        );
        assert!(replay["last_ms"].as_f64().unwrap() > 0.0, "{report}");
    }
    let report = exact(&[
        "--connections",
        "3",
        "--replay",
        "50",
        "--after",
        "earliest",
    ]);
    assert_eq!(report["replay"]["complete"], 3);
}

/// A hub for SSE that sends each publish to all subscribers as often as `times` says of its number.
fn flawed_hub(times: fn(usize) -> usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let subscribers = Arc::new(Mutex::new(Vec::<TcpStream>::new()));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let subscribers = Arc::clone(&subscribers);
            // It ends with its connection.
            thread::spawn(move || drop(answer(stream, &subscribers, times)));
        }
    });
    url
}

fn answer(
    mut stream: TcpStream,
    subscribers: &Mutex<Vec<TcpStream>>,
    times: fn(usize) -> usize,
) -> std::io::Result<()> {
    let mut requests = BufReader::new(stream.try_clone()?);
    for number in 0.. {
        let (mut first, mut length) = (String::new(), 0);
        requests.read_line(&mut first)?;
        let mut line = first.clone();
        while !line.trim().is_empty() {
            line.clear();
            requests.read_line(&mut line)?;
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        if first.starts_with("GET") {
            // Who reads the head gets all that is published from then on.
            let mut subscribers = subscribers.lock().unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")?;
            subscribers.push(stream);
            return Ok(());
        }
        let mut body = vec![0; length];
        requests.read_exact(&mut body)?;
        let event = format!("data: {}\n\n", String::from_utf8_lossy(&body)).repeat(times(number));
        for subscriber in subscribers.lock().unwrap().iter_mut() {
            subscriber.write_all(event.as_bytes())?;
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
    }
    Ok(())
}

#[track_caller]
fn check_flawed(times: fn(usize) -> usize, lost: u64, duplicates: u64, said: &str) {
    // One message to join, none to warm up, nine measured: numbers 1 to 9.
    let url = flawed_hub(times);
    let crowd = ["--connections", "4", "--warm-up", "0", "--messages", "9"];
    let hub = ["--seconds", "60", "--hub", "nchan", "--window", "9"];
    // Two of these hubs do fall silent, which takes so long to find out.
    let patience = ["--patience", "10"];
    let finished = bench(&url, &[&crowd[..], &hub, &patience].concat());
    let report: Value = serde_json::from_str(&finished.stdout).expect("it prints an object");
    assert_eq!(report["lost"], lost, "{report}");
    assert_eq!(report["duplicates"], duplicates, "{report}");
    let bad = lost + duplicates > 0;
    assert_eq!(report["exact"], !bad);
    assert_eq!(finished.code, Some(i32::from(bad)));
    assert!(finished.stderr.contains(said), "{}", finished.stderr);
}

#[test]
fn a_hub_that_loses_or_repeats_is_found_out_by_number_and_exit_status() {
    check_flawed(|_| 1, 0, 0, "");
    check_flawed(|n| usize::from(n != 4), 4, 0, "4 lost without a gap");
    check_flawed(|n| usize::from(n != 9), 4, 0, "4 lost without a gap");
    check_flawed(|n| 1 + usize::from(n == 4), 0, 4, "4 duplicates");
}

#[test]
fn what_cannot_be_measured_is_refused_with_what_to_do() {
    let refused = |options: &[&str], said: &str| {
        let finished = bench("http://127.0.0.1:9", options);
        assert_eq!(finished.code, Some(1), "{}", finished.stderr);
        assert!(finished.stderr.contains(said), "{}", finished.stderr);
    };
    refused(&["--connections", "1"], "subscriber 1 of 1 at 127.0.0.1:9");
    refused(&["--publishers", "2"], "at least as many topics");
    refused(&["--connections", "1000000"], "need 1000033 descriptors");
    let hub = Hub::start(MEMORY);
    let finished = bench(&hub.url(""), &["--subscribe-url", &hub.url("/nowhere")]);
    assert!(
        finished.stderr.contains("status 404"),
        "{}",
        finished.stderr
    );
    let finished = bench(&hub.url(""), &["--create-url", &hub.url("/nowhere")]);
    let said = "topic 1 of 1: status 404";
    assert!(finished.stderr.contains(said), "{}", finished.stderr);
}
