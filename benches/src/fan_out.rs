//! Fan-out by `backpressure`: what an event costs, however many readers and logs there are.

use backpressure::{Log, LogConfig, Reader};

/// The events of one turn.
pub const EVENTS: usize = 16;

/// An encoded event.
pub const EVENT: [u8; 64] = [b'x'; 64];

/// A log and its readers.
#[derive(Debug)]
pub struct OneLog {
    log: Log,
    readers: Vec<Reader>,
    seq: u64,
}

impl OneLog {
    /// A log with so many readers at its head.
    #[must_use]
    pub fn new(readers: usize) -> Self {
        let log = Log::new(LogConfig::default(), 0);
        let readers = (0..readers).map(|_| log.subscribe()).collect();
        Self {
            log,
            readers,
            seq: 0,
        }
    }

    /// Appends [`EVENTS`] events, and wakes after each.
    pub fn publish(&mut self) {
        for _ in 0..EVENTS {
            self.seq += 1;
            self.log.publish(self.seq, &EVENT);
        }
    }

    /// Has every reader take what is pending, and returns the bytes.
    ///
    /// # Panics
    ///
    /// If unread events were evicted.
    pub fn drain(&mut self) -> usize {
        let mut bytes = 0;
        for reader in &mut self.readers {
            while let Some(chunk) = reader.read(64 << 10).expect("nothing is evicted") {
                bytes += chunk.bytes.len();
            }
        }
        bytes
    }
}
