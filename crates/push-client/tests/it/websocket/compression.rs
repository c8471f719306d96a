//! Messages that the hub compressed.

use push_client::Subscriber;

use super::{LOST, VIOLATION, resume, websocket};
use crate::hub::Hub;
use crate::{check, event, event_line, play};

#[tokio::test]
async fn compressed_messages_are_read_like_others_if_that_was_agreed_on() {
    let line = |answer: &str| format!("sec-websocket-extensions: {answer}\r\n");
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, websocket()).unwrap();
    let script = async {
        let exchange = hub.accept().await;
        assert_eq!(
            exchange.request.header("sec-websocket-extensions"),
            Some("permessage-deflate; client_no_context_takeover; client_max_window_bits")
        );
        let mut session = exchange.upgrade_to(&line("permessage-deflate"), b"").await;
        assert_eq!(session.receive().await, resume(""));
        // The second refers to the first, across one that is not compressed.
        session.send_compressed(&event(1)).await;
        session.send(&event(2)).await;
        session.send_compressed(&event(3)).await;
    };
    let expected = [
        "connected",
        &event_line(1),
        &event_line(2),
        &event_line(3),
        LOST,
    ];
    play(script, check(&mut subscriber, &expected)).await;
}

#[tokio::test]
async fn what_inflates_beyond_the_limit_is_refused() {
    let hub = Hub::bind().await;
    let mut options = websocket();
    options.max_event(1000);
    let mut subscriber = Subscriber::new(&hub.url, options).unwrap();
    let script = async {
        let exchange = hub.accept().await;
        let line = "sec-websocket-extensions: permessage-deflate\r\n";
        let mut session = exchange.upgrade_to(line, b"").await;
        assert_eq!(session.receive().await, resume(""));
        session.send_compressed(&" ".repeat(1001)).await;
        assert_eq!(session.receive().await, "close 1009");
    };
    let expected = [
        "connected",
        "error: an event is larger than the limit of 1000 bytes: raise max_event",
        VIOLATION,
    ];
    play(script, check(&mut subscriber, &expected)).await;
}

#[tokio::test]
async fn without_compression_none_is_offered_nor_accepted() {
    let hub = Hub::bind().await;
    let mut options = websocket();
    options.compression(false);
    let mut subscriber = Subscriber::new(&hub.url, options).unwrap();
    let script = async {
        let exchange = hub.accept().await;
        assert_eq!(exchange.request.header("sec-websocket-extensions"), None);
        let line = "sec-websocket-extensions: permessage-deflate\r\n";
        exchange.upgrade_to(line, b"").await;
        hub.stays_alone().await;
    };
    let expected = [
        "final: the WebSocket handshake failed: the server uses an extension in a way that was not \
         offered",
        "over",
    ];
    play(script, check(&mut subscriber, &expected)).await;
}
