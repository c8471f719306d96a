//! Which store a hub keeps its events in. The only place that names backends.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use replay_sqlite::{SqliteConfig, SqliteStore};
use replay_store::{AnyStore, Clock, Epoch, MemoryConfig, MemoryStore};

/// The value of `--store`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum StoreChoice {
    Memory,
    Sqlite(PathBuf),
}

impl StoreChoice {
    pub(crate) fn open(&self) -> anyhow::Result<AnyStore> {
        match self {
            Self::Memory => {
                let seed = Epoch(getrandom::u64()?);
                Ok(AnyStore::new(MemoryStore::new(
                    MemoryConfig::default(),
                    seed,
                    clock(),
                )))
            }
            Self::Sqlite(path) => {
                // Asked for once more than is needed, so that a system without randomness is
                // found out here; later the time still tells an epoch from those before it.
                getrandom::u64()?;
                let seeds = || getrandom::u64().unwrap_or_else(|_| unix_ms());
                let store = SqliteStore::open(path, SqliteConfig::default(), seeds, clock())
                    .with_context(|| format!("cannot open the event store {}", path.display()))?;
                Ok(AnyStore::new(store))
            }
        }
    }
}

impl FromStr for StoreChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            _ => Err("want `memory`, or `sqlite:PATH` such as sqlite:events.db".to_owned()),
        }
    }
}

impl fmt::Display for StoreChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
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
