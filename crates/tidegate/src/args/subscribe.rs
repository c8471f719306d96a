//! What `tidegate subscribe` takes.

use clap::Args;
use clap::builder::BoolishValueParser;

use super::address::TrustedHub;

pub(super) const EXAMPLES: &str = "\
Examples:
  tidegate subscribe logs
      What is published from now on, one line of output for each event.
  tidegate subscribe logs --after earliest
      What the hub still has, then what is published.
  tidegate subscribe logs alerts --ws --json | jq .data
      Two topics over WebSocket, a JSON object for each event, gap and ready.
  tidegate subscribe logs --count 10
      Ends after ten events.
  tidegate subscribe 'orders/*/status' 'alerts/**'
      Topics with a wildcard: * is one segment, ** any number of them.

Once all topics have ended, which those of a pattern never have, so does the subscription; over
WebSocket it stays.

When the connection is lost it is made again and goes on after the last event received. What
could not be had is said as a gap, on standard error or as a JSON object.";

#[derive(Debug, Args)]
pub(crate) struct Subscribe {
    /// Topics to subscribe to.
    #[arg(required = true, value_name = "TOPIC")]
    pub(crate) topics: Vec<String>,

    /// Use WebSocket instead of Server-Sent Events.
    #[arg(long, env = "TIDEGATE_WS", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub(crate) ws: bool,

    /// Print a JSON object for each event, gap and ready instead of the event's data.
    #[arg(long, env = "TIDEGATE_JSON", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub(crate) json: bool,

    /// Where to begin: after this cursor (the id of an event), at `earliest`, or at `latest`.
    #[arg(
        long,
        env = "TIDEGATE_AFTER",
        value_name = "CURSOR",
        hide_env_values = true,
        default_value = "latest"
    )]
    pub(crate) after: String,

    /// End after this many events.
    #[arg(long, env = "TIDEGATE_COUNT", value_name = "N", hide_env_values = true,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    #[command(flatten)]
    pub(crate) hub: TrustedHub,
}
