//! What a process used, as Linux tells in `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::bail;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_has_memory_and_uses_the_processor() {
        // Not this one: what its other tests had used is gone from the sum when their threads are.
        let mut shell = std::process::Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .unwrap();
        let busy = Processes::new(&[shell.id()]).unwrap();
        let before = busy.cpu();
        let began = std::time::Instant::now();
        while busy.cpu() <= before {
            assert!(began.elapsed() < Duration::from_secs(60), "{busy:?}");
        }
        assert!(busy.rss() > 100 * 1024 && busy.peak() >= busy.rss());
        shell.kill().unwrap();
        shell.wait().unwrap();
        let own = Processes::own();
        assert!(own.cpu() > Duration::ZERO && own.rss() > 100 * 1024);
    }

    #[test]
    fn a_process_that_is_not_there_is_refused() {
        // Beyond the largest id that Linux gives.
        let refused = Processes::new(&[4_194_305]).unwrap_err();
        assert!(refused.to_string().contains("4194305"), "{refused}");
    }
}
