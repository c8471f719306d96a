//! TLS: what a listener shows to its clients.

use std::fmt;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use tokio_rustls::rustls::{self, ServerConfig};

/// A certificate chain and its key, offered with HTTP/2 and HTTP/1.1. Clones share them.
///
/// Each connection costs about 10 KB on top of what it costs in plain text, and its events cannot be
/// shared in encrypted form.
#[derive(Clone)]
pub struct Tls {
    pub(super) acceptor: TlsAcceptor,
}

impl Tls {
    /// Reads a certificate chain, the server's own first, and a private key (PKCS #8, PKCS #1 or
    /// SEC 1), both in PEM.
    ///
    /// # Errors
    ///
    /// One of them is not there or cannot be read, or they do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(TlsError::Chain)?;
        if chain.is_empty() {
            return Err(TlsError::Chain(pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        // Both always: a browser asks for HTTP/1.1 alone when it opens a WebSocket.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// Why TLS cannot be offered. Whoever configured it is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate chain.
    #[error("the certificate chain is not valid PEM, or empty: {0}")]
    Chain(pem::Error),
    /// The private key.
    #[error("the private key is not valid PEM, or not there: {0}")]
    Key(pem::Error),
    /// The two do not fit, or cannot be used.
    #[error("the certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}
