//! HTTP/2: many streams on one connection, slow ones among them, and WebSocket.

use std::time::Duration;

use backpressure::{Lag, Policy};
use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{Method, Request};
use push_server::{Server, Tls};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use ws_proto::apply_mask;

use crate::support::*;

/// A client on one connection, which reads no more than `window` bytes ahead of what is asked for.
async fn connect<IO>(io: IO, window: u32) -> SendRequest<Bytes>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = h2::client::Builder::new();
    builder
        .initial_window_size(window)
        .initial_connection_window_size(16 << 20);
    let (client, connection) = builder.handshake::<_, Bytes>(io).await.unwrap();
    tokio::spawn(async move {
        let _ended = connection.await;
    });
    client
}

pub(crate) async fn plain(served: &Served, window: u32) -> SendRequest<Bytes> {
    connect(TcpStream::connect(served.address).await.unwrap(), window).await
}

/// An event stream, read up to `$ready`.
pub(crate) async fn subscribe(client: &SendRequest<Bytes>, query: &str) -> Events {
    let uri = format!("http://localhost/events?{query}");
    let request = Request::get(uri).body(()).unwrap();
    let (response, _) = client
        .clone()
        .ready()
        .await
        .unwrap()
        .send_request(request, true)
        .unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut events = Events {
        body: response.into_body(),
        received: String::new(),
    };
    events.until("$ready").await;
    events
}

pub(crate) struct Events {
    body: RecvStream,
    received: String,
}

impl Events {
    /// The next bytes, `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        let chunk = self.body.data().await?.unwrap();
        let released = self.body.flow_control().release_capacity(chunk.len());
        released.unwrap();
        Some(chunk)
    }

    async fn until(&mut self, text: &str) -> String {
        let found = timeout(PATIENCE, async {
            while !self.received.contains(text) {
                let chunk = self.body.data().await.expect("the stream goes on").unwrap();
                self.body
                    .flow_control()
                    .release_capacity(chunk.len())
                    .unwrap();
                self.received.push_str(str::from_utf8(&chunk).unwrap());
            }
        });
        found
            .await
            .unwrap_or_else(|_| panic!("no {text:?} in {:?}", self.received));
        std::mem::take(&mut self.received)
    }
}

fn numbers(received: &str) -> Vec<u32> {
    let lines = received
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    lines.filter_map(|text| text.parse().ok()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_streams_on_one_connection_get_every_event() {
    let served = Served::start(config(), true).await;
    let client = plain(&served, 1 << 20).await;
    let mut streams = Vec::new();
    for _ in 0..200 {
        streams.push(subscribe(&client, "topic=demo").await);
    }
    for n in 0..100 {
        served.publish("demo", &n.to_string()).await;
    }
    for mut stream in streams {
        let received = stream.until("data: 99\n").await;
        assert_eq!(numbers(&received), (0..100).collect::<Vec<_>>());
    }
    drop(client);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_tiny_events_to_a_stalled_client_do_not_end_its_connection() {
    let served = Served::start(config(), true).await;
    let client = plain(&served, 64 * 1024).await;
    let mut stalled = subscribe(&client, "topic=demo").await;
    for n in 0..1000 {
        served.publish("demo", &n.to_string()).await;
    }
    sleep(Duration::from_millis(300)).await;
    let received = stalled.until("data: 999\n").await;
    assert_eq!(numbers(&received), (0..1000).collect::<Vec<_>>());
    let mut other = subscribe(&client, "topic=other").await;
    served.publish("other", "still here").await;
    other.until("data: still here\n").await;
    drop(client);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_stream_delays_no_other_and_its_policy_acts() {
    let mut config = config();
    let max = Lag {
        events: 50,
        bytes: u64::MAX,
    };
    config.offer([Policy::drop_oldest().with_max(max)]);
    let served = Served::start(config, true).await;
    let client = plain(&served, 16 * 1024).await;
    let mut stalled = subscribe(&client, "topic=demo&policy=drop-oldest").await;
    let mut reading = subscribe(&client, "topic=demo").await;
    let padding = "x".repeat(1000);
    for n in 0..1000 {
        served.publish("demo", &format!("{n}\n{padding}")).await;
        reading.until(&format!("data: {n}\n")).await;
    }
    let received = stalled.until("data: 999\n").await;
    let (before, after) = received.split_once("event: $gap\n").expect("a gap is told");
    let (before, after) = (numbers(before), numbers(after));
    assert!(
        before.iter().copied().eq(0..before.len() as u32),
        "{before:?}"
    );
    // What the window and the server's own buffers held, and what the policy keeps.
    assert!(before.len() < 150, "{} were on their way", before.len());
    assert_eq!(after, (1000 - after.len() as u32..1000).collect::<Vec<_>>());
    assert!(after.len() <= 50, "{}", after.len());
    let skipped = format!("\"skipped\":{}", 1000 - before.len() - after.len());
    assert!(received.contains(&skipped), "{skipped}: {received}");
    drop(client);
    served.stop().await;
}

/// Text frames over one stream.
struct WebSocket {
    out: SendStream<Bytes>,
    events: RecvStream,
    received: Vec<u8>,
}

impl WebSocket {
    async fn open(client: &SendRequest<Bytes>) -> Self {
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri("http://localhost/ws")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-protocol", "tidegate.v1+json")
            .body(())
            .unwrap();
        request
            .extensions_mut()
            .insert(Protocol::from_static("websocket"));
        let mut client = client.clone().ready().await.unwrap();
        let (response, out) = client.send_request(request, false).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(
            response.headers()["sec-websocket-protocol"],
            "tidegate.v1+json"
        );
        assert!(!response.headers().contains_key("sec-websocket-accept"));
        Self {
            out,
            events: response.into_body(),
            received: Vec::new(),
        }
    }

    fn send(&mut self, text: &str) {
        let mut frame = vec![0x81, 0xfe];
        frame.extend_from_slice(&(text.len() as u16).to_be_bytes());
        let key = [1, 2, 3, 4];
        frame.extend_from_slice(&key);
        assert!(text.len() > 125, "the short form would be due");
        let mut payload = text.as_bytes().to_vec();
        apply_mask(&mut payload, key, 0);
        frame.extend_from_slice(&payload);
        self.out.send_data(frame.into(), false).unwrap();
    }

    async fn until(&mut self, text: &str) {
        let found = timeout(PATIENCE, async {
            while !String::from_utf8_lossy(&self.received).contains(text) {
                let chunk = self.events.data().await.expect("it goes on").unwrap();
                self.events
                    .flow_control()
                    .release_capacity(chunk.len())
                    .unwrap();
                self.received.extend_from_slice(&chunk);
            }
        });
        let found = found.await;
        let all = String::from_utf8_lossy(&self.received);
        assert!(found.is_ok(), "no {text:?} in {all:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn websocket_over_http_2_if_it_is_offered() {
    let served = Served::start_with(config(), |server| server.extended_connect(true)).await;
    let client = plain(&served, 1 << 20).await;
    let mut plain_stream = subscribe(&client, "topic=demo").await;
    assert!(client.is_extended_connect_protocol_enabled());
    let mut socket = WebSocket::open(&client).await;
    let pad = " ".repeat(126);
    socket.send(&format!(r#"{{"type":"resume","topics":["demo"]}}{pad}"#));
    socket.until(r#""type":"ready""#).await;
    socket.send(&format!(
        r#"{{"type":"publish","ref":"1","topic":"demo","data":"over h2"}}{pad}"#
    ));
    socket.until(r#""type":"published""#).await;
    socket.until(r#""data":"over h2""#).await;
    plain_stream.until("data: over h2\n").await;
    drop((client, socket, plain_stream));
    served.stop().await;

    let served = Served::start(config(), true).await;
    let client = plain(&served, 1 << 20).await;
    subscribe(&client, "topic=demo").await;
    assert!(!client.is_extended_connect_protocol_enabled());
    drop(client);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_offers_both_protocols() {
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let tls = Tls::from_pem(
        made.cert.pem().as_bytes(),
        made.signing_key.serialize_pem().as_bytes(),
    )
    .unwrap();
    let served = Served::start_with(config(), |server: Server| server.tls(tls)).await;
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(made.cert.der().to_vec()))
        .unwrap();
    for protocol in ["h2", "http/1.1"] {
        let mut config = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let socket = TcpStream::connect(served.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(std::sync::Arc::new(config));
        let mut stream = connector.connect(name, socket).await.unwrap();
        assert_eq!(
            stream.get_ref().1.alpn_protocol(),
            Some(protocol.as_bytes())
        );
        if protocol == "h2" {
            let client = connect(stream, 1 << 20).await;
            let mut events = subscribe(&client, "topic=demo").await;
            served.publish("demo", "encrypted").await;
            events.until("data: encrypted\n").await;
        } else {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let get = "GET /events?topic=demo HTTP/1.1\r\nhost: localhost\r\n\r\n";
            stream.write_all(get.as_bytes()).await.unwrap();
            let mut received = Vec::new();
            while !String::from_utf8_lossy(&received).contains("$ready") {
                let read = timeout(PATIENCE, stream.read_buf(&mut received))
                    .await
                    .unwrap();
                assert_ne!(read.unwrap(), 0);
            }
        }
    }
    for (chain, key) in [("", ""), ("x", "y"), (&*made.cert.pem(), "")] {
        assert!(Tls::from_pem(chain.as_bytes(), key.as_bytes()).is_err());
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preface_that_comes_in_pieces_is_one() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let served = Served::start(config(), true).await;
    let mut socket = TcpStream::connect(served.address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    // And an empty SETTINGS frame, RFC 9113 sections 3.4 and 6.5.
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" {
        socket.write_all(&[*byte]).await.unwrap();
        sleep(Duration::from_millis(5)).await;
    }
    let mut head = [0; 9];
    timeout(PATIENCE, socket.read_exact(&mut head))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(head[3], 4, "SETTINGS come first");
    drop(socket);
    served.stop().await;
}
