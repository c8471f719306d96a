//! The command line: what can be said, and the help that teaches it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use push_server::Compression;
use tracing_subscriber::EnvFilter;

use crate::bench::options::{Bench, EXAMPLES as BENCH_EXAMPLES};
use crate::retain::Retain;
use crate::store::StoreChoice;

const EXAMPLES: &str = "\
Try it, in three terminals:
  tidegate dev
  tidegate subscribe demo
  echo hello | tidegate publish demo

Every option is also an environment variable: TIDEGATE_ and the option's name, such as
TIDEGATE_URL. What is said on the command line wins.

Exit status: 0 done, 1 it failed (standard error says why), 2 the command line is wrong,
130 interrupted.";

const DEV_EXAMPLES: &str = "\
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

const SERVE_EXAMPLES: &str = "\
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

const PUBLISH_EXAMPLES: &str = "\
Examples:
  tail -f /var/log/dpkg.log | tidegate publish logs
      Each line becomes an event the moment it is written.
  tidegate publish logs --file access.log
      Each line of a file.
  tidegate publish demo --data hello --event greeting
      One event, with an event type.

Order is kept. While the hub is away the event in hand is tried again with its idempotency key,
so it is stored once; reading the input waits meanwhile.";

const SUBSCRIBE_EXAMPLES: &str = "\
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

const PURGE_EXAMPLES: &str = "\
Examples:
  tidegate purge sessions/42
      Removes what the hub has of one topic.
  tidegate purge chat/** drafts/*
      Removes what it has of every topic below chat, and of drafts.

What is published later stays. Subscribers that have not received what was removed are told of a
gap.";

const BACKUP_EXAMPLES: &str = "\
Examples:
  tidegate backup events-monday.db
      Copies what `tidegate serve` keeps in ./tidegate-data/events.db.
  tidegate backup --store sqlite:/var/lib/tidegate/events.db /backup/events.db
      Copies another store.

The hub may run meanwhile; it is neither stopped nor held up. The copy has everything that was
acknowledged before the command began. To restore it, end the hub, put the copy in the place of
the store, remove the files beside it that end in -wal and -shm, and start the hub: subscribers
that had seen more than the copy has are told so by a gap.";

/// Real-time push hub: Server-Sent Events and WebSocket over one replayable log.
///
/// Every event reaches a subscriber exactly once and in order, or as an explicit gap.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// What to log to standard error: a level, or targets with levels such as push_server=debug.
    #[arg(long, global = true, env = "TIDEGATE_LOG", value_name = "FILTER", hide_env_values = true,
          value_parser = log_filter)]
    pub(crate) log: Option<String>,

    /// How to log: lines for people, or a JSON object a line.
    #[arg(
        long,
        global = true,
        env = "TIDEGATE_LOG_FORMAT",
        value_name = "FORMAT",
        hide_env_values = true,
        default_value = "text"
    )]
    pub(crate) log_format: LogFormat,
}

/// What `--log-format` can be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a hub for development: loopback only, open, with a demo page.
    #[command(after_help = DEV_EXAMPLES)]
    Dev(Dev),
    /// Run a hub that keeps its events over a restart.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Serve),
    /// Publish to a topic: one event, or each line of a file or of standard input.
    #[command(after_help = PUBLISH_EXAMPLES)]
    Publish(Publish),
    /// Print the events of topics as they come; resumes after a lost connection.
    #[command(after_help = SUBSCRIBE_EXAMPLES)]
    Subscribe(Subscribe),
    /// Remove all events that a hub has of topics.
    #[command(after_help = PURGE_EXAMPLES)]
    Purge(Purge),
    /// Copy a SQLite store into a file, beside a hub that runs on it or without one.
    #[command(after_help = BACKUP_EXAMPLES)]
    Backup(Backup),
    /// Load a hub with subscribers and messages: latency, throughput, and a check of every event.
    #[command(after_help = BENCH_EXAMPLES)]
    Bench(Box<Bench>),
}

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

/// Where operators ask, if anywhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AdminChoice {
    Off,
    At(SocketAddr),
}

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
    pub(crate) hub: HubUrl,
}

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
    pub(crate) hub: HubUrl,
}

#[derive(Debug, Args)]
pub(crate) struct Purge {
    /// Topics, or patterns with `*` for one segment and `**` for any number of them.
    #[arg(required = true, value_name = "PATTERN")]
    pub(crate) patterns: Vec<String>,

    #[command(flatten)]
    pub(crate) hub: HubUrl,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file to write; it must not exist yet.
    #[arg(value_name = "DEST")]
    pub(crate) to: PathBuf,

    /// The store to copy, `sqlite:PATH`.
    #[arg(
        long,
        env = "TIDEGATE_STORE",
        value_name = "STORE",
        hide_env_values = true,
        default_value = "sqlite:tidegate-data/events.db"
    )]
    pub(crate) store: StoreChoice,
}

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

fn address(text: &str) -> Result<SocketAddr, String> {
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

fn admin(text: &str) -> Result<AdminChoice, String> {
    match text {
        "off" => Ok(AdminChoice::Off),
        _ => address(text)
            .map(AdminChoice::At)
            .map_err(|wanted| format!("{wanted}, or `off`")),
    }
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

fn log_filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!(
            "{error}; want something like `debug` or `push_server=debug`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    #[track_caller]
    fn check(arguments: &[&str], expected: Result<(), ErrorKind>) {
        let parsed = CommandLine::try_parse_from([&["tidegate"], arguments].concat());
        assert_eq!(
            parsed.map(drop).map_err(|error| error.kind()),
            expected,
            "{arguments:?}"
        );
    }

    #[test]
    fn the_definition_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_example_in_the_help_is_a_command_line_that_parses() {
        let mut tried = 0;
        for help in [
            EXAMPLES,
            DEV_EXAMPLES,
            SERVE_EXAMPLES,
            PUBLISH_EXAMPLES,
            SUBSCRIBE_EXAMPLES,
            PURGE_EXAMPLES,
            BACKUP_EXAMPLES,
            BENCH_EXAMPLES,
        ] {
            let commands = help
                .lines()
                .flat_map(|line| line.split(" | "))
                .map(str::trim);
            for command in commands.filter(|command| command.starts_with("tidegate ")) {
                let words: Vec<_> = command.split_whitespace().skip(1).collect();
                check(&words, Ok(()));
                tried += 1;
            }
        }
        assert_eq!(tried, 33);
    }

    #[test]
    fn every_option_has_its_environment_variable() {
        for command in CommandLine::command().get_subcommands() {
            for option in command.get_opts() {
                let name = option
                    .get_long()
                    .map(|name| name.to_uppercase().replace('-', "_"));
                let variable = option.get_env().and_then(|variable| variable.to_str());
                assert_eq!(
                    variable,
                    name.map(|name| format!("TIDEGATE_{name}")).as_deref()
                );
            }
        }
    }

    #[test]
    fn dev_listens_on_loopback_only() {
        for address in [
            "127.0.0.1:0",
            "127.9.9.9:80",
            "[::1]:8080",
            "localhost:8080",
        ] {
            check(&["dev", "--listen", address], Ok(()));
        }
        for address in [
            "0.0.0.0:8080",
            "[::]:8080",
            "192.0.2.1:8080",
            "localhost",
            "8080",
        ] {
            check(
                &["dev", "--listen", address],
                Err(ErrorKind::ValueValidation),
            );
        }
    }

    #[test]
    fn serve_takes_any_address_and_retention_by_pattern() {
        check(&["serve", "--listen", "0.0.0.0:80", "--open"], Ok(()));
        check(&["serve", "--store", "redis://127.0.0.1"], Ok(()));
        let rules = ["serve", "--retain", "a=events:1", "--retain", "b=age:1h"];
        check(&rules, Ok(()));
        check(&["serve", "--retain", "a=events:1;b/**=age:1h"], Ok(()));
        check(
            &["serve", "--retain", "a=events:0"],
            Err(ErrorKind::ValueValidation),
        );
        check(
            &["serve", "--listen", "hub:80"],
            Err(ErrorKind::ValueValidation),
        );
    }

    #[test]
    fn the_admin_listener_is_at_an_address_or_off() {
        for (choice, expected) in [
            ("off", Ok(())),
            ("127.0.0.1:0", Ok(())),
            ("localhost:9090", Ok(())),
            ("0.0.0.0:9090", Ok(())),
            ("9090", Err(ErrorKind::ValueValidation)),
            ("on", Err(ErrorKind::ValueValidation)),
        ] {
            check(&["dev", "--admin", choice], expected);
            check(&["serve", "--admin", choice], expected);
        }
    }

    #[test]
    fn a_hub_has_room_for_at_least_one_connection() {
        check(&["serve", "--max-connections", "1"], Ok(()));
        check(
            &["serve", "--max-connections", "0"],
            Err(ErrorKind::ValueValidation),
        );
    }

    #[test]
    fn a_certificate_is_made_or_given_not_both() {
        check(&["dev", "--tls"], Ok(()));
        check(&["serve", "--tls"], Ok(()));
        let given = ["serve", "--tls-cert", "c", "--tls-key", "k"];
        check(&given, Ok(()));
        check(
            &[&given[..], &["--tls"]].concat(),
            Err(ErrorKind::ArgumentConflict),
        );
    }

    #[test]
    fn the_store_is_memory_or_a_path() {
        for store in ["memory", "sqlite:events.db"] {
            check(&["dev", "--store", store], Ok(()));
        }
        for store in ["sqlite:", "events.db"] {
            check(&["dev", "--store", store], Err(ErrorKind::ValueValidation));
        }
    }

    #[test]
    fn compression_is_one_of_three() {
        for choice in ["off", "messages", "context"] {
            check(&["dev", "--compression", choice], Ok(()));
        }
        check(
            &["dev", "--compression", "on"],
            Err(ErrorKind::InvalidValue),
        );
    }

    #[test]
    fn publish_takes_one_source() {
        check(&["publish", "demo"], Ok(()));
        check(&["publish", "demo", "--data", "-5"], Ok(()));
        check(&["publish", "demo", "--data", ""], Ok(()));
        check(&["publish", "demo", "--file", "x"], Ok(()));
        check(
            &["publish", "demo", "--file", "x", "--data", "y"],
            Err(ErrorKind::ArgumentConflict),
        );
        check(&["publish"], Err(ErrorKind::MissingRequiredArgument));
    }

    #[test]
    fn a_log_filter_is_checked_before_anything_runs() {
        check(&["--log-format", "json", "dev"], Ok(()));
        check(
            &["dev", "--log-format", "xml"],
            Err(ErrorKind::InvalidValue),
        );
        check(&["dev", "--log", "push_server=debug,info"], Ok(()));
        check(
            &["dev", "--log", "push_server=loud"],
            Err(ErrorKind::ValueValidation),
        );
    }

    #[test]
    fn subscribe_takes_topics_and_a_positive_count() {
        check(&["subscribe", "a", "b", "--ws", "--json"], Ok(()));
        check(&["subscribe"], Err(ErrorKind::MissingRequiredArgument));
        check(
            &["subscribe", "a", "--count", "0"],
            Err(ErrorKind::ValueValidation),
        );
    }
}
