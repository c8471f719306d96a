//! The examples as programs: curl and Python against the applications that users copy.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use testkit::{Tool, tool};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);
const COOKIE: &str = "cookie: session=letmein";
const BEARER: &str = "authorization: Bearer letmein";

/// A running example.
struct Example {
    child: Child,
    url: String,
    /// Held, so that what it prints has somewhere to go.
    _stdout: BufReader<ChildStdout>,
}

impl Example {
    async fn start(name: &str) -> Self {
        let mut child = Command::new(built(name))
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        timeout(PATIENCE, stdout.read_line(&mut line))
            .await
            .unwrap()
            .unwrap();
        let url = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap()
            .to_owned();
        Self {
            child,
            url,
            _stdout: stdout,
        }
    }

    /// What curl prints for a request that ends: the body, and the status in a last line.
    async fn curl(&self, path: &str, arguments: &[&str]) -> (String, String) {
        let output = Command::new(tool(Tool::Curl))
            .args(["-sS", "-i", "--max-time", "60", "-w", "\n%{http_code}"])
            .args(arguments)
            .arg(format!("{}{path}", self.url))
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.to_owned(), body.to_owned())
    }

    async fn publish(&self, path: &str, header: &str, data: &str) {
        let (status, body) = self.curl(path, &["-H", header, "-d", data]).await;
        assert_eq!(status, "200", "{body}");
    }

    /// Interrupts it, as a terminal does, and waits until it has ended in order.
    async fn interrupt(mut self) {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status().await;
        assert!(sent.unwrap().success());
        let ended = timeout(PATIENCE, self.child.wait()).await;
        assert!(ended.expect("it ends").unwrap().success());
    }
}

/// `cargo test` builds the examples beside the tests.
fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().unwrap().parent().unwrap().join("examples");
    let path = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build -p push-server --examples`, which `cargo test` does",
        path.display()
    );
    path
}

/// An event stream that curl reads.
struct Stream {
    _curl: Child,
    stdout: ChildStdout,
    received: String,
}

impl Stream {
    fn open(example: &Example, path: &str, headers: &[&str]) -> Self {
        let headers = headers.iter().flat_map(|header| ["-H", header]);
        let mut curl = Command::new(tool(Tool::Curl))
            .args(["-sS", "-i", "-N", "--max-time", "60"])
            .args(headers)
            .arg(format!("{}{path}", example.url))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            stdout: curl.stdout.take().unwrap(),
            _curl: curl,
            received: String::new(),
        }
    }

    /// Reads until this text has come; everything so far.
    async fn until(&mut self, text: &str) -> &str {
        while !self.received.contains(text) {
            let mut bytes = [0; 4096];
            let read = timeout(PATIENCE, self.stdout.read(&mut bytes)).await;
            let read = read.unwrap_or_else(|_| panic!("no {text:?} in {:?}", self.received));
            let read = read.unwrap();
            assert_ne!(read, 0, "the end came before {text:?}: {:?}", self.received);
            self.received
                .push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        &self.received
    }

    /// The last id that came.
    fn last_event_id(&self) -> &str {
        let (_, id) = self.received.rsplit_once("\nid: ").unwrap();
        id.lines().next().unwrap()
    }
}

/// A stream gets what is published while it is there, resumes behind what it had, and is told when
/// the server goes; who is not signed in gets nothing.
async fn check(name: &str, subscribe: &str, publish: &str, sign_in: &str) {
    let example = Example::start(name).await;
    for path in [subscribe, publish] {
        let (status, body) = example.curl(path, &[]).await;
        assert_eq!((&*status, body.contains("sign in first")), ("401", true));
    }
    let mut stream = Stream::open(&example, subscribe, &[sign_in]);
    let opening = stream.until("event: $ready\n").await;
    assert!(
        opening.contains("content-type: text/event-stream"),
        "{opening}"
    );
    example.publish(publish, sign_in, "one").await;
    stream.until("data: one\n\n").await;
    let id = format!("last-event-id: {}", stream.last_event_id());
    drop(stream);
    example.publish(publish, sign_in, "two").await;
    let mut resumed = Stream::open(&example, subscribe, &[sign_in, &id]);
    let replayed = resumed.until("event: $ready\n").await;
    assert!(
        replayed.contains("data: two\n") && !replayed.contains("data: one"),
        "{replayed}"
    );
    example.publish(publish, sign_in, "three").await;
    resumed.until("data: three\n\n").await;

    let farewell = async { resumed.until("event: $drain\n").await.to_owned() };
    let (farewell, ()) = tokio::join!(farewell, example.interrupt());
    assert!(!farewell.contains("$gap"), "{farewell}");
}

#[tokio::test]
async fn axum_sse_streams_resumes_and_says_when_it_goes() {
    let publish = "/hub/events?topic=rooms/lobby";
    check("axum_sse", "/rooms/lobby/events", publish, COOKIE).await;
}

#[tokio::test]
async fn axum_ws_serves_event_streams_too() {
    let both = "/live/events?topic=rooms/lobby";
    check("axum_ws", both, both, COOKIE).await;
}

#[tokio::test]
async fn hyper_sse_streams_resumes_and_says_when_it_goes() {
    let both = "/events?topic=rooms/lobby";
    check("hyper_sse", both, both, BEARER).await;
    let example = Example::start("hyper_sse").await;
    let (status, body) = example.curl("/", &[]).await;
    assert!(
        status == "200" && body.contains("own page"),
        "{status} {body}"
    );
}

#[tokio::test]
async fn axum_sse_lets_pages_of_one_site_read_and_no_others_publish() {
    let example = Example::start("axum_sse").await;
    let path = "/hub/events?topic=rooms/lobby";
    let allowed = "access-control-allow-origin: https://app.example";
    for (origin, status) in [
        ("https://app.example", "200"),
        ("https://evil.example", "403"),
    ] {
        let origin = format!("origin: {origin}");
        let publish = ["-H", COOKIE, "-H", &origin, "-d", "x"];
        let (answered, head) = example.curl(path, &publish).await;
        assert_eq!(answered, status, "{head}");
        assert_eq!(head.contains(allowed), status == "200", "{head}");
        let mut stream = Stream::open(&example, "/rooms/lobby/events", &[COOKIE, &origin]);
        let opening = stream.until("event: $ready\n").await;
        assert_eq!(opening.contains(allowed), status == "200", "{opening}");
    }
    let preflight = ["-X", "OPTIONS", "-H", "origin: https://app.example"];
    let (status, head) = example.curl(path, &preflight).await;
    assert!(status == "204" && head.contains(allowed), "{status} {head}");
}

/// Resumes with the id in the last argument, and prints the data of three events, the last of which
/// it has published itself, and the code that the session is closed with.
const WEBSOCKET: &str = r#"
import asyncio, json, sys, websockets

async def main(url, cookie, after):
    headers = {"Cookie": cookie} if cookie else {}
    async with websockets.connect(url, additional_headers=headers,
                                  subprotocols=["tidegate.v1+json"], open_timeout=60) as socket:
        await socket.send(json.dumps({"type": "resume", "topics": ["rooms/lobby"], "after": after}))
        events = []
        try:
            while True:
                message = json.loads(await socket.recv())
                if message["type"] == "event":
                    events.append(message)
                if message["type"] == "ready":
                    await socket.send(json.dumps(
                        {"type": "publish", "topic": "rooms/lobby", "data": "from the socket"}))
                if len(events) == 3:
                    print(json.dumps([event["data"] for event in events]), events[1]["id"],
                          flush=True)
        except websockets.ConnectionClosed:
            pass
    print(socket.close_code, flush=True)

try:
    asyncio.run(main(*sys.argv[1:]))
except websockets.InvalidStatus as refused:
    print(refused.response.status_code)
"#;

fn websocket(url: &str, cookie: &str, after: &str) -> Child {
    Command::new(tool(Tool::Python))
        .args(["-c", WEBSOCKET, url, cookie, after])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn axum_ws_publishes_resumes_and_closes_sessions_in_order() {
    let example = Example::start("axum_ws").await;
    let (status, body) = example.curl("/", &[]).await;
    assert!(
        status == "200" && body.contains("own page"),
        "{status} {body}"
    );
    let url = format!("{}/live/ws", example.url.replace("http:", "ws:"));
    let refused = websocket(&url, "", "earliest").wait_with_output().await;
    assert_eq!(refused.unwrap().stdout, b"401\n");

    let publish = "/live/events?topic=rooms/lobby";
    for data in ["one", "two"] {
        example.publish(publish, COOKIE, data).await;
    }
    let cookie = "session=letmein";
    let mut first = websocket(&url, cookie, "earliest");
    let mut lines = BufReader::new(first.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.unwrap();
    let line = line.unwrap().unwrap();
    let (data, id) = line.rsplit_once(' ').unwrap();
    assert_eq!(data, r#"["one", "two", "from the socket"]"#);
    // Behind the second: the third, its own, and one more.
    let mut second = websocket(&url, cookie, id);
    let mut resumed = BufReader::new(second.stdout.take().unwrap()).lines();
    example.publish(publish, COOKIE, "four").await;
    let line = timeout(PATIENCE, resumed.next_line()).await.unwrap();
    let line = line.unwrap().unwrap();
    let (data, _) = line.rsplit_once(' ').unwrap();
    let mut data: Vec<String> = serde_json::from_str(data).unwrap();
    assert_eq!(data[0], "from the socket");
    // These two were published at the same time.
    data.sort();
    assert_eq!(data, ["four", "from the socket", "from the socket"]);

    example.interrupt().await;
    for mut lines in [lines, resumed] {
        let mut last = String::new();
        while let Some(line) = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap() {
            last = line;
        }
        assert_eq!(last, "1012", "service restart");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_not_a_hang() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for name in ["axum_sse", "axum_ws", "hyper_sse"] {
        let ended = Command::new(built(name))
            .arg(address.to_string())
            .stderr(Stdio::null())
            .status();
        let ended = timeout(PATIENCE, ended).await.unwrap().unwrap();
        assert!(!ended.success());
    }
    drop(taken);
}
