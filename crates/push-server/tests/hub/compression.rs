//! permessage-deflate: what is agreed on, what arrives compressed, what is sent compressed.

use http::Request;
use push_server::{Compression, HubConfig};
use serde_json::json;
use ws_proto::OpCode;
use ws_proto::handshake::DeflateParams;

use crate::support::*;

const MODES: [Compression; 3] = [
    Compression::Off,
    Compression::Messages,
    Compression::Context,
];

fn configured_for(compression: Compression) -> HubConfig {
    configured(|config| {
        config.compression(compression);
    })
}

/// What a hub agrees to when it is offered `permessage-deflate` with these parameters.
async fn answer(compression: Compression, offer: &str) -> Option<String> {
    let hub = hub_with(configured_for(compression), store(EPOCH, 10)).await;
    let mut request = Request::get("/ws")
        .header("host", "localhost")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    if !offer.is_empty() {
        request = request.header("sec-websocket-extensions", offer);
    }
    let response = send(&hub, request.body("").unwrap()).await;
    assert_eq!(response.status(), 101);
    let field = response.headers().get("sec-websocket-extensions");
    field.map(|field| field.to_str().unwrap().to_owned())
}

/// The same as parameters, for a client that offers whatever is asked.
async fn agreed(compression: Compression) -> DeflateParams {
    let client = DeflateParams::default();
    let offer = String::from_utf8(client.offer().to_vec()).unwrap();
    let field = answer(compression, &offer).await.unwrap();
    let fields = [("sec-websocket-extensions", field.as_bytes())];
    client.verify(fields.into_iter()).unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_offer_is_answered_as_configured() {
    const BROWSER: &str = "permessage-deflate; client_max_window_bits";
    const ALONE: &str =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    const CONTEXT: &str = "permessage-deflate; server_no_context_takeover";
    for (offer, expected) in [
        ("", [None; 3]),
        ("x-webkit-deflate-frame", [None; 3]),
        (BROWSER, [None, Some(ALONE), Some(CONTEXT)]),
        ("permessage-deflate", [None, Some(ALONE), Some(CONTEXT)]),
        ("permessage-deflate; unknown", [None; 3]),
        (
            "permessage-deflate; client_no_context_takeover",
            [None, Some(ALONE), Some(ALONE)],
        ),
    ] {
        for (mode, expected) in MODES.into_iter().zip(expected) {
            assert_eq!(
                answer(mode, offer).await.as_deref(),
                expected,
                "{mode:?}: {offer}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn compressed_publishes_are_stored_as_what_they_inflate_to_and_go_out_as_they_are() {
    for mode in [Compression::Messages, Compression::Context] {
        let hub = hub_with(configured_for(mode), store(EPOCH, 10)).await;
        let mut socket = Socket::open_compressed(&hub, agreed(mode).await);
        let mut plain = Socket::resume(&hub, &["demo"], Some("latest")).await;
        socket
            .send(json!({"type": "resume", "topics": ["demo"]}))
            .await;
        for socket in [&mut plain, &mut socket] {
            assert_eq!(socket.next().await["type"], "subscribed");
            assert_eq!(socket.next().await["type"], "ready");
        }
        let data = "a long text that repeats itself, ".repeat(100);
        for n in 1..=3 {
            let data = format!("{n} {data}");
            socket
                .send(json!({"type": "publish", "ref": "r", "topic": "demo", "data": data}))
                .await;
            let answers = [socket.next().await, socket.next().await];
            let mut kinds = answers.each_ref().map(|answer| answer["type"].as_str());
            kinds.sort_unstable();
            assert_eq!(kinds, [Some("event"), Some("published")]);
            assert_eq!(plain.next().await["data"], data);
        }
        assert_eq!(socket.compressed, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_answer_to_one_client_is_compressed_if_that_was_agreed_on() {
    for compressed in [false, true] {
        let hub = hub().await;
        let mut socket = match compressed {
            true => Socket::open_compressed(&hub, agreed(Compression::Messages).await),
            false => Socket::open(&hub),
        };
        socket
            .send(json!({"type": "resume", "topics": ["demo"]}))
            .await;
        assert_eq!(socket.next().await["type"], "subscribed");
        assert_eq!(socket.next().await["type"], "ready");
        let topics = (0..20).map(|n| format!("topic/{n}/{}", "x".repeat(100)));
        let topics = topics.collect::<Vec<_>>();
        for _ in 0..2 {
            socket
                .send(json!({"type": "subscribe", "topics": topics}))
                .await;
            let answer = socket.next().await;
            assert_eq!(answer["type"], "subscribed");
            assert_eq!(answer["topics"].as_array().unwrap().len(), 21);
        }
        assert_eq!(socket.compressed, if compressed { 2 } else { 0 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_inflates_beyond_the_limit_is_refused() {
    let config = configured(|config| {
        config.max_message_bytes(10_000);
    });
    let hub = hub_with(config, store(EPOCH, 10)).await;
    let mut socket = Socket::open_compressed(&hub, agreed(Compression::Messages).await);
    let publish = |length: usize| {
        let data = " ".repeat(length);
        json!({"type": "publish", "ref": "r", "topic": "demo", "data": data})
    };
    socket.send(publish(9_000)).await;
    assert_eq!(socket.next().await["type"], "published");
    socket.send(publish(10_000)).await;
    assert!(socket.next().await.is_null());
    assert_eq!(socket.closed.as_ref().unwrap().0, 1009);
}

#[tokio::test(start_paused = true)]
async fn a_compressed_message_that_was_not_agreed_on_is_refused() {
    let hub = hub().await;
    let mut socket = Socket::open(&hub);
    socket.send_raw(&[0xc1, 0x80, 0, 0, 0, 0]).await;
    assert!(socket.next().await.is_null());
    assert_eq!(socket.closed.as_ref().unwrap().0, 1002);
}

#[tokio::test(start_paused = true)]
async fn no_answer_follows_the_close_frame() {
    let hub = hub().await;
    let mut socket = Socket::open(&hub);
    socket
        .send(json!({"type": "publish", "ref": "r", "topic": "demo", "data": "x"}))
        .await;
    // Refused while the publish waits for the store; then the peer's own Close.
    socket.send_raw(&[0x82, 0x80, 0, 0, 0, 0]).await;
    socket.send_raw(&[0x88, 0x80, 0, 0, 0, 0]).await;
    assert_eq!(socket.opcodes().await, [OpCode::Close]);
}
