//! A socket that does not block, plain or in TLS.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use mio::net::TcpStream;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// How a place wants TLS to be spoken.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

impl Tls {
    /// TLS to `host`, whose certificate one in the file `ca` must vouch for, speaking `protocol`.
    ///
    /// # Errors
    ///
    /// When the file has no certificates, or the host is no name.
    pub(crate) fn new(ca: &Path, host: &str, protocol: &str) -> anyhow::Result<Self> {
        let shown = ca.display();
        let mut roots = RootCertStore::empty();
        let read = || format!("reading certificates from {shown}");
        for certificate in CertificateDer::pem_file_iter(ca).with_context(read)? {
            roots.add(certificate.with_context(read)?)?;
        }
        if roots.is_empty() {
            bail!("{shown} has no certificate in PEM; --ca wants those to trust");
        }
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let name = ServerName::try_from(host.to_owned())
            .with_context(|| format!("`{host}` is no name that a certificate can have"))?;
        Ok(Self {
            config: Arc::new(config),
            name,
        })
    }
}

#[derive(Debug)]
pub(crate) enum Io {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Io {
    /// Begins to connect; the poll says when that is done.
    pub(crate) fn connect(address: SocketAddr, tls: Option<&Tls>) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let Some(tls) = tls else {
            return Ok(Self::Plain(stream));
        };
        let session = ClientConnection::new(Arc::clone(&tls.config), tls.name.clone())
            .map_err(io::Error::other)?;
        Ok(Self::Tls(Box::new(StreamOwned::new(session, stream))))
    }

    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &mut stream.sock,
        }
    }

    /// Reads once, and whether there may be more at once.
    pub(crate) fn read(&mut self, bytes: &mut [u8]) -> io::Result<(usize, bool)> {
        let result = match self {
            // Less than was asked for means that there is no more.
            Self::Plain(stream) => stream.read(bytes).map(|read| (read, read == bytes.len())),
            Self::Tls(stream) => stream.read(bytes).map(|read| (read, true)),
        };
        result.map_err(explained)
    }

    /// Writes what the socket takes of `out`.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        while !out.is_empty() {
            let written = match self {
                Self::Plain(stream) => stream.write(out),
                Self::Tls(stream) => stream.write(out),
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) if written == out.len() => out.clear(),
                Ok(written) => drop(out.drain(..written)),
                Err(error) if waits(&error) => return Ok(()),
                Err(error) => return Err(explained(error)),
            }
        }
        // What TLS has taken need not be with the socket yet.
        match self {
            Self::Tls(stream) => match stream.flush() {
                Err(error) if !waits(&error) => Err(explained(error)),
                _ => Ok(()),
            },
            Self::Plain(_) => Ok(()),
        }
    }
}

/// Whether the socket is merely not ready.
pub(crate) fn waits(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::NotConnected
    )
}

fn explained(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::InvalidCertificate(_)) => {
            let text = format!("{error}; --ca names the certificates to trust");
            io::Error::new(error.kind(), text)
        }
        Some(rustls::Error::NoApplicationProtocol) => io::Error::new(
            error.kind(),
            "the server does not offer this version of HTTP; with or without --http2?",
        ),
        _ => error,
    }
}
