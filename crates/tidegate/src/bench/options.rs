//! The command line of `tidegate bench`.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};

use crate::args::HubUrl;

pub(crate) const EXAMPLES: &str = "\
Examples:
  tidegate bench
      A thousand SSE subscribers of one topic, one message in flight, for five seconds.
  tidegate bench --ws --connections 10000 --window 8
      WebSocket, the publisher up to eight messages ahead of the subscribers.
  tidegate bench --http2 --connections 10000
      Ten thousand streams of HTTP/2, a hundred on each connection.
  tidegate bench --rate 20 --seconds 30 --pid 4711
      Twenty messages a second, whatever happens: latency counts from when each was due. What
      process 4711 used, per delivery and per connection.
  tidegate bench --topics 1000 --publishers 32 --window 64
      A thousand topics with a subscriber each.
  tidegate bench --stalled 10 --size 1024
      Every tenth subscriber stops reading.
  tidegate bench --connections 100 --replay 10000
      How long a hundred clients take to catch up on ten thousand missed messages.
  tidegate bench --hub nchan --url http://127.0.0.1:8081
      Another hub, whose locations are /pub/TOPIC and /sub/TOPIC.
  tidegate bench --subscribe-url http://127.0.0.1:3000/s/{topic} --publish-url http://127.0.0.1:3000/p/{topic}
      Any hub that streams events over HTTP and publishes the body of a POST.

Every subscriber's messages are counted and checked: a loss that was not announced as a gap, a
duplicate or a wrong order makes the exit status 1. Only loopback addresses, unless --yes-remote.";

/// Where to send load, and how much.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    pub(crate) hub_url: HubUrl,

    /// Which hub it is: decides the URLs that are not given.
    #[arg(
        long,
        env = "TIDEGATE_HUB",
        value_name = "HUB",
        hide_env_values = true,
        default_value = "tidegate"
    )]
    pub(crate) hub: Preset,

    /// Subscribe over WebSocket instead of Server-Sent Events.
    #[arg(long, env = "TIDEGATE_WS", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub(crate) ws: bool,

    /// Subscribe over HTTP/2, in the clear with prior knowledge; WebSocket by RFC 8441.
    #[arg(long, env = "TIDEGATE_HTTP2", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub(crate) http2: bool,

    /// With --http2: how many subscribers share a connection, a stream each.
    #[arg(long, env = "TIDEGATE_STREAMS", value_name = "N", hide_env_values = true,
          default_value_t = 100, requires = "http2",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) streams: u32,

    /// For https:// and wss://: a file with the certificates to trust, in PEM.
    #[arg(long, env = "TIDEGATE_CA", value_name = "FILE", hide_env_values = true)]
    pub(crate) ca: Option<PathBuf>,

    /// Where to subscribe; `{topic}` stands for the topic, `{after}` for the cursor.
    #[arg(
        long,
        env = "TIDEGATE_SUBSCRIBE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub(crate) subscribe_url: Option<String>,

    /// Where to publish with POST; `{topic}` stands for the topic.
    #[arg(
        long,
        env = "TIDEGATE_PUBLISH_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub(crate) publish_url: Option<String>,

    /// Where to make each topic with PUT before anything else, at hubs that want it; `{topic}`.
    #[arg(
        long,
        env = "TIDEGATE_CREATE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub(crate) create_url: Option<String>,

    /// Body of a publish; `{data}` stands for the payload, `{topic}` for the topic.
    #[arg(
        long,
        env = "TIDEGATE_PUBLISH_BODY",
        value_name = "BODY",
        hide_env_values = true
    )]
    pub(crate) publish_body: Option<String>,

    /// A header of every subscription, such as `Authorization: Bearer TOKEN`. May be repeated.
    #[arg(
        long,
        env = "TIDEGATE_SUBSCRIBE_HEADER",
        value_name = "HEADER",
        hide_env_values = true
    )]
    pub(crate) subscribe_header: Vec<String>,

    /// A header of every publish. May be repeated.
    #[arg(
        long,
        env = "TIDEGATE_PUBLISH_HEADER",
        value_name = "HEADER",
        hide_env_values = true
    )]
    pub(crate) publish_header: Vec<String>,

    /// A text message that each WebSocket sends first; `{topic}`, `{after}`. May be repeated.
    #[arg(
        long,
        env = "TIDEGATE_WS_SEND",
        value_name = "TEXT",
        hide_env_values = true,
        requires = "ws",
        allow_hyphen_values = true
    )]
    pub(crate) ws_send: Vec<String>,

    /// What names of topics begin with; by default something new in each run.
    #[arg(
        long,
        env = "TIDEGATE_TOPIC",
        value_name = "PREFIX",
        hide_env_values = true
    )]
    pub(crate) topic: Option<String>,

    /// How many topics; subscribers and messages are spread over them.
    #[arg(long, env = "TIDEGATE_TOPICS", value_name = "N", hide_env_values = true,
          default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) topics: u32,

    /// How many subscribers, over all topics.
    #[arg(short = 'c', long, env = "TIDEGATE_CONNECTIONS", value_name = "N", hide_env_values = true,
          default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections: u32,

    /// How many connections publish, each with one request at a time; a topic belongs to one.
    #[arg(long, env = "TIDEGATE_PUBLISHERS", value_name = "N", hide_env_values = true,
          default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) publishers: u32,

    /// Bytes of each message's data, at least 32.
    #[arg(long, env = "TIDEGATE_SIZE", value_name = "BYTES", hide_env_values = true,
          default_value_t = 64, value_parser = clap::value_parser!(u32).range(32..=16_777_216))]
    pub(crate) size: u32,

    /// Closed loop: how many messages may be on their way, that is, not with all subscribers yet.
    #[arg(long, env = "TIDEGATE_WINDOW", value_name = "N", hide_env_values = true,
          default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) window: u32,

    /// Open loop: messages per second, over all topics. Latency counts from when each was due.
    #[arg(
        long,
        env = "TIDEGATE_RATE",
        value_name = "N",
        hide_env_values = true,
        conflicts_with = "window",
        value_parser = rate
    )]
    pub(crate) rate: Option<f64>,

    /// How long to publish; 0 only connects, and measures memory.
    #[arg(long, env = "TIDEGATE_SECONDS", value_name = "S", hide_env_values = true,
          default_value_t = 5.0, value_parser = seconds)]
    pub(crate) seconds: f64,

    /// Ends after this many messages, if the time is not over before.
    #[arg(long, env = "TIDEGATE_MESSAGES", value_name = "N", hide_env_values = true,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) messages: Option<u32>,

    /// Messages of each topic that are published first and only checked, not measured.
    #[arg(long, env = "TIDEGATE_WARM_UP", value_name = "N", hide_env_values = true,
          default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub(crate) warm_up: u32,

    /// How long all connections idle before memory is read.
    #[arg(long, env = "TIDEGATE_IDLE", value_name = "S", hide_env_values = true,
          default_value_t = 0.3, value_parser = seconds)]
    pub(crate) idle: f64,

    /// How long nothing may arrive before the run gives up on what is missing.
    #[arg(long, env = "TIDEGATE_PATIENCE", value_name = "S", hide_env_values = true,
          default_value_t = 5.0, value_parser = seconds)]
    pub(crate) patience: f64,

    /// Per cent of the subscribers that stop reading once they have joined.
    #[arg(long, env = "TIDEGATE_STALLED", value_name = "PERCENT", hide_env_values = true,
          default_value_t = 0.0, value_parser = percent)]
    pub(crate) stalled: f64,

    /// Publish this many messages that nobody receives, then connect and measure the catching up.
    #[arg(long, env = "TIDEGATE_REPLAY", value_name = "N", hide_env_values = true,
          conflicts_with_all = ["rate", "stalled"],
          value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) replay: Option<u32>,

    /// With --replay: the cursor to resume from; by default the id of an event received before.
    #[arg(
        long,
        env = "TIDEGATE_AFTER",
        value_name = "CURSOR",
        hide_env_values = true,
        requires = "replay"
    )]
    pub(crate) after: Option<String>,

    /// Id of a process of the server, to measure what it and its children use. May be repeated.
    #[arg(long, env = "TIDEGATE_PID", value_name = "PID", hide_env_values = true)]
    pub(crate) pid: Vec<u32>,

    /// Print a JSON object instead of a summary.
    #[arg(long, env = "TIDEGATE_JSON", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub(crate) json: bool,

    /// Allow addresses that are not loopback. Only for servers that are yours.
    #[arg(long, env = "TIDEGATE_YES_REMOTE", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub(crate) yes_remote: bool,
}

/// What `--hub` can be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Preset {
    /// `/events?topic=TOPIC`, and `/ws` with --ws.
    Tidegate,
    /// `/sub/TOPIC` and `/pub/TOPIC`.
    Nchan,
    /// The protocol of Mercure; tokens go in the header options.
    Mercure,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds @ 0.0..=3600.0) => Ok(seconds),
        _ => Err("want seconds, from 0 to 3600".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate @ 0.001..=10_000_000.0) => Ok(rate),
        _ => Err("want messages per second, from 0.001 to 10000000".to_owned()),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(percent @ 0.0..=99.0) => Ok(percent),
        _ => Err("want per cent, from 0 to 99".to_owned()),
    }
}
