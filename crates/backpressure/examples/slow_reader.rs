//! What one slow subscriber gets under each policy: `cargo run -p backpressure --example slow_reader`.
//!
//! Eight prices are published, of `a` and `b` in turn. The subscriber takes the first two and then
//! nothing until all are published. It may be four events behind.
#![expect(
    clippy::print_stdout,
    reason = "a program for the terminal: what it prints is its result"
)]

use std::error::Error;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use backpressure::{
    Conflated, Conflation, FlushWindow, Lag, Log, LogConfig, Policy, ReadError, Readers, Verdict,
    encode_keyed,
};
use bytes::BytesMut;

/// The key and the encoded form of each event; the first has seq 1.
const EVENTS: [(&str, &str); 8] = [
    ("a", "a=1 "),
    ("b", "b=1 "),
    ("a", "a=2 "),
    ("b", "b=2 "),
    ("a", "a=3 "),
    ("b", "b=3 "),
    ("a", "a=4 "),
    ("b", "b=4 "),
];

const MAX: Lag = Lag {
    events: 4,
    bytes: 1 << 20,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let far = Lag { events: 100, ..MAX };
    println!(
        "replay, up to 100   {}",
        plain(Policy::Replay { max: far })?
    );
    println!(
        "replay              {}",
        plain(Policy::Replay { max: MAX })?
    );
    println!(
        "disconnect          {}",
        plain(Policy::Disconnect { max: MAX })?
    );
    println!(
        "drop-oldest         {}",
        plain(Policy::DropOldest { max: MAX })?
    );
    println!("conflate            {}", conflate()?);
    println!("batch, 5 ms         {}", batch()?);
    println!("block               {}", block()?);
    Ok(())
}

/// `replay`, `disconnect` and `drop-oldest`: they judge how far behind the subscriber is.
fn plain(policy: Policy) -> Result<String> {
    let log = Log::new(LogConfig::default(), 0);
    let mut readers = Readers::new(vec![log.subscribe()]);
    let mut scratch = BytesMut::new();
    let mut sent = String::new();
    for (seq, (_, event)) in (1..).zip(EVENTS) {
        log.append(seq, event.as_bytes());
        if seq == 2 {
            let chunk = readers.read_through(2, 64 << 10, &mut scratch)?;
            sent += str::from_utf8(&chunk.ok_or("two events are pending")?.bytes)?;
        }
    }
    if policy.max().events > 4 {
        // As by a log too small for this subscriber, and others that need the memory.
        log.evict_to(0);
    }

    // The connection is writable again.
    match policy.judge(readers.lag()) {
        Verdict::Disconnect => return Ok(sent + "[disconnected, resumes after 2]"),
        Verdict::Jump => {
            let (to, skipped) = readers.jump_within(policy.max(), log.head());
            sent += &format!("[{} missing, up to {to}] ", skipped.events);
        }
        _ => {}
    }
    match readers.read_through(log.head(), 64 << 10, &mut scratch) {
        Ok(Some(chunk)) => sent += str::from_utf8(&chunk.bytes)?,
        Ok(None) => {}
        Err(ReadError::Evicted) if policy.judge_evicted() == Verdict::FallBack => {
            let store = EVENTS.iter().skip(2).map(|(_, event)| *event);
            sent += "[from the store] ";
            sent.extend(store);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(sent.trim_end().to_owned())
}

/// `conflate`: of each key the latest event.
fn conflate() -> Result<String> {
    let log = Log::new(LogConfig::default(), 0);
    let mut readers = Readers::new(vec![log.subscribe()]);
    let mut conflation = Conflation::new(MAX);
    let mut scratch = BytesMut::new();
    let (mut sent, mut keyed) = (String::new(), Vec::new());
    for (seq, (key, event)) in (1..).zip(EVENTS) {
        keyed.clear();
        encode_keyed(seq, Some(key.as_bytes()), event.as_bytes(), &mut keyed);
        log.append(seq, &keyed);
        if seq != 2 && seq != 8 {
            continue;
        }
        // The connection is writable.
        conflation.collect(&mut readers, log.head(), &mut scratch)?;
        while let Some(next) = conflation.next(64 << 10) {
            match next {
                Conflated::Events(chunk) => {
                    if chunk.superseded > 0 {
                        sent += &format!("[{} superseded] ", chunk.superseded);
                    }
                    sent += str::from_utf8(&chunk.bytes)?;
                }
                Conflated::Gap(gap) => {
                    sent += &format!("[{} missing, up to {}] ", gap.events, gap.through);
                }
            }
        }
    }
    Ok(sent.trim_end().to_owned())
}

/// `batch`: nothing is left out, in fewer writes. The events come a millisecond apart.
fn batch() -> Result<String> {
    let log = Log::new(LogConfig::default(), 0);
    let mut reader = log.subscribe();
    let mut window = FlushWindow::new(Duration::from_millis(5), 64 << 10);
    let mut writes = Vec::new();
    for ms in 0..20 {
        let now = Duration::from_millis(ms);
        if let Some((_, event)) = EVENTS.get(ms as usize) {
            log.append(ms + 1, event.as_bytes());
        }
        let pending = reader.lag().bytes;
        if pending > 0 && window.handle_pending(pending, now) {
            let chunk = reader.read(64 << 10)?.ok_or("an event is pending")?;
            writes.push(str::from_utf8(&chunk.bytes)?.trim_end().to_owned());
            window.handle_flushed();
        }
    }
    Ok(writes.join(" / "))
}

/// `block`: a publisher asks before it appends.
fn block() -> Result<String> {
    let log = Log::new(LogConfig::default(), 0);
    let mut reader = log.subscribe();
    reader.set_blocking(true);
    let mut cx = Context::from_waker(Waker::noop());
    let (now, deadline) = (Duration::ZERO, Duration::from_secs(5));
    let mut said = String::new();
    for (seq, (_, event)) in (1..).zip(EVENTS) {
        let mut admission = log.admit(MAX, deadline);
        if admission.poll_admit(&mut cx, now).is_pending() {
            said += &format!("{} waits, ", event.trim_end());
            let refused = admission.poll_admit(&mut cx, deadline);
            assert!(refused.is_ready(), "the deadline has come");
            said += "would be refused after 5 s, ";
            let chunk = reader.read(4)?.ok_or("events are pending")?;
            assert_eq!(admission.poll_admit(&mut cx, now), Poll::Ready(Ok(())));
            said += &format!(
                "admitted once {} is read",
                str::from_utf8(&chunk.bytes)?.trim_end()
            );
        }
        log.append(seq, event.as_bytes());
        if seq == 2 {
            reader.read(64 << 10)?;
        }
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `docs/backpressure.md` says.
    #[test]
    fn every_policy_does_what_the_documentation_says() {
        let far = Lag { events: 100, ..MAX };
        let check = |said: Result<String>, expected: &str| {
            assert_eq!(said.expect("the example runs"), expected);
            let docs = include_str!("../../../docs/backpressure.md");
            assert!(
                docs.contains(&format!("`{expected}`")),
                "not in the docs: {expected}"
            );
        };
        let policies = [
            (
                Policy::Replay { max: far },
                "a=1 b=1 [from the store] a=2 b=2 a=3 b=3 a=4 b=4",
            ),
            (
                Policy::Replay { max: MAX },
                "a=1 b=1 [disconnected, resumes after 2]",
            ),
            (
                Policy::Disconnect { max: MAX },
                "a=1 b=1 [disconnected, resumes after 2]",
            ),
            (
                Policy::DropOldest { max: MAX },
                "a=1 b=1 [2 missing, up to 4] a=3 b=3 a=4 b=4",
            ),
        ];
        for (policy, expected) in policies {
            check(plain(policy), expected);
        }
        check(conflate(), "a=1 b=1 [4 superseded] a=4 b=4");
        check(batch(), "a=1 b=1 a=2 b=2 a=3 b=3 / a=4 b=4");
        check(
            block(),
            "b=4 waits, would be refused after 5 s, admitted once a=2 is read",
        );
    }
}
