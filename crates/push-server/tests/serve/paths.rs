//! Cases that are run on both paths.

use std::sync::Arc;
use std::time::Duration;

use push_server::Server;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep, timeout};

use crate::support::*;

const GET: &str = "GET /events?topic=demo HTTP/1.1\r\nhost: localhost\r\n\r\n";

async fn both(case: impl AsyncFn(&Served, bool)) {
    for fast in [false, true] {
        let served = Served::start(config(), fast).await;
        case(&served, fast).await;
        served.stop().await;
    }
}

/// What a client is told apart from how its bytes are framed.
fn fields(head: &str) -> Vec<&str> {
    let lines = head.split("\r\n").filter(|line| {
        !["date:", "connection:", "transfer-encoding:"]
            .iter()
            .any(|name| line.to_ascii_lowercase().starts_with(name))
    });
    let mut lines: Vec<_> = lines.collect();
    lines.sort_unstable();
    lines
}

async fn live(client: &mut Client) -> String {
    client.until("$ready").await
}

async fn until_sessions(served: &Served, sessions: usize) {
    let start = Instant::now();
    while served.hub.subscriptions() != sessions {
        assert!(start.elapsed() < PATIENCE, "{}", served.hub.subscriptions());
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_head_and_the_same_events() {
    let mut heads = Vec::new();
    for fast in [false, true] {
        let served = Served::start(config(), fast).await;
        let mut client = served.send(GET).await;
        let opening = live(&mut client).await;
        let (head, body) = opening.split_once("\r\n\r\n").unwrap();
        assert!(body.contains("retry: "), "{body}");
        assert_eq!(head.contains("connection: close"), fast, "{head}");
        assert_eq!(head.contains("transfer-encoding: chunked"), !fast, "{head}");
        assert!(head.to_ascii_lowercase().contains("\r\ndate: "), "{head}");
        heads.push(fields(head).join("\n"));
        for n in 0..100 {
            served.publish("demo", &format!("event {n}.")).await;
        }
        let mut received = client.until("event 99.").await;
        for n in 0..100 {
            let (_, after) = received.split_once(&format!("data: event {n}.\n")).unwrap();
            received = after.to_owned();
        }
        served.stop().await;
    }
    assert_eq!(heads[0], heads[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_is_noticed_without_an_event() {
    both(async |served, _| {
        let mut client = served.send(GET).await;
        live(&mut client).await;
        assert_eq!(served.hub.subscriptions(), 1);
        drop(client);
        until_sessions(served, 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_its_writing_half_is_gone() {
    both(async |served, _| {
        let mut client = served.send(GET).await;
        live(&mut client).await;
        client.socket.shutdown().await.unwrap();
        until_sessions(served, 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_behind_the_request_do_no_harm() {
    both(async |served, _| {
        let mut client = served.send(&format!("{GET}{GET}")).await;
        live(&mut client).await;
        client.write("more").await;
        served.publish("demo", "one").await;
        client.until("data: one\n").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_gets_a_stream_without_chunks() {
    both(async |served, _| {
        let request = "GET /events?topic=demo HTTP/1.0\r\nhost: localhost\r\n\r\n";
        let mut client = served.send(request).await;
        let opening = live(&mut client).await;
        assert!(!opening.contains("transfer-encoding"), "{opening}");
        served.publish("demo", "one").await;
        let received = client.until("data: one\n").await;
        assert!(!received.contains("\r\n"), "{received}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_may_follow_other_answers_on_its_connection() {
    both(async |served, _| {
        let post =
            "POST /events?topic=other HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nx";
        let head = "HEAD /events?topic=demo HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let refused = "GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let mut client = served.send(&format!("{post}{head}{refused}{GET}")).await;
        let all = live(&mut client).await;
        let statuses: Vec<_> = all.matches("HTTP/1.1 ").collect();
        assert_eq!(statuses.len(), 4, "{all}");
        assert!(
            all.contains("\"duplicate\":false") && all.contains("topic_missing"),
            "{all}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_fast_path_does_not_know_stays_with_hyper() {
    both(async |served, _| {
        for field in ["expect: 100-continue", "content-length: 0"] {
            let request = GET.replace("\r\n\r\n", &format!("\r\n{field}\r\n\r\n"));
            let mut client = served.send(&request).await;
            let opening = live(&mut client).await;
            assert!(opening.contains("transfer-encoding: chunked"), "{opening}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_closes_tells_its_clients_when_to_come_back() {
    for fast in [false, true] {
        let served = Served::start(config(), fast).await;
        let mut client = served.send(GET).await;
        live(&mut client).await;
        let stopping = tokio::spawn(served.stop());
        let (rest, end) = client.rest().await;
        assert!(
            rest.contains("retry: ") && rest.contains("event: $drain\n"),
            "{rest}"
        );
        assert_eq!(end, End::Closed);
        drop(client);
        stopping.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_cut_does_not_look_like_one_that_ended() {
    both(async |served, fast| {
        let mut client = served.send(GET).await;
        live(&mut client).await;
        served.hub.drop_connections();
        let (rest, end) = client.rest().await;
        assert!(!rest.ends_with("0\r\n\r\n"), "{rest}");
        assert_eq!(end == End::Reset, fast);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_cut_after_two_heartbeats() {
    for fast in [false, true] {
        let mut config = config();
        config.heartbeat(Duration::from_millis(300)).unwrap();
        let served = Served::start(config, fast).await;
        let mut stalled = served.send(GET).await;
        live(&mut stalled).await;
        let large = "x".repeat(1 << 20);
        let start = Instant::now();
        while served.hub.subscriptions() > 0 {
            served.publish("demo", &large).await;
            sleep(Duration::from_millis(20)).await;
            assert!(start.elapsed() < PATIENCE, "it is still there");
        }
        assert!(start.elapsed() > Duration::from_millis(500));
        served.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_get_every_event_in_order() {
    both(async |served, _| {
        let mut clients = Vec::new();
        for _ in 0..50 {
            let mut client = served.send(GET).await;
            live(&mut client).await;
            clients.push(client);
        }
        let reading = clients.into_iter().map(|mut client| {
            tokio::spawn(async move {
                let all = client.until("data: 499\n").await;
                let numbers = all.lines().filter_map(|line| line.strip_prefix("data: "));
                // The data of `$ready` is no number.
                let numbers: Vec<u32> = numbers.filter_map(|text| text.parse().ok()).collect();
                assert_eq!(numbers, (0..500).collect::<Vec<_>>());
            })
        });
        let reading: Vec<_> = reading.collect();
        for n in 0..500 {
            served.publish("demo", &n.to_string()).await;
        }
        for reader in reading {
            reader.await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_drains_lets_its_clients_go_one_by_one_and_begins_no_new_stream() {
    let window = Duration::from_secs(5);
    for fast in [false, true] {
        let mut config = config();
        config.drain(window);
        let served = Served::start(config, fast).await;
        let mut clients = Vec::new();
        for _ in 0..30 {
            let mut client = served.send(GET).await;
            live(&mut client).await;
            clients.push(client);
        }
        let hub = served.hub.clone();
        let (start, awake) = (Instant::now(), Arc::new(Awake::start()));
        let leaving = clients.into_iter().map(|mut client| {
            let awake = Arc::clone(&awake);
            tokio::spawn(async move {
                client.until("event: $drain\n").await;
                let told = (start.elapsed(), awake.elapsed());
                assert_eq!(client.rest().await.1, End::Closed);
                told
            })
        });
        let leaving: Vec<_> = leaving.collect();
        let address = served.address;
        let stopping = tokio::spawn(served.stop());
        while !hub.is_draining() {
            assert!(start.elapsed() < PATIENCE, "it does not drain");
            sleep(Duration::from_millis(5)).await;
        }
        let mut late = Client::connect(address).await;
        late.write(GET).await;
        let (rest, _) = late.rest().await;
        assert!(
            rest.starts_with("HTTP/1.1 200") && rest.contains("retry: "),
            "{rest}"
        );
        assert!(!rest.contains("$ready"), "{rest}");
        let mut times = Vec::new();
        for client in leaving {
            times.push(client.await.unwrap());
        }
        let first = times.iter().map(|(_, awake)| *awake).min().unwrap();
        let last = times.iter().max().unwrap();
        assert!(first < window / 2, "{times:?}");
        assert!(last.0 > window / 2 && last.1 < window * 2, "{times:?}");
        stopping.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_asked_for_nothing_does_not_hold_up_the_end() {
    for beginning in ["", "PRI"] {
        let served = Served::start(config(), true).await;
        let idle = served.send(beginning).await;
        sleep(Duration::from_millis(100)).await;
        let awake = Awake::start();
        served.stop().await;
        // Connections that are held up are cut after 5 s.
        assert!(awake.elapsed() < Duration::from_secs(4), "{beginning:?}");
        drop(idle);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_one_too_many_waits_until_another_leaves() {
    for fast in [false, true] {
        let set = |server: Server| server.fast_path(fast).max_connections(2);
        let served = Served::start_with(config(), set).await;
        let mut first = served.send(GET).await;
        live(&mut first).await;
        // A session is a connection too, though it left the server's hands.
        let mut second = served.send(UPGRADE).await;
        second.until("101 Switching Protocols").await;
        let mut third = served.send(GET).await;
        let mut byte = [0];
        let early = timeout(Duration::from_millis(300), third.socket.peek(&mut byte)).await;
        assert!(early.is_err(), "it was let in");
        drop(first);
        live(&mut third).await;
        let mut fourth = served.send(GET).await;
        drop(second);
        live(&mut fourth).await;
        drop((third, fourth));
        served.stop().await;
    }
}

#[tokio::test]
async fn what_a_websocket_client_says_along_with_its_handshake_is_heard() {
    for fast in [false, true] {
        let served = Served::start(config(), fast).await;
        let mut client = Client::connect(served.address).await;
        let resume = text_frame(r#"{"type":"resume","topics":["demo"]}"#);
        let said = [UPGRADE.as_bytes(), &resume].concat();
        client.socket.write_all(&said).await.unwrap();
        client.until(r#""type":"ready""#).await;
        served.publish("demo", "hello").await;
        client.until("hello").await;
        drop(client);
        served.stop().await;
    }
}
