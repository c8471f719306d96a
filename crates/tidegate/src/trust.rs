//! Whom the commands that speak to a hub trust when it speaks TLS.

use std::path::Path;

use anyhow::{Context, anyhow};
use push_client::{ClientError, Roots};

/// The certificates in the file that `--ca` names, if it was given; else those of the system hold.
pub(crate) fn roots(ca: Option<&Path>) -> anyhow::Result<Option<Roots>> {
    let Some(path) = ca else {
        return Ok(None);
    };
    let named = || format!("--ca {}", path.display());
    let pem = std::fs::read(path).with_context(named)?;
    Roots::from_pem(&pem).map(Some).with_context(named)
}

/// What a client could not do, and what to do about it.
pub(crate) fn advise(error: ClientError) -> anyhow::Error {
    match error {
        ClientError::Certificate { .. } => {
            anyhow!("{error}; --ca FILE names the certificates to trust")
        }
        error => error.into(),
    }
}
