//! Who is compared: each publishes events of 64 bytes to readers that are drained afterwards.

use std::hint::black_box;

use backpressure::{Log, LogConfig, Reader};
use bytes::Bytes;
use tokio::sync::{broadcast, mpsc};

pub const EVENT: [u8; 64] = [b'x'; 64];

/// One publisher and its readers.
pub trait FanOut {
    /// Publishes one event, and wakes whoever waits.
    fn publish(&mut self, event: &Bytes);
    /// Takes everything out of every reader and returns the bytes.
    fn drain(&mut self) -> usize;
}

struct SegmentLog {
    log: Log,
    readers: Vec<Reader>,
    seq: u64,
}

impl FanOut for SegmentLog {
    fn publish(&mut self, event: &Bytes) {
        self.seq += 1;
        self.log.publish(self.seq, event);
    }

    fn drain(&mut self) -> usize {
        let mut bytes = 0;
        for reader in &mut self.readers {
            while let Some(chunk) = reader.read(64 << 10).expect("nothing is evicted") {
                bytes += black_box(chunk).bytes.len();
            }
        }
        bytes
    }
}

struct Broadcast {
    sender: broadcast::Sender<Bytes>,
    readers: Vec<broadcast::Receiver<Bytes>>,
}

impl FanOut for Broadcast {
    fn publish(&mut self, event: &Bytes) {
        self.sender.send(event.clone()).expect("there are readers");
    }

    fn drain(&mut self) -> usize {
        let mut bytes = 0;
        for reader in &mut self.readers {
            while let Ok(event) = reader.try_recv() {
                bytes += black_box(event).len();
            }
        }
        bytes
    }
}

struct AsyncBroadcast {
    sender: async_broadcast::Sender<Bytes>,
    readers: Vec<async_broadcast::Receiver<Bytes>>,
}

impl FanOut for AsyncBroadcast {
    fn publish(&mut self, event: &Bytes) {
        self.sender.try_broadcast(event.clone()).expect("it fits");
    }

    fn drain(&mut self) -> usize {
        let mut bytes = 0;
        for reader in &mut self.readers {
            while let Ok(event) = reader.try_recv() {
                bytes += black_box(event).len();
            }
        }
        bytes
    }
}

struct Mpsc(Vec<(mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>)>);

impl FanOut for Mpsc {
    fn publish(&mut self, event: &Bytes) {
        for (sender, _) in &self.0 {
            sender.try_send(event.clone()).expect("it fits");
        }
    }

    fn drain(&mut self) -> usize {
        let mut bytes = 0;
        for (_, reader) in &mut self.0 {
            while let Ok(event) = reader.try_recv() {
                bytes += black_box(event).len();
            }
        }
        bytes
    }
}

struct Flume(Vec<(flume::Sender<Bytes>, flume::Receiver<Bytes>)>);

impl FanOut for Flume {
    fn publish(&mut self, event: &Bytes) {
        for (sender, _) in &self.0 {
            sender.try_send(event.clone()).expect("it fits");
        }
    }

    fn drain(&mut self) -> usize {
        let mut bytes = 0;
        for (_, reader) in &mut self.0 {
            while let Ok(event) = reader.try_recv() {
                bytes += black_box(event).len();
            }
        }
        bytes
    }
}

pub type Make = fn(readers: usize, backlog: usize) -> Box<dyn FanOut>;

pub const PEERS: [(&str, Make); 5] = [
    ("backpressure", |readers, _| {
        let log = Log::new(LogConfig::default(), 0);
        let readers = (0..readers).map(|_| log.subscribe()).collect();
        Box::new(SegmentLog {
            log,
            readers,
            seq: 0,
        })
    }),
    ("tokio broadcast", |readers, backlog| {
        let (sender, _) = broadcast::channel(backlog);
        let readers = (0..readers).map(|_| sender.subscribe()).collect();
        Box::new(Broadcast { sender, readers })
    }),
    ("async-broadcast", |readers, backlog| {
        let (sender, first) = async_broadcast::broadcast(backlog);
        let readers = (1..readers)
            .map(|_| sender.new_receiver())
            .chain([first])
            .collect();
        Box::new(AsyncBroadcast { sender, readers })
    }),
    ("tokio mpsc each", |readers, backlog| {
        Box::new(Mpsc((0..readers).map(|_| mpsc::channel(backlog)).collect()))
    }),
    ("flume each", |readers, backlog| {
        Box::new(Flume(
            (0..readers).map(|_| flume::bounded(backlog)).collect(),
        ))
    }),
];
