//! What `tidegate purge` takes.

use clap::Args;

use super::address::TrustedHub;

pub(super) const EXAMPLES: &str = "\
Examples:
  tidegate purge sessions/42
      Removes what the hub has of one topic.
  tidegate purge chat/** drafts/*
      Removes what it has of every topic below chat, and of drafts.

What is published later stays. Subscribers that have not received what was removed are told of a
gap.";

#[derive(Debug, Args)]
pub(crate) struct Purge {
    /// Topics, or patterns with `*` for one segment and `**` for any number of them.
    #[arg(required = true, value_name = "PATTERN")]
    pub(crate) patterns: Vec<String>,

    #[command(flatten)]
    pub(crate) hub: TrustedHub,
}
