//! WebSocket libraries that are not ours against the hub, and our client against their servers, with
//! compression and without.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};
use testkit::{Tool, tool};

use crate::browser::Browser;
use crate::hub::{Hub, tidegate};
use crate::program::{Program, run};

const OFF: &str = "off";
const MESSAGES: &str = "messages";
const CONTEXT: &str = "context";

/// What the hub agrees to, with every client here.
fn agreed(compression: &str) -> &'static str {
    match compression {
        MESSAGES => "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        CONTEXT => "permessage-deflate; server_no_context_takeover",
        _ => "",
    }
}

/// What each client publishes: longer than any library's threshold for compression, and worth it.
fn data() -> String {
    "a text that says the same again, ".repeat(1000)
}

/// A hub, reached through a relay that counts what clients send.
struct Relayed {
    _hub: Hub,
    address: String,
    sent: Arc<AtomicUsize>,
}

impl Relayed {
    fn start(compression: &str) -> Self {
        let hub = Hub::start_with(&["--listen", "127.0.0.1:0", "--compression", compression]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let sent = Arc::new(AtomicUsize::new(0));
        let (target, counter) = (hub.address().to_owned(), Arc::clone(&sent));
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let server = TcpStream::connect(&target).unwrap();
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let counter = Arc::clone(&counter);
                thread::spawn(move || relay(client, server, &counter));
                thread::spawn(move || relay(back.0, back.1, &AtomicUsize::new(0)));
            }
        });
        Self {
            _hub: hub,
            address,
            sent,
        }
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream, count: &AtomicUsize) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        count.fetch_add(read, Ordering::Relaxed);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _gone = to.shutdown(std::net::Shutdown::Write);
}

fn node(script: &str) -> Command {
    let mut command = Command::new(tool(Tool::Node));
    command
        .arg(script)
        .env("NODE_PATH", tool(Tool::NodeModules));
    command
}

fn python(script: &str) -> Command {
    let mut command = Command::new(tool(Tool::Python));
    command.arg(script);
    command
}

const NODE_CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/interop_client.cjs");
const NODE_SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/interop_server.cjs");
const PYTHON_CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/interop_client.py");
const PYTHON_SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/interop_server.py");

/// Has a client resume, publish twice, receive both events and their answers, add so many topics
/// that the hub's answer is long, and close. `compresses` is whether the library compresses what it
/// sends where that was agreed on; undici only inflates.
#[track_caller]
fn check_client(name: &str, compresses: bool, mut exchange: impl FnMut(&str, &str) -> Value) {
    for compression in [OFF, MESSAGES, CONTEXT] {
        let hub = Relayed::start(compression);
        let data = data();
        let said = exchange(&hub.address, &data);
        let context = format!("{name}, {compression}");
        assert_eq!(said["protocol"], "tidegate.v1+json", "{context}");
        // Libraries order the parameters differently.
        let parameters = |field: &str| {
            let mut parameters: Vec<_> = field.split(';').map(|it| it.trim().to_owned()).collect();
            parameters.sort_unstable();
            parameters
        };
        if let Value::String(extensions) = &said["extensions"] {
            assert_eq!(
                parameters(extensions),
                parameters(agreed(compression)),
                "{context}"
            );
        }
        let expected = json!([format!("1 {data}"), format!("2 {data}")]);
        assert_eq!(said["events"], expected, "{context}");
        assert_eq!(said["published"], 2, "{context}");
        assert_eq!(said["topics"], 31, "{context}");
        assert_eq!(said["code"], 1000, "{context}");
        let sent = hub.sent.load(Ordering::Relaxed);
        if compresses && compression != OFF {
            assert!(sent < data.len() / 2, "{context}: {sent} bytes sent");
        } else {
            assert!(sent > 2 * data.len(), "{context}: {sent} bytes sent");
        }
    }
}

/// The same with a program that prints what it saw.
#[track_caller]
fn check_program(name: &str, compresses: bool, command: impl Fn() -> Command) {
    check_client(name, compresses, |address, data| {
        let mut command = command();
        command.args([name, &format!("ws://{address}/ws"), data]);
        let finished = run(command);
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        serde_json::from_str(&finished.stdout).expect("it prints JSON")
    });
}

#[test]
fn npm_ws_speaks_with_the_hub() {
    check_program("ws", true, || node(NODE_CLIENT));
}

#[test]
fn undici_speaks_with_the_hub() {
    check_program("undici", false, || node(NODE_CLIENT));
}

#[test]
fn python_websockets_speaks_with_the_hub() {
    check_program("websockets", true, || python(PYTHON_CLIENT));
}

#[test]
fn python_aiohttp_speaks_with_the_hub() {
    check_program("aiohttp", true, || python(PYTHON_CLIENT));
}

#[test]
fn python_wsproto_speaks_with_the_hub() {
    check_program("wsproto", true, || python(PYTHON_CLIENT));
}

#[test]
fn chromium_speaks_with_the_hub() {
    let mut browser = Browser::start();
    let script = include_str!("interop_client.cjs");
    let exchange = &script[script.find("function exchange").unwrap()..];
    let exchange = &exchange[..exchange.find("// End of exchange").unwrap()];
    check_client("Chromium", true, |address, data| {
        browser.open(&format!("http://{address}/"));
        let url = json!(format!("ws://{address}/ws"));
        let data = json!(data);
        let script = format!(
            "(() => {{ {exchange}; \
             return exchange(new WebSocket({url}, 'tidegate.v1+json'), {data}); }})()"
        );
        browser.evaluate(&script)
    });
}

/// Has `tidegate subscribe` follow a server that compresses whatever it can, or nothing.
#[track_caller]
fn check_server(name: &str, command: impl Fn() -> Command) {
    for (compression, agreed) in [("on", true), ("off", false)] {
        let mut command = command();
        command.args([name, compression]);
        let server = Program::start(command);
        let url = server.line();
        let finished = run(tidegate(&[
            "subscribe",
            "demo",
            "--ws",
            "--count",
            "3",
            "--url",
            &url,
        ]));
        let context = format!("{name}, {compression}: {}", finished.stderr);
        assert_eq!(finished.code, Some(0), "{context}");
        let data = data();
        let expected = (1..=3).map(|n| format!("{n} {data}\n")).collect::<String>();
        assert_eq!(finished.stdout, expected, "{context}");
        let said: Value = serde_json::from_str(&server.line()).unwrap();
        assert_eq!(said["compressed"], agreed, "{context}: {said}");
        assert_eq!(said["resume"]["topics"], json!(["demo"]), "{context}");
        assert_eq!(said["code"], 1001, "{context}: {said}");
    }
}

#[test]
fn our_client_follows_a_server_of_npm_ws() {
    check_server("ws", || node(NODE_SERVER));
}

#[test]
fn our_client_follows_a_server_of_python_websockets() {
    check_server("websockets", || python(PYTHON_SERVER));
}
