//! An event stream on a socket of its own: what is left of a connection when nothing but events
//! will ever be written to it.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use backpressure::ShardHandle;
use bytes::{Buf as _, Bytes};
use http::response::Parts;
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::shard::Work;
use super::socket::Socket;
use super::ticket::Ticket;
use crate::sse::EventBody;
use crate::turn;

/// What a client may send behind its request. It is read, so that its end is noticed, and dropped.
const MAX_DISCARDED: usize = 8 * 1024;

/// How long an ended stream waits for the client to close.
const LINGER: Duration = Duration::from_secs(1);

/// After so many writes in a row others get their turn, or after [`turn::BYTES`].
const WRITES_PER_TURN: usize = 4;

/// One stream. The future completes when it is over, in order or not.
pub(crate) struct RawStream {
    io: Socket,
    body: EventBody,
    /// What is next to be written.
    pending: Bytes,
    discarded: usize,
    /// Everything was written; the client closes, or this is over.
    lingering: Option<Pin<Box<Sleep>>>,
}

impl RawStream {
    pub(crate) fn new(io: Socket, head: &Parts, body: EventBody, discarded: usize) -> Self {
        Self {
            io,
            body,
            pending: write_head(head).into(),
            discarded,
            lingering: None,
        }
    }

    pub(crate) fn set_shard(&mut self, shard: ShardHandle) {
        self.body.on_own_socket();
        self.body.set_shard(shard);
    }

    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A client that is gone is noticed before anything is written to it.
        self.poll_discard(cx)?;
        if self.lingering.is_none() {
            ready!(self.poll_write(cx))?;
        }
        self.poll_linger(cx)
    }

    /// Ready when the stream has ended and all of it was written.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut taken = 0;
        for _ in 0..WRITES_PER_TURN {
            while self.pending.has_remaining() {
                match ready!(Pin::new(&mut self.io).poll_write(cx, &self.pending))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    written => {
                        self.pending.advance(written);
                        taken += written;
                    }
                }
            }
            // Or what was written would keep the page or segment that it is a part of.
            self.pending = Bytes::new();
            if taken >= turn::BYTES {
                break;
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => self.pending = frame.into_data().unwrap_or_default(),
                // Without a length or chunks, only a reset tells a cut from an end.
                Some(Err(_)) => {
                    self.io.set_zero_linger()?;
                    return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                }
                None => return Poll::Ready(Ok(())),
            }
        }
        turn::end(cx)
    }

    /// Ready when the client has closed, or did not in time.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            self.lingering = Some(Box::pin(sleep(LINGER)));
            // What came meanwhile is read, or closing would reset the connection.
            self.poll_discard(cx)?;
        }
        match &mut self.lingering {
            Some(linger) => linger.as_mut().poll(cx).map(Ok),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Reads until there is nothing to read. The client's end is an error, as it is for hyper: a
    /// client that closes only its writing half gets no more either.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        // Not zeroed for every event.
        let mut bytes = [const { MaybeUninit::uninit() }; 512];
        loop {
            let mut buffer = ReadBuf::uninit(&mut bytes);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Pending => return Ok(()),
                Poll::Ready(read) => read?,
            }
            self.discarded += buffer.filled().len();
            if buffer.filled().is_empty() || self.discarded > MAX_DISCARDED {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        }
    }
}

impl Work for RawStream {
    fn seat(&mut self, ticket: &Arc<Ticket>) {
        self.io.seat(ticket);
    }
}

impl Future for RawStream {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let ended = ready!(self.poll_stream(cx));
        tracing::debug!(?ended, "an event stream is over");
        Poll::Ready(())
    }
}

/// The head of a response whose end is the end of the connection, which every version of HTTP/1
/// and every proxy understands.
fn write_head(head: &Parts) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    let mut field = |name: &str, value: &[u8]| {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    };
    for (name, value) in &head.headers {
        field(name.as_str(), value.as_bytes());
    }
    field("connection", b"close");
    if !head.headers.contains_key(http::header::DATE) {
        let now = httpdate::fmt_http_date(SystemTime::now());
        field("date", now.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An allocator's size: one byte more would take 64.
    #[test]
    fn an_event_stream_takes_448_bytes_with_its_socket() {
        let bytes = size_of::<RawStream>();
        assert!(bytes <= 448, "{bytes}");
    }
}
