//! TLS: who may vouch for a hub, and a socket that may be encrypted.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore};

use crate::error::{ClientError, ConfigError, ConnectionError};
use crate::signal::Failure;

/// The certificates of which one must have signed a hub's, or be the hub's own, at addresses that
/// begin with `https://` or `wss://`. Clones share them.
///
/// ```no_run
/// use push_client::{Roots, SubscribeOptions, Subscriber};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut options = SubscribeOptions::new(["orders"]);
/// options.roots(Roots::from_pem(&std::fs::read("our-ca.pem")?)?);
/// let subscriber = Subscriber::new("https://hub.internal", options)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Roots(Arc<RootCertStore>);

impl Roots {
    /// What the operating system trusts, or the file that the environment variable `SSL_CERT_FILE`
    /// names. It is read from the disk each time. This is what holds where nothing else is said.
    ///
    /// # Errors
    /// [`ConfigError::Roots`] if none is found.
    pub fn system() -> Result<Self, ConfigError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // Systems have a few that are not as the standard says; they vouch for nobody.
        let (added, _ignored) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
            return Err(ConfigError::Roots {
                detail: format!("the system has none ({})", errors.join("; ")),
            });
        }
        Ok(Self(Arc::new(roots)))
    }

    /// Those in `pem`, and no others: the certificate that a hub made for itself, or that of an
    /// authority of one's own.
    ///
    /// # Errors
    /// [`ConfigError::Roots`] if there is none, or one of them cannot be read.
    pub fn from_pem(pem: &[u8]) -> Result<Self, ConfigError> {
        let unreadable = |error: &dyn fmt::Display| ConfigError::Roots {
            detail: error.to_string(),
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| unreadable(&error))?;
            roots.add(certificate).map_err(|error| unreadable(&error))?;
        }
        if roots.is_empty() {
            return Err(unreadable(&"there is no certificate in PEM"));
        }
        Ok(Self(Arc::new(roots)))
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Roots").field(&self.0.len()).finish()
    }
}

/// What makes a connection an encrypted one.
#[derive(Clone)]
pub(crate) struct Tls {
    connector: TlsConnector,
    host: ServerName<'static>,
}

impl Tls {
    /// For the hub at `host`, whose certificate must be for that name or address.
    pub(crate) fn new(host: &str, roots: Option<&Roots>) -> Result<Self, ConfigError> {
        let unusable = |error: &dyn fmt::Display| ConfigError::Tls {
            detail: error.to_string(),
        };
        let roots = roots.map_or_else(Roots::system, |roots| Ok(roots.clone()))?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .with_root_certificates(roots.0)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let host = ServerName::try_from(host.to_owned()).map_err(|error| unusable(&error))?;
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            host,
        })
    }

    /// Shakes hands over `socket`, which is connected to `address`.
    pub(crate) async fn connect(
        &self,
        socket: TcpStream,
        address: impl Fn() -> String,
    ) -> Result<Socket, Failure> {
        let connecting = self.connector.connect(self.host.clone(), socket);
        connecting
            .await
            .map(|stream| Socket::Tls(Box::new(stream)))
            .map_err(|source| match refused_certificate(&source) {
                Some(reason) => Failure::Stop(ClientError::Certificate {
                    address: address(),
                    reason: reason.to_string(),
                }),
                None => Failure::from(ConnectionError::Connect {
                    address: address(),
                    source,
                }),
            })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

/// What is wrong with the certificate for good, if that is the error. One that is too old or too
/// young is about to be replaced, or a clock to be set.
fn refused_certificate(error: &io::Error) -> Option<&CertificateError> {
    use CertificateError as Wrong;
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::InvalidCertificate(
            Wrong::Expired
            | Wrong::ExpiredContext { .. }
            | Wrong::NotValidYet
            | Wrong::NotValidYetContext { .. },
        ) => None,
        rustls::Error::InvalidCertificate(reason) => Some(reason),
        _ => None,
    }
}

/// A connection to a hub.
pub(crate) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
