//! Hubs that speak TLS, with certificates that are trusted or not.

use core::time::Duration;
use std::sync::Arc;

use push_client::{
    ConfigError, Message, PublishOptions, Publisher, Roots, SubscribeOptions, Subscriber, Transport,
};
use rcgen::{CertificateParams, CertifiedKey, DnType, KeyPair, date_time_ymd};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::server::TlsStream;

use crate::hub::STREAM_HEAD;
use crate::{block, event_line, events_until, next_line, options, play};

/// A certificate that vouches for itself.
fn certificate(name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertifiedKey<KeyPair> {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    change(&mut params);
    let signing_key = KeyPair::generate().unwrap();
    let cert = params.self_signed(&signing_key).unwrap();
    CertifiedKey { cert, signing_key }
}

/// Another, which names another issuer.
fn stranger() -> CertifiedKey<KeyPair> {
    certificate("localhost", |params| {
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "somebody else");
    })
}

fn roots(certified: &CertifiedKey<KeyPair>) -> Roots {
    Roots::from_pem(certified.cert.pem().as_bytes()).unwrap()
}

struct Hub {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    port: u16,
}

impl Hub {
    async fn bind(certified: &CertifiedKey<KeyPair>) -> Self {
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self {
            listener,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            port,
        }
    }

    /// The next connection, behind the head of its request. `None` if the client does not like it.
    async fn accept(&self) -> Option<TlsStream<TcpStream>> {
        let (socket, _) = self.listener.accept().await.unwrap();
        let mut stream = self.acceptor.accept(socket).await.ok()?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        Some(stream)
    }
}

#[tokio::test]
async fn events_come_over_tls_from_a_hub_whose_certificate_is_trusted() {
    let certified = certificate("localhost", |_| {});
    let hub = Hub::bind(&certified).await;
    let mut options = options("a");
    options.roots(roots(&certified));
    let url = format!("https://localhost:{}", hub.port);
    let mut subscriber = Subscriber::new(&url, options).unwrap();
    let serving = async {
        let mut stream = hub.accept().await.unwrap();
        for part in [STREAM_HEAD, &block(1), &block(2)] {
            stream.write_all(part.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
        }
        // It stays open until the client goes.
        let _gone = stream.read_u8().await;
    };
    let receiving = async {
        let lines = events_until(&mut subscriber, 2).await;
        drop(subscriber);
        lines
    };
    let lines = play(serving, receiving).await;
    assert_eq!(lines, [event_line(1), event_line(2)]);
}

/// What the subscriber says of a hub with this certificate, at this name, over both transports.
async fn said(host: &str, certified: &CertifiedKey<KeyPair>, roots: &Roots) -> String {
    let mut lines = Vec::new();
    for transport in [Transport::Sse, Transport::WebSocket] {
        let hub = Hub::bind(certified).await;
        let mut options = options("a");
        options.roots(roots.clone()).transport(transport);
        let url = format!("https://{host}:{}", hub.port);
        let mut subscriber = Subscriber::new(&url, options).unwrap();
        let serving = async {
            assert!(hub.accept().await.is_none(), "the client took it");
        };
        let line = play(serving, next_line(&mut subscriber)).await;
        // It tells the time, too, which goes on.
        let line = line.split(": verification time").next().unwrap_or_default();
        lines.push(line.replace(&hub.port.to_string(), "PORT"));
    }
    lines.dedup();
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_ends_a_subscription_and_one_of_the_wrong_time_delays_it()
{
    let good = certificate("localhost", |_| {});
    let line = said("localhost", &good, &roots(&stranger())).await;
    assert_eq!(
        line,
        "final: the certificate of localhost:PORT is refused: UnknownIssuer"
    );
    let line = said("127.0.0.1", &good, &roots(&good)).await;
    assert!(line.starts_with("final: "), "{line}");
    assert!(line.contains("not valid for name \"127.0.0.1\""), "{line}");
    for (from, to) in [(2001, 2002), (3001, 3002)] {
        let other_time = certificate("localhost", |params| {
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(to, 1, 1);
        });
        let line = said("localhost", &other_time, &roots(&other_time)).await;
        assert!(line.starts_with("lost: "), "{line}");
        assert!(line.contains("certificate"), "{line}");
    }
}

#[tokio::test]
async fn a_publisher_says_at_once_that_a_certificate_is_refused() {
    let good = certificate("localhost", |_| {});
    let hub = Hub::bind(&good).await;
    let mut options = PublishOptions::default();
    options
        .roots(roots(&stranger()))
        .deadline(Duration::from_secs(3600));
    let url = format!("https://localhost:{}", hub.port);
    let publisher = Publisher::with_options(&url, options).unwrap();
    let publishing = publisher.publish("a", Message::new("x"));
    let serving = async {
        assert!(hub.accept().await.is_none(), "the client took it");
    };
    let error = play(serving, publishing).await.unwrap_err();
    assert!(error.is_final(), "{error}");
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
}

#[tokio::test]
async fn a_hub_that_speaks_no_tls_is_tried_again() {
    let certified = certificate("localhost", |_| {});
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = options("a");
    options.roots(roots(&certified));
    let url = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let mut subscriber = Subscriber::new(&url, options).unwrap();
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        // Until the client goes, so that its answer is not lost to a reset.
        while stream.read_u8().await.is_ok() {}
    };
    let line = play(serving, next_line(&mut subscriber)).await;
    assert!(line.starts_with("lost: "), "{line}");
    assert!(line.contains("cannot connect to localhost:"), "{line}");
}

#[test]
fn certificates_that_cannot_be_read_are_refused_before_anything_is_sent() {
    let not_one = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    for (pem, expected) in [
        ("", "there is no certificate in PEM"),
        ("nonsense", "there is no certificate in PEM"),
        (not_one, "BadEncoding"),
        (cut, "section end"),
    ] {
        let error = Roots::from_pem(pem.as_bytes()).unwrap_err();
        assert!(matches!(error, ConfigError::Roots { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(expected), "{pem:?}: {text}");
    }
}

/// Debian has a bundle; where a system has none, that is what is said.
#[test]
fn without_roots_of_its_own_a_client_takes_those_of_the_system() {
    let made = Subscriber::new("https://example.org", SubscribeOptions::new(["a"])).map(drop);
    match Roots::system() {
        Ok(_) => assert_eq!(made, Ok(())),
        Err(error) => assert_eq!(made, Err(error)),
    }
}
