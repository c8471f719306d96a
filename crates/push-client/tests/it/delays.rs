//! How long a subscriber waits: before it connects again, and before it gives a connection up.

use core::time::Duration;

use push_client::{Delivery, Subscriber};
use tokio::net::TcpSocket;
use tokio::time::Instant;

use crate::hub::Hub;
use crate::{PATIENCE, block, check, next_line, options, play};

#[tokio::test]
async fn retry_after_is_a_lower_bound() {
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, options("demo")).unwrap();
    let script = async {
        hub.accept()
            .await
            .answer("503 Service Unavailable", "retry-after: 7\r\n", "")
            .await;
    };
    let delivery = play(script, subscriber.next()).await;
    let Some(Ok(Delivery::Disconnected { retry_in, .. })) = delivery else {
        panic!("{delivery:?}");
    };
    assert!(retry_in >= Duration::from_secs(7), "{retry_in:?}");
}

#[tokio::test]
async fn the_reconnection_time_is_waited_for_every_time() {
    const RETRY: Duration = Duration::from_millis(120);
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, options("demo")).unwrap();
    let script = async {
        let mut first = hub.accept().await;
        first.open_stream().await;
        first.write("retry: 120\n").await;
        drop(first);
        for _ in 0..2 {
            let lost = Instant::now();
            let mut next = hub.accept().await;
            assert!(lost.elapsed() >= RETRY, "{:?}", lost.elapsed());
            next.open_stream().await;
        }
    };
    let client = async {
        for _ in 0..3 {
            check(&mut subscriber, &["connected"]).await;
            let Some(Ok(Delivery::Disconnected { retry_in, .. })) = subscriber.next().await else {
                panic!("no end");
            };
            assert!(retry_in >= RETRY, "{retry_in:?}");
        }
    };
    play(script, client).await;
}

#[tokio::test]
async fn delays_grow_over_failures_in_a_row_but_not_over_the_cap() {
    // A port that is taken and refuses connections.
    let taken = TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", taken.local_addr().unwrap());
    let mut options = options("demo");
    options.backoff(Duration::from_millis(1), Duration::from_millis(16));
    let mut subscriber = Subscriber::new(&url, options).unwrap();
    let mut delays = Vec::new();
    while delays.len() < 60 {
        let delivery = subscriber.next().await;
        let Some(Ok(Delivery::Disconnected { retry_in, why })) = delivery else {
            panic!("{delivery:?}");
        };
        assert!(
            why.to_string().starts_with("cannot connect to 127.0.0.1:"),
            "{why}"
        );
        delays.push(retry_in);
    }
    let longest = delays.iter().max().unwrap();
    // Of 55 draws from 0 to 16 ms none above 4 ms: once in 10^31 runs.
    assert!((Duration::from_millis(4)..=Duration::from_millis(16)).contains(longest));
    assert!(delays[0] <= Duration::from_millis(1));
}

#[tokio::test]
async fn only_something_delivered_begins_the_backoff_anew() {
    const BASE: Duration = Duration::from_micros(1);
    let ready = "event: $ready\nid: aa-1\ndata: {\"id\":\"aa-1\"}\n\n";
    let gap = "event: $gap\nid: aa-1\ndata: {\"reason\":\"unknown\",\"id\":\"aa-1\"}\n\n";
    for (stream, anew) in [
        ("", false),
        (":\nid: aa-1\n\n", false),
        (gap, false),
        (ready, true),
        (&block(1), true),
    ] {
        let hub = Hub::bind().await;
        let mut options = options("demo");
        options.backoff(BASE, Duration::from_secs(30));
        let mut subscriber = Subscriber::new(&hub.url, options).unwrap();
        let script = async {
            for _ in 0..20 {
                hub.accept().await;
            }
            let mut exchange = hub.accept().await;
            exchange.open_stream().await;
            exchange.write(stream).await;
        };
        let client = async {
            let mut connected = false;
            loop {
                match subscriber.next().await {
                    Some(Ok(Delivery::Disconnected { retry_in, .. })) if connected => {
                        return retry_in;
                    }
                    Some(Ok(delivery)) => connected |= matches!(delivery, Delivery::Connected),
                    other => panic!("{other:?}"),
                }
            }
        };
        let retry_in = play(script, client).await;
        // A draw from 2^20 microseconds is this low once in a million.
        assert_eq!(retry_in <= BASE, anew, "{retry_in:?} after {stream:?}");
    }
}

#[tokio::test]
async fn a_silent_connection_is_replaced_and_a_comment_is_not_silence() {
    // Long, since a machine that is busy falls silent by itself.
    const IDLE: Duration = Duration::from_secs(5);
    let hub = Hub::bind().await;
    let mut options = options("demo");
    options.idle_timeout(IDLE);
    let mut subscriber = Subscriber::new(&hub.url, options).unwrap();
    let began = Instant::now();
    let script = async {
        let mut first = hub.accept().await;
        first.open_stream().await;
        for _ in 0..12 {
            tokio::time::sleep(IDLE / 8).await;
            first.write(":\n\n").await;
        }
        assert!(first.is_closed_within(PATIENCE).await);
        hub.accept().await;
    };
    let client = async {
        check(
            &mut subscriber,
            &["connected", "lost: nothing received for 5s"],
        )
        .await;
        assert!(began.elapsed() >= IDLE * 5 / 2, "{:?}", began.elapsed());
        next_line(&mut subscriber).await;
    };
    play(script, client).await;
}

#[tokio::test]
async fn a_hub_that_does_not_answer_in_time_is_left() {
    let hub = Hub::bind().await;
    let mut options = options("demo");
    // On a machine that is busy the request itself takes its time.
    options.connect_timeout(Duration::from_secs(3));
    let mut subscriber = Subscriber::new(&hub.url, options).unwrap();
    let script = async {
        let mut silent = hub.accept().await;
        assert!(silent.is_closed_within(PATIENCE).await);
        // The head of a refusal without the body that it announces.
        let mut endless = hub.accept().await;
        endless
            .write("HTTP/1.1 403 Forbidden\r\ncontent-length: 9\r\n\r\n")
            .await;
        assert!(endless.is_closed_within(PATIENCE).await);
    };
    let expected = ["lost: no answer within 3s"; 2];
    play(script, check(&mut subscriber, &expected)).await;
}
