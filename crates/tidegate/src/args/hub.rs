//! What every hub can be told.

use clap::{Args, ValueEnum};
use push_server::Compression;

use crate::retain::Retain;

/// What every hub can be told.
#[derive(Debug, Args)]
pub(crate) struct HubOptions {
    /// How WebSocket clients that offer it may compress what they send. Events go out uncompressed.
    #[arg(
        long,
        env = "TIDEGATE_COMPRESSION",
        value_name = "HOW",
        hide_env_values = true,
        default_value = "messages"
    )]
    pub(crate) compression: CompressionChoice,

    #[command(flatten)]
    pub(crate) retain: Retain,
}

/// What `--compression` can be.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum CompressionChoice {
    /// Not at all.
    Off,
    /// Each message by itself; costs 47 KiB while one arrives.
    Messages,
    /// Each message with those before; costs 47 KiB for each connection that does.
    Context,
}

impl From<CompressionChoice> for Compression {
    fn from(choice: CompressionChoice) -> Self {
        match choice {
            CompressionChoice::Off => Self::Off,
            CompressionChoice::Messages => Self::Messages,
            CompressionChoice::Context => Self::Context,
        }
    }
}
