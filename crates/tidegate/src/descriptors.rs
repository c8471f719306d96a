//! Descriptors: each connection takes one, and shells allow a process few of them at first.

use anyhow::bail;

/// What a process needs besides connections: standard streams, polls, listeners, files of a store and
/// of `/proc`.
const OTHERS: u64 = 32;

/// Raises the limit of this process as far as its account may, and answers how many it may have; `None`
/// where the system does not tell. Where it cannot be raised, it stays.
#[cfg(unix)]
pub(crate) fn raise() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    if current != maximum && setrlimit(Resource::Nofile, raised).is_ok() {
        return maximum;
    }
    current
}

#[cfg(not(unix))]
pub(crate) fn raise() -> Option<u64> {
    None
}

/// Refuses to begin with what this account has too few descriptors for.
///
/// # Errors
///
/// When they do not suffice; it says what to raise.
pub(crate) fn check(connections: u64) -> anyhow::Result<()> {
    judge(connections, raise().unwrap_or(u64::MAX))
}

fn judge(connections: u64, most: u64) -> anyhow::Result<()> {
    let needed = connections.saturating_add(OTHERS);
    if needed <= most {
        return Ok(());
    }
    bail!(
        "{connections} connections need {needed} descriptors, and {most} is the most this account \
         may have (ulimit -Hn): ask for at most {} connections, or have the limit raised, in \
         /etc/security/limits.conf or with LimitNOFILE= of a systemd unit",
        most.saturating_sub(OTHERS)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_descriptors_are_refused_with_what_to_ask_for() {
        assert!(judge(968, 1000).is_ok());
        let refused = judge(969, 1000).unwrap_err().to_string();
        assert!(refused.contains("at most 968 connections"), "{refused}");
        assert!(judge(u64::MAX, u64::MAX).is_ok());
    }
}
