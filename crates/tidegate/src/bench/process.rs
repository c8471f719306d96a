//! What a process used, as Linux tells in `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::{Context, bail};

/// The processes of a server: those named, and what they had started by then.
#[derive(Debug)]
pub(crate) struct Processes(Vec<u32>);

impl Processes {
    /// # Errors
    ///
    /// When one is not running, or this system has no `/proc`.
    pub(crate) fn new(named: &[u32]) -> anyhow::Result<Self> {
        let mut all = named.to_vec();
        let mut at = 0;
        while let Some(&pid) = all.get(at) {
            if status(pid, "VmRSS:").is_none() {
                bail!(
                    "no process {pid} here; --pid wants the id of a server that runs on this \
                     machine (Linux only)"
                );
            }
            for child in children(pid) {
                if !all.contains(&child) {
                    all.push(child);
                }
            }
            at += 1;
        }
        Ok(Self(all))
    }

    /// This one.
    pub(crate) fn own() -> Self {
        Self(vec![std::process::id()])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Processor time that all threads that still run have used.
    pub(crate) fn cpu(&self) -> Duration {
        Duration::from_nanos(self.0.iter().map(|pid| cpu(*pid)).sum())
    }

    /// Resident memory, in bytes.
    pub(crate) fn rss(&self) -> u64 {
        self.sum("VmRSS:")
    }

    /// The most resident memory each ever had, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.sum("VmHWM:")
    }

    fn sum(&self, field: &str) -> u64 {
        let kib: u64 = self.0.iter().filter_map(|pid| status(*pid, field)).sum();
        kib * 1024
    }
}

/// The number behind `field` in `/proc/PID/status`.
fn status(pid: u32, field: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let text = text.unwrap_or_default();
    text.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Nanoseconds on a processor. `schedstat` is exact where `stat` counts ticks of 10 ms.
fn cpu(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0;
    };
    let of = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    threads.flatten().filter_map(of).sum()
}

/// Refuses to begin what this shell has too few descriptors for.
///
/// # Errors
///
/// When they do not suffice; it says what to raise. Where there is no `/proc` it finds out later.
pub(crate) fn check_descriptors(connections: u64) -> anyhow::Result<()> {
    let Ok(limits) = fs::read_to_string("/proc/self/limits") else {
        return Ok(());
    };
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .context("/proc/self/limits does not name open files")?;
    let mut numbers = line.split_whitespace();
    let mut number = || match numbers.next() {
        Some("unlimited") => Some(u64::MAX),
        text => text?.parse().ok(),
    };
    let (soft, hard) = (number().unwrap_or(u64::MAX), number().unwrap_or(u64::MAX));
    judge_descriptors(connections, soft, hard)
}

fn judge_descriptors(connections: u64, soft: u64, hard: u64) -> anyhow::Result<()> {
    // Standard streams, the poll, files of /proc.
    let needed = connections + 32;
    if needed <= soft {
        return Ok(());
    }
    if needed <= hard {
        bail!(
            "{connections} connections need {needed} descriptors, and this shell allows {soft}; \
             first run: ulimit -n {needed}"
        );
    }
    bail!(
        "{connections} connections need {needed} descriptors, and {hard} is the most this account \
         may have (ulimit -Hn): ask for at most {} connections, or have the hard limit raised in \
         /etc/security/limits.conf",
        hard.saturating_sub(32)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_descriptors_are_refused_with_what_to_raise() {
        assert!(judge_descriptors(968, 1000, 1000).is_ok());
        let soft = judge_descriptors(1000, 1000, 20_000).unwrap_err();
        assert!(soft.to_string().contains("ulimit -n 1032"), "{soft}");
        let hard = judge_descriptors(30_000, 1000, 20_000).unwrap_err();
        assert!(hard.to_string().contains("at most 19968"), "{hard}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_own_process_has_memory_and_uses_the_processor() {
        let own = Processes::own();
        let before = own.cpu();
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_millis(20) {
            std::hint::black_box(0);
        }
        assert!(own.cpu() > before);
        // Other threads allocate between the two, so they are not compared.
        assert!(own.rss() > 100 * 1024 && own.peak() > 100 * 1024);
    }

    #[test]
    fn a_process_that_is_not_there_is_refused() {
        // Beyond the largest id that Linux gives.
        let refused = Processes::new(&[4_194_305]).unwrap_err();
        assert!(refused.to_string().contains("4194305"), "{refused}");
    }
}
