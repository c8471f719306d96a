//! The encoder: one block of an event stream.

use alloc::vec::Vec;
use core::time::Duration;

use crate::field::{EventId, EventName};

/// A comment block, the cheapest thing that keeps a connection alive.
pub const KEEP_ALIVE: &[u8] = b":\n\n";

/// One block of an event stream, to be encoded.
///
/// A block with data is an event. Without data it may still set the client's last event ID or
/// reconnection time, or carry a comment, but dispatches nothing. A frame in which nothing was set
/// encodes to nothing.
///
/// ```
/// use sse_proto::{EventId, EventName, Frame};
///
/// let mut out = Vec::new();
/// Frame::new()
///     .event(EventName::new("tick")?)
///     .id(EventId::new("7")?)
///     .data("one\r\ntwo")
///     .encode_to(&mut out);
/// assert_eq!(out, b"event: tick\nid: 7\ndata: one\ndata: two\n\n");
/// # Ok::<(), sse_proto::FieldError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[must_use]
pub struct Frame<'a> {
    retry_ms: Option<u64>,
    comment: Option<&'a str>,
    event: Option<EventName<'a>>,
    id: Option<EventId<'a>>,
    data: Option<&'a str>,
}

impl<'a> Frame<'a> {
    /// A frame in which nothing is set.
    pub const fn new() -> Self {
        Self {
            retry_ms: None,
            comment: None,
            event: None,
            id: None,
            data: None,
        }
    }

    /// The type of the event. Means nothing without data.
    pub const fn event(mut self, name: EventName<'a>) -> Self {
        self.event = Some(name);
        self
    }

    /// The client's last event ID from here on.
    pub const fn id(mut self, id: EventId<'a>) -> Self {
        self.id = Some(id);
        self
    }

    /// The client's reconnection time from here on, cut to whole milliseconds.
    pub const fn retry(self, delay: Duration) -> Self {
        let secs = delay.as_secs().saturating_mul(1000);
        self.retry_ms(secs.saturating_add(delay.subsec_millis() as u64))
    }

    /// The client's reconnection time from here on, in milliseconds.
    pub const fn retry_ms(mut self, ms: u64) -> Self {
        self.retry_ms = Some(ms);
        self
    }

    /// A comment, which clients ignore.
    pub const fn comment(mut self, text: &'a str) -> Self {
        self.comment = Some(text);
        self
    }

    /// The data. CR, LF and CRLF each count as one line break and reach the client as LF; the
    /// format can carry nothing else. Empty data is an event, too.
    pub const fn data(mut self, text: &'a str) -> Self {
        self.data = Some(text);
        self
    }

    /// The exact number of bytes that the frame encodes to.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let mut len = 0;
        self.write(|bytes| len += bytes.len());
        len
    }

    /// Appends the frame to `out`.
    pub fn encode_to(&self, out: &mut Vec<u8>) {
        // Enough unless there are line breaks, which are not looked for twice.
        let text = |text: Option<&str>| text.map_or(0, |text| text.len() + OVERHEAD);
        out.reserve(
            text(self.comment)
                + text(self.event.map(|name| name.as_str()))
                + text(self.id.map(|id| id.as_str()))
                + text(self.data)
                + MAX_RETRY,
        );
        self.write(|bytes| out.extend_from_slice(bytes));
    }

    /// Appends the frame to `out`.
    #[cfg(feature = "bytes")]
    pub fn encode_to_buf(&self, out: &mut bytes::BytesMut) {
        out.reserve(self.encoded_len());
        self.write(|bytes| out.extend_from_slice(bytes));
    }

    /// The frame as shareable bytes.
    #[cfg(feature = "bytes")]
    #[must_use]
    pub fn to_bytes(&self) -> bytes::Bytes {
        let mut out = bytes::BytesMut::new();
        self.encode_to_buf(&mut out);
        out.freeze()
    }

    fn write(&self, mut put: impl FnMut(&[u8])) {
        if *self == Self::new() {
            return;
        }
        if let Some(ms) = self.retry_ms {
            put(b"retry: ");
            decimal(ms, &mut put);
            put(b"\n");
        }
        if let Some(text) = self.comment {
            lines(b": ", text, &mut put);
        }
        if let Some(name) = self.event {
            line(b"event: ", name.as_str().as_bytes(), &mut put);
        }
        if let Some(id) = self.id {
            line(b"id: ", id.as_str().as_bytes(), &mut put);
        }
        if let Some(text) = self.data {
            lines(b"data: ", text, &mut put);
        }
        put(b"\n");
    }
}

/// What a line takes beside its value, at most.
const OVERHEAD: usize = b"event: \n".len();

/// What the reconnection time and the end of the block take, at most.
const MAX_RETRY: usize = b"retry: 18446744073709551615\n\n".len();

fn lines(prefix: &[u8], text: &str, put: &mut impl FnMut(&[u8])) {
    let mut rest = text.as_bytes();
    while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
        let (head, tail) = rest.split_at(at);
        line(prefix, head, put);
        rest = match tail {
            [b'\r', b'\n', tail @ ..] | [_, tail @ ..] => tail,
            [] => tail,
        };
    }
    line(prefix, rest, put);
}

/// The prefix always ends in the one space that a decoder strips, so a value's own leading space
/// survives.
fn line(prefix: &[u8], value: &[u8], put: &mut impl FnMut(&[u8])) {
    put(prefix);
    put(value);
    put(b"\n");
}

fn decimal(value: u64, put: &mut impl FnMut(&[u8])) {
    if value >= 10 {
        decimal(value / 10, put);
    }
    put(&[b'0' + (value % 10) as u8]);
}
