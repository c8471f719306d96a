//! A certificate that a hub makes for itself, for people who try TLS on their own machine.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use push_server::Tls;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use tempfile::NamedTempFile;

/// For how long it is valid. A hub makes a new one whenever it starts.
const VALID: Duration = Duration::from_secs(397 * 86_400);

/// Clocks differ.
const BEFORE: Duration = Duration::from_secs(86_400);

/// A certificate for loopback, in a file that is there until this is dropped. The key is in memory
/// only.
pub(crate) struct Certificate {
    file: NamedTempFile,
    fingerprint: String,
}

impl Certificate {
    /// Makes one for `localhost`, `127.0.0.1`, `::1` and `address`.
    pub(crate) fn make(address: IpAddr) -> anyhow::Result<(Self, Tls)> {
        let mut names = vec![
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
            "::1".to_owned(),
        ];
        let address = address.to_string();
        if !names.contains(&address) {
            names.push(address);
        }
        let now = SystemTime::now();
        let mut params = CertificateParams::new(names)?;
        params.not_before = (now - BEFORE).into();
        params.not_after = (now + VALID).into();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let name = &mut params.distinguished_name;
        *name = rcgen::DistinguishedName::new();
        name.push(DnType::CommonName, "tidegate, self-signed");
        let key = KeyPair::generate().context("cannot make a key")?;
        let certificate = params
            .self_signed(&key)
            .context("cannot make a certificate")?;
        let pem = certificate.pem();
        let tls = Tls::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes())?;
        let mut file = tempfile::Builder::new()
            .prefix("tidegate-")
            .suffix(".pem")
            .tempfile()
            .context("cannot write the certificate to the folder for temporary files")?;
        file.write_all(pem.as_bytes())
            .and_then(|()| file.flush())
            .context("cannot write the certificate")?;
        let fingerprint = fingerprint(certificate.der());
        Ok((Self { file, fingerprint }, tls))
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// As browsers and `openssl x509 -fingerprint -sha256` show it.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

fn fingerprint(der: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    let mut text = String::new();
    for (index, byte) in digest.as_ref().iter().enumerate() {
        let between = if index == 0 { "" } else { ":" };
        let _infallible = write!(text, "{between}{byte:02X}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_another_and_its_file_goes_with_it() {
        let (one, _) = Certificate::make(IpAddr::from([127, 0, 0, 9])).unwrap();
        let (other, _) = Certificate::make(IpAddr::from([127, 0, 0, 1])).unwrap();
        assert_ne!(one.fingerprint(), other.fingerprint());
        assert_eq!(one.fingerprint().len(), 32 * 3 - 1);
        let path = one.path().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("-----BEGIN CERTIFICATE-----"), "{text}");
        assert!(!text.contains("PRIVATE"), "{text}");
        drop(one);
        assert!(!path.exists());
    }
}
