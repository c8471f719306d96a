//! The process, under the names that all Prometheus clients use.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::metrics::{Kind, Text};

/// Says what the system tells of this process; some of it only on Linux.
pub(super) fn write(started: SystemTime, text: &mut Text) {
    let since = started.duration_since(UNIX_EPOCH).unwrap_or_default();
    text.family(
        "process_start_time_seconds",
        Kind::Gauge,
        "When the process started, in seconds since 1970.",
    )
    .value(since.as_secs_f64());
    if let Some(memory) = resident_bytes() {
        text.family(
            "process_resident_memory_bytes",
            Kind::Gauge,
            "Resident memory of the process.",
        )
        .value(memory);
    }
    if let Some(seconds) = cpu_seconds() {
        text.family(
            "process_cpu_seconds_total",
            Kind::Counter,
            "Processor time of the process, user and system.",
        )
        .value(seconds);
    }
    if let (Some(open), Some(max)) = (open_fds(), max_fds()) {
        text.family(
            "process_open_fds",
            Kind::Gauge,
            "Open file descriptors; a connection takes one.",
        )
        .value(open);
        text.family(
            "process_max_fds",
            Kind::Gauge,
            "The bound of process_open_fds.",
        )
        .value(max);
    }
}

pub(super) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
    Some(number(line)? * 1024)
}

fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may have anything in it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    // Linux shows a hundred ticks a second to programs, whatever it counts itself.
    Some((f64::from(ticks()?) + f64::from(ticks()?)) / 100.0)
}

pub(super) fn open_fds() -> Option<usize> {
    // The listing itself has one open.
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count() - 1)
}

fn max_fds() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let mut lines = limits.lines();
    number(lines.find_map(|it| it.strip_prefix("Max open files"))?)
}

/// The first of the words of a line.
fn number(line: &str) -> Option<u64> {
    line.split_ascii_whitespace().next()?.parse().ok()
}
