//! Where a hub listens and where it is.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct HubUrl {
    /// The hub's address.
    #[arg(
        long,
        env = "TIDEGATE_URL",
        value_name = "URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8080"
    )]
    pub(crate) url: String,
}

/// A hub, and who may vouch for it.
#[derive(Debug, Args)]
pub(crate) struct TrustedHub {
    #[command(flatten)]
    at: HubUrl,

    /// For https:// and wss://: a file with the certificates to trust, in PEM, instead of those of
    /// the system.
    #[arg(long, env = "TIDEGATE_CA", value_name = "FILE", hide_env_values = true)]
    pub(crate) ca: Option<PathBuf>,
}

impl TrustedHub {
    pub(crate) fn url(&self) -> &str {
        &self.at.url
    }
}

/// Where operators ask, if anywhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AdminChoice {
    Off,
    At(SocketAddr),
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    // Everybody types `localhost`; looking the name up could answer any address, so it is read
    // as the one that it must mean.
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric
        .parse()
        .map_err(|_| "want an IP address and a port, such as 127.0.0.1:8080".to_owned())
}

pub(super) fn admin(text: &str) -> Result<AdminChoice, String> {
    match text {
        "off" => Ok(AdminChoice::Off),
        _ => address(text)
            .map(AdminChoice::At)
            .map_err(|wanted| format!("{wanted}, or `off`")),
    }
}
