//! What `tidegate serve` takes.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::address::{AdminChoice, address, admin};
use super::hub::HubOptions;
use crate::store::StoreChoice;

pub(super) const EXAMPLES: &str = "\
Examples:
  tidegate serve
      A hub on http://127.0.0.1:8080 that keeps events in ./tidegate-data/events.db.
  tidegate serve --store memory --retain-age 1h
      Keeps nothing over a restart, and an event for an hour.
  tidegate serve --retain chat/**=events:1000,age:7d --retain-events 100
      Topics below chat keep 1,000 events for 7 days, others 100.
  tidegate serve --admin off
      Without /metrics, /status, /livez and /readyz on http://127.0.0.1:9090.
  tidegate serve --listen 0.0.0.0:8080 --open
      Reachable from other machines. Whoever reaches it may read, publish and purge everything.

This version has no access rules. Without --open the hub listens on loopback only and refuses
requests that a website of another origin made; with it, only those of other origins.
SIGTERM and Ctrl-C end it in order: subscribers are told when to come back.";

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address and port to listen on: loopback, unless --open is given. Port 0 picks a free one
    /// and prints it.
    #[arg(long, env = "TIDEGATE_LISTEN", value_name = "ADDR", hide_env_values = true,
          default_value = "127.0.0.1:8080", value_parser = address)]
    pub(crate) listen: SocketAddr,

    /// Let everybody who can reach the hub read, publish and purge everything, at any address and
    /// under any host name. Needed for another address than loopback, and behind a proxy.
    #[arg(long, env = "TIDEGATE_OPEN", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub(crate) open: bool,

    /// Where events are kept: `sqlite:PATH` for a file, `memory`, which a restart empties,
    /// `redis://HOST` for a Redis that several hubs share, or `nats://HOST/STREAM` for a JetStream
    /// stream that they share (experimental).
    #[arg(
        long,
        env = "TIDEGATE_STORE",
        value_name = "STORE",
        hide_env_values = true,
        default_value = "sqlite:tidegate-data/events.db"
    )]
    pub(crate) store: StoreChoice,

    /// Address of the admin listener (/metrics, /status, /livez, /readyz), or `off`. Whoever reaches
    /// it learns what topics there are.
    #[arg(long, env = "TIDEGATE_ADMIN", value_name = "ADDR", hide_env_values = true,
          default_value = "127.0.0.1:9090", value_parser = admin)]
    pub(crate) admin: AdminChoice,

    /// How many connections may be open at a time: by default as many as the process may have
    /// descriptors for. Who comes then waits until another leaves. An idle one takes 2 to 20 KB, by its
    /// protocol.
    #[arg(long, env = "TIDEGATE_MAX_CONNECTIONS", value_name = "COUNT", hide_env_values = true,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: Option<u32>,

    /// Seconds over which connections are told to go when the hub ends, so that they do not come
    /// back all at once. The hub ends sooner if all have gone.
    #[arg(
        long,
        env = "TIDEGATE_DRAIN",
        value_name = "SECONDS",
        hide_env_values = true,
        default_value_t = 30
    )]
    pub(crate) drain: u32,

    /// Speak TLS with a certificate of its own that is made at the start, on loopback only; its file is
    /// printed. For clients elsewhere give --tls-cert and --tls-key.
    #[arg(long, env = "TIDEGATE_TLS", hide_env_values = true, value_parser = BoolishValueParser::new(),
          conflicts_with = "tls_cert")]
    pub(crate) tls: bool,

    /// Certificate chain in PEM, the hub's own certificate first. With it and --tls-key the hub
    /// speaks TLS, with HTTP/2 and HTTP/1.1. About 10 KB more for each connection.
    #[arg(
        long,
        env = "TIDEGATE_TLS_CERT",
        value_name = "FILE",
        hide_env_values = true,
        requires = "tls_key"
    )]
    pub(crate) tls_cert: Option<PathBuf>,

    /// Private key of the certificate, in PEM.
    #[arg(
        long,
        env = "TIDEGATE_TLS_KEY",
        value_name = "FILE",
        hide_env_values = true,
        requires = "tls_cert"
    )]
    pub(crate) tls_key: Option<PathBuf>,

    /// Offer WebSocket over HTTP/2 (RFC 8441): about 6 KB for each WebSocket instead of a connection.
    #[arg(long, env = "TIDEGATE_WS_OVER_H2", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub(crate) ws_over_h2: bool,

    #[command(flatten)]
    pub(crate) options: HubOptions,
}
