//! What `tidegate publish` takes.

use std::path::PathBuf;

use clap::Args;

use super::address::TrustedHub;

pub(super) const EXAMPLES: &str = "\
Examples:
  tail -f /var/log/dpkg.log | tidegate publish logs
      Each line becomes an event the moment it is written.
  tidegate publish logs --file access.log
      Each line of a file.
  tidegate publish demo --data hello --event greeting
      One event, with an event type.

Order is kept. While the hub is away the event in hand is tried again with its idempotency key,
so it is stored once; reading the input waits meanwhile.";

#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// Topic to publish to, such as `logs` or `orders/42`.
    pub(crate) topic: String,

    /// Publish this as one event instead of reading standard input.
    #[arg(
        long,
        env = "TIDEGATE_DATA",
        value_name = "DATA",
        hide_env_values = true,
        conflicts_with = "file",
        allow_hyphen_values = true
    )]
    pub(crate) data: Option<String>,

    /// Publish each line of this file instead of reading standard input.
    #[arg(
        long,
        env = "TIDEGATE_FILE",
        value_name = "FILE",
        hide_env_values = true
    )]
    pub(crate) file: Option<PathBuf>,

    /// Event type, what EventSource calls the event's name.
    #[arg(
        long,
        env = "TIDEGATE_EVENT",
        value_name = "TYPE",
        hide_env_values = true
    )]
    pub(crate) event: Option<String>,

    #[command(flatten)]
    pub(crate) hub: TrustedHub,
}
