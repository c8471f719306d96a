//! What `tidegate dev` takes.

use std::net::SocketAddr;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::address::{AdminChoice, address, admin};
use super::hub::HubOptions;
use crate::store::StoreChoice;

pub(super) const EXAMPLES: &str = "\
Examples:
  tidegate dev
      A hub on http://127.0.0.1:8080 that keeps events in memory.
  tidegate dev --listen 127.0.0.1:0
      The same on a port that is free; the first line printed says which.
  tidegate dev --tls --admin 127.0.0.1:9090
      Over TLS and HTTP/2, with a page of what the hub does at http://127.0.0.1:9090/status.
  tidegate dev --store sqlite:events.db
      Keeps events in a file: subscribers resume across a restart with nothing lost.

The hub asks nobody who they are, so it listens on loopback only and refuses requests that a
website of another origin made. Ctrl-C ends it.";

#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Loopback address and port to listen on; port 0 picks a free one and prints it.
    #[arg(long, env = "TIDEGATE_LISTEN", value_name = "ADDR", hide_env_values = true,
          default_value = "127.0.0.1:8080", value_parser = loopback)]
    pub(crate) listen: SocketAddr,

    /// Where events are kept: `memory`, or `sqlite:PATH` for a file that survives a restart.
    #[arg(
        long,
        env = "TIDEGATE_STORE",
        value_name = "STORE",
        hide_env_values = true,
        default_value = "memory"
    )]
    pub(crate) store: StoreChoice,

    /// Address of the admin listener (/metrics, /status, /livez, /readyz), or `off`.
    #[arg(long, env = "TIDEGATE_ADMIN", value_name = "ADDR", hide_env_values = true,
          default_value = "off", value_parser = admin)]
    pub(crate) admin: AdminChoice,

    /// Speak TLS, with HTTP/2 and HTTP/1.1, with a certificate of its own that is made at the start;
    /// its file is printed.
    #[arg(long, env = "TIDEGATE_TLS", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub(crate) tls: bool,

    #[command(flatten)]
    pub(crate) options: HubOptions,
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address = address(text)?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(format!(
            "`dev` asks nobody who they are, so it listens on loopback only; \
             use 127.0.0.1:{0} or [::1]:{0}",
            address.port()
        ))
    }
}
