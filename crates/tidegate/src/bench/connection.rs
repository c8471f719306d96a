//! A connection, with one subscriber or, over HTTP/2, with many.

use std::io;
use std::ops::Range;

use super::http2::{self, Http2};
use super::io::Io;

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) io: Io,
    /// What is to be written and is not yet.
    pub(crate) out: Vec<u8>,
    pub(crate) wire: Wire,
    /// The places of its subscribers.
    pub(crate) subscribers: Range<usize>,
    /// Whether it is read from and written to.
    pub(crate) live: bool,
}

#[derive(Debug)]
pub(crate) enum Wire {
    /// What to write once the head is there.
    Http1 {
        first: Vec<u8>,
    },
    Http2(Box<Http2>),
}

impl Connection {
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.io.flush(&mut self.out)
    }

    /// Queues bytes of a subscriber's own: a WebSocket frame.
    pub(crate) fn say(&mut self, place: usize, bytes: &[u8]) {
        if matches!(self.wire, Wire::Http2(_)) {
            let stream = http2::stream(place - self.subscribers.start);
            http2::write_data(&mut self.out, stream, bytes);
        } else {
            self.out.extend_from_slice(bytes);
        }
    }

    /// The place of the subscriber that has an HTTP/2 stream.
    pub(crate) fn place(&self, stream: u32) -> Option<usize> {
        let place = self.subscribers.start + http2::number(stream)?;
        self.subscribers.contains(&place).then_some(place)
    }
}
