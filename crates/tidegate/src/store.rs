//! Which store a hub keeps its events in. The only place that names backends: one more store is
//! one more variant, and an arm in each of `open`, `from_str` and `fmt`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow, bail};
use replay_nats::{NatsConfig, NatsStore, OpenError};
use replay_redis::{RedisConfig, RedisStore};
use replay_sqlite::{SqliteConfig, SqliteStore};
use replay_store::{AnyStore, Clock, Epoch, MemoryConfig, MemoryStore};

use crate::retain::Retain;

/// The value of `--store`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum StoreChoice {
    Memory,
    Sqlite(PathBuf),
    /// A URL.
    Redis(String),
    /// A URL.
    Nats(String),
}

impl StoreChoice {
    pub(crate) async fn open(&self, retain: &Retain) -> anyhow::Result<AnyStore> {
        let (retention, rules) = (retain.retention(), retain.rules());
        match self {
            Self::Memory => {
                let config = MemoryConfig {
                    retention,
                    rules,
                    ..MemoryConfig::default()
                };
                let seed = Epoch(getrandom::u64()?);
                Ok(AnyStore::new(MemoryStore::new(config, seed, clock())))
            }
            Self::Sqlite(path) => {
                let config = SqliteConfig {
                    retention,
                    rules,
                    ..SqliteConfig::default()
                };
                make_folder_of(path)?;
                let store = SqliteStore::open(path, config, seeds()?, clock())
                    .with_context(|| format!("cannot open the event store {}", path.display()))?;
                Ok(AnyStore::new(store))
            }
            Self::Redis(url) => {
                let config = RedisConfig {
                    retention,
                    rules,
                    ..RedisConfig::new(url)
                };
                let store = RedisStore::connect(config, seeds()?, clock())
                    .await
                    .with_context(|| format!("cannot use the event store {self}"))?;
                for advice in store.advice() {
                    tracing::warn!("{self}: {advice}");
                }
                Ok(AnyStore::new(store))
            }
            Self::Nats(url) => {
                retain.only_of_the_log().context(
                    "a NATS stream bounds the whole log, not each topic; see docs/stores.md",
                )?;
                let config = NatsConfig {
                    max_age: retention.age,
                    max_bytes: retention.log_bytes,
                    ..NatsConfig::from_url(url)?
                };
                let store = NatsStore::open(config, seeds()?)
                    .await
                    .map_err(|error| match error {
                        OpenError::NoRoom { .. } => anyhow!("{error}: --retain-log-bytes"),
                        error => error.into(),
                    })
                    .with_context(|| format!("cannot open the event store {self}"))?;
                Ok(AnyStore::new(store))
            }
        }
    }

    /// Copies everything into a new file, whoever uses the store meanwhile, and says what was done.
    pub(crate) fn back_up(&self, to: &Path) -> anyhow::Result<String> {
        let Self::Sqlite(path) = self else {
            bail!("only a store of the kind sqlite:PATH can be copied into a file, not {self}");
        };
        let backup = replay_sqlite::backup(path, to).context("no backup was taken")?;
        let (tail, bytes) = (backup.tail, backup.bytes);
        Ok(format!(
            "{} has all up to event {tail}, {bytes} bytes",
            to.display()
        ))
    }

    /// Whether a hub that ends takes its events along.
    pub(crate) fn is_lost_at_the_end(&self) -> bool {
        matches!(self, Self::Memory)
    }
}

impl FromStr for StoreChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            Some(("redis" | "rediss", rest)) if is_host(rest) => Ok(Self::Redis(text.to_owned())),
            Some(("nats" | "tls", rest)) if is_host(rest) => Ok(Self::Nats(text.to_owned())),
            _ => Err(
                "want `memory`, `sqlite:PATH` such as sqlite:events.db, `redis://HOST` or \
                 `nats://HOST`"
                    .to_owned(),
            ),
        }
    }
}

fn is_host(rest: &str) -> bool {
    rest.strip_prefix("//").is_some_and(|host| !host.is_empty())
}

impl fmt::Display for StoreChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Redis(url) | Self::Nats(url) => f.write_str(&without_password(url)),
        }
    }
}

/// What is printed ends up in logs, where no password belongs.
fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("//").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.rfind('@') {
        Some(at) => format!("{scheme}//***@{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

/// Makes the folder of a file, if only that one is missing: a whole missing path is more likely a
/// mistake.
fn make_folder_of(file: &Path) -> anyhow::Result<()> {
    let Some(folder) = file.parent().filter(|it| !it.as_os_str().is_empty()) else {
        return Ok(());
    };
    let mut builder = std::fs::DirBuilder::new();
    // What is published may be nobody else's business.
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("cannot make the folder of {}", file.display()))
        }
        _ => Ok(()),
    }
}

/// Random bits for epochs. Asked for once more than is needed, so that a system without
/// randomness is found out here; later the time still tells an epoch from those before it.
fn seeds() -> anyhow::Result<impl Fn() -> u64 + Send + Sync + 'static> {
    getrandom::u64()?;
    Ok(|| getrandom::u64().unwrap_or_else(|_| unix_ms()))
}

fn clock() -> Clock {
    Clock::new(unix_ms)
}

fn unix_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, shown: Option<&str>) {
        let choice: Result<StoreChoice, _> = text.parse();
        assert_eq!(
            choice.ok().map(|it| it.to_string()).as_deref(),
            shown,
            "{text}"
        );
    }

    #[test]
    fn a_store_is_named_by_its_kind_and_shown_without_its_password() {
        check("memory", Some("memory"));
        check("sqlite:a/b.db", Some("sqlite:a/b.db"));
        check("redis://h:6379/1", Some("redis://h:6379/1"));
        check("redis://u:p@h/1", Some("redis://***@h/1"));
        check("rediss://:p@ss@h?x=a@b", Some("rediss://***@h?x=a@b"));
        check("nats://token@h:4222", Some("nats://***@h:4222"));
        for wrong in [
            "",
            "memory:",
            "sqlite:",
            "sqlite",
            "events.db",
            "redis:",
            "redis://",
            "nats:h",
        ] {
            check(wrong, None);
        }
    }
}
