//! What Redis must be like, and what follows from how it is set up.

use std::collections::HashMap;
use std::fmt;

use redis::RedisError;
use redis::aio::MultiplexedConnection;

use crate::error::OpenError;

/// Script flags came with it.
pub(crate) const LEAST: &str = "7.0";

/// Something about the set-up of Redis that loses acknowledged events, and how to change it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Advice {
    /// `appendonly no`: a restart loses everything since the last snapshot.
    NotPersistent,
    /// `appendfsync` is not `always`: a crash loses up to two seconds.
    LosesSeconds,
    /// `no-appendfsync-on-rewrite yes`: while the file is rewritten, nothing is synced.
    UnsyncedDuringRewrite,
    /// Redis does not tell its settings; the worst is assumed.
    Unknown,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPersistent => {
                "Redis does not write what is published to disk (appendonly no): when it restarts, \
                 subscribers will be told a gap; run: redis-cli CONFIG SET appendonly yes"
            }
            Self::LosesSeconds => {
                "when Redis or its machine crashes, up to the last two seconds of acknowledged \
                 events are lost, and subscribers will be told a gap; to lose none at the cost of \
                 a sync per batch, run: redis-cli CONFIG SET appendfsync always"
            }
            Self::UnsyncedDuringRewrite => {
                "Redis does not sync to disk while it rewrites its file; run: redis-cli CONFIG SET \
                 no-appendfsync-on-rewrite no"
            }
            Self::Unknown => {
                "Redis does not tell how it is set up (CONFIG GET is refused), so acknowledged \
                 events are taken not to survive a crash of Redis"
            }
        })
    }
}

/// What follows from the set-up of a server that may be used.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Checked {
    /// Acknowledged events are on disk.
    pub(crate) synced: bool,
    pub(crate) advice: Vec<Advice>,
}

/// Looks at a server.
pub(crate) async fn check(connection: &mut MultiplexedConnection) -> Result<Checked, OpenError> {
    let unreachable = |error: RedisError| OpenError::Unreachable {
        detail: error.to_string(),
    };
    let info: String = redis::cmd("INFO")
        .query_async(connection)
        .await
        .map_err(unreachable)?;
    let mut get = redis::cmd("CONFIG");
    get.arg("GET")
        .arg("appendfsync")
        .arg("no-appendfsync-on-rewrite");
    let settings: Option<HashMap<String, String>> = match get.query_async(connection).await {
        Ok(settings) => Some(settings),
        Err(error) if error.code().is_some() => None,
        Err(error) => return Err(unreachable(error)),
    };
    judge(&info, settings.as_ref())
}

fn judge(info: &str, settings: Option<&HashMap<String, String>>) -> Result<Checked, OpenError> {
    let info: HashMap<&str, &str> = info
        .lines()
        .filter_map(|line| line.trim_end().split_once(':'))
        .collect();
    let field = |name| info.get(name).copied().unwrap_or_default();

    let found = field("redis_version");
    let major = found
        .split('.')
        .next()
        .and_then(|it| it.parse::<u32>().ok());
    if major.is_none_or(|major| major < 7) {
        let found = found.to_owned();
        return Err(OpenError::Version { found });
    }
    if field("cluster_enabled") == "1" {
        return Err(OpenError::Cluster);
    }
    if field("role") != "master" {
        let primary = format!("{}:{}", field("master_host"), field("master_port"));
        return Err(OpenError::Replica { primary });
    }
    let policy = field("maxmemory_policy");
    if policy != "noeviction" {
        let policy = policy.to_owned();
        return Err(OpenError::Eviction { policy });
    }

    let mut checked = Checked::default();
    if field("aof_enabled") != "1" {
        checked.advice.push(Advice::NotPersistent);
        return Ok(checked);
    }
    let setting = |name| settings.and_then(|it| it.get(name)).map(String::as_str);
    match setting("appendfsync") {
        Some("always") => checked.synced = true,
        Some(_) => checked.advice.push(Advice::LosesSeconds),
        None => checked.advice.push(Advice::Unknown),
    }
    if checked.synced && setting("no-appendfsync-on-rewrite") != Some("no") {
        checked.synced = false;
        checked.advice.push(Advice::UnsyncedDuringRewrite);
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\n# Memory\r\n\
        maxmemory_policy:noeviction\r\n# Persistence\r\naof_enabled:1\r\n# Replication\r\n\
        role:master\r\n# Cluster\r\ncluster_enabled:0\r\n";

    #[track_caller]
    fn check(from: &str, to: &str, settings: &[(&str, &str)], expected: Result<&[Advice], &str>) {
        let settings = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<HashMap<_, _>>();
        let settings = (!settings.is_empty()).then_some(&settings);
        match (judge(&GOOD.replace(from, to), settings), expected) {
            (Ok(found), Ok(advice)) => {
                assert_eq!(found.advice, advice);
                assert_eq!(found.synced, advice.is_empty());
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, expected) => panic!("{found:?}, expected {expected:?}"),
        }
    }

    const SYNCED: &[(&str, &str)] = &[
        ("appendfsync", "always"),
        ("no-appendfsync-on-rewrite", "no"),
    ];

    #[test]
    fn a_server_that_loses_events_is_used_with_advice() {
        check("", "", SYNCED, Ok(&[]));
        let unsynced = [SYNCED[0], ("no-appendfsync-on-rewrite", "yes")];
        check("", "", &unsynced, Ok(&[Advice::UnsyncedDuringRewrite]));
        let seconds = [("appendfsync", "everysec"), SYNCED[1]];
        check("", "", &seconds, Ok(&[Advice::LosesSeconds]));
        check("", "", &[], Ok(&[Advice::Unknown]));
        let memory = Ok(&[Advice::NotPersistent][..]);
        check("aof_enabled:1", "aof_enabled:0", SYNCED, memory);
        check("7.0.15", "10.2.0", SYNCED, Ok(&[]));
    }

    #[test]
    fn a_server_that_cannot_keep_a_log_is_refused() {
        check("7.0.15", "6.2.7", SYNCED, Err("Redis 6.2.7 is too old"));
        check("7.0.15", "", SYNCED, Err("at least 7.0"));
        check("enabled:0", "enabled:1", SYNCED, Err("part of a cluster"));
        let replica = "role:slave\r\nmaster_host:db\r\nmaster_port:6379";
        check("role:master", replica, SYNCED, Err("replica of db:6379"));
        for policy in ["allkeys-lru", "volatile-ttl", ""] {
            check("noeviction", policy, SYNCED, Err("policy noeviction"));
        }
    }
}
