//! Handshakes that fail.

use push_client::Subscriber;
use ws_proto::handshake::accept_key;

use super::websocket;
use crate::hub::{Hub, switching};
use crate::{check, next_line, play};

#[tokio::test]
async fn a_wrong_handshake_is_refused_for_good() {
    const PROTOCOL: &str = "sec-websocket-protocol: tidegate.v1+json\r\n";
    let wrong = String::from_utf8(accept_key(b"another key").to_vec()).unwrap();
    for (accept, more, expected) in [
        (
            Some(&*wrong),
            PROTOCOL,
            "final: the WebSocket handshake failed: the answer's `Sec-WebSocket-Accept` does not \
             match the key sent",
        ),
        (
            None,
            "sec-websocket-protocol: other\r\n",
            "final: the WebSocket handshake failed: the server chose a subprotocol that was not \
             offered",
        ),
        (
            None,
            "",
            "final: the answer does not choose tidegate.v1+json: is this the address of a hub?",
        ),
    ] {
        let hub = Hub::bind().await;
        let mut subscriber = Subscriber::new(&hub.url, websocket()).unwrap();
        let script = async {
            let mut exchange = hub.accept().await;
            let key = exchange.request.header("sec-websocket-key").unwrap();
            let right = String::from_utf8(accept_key(key.as_bytes()).to_vec()).unwrap();
            exchange
                .write(switching(accept.unwrap_or(&right), more))
                .await;
            hub.stays_alone().await;
        };
        play(script, check(&mut subscriber, &[expected, "over"])).await;
    }
}

#[tokio::test]
async fn the_handshake_key_is_new_for_every_connection() {
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, websocket()).unwrap();
    let script = async {
        let mut keys = Vec::new();
        for _ in 0..2 {
            let exchange = hub.accept().await;
            keys.push(
                exchange
                    .request
                    .header("sec-websocket-key")
                    .unwrap()
                    .to_owned(),
            );
        }
        assert_ne!(keys[0], keys[1]);
    };
    let client = async {
        next_line(&mut subscriber).await;
        next_line(&mut subscriber).await;
    };
    play(script, client).await;
}

#[tokio::test]
async fn a_refused_handshake_shows_the_problem_and_one_that_may_pass_later_is_tried_again() {
    let hub = Hub::bind().await;
    let mut subscriber = Subscriber::new(&hub.url, websocket()).unwrap();
    let script = async {
        hub.accept()
            .await
            .answer("503 Service Unavailable", "", r#"{"code":"draining"}"#)
            .await;
        let problem = r#"{"code":"origin_forbidden","detail":"not from here"}"#;
        hub.accept()
            .await
            .answer("403 Forbidden", "", problem)
            .await;
        hub.stays_alone().await;
    };
    let expected = [
        "lost: the hub answered 503 (draining)",
        "final: the hub answered 403 (origin_forbidden): not from here",
        "over",
    ];
    play(script, check(&mut subscriber, &expected)).await;
}
