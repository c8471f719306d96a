//! The command line: what can be said, and the help that teaches it.

mod address;
mod backup;
mod dev;
mod hub;
mod publish;
mod purge;
mod serve;
mod subscribe;

use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::bench::options::{self as bench, Bench};

pub(crate) use address::{AdminChoice, HubUrl};
pub(crate) use backup::Backup;
pub(crate) use dev::Dev;
pub(crate) use hub::HubOptions;
pub(crate) use publish::Publish;
pub(crate) use purge::Purge;
pub(crate) use serve::Serve;
pub(crate) use subscribe::Subscribe;

const EXAMPLES: &str = "\
Try it, in three terminals:
  tidegate dev
  tidegate subscribe demo
  echo hello | tidegate publish demo

Every option is also an environment variable: TIDEGATE_ and the option's name, such as
TIDEGATE_URL. What is said on the command line wins.

Exit status: 0 done, 1 it failed (standard error says why), 2 the command line is wrong,
130 interrupted.";

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
    #[command(after_help = dev::EXAMPLES)]
    Dev(Dev),
    /// Run a hub that keeps its events over a restart.
    #[command(after_help = serve::EXAMPLES)]
    Serve(Serve),
    /// Publish to a topic: one event, or each line of a file or of standard input.
    #[command(after_help = publish::EXAMPLES)]
    Publish(Publish),
    /// Print the events of topics as they come; resumes after a lost connection.
    #[command(after_help = subscribe::EXAMPLES)]
    Subscribe(Subscribe),
    /// Remove all events that a hub has of topics.
    #[command(after_help = purge::EXAMPLES)]
    Purge(Purge),
    /// Copy a SQLite store into a file, beside a hub that runs on it or without one.
    #[command(after_help = backup::EXAMPLES)]
    Backup(Backup),
    /// Load a hub with subscribers and messages: latency, throughput, and a check of every event.
    #[command(after_help = bench::EXAMPLES)]
    Bench(Box<Bench>),
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
            dev::EXAMPLES,
            serve::EXAMPLES,
            publish::EXAMPLES,
            subscribe::EXAMPLES,
            purge::EXAMPLES,
            backup::EXAMPLES,
            bench::EXAMPLES,
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
