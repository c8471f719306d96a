//! A session's reads, writes and deadlines.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};

use super::{STEPS, Session, Stage};
use crate::metrics::Closed;
use crate::turn;

const READ_BUFFER: usize = 16 * 1024;

/// How long a closed session still reads what the peer had sent before it knew.
const LINGER: Duration = Duration::from_secs(1);

impl<IO: AsyncRead + AsyncWrite + Unpin> Session<IO> {
    /// Ready when everything that was begun is written. Fails when the peer takes nothing for two
    /// heartbeats.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut written = self.poll_flushed(cx);
        if written.is_pending() {
            if self.stage == Stage::Open {
                self.enter(Stage::Blocked);
            }
            let patience = self.link.hub().config().heartbeat * 2;
            ready!(self.poll_until(cx, self.deadline(patience)));
            written = Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if let Poll::Ready(Err(error)) = &written
            && error.kind() == io::ErrorKind::TimedOut
        {
            self.link.end(Closed::Stalled);
        }
        written
    }

    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.writing.has_remaining() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.writing))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.writing.advance(written),
            }
            self.stage = Stage::Open;
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.stage = Stage::Open;
            // Or it would keep the page or segment that it is a part of.
            self.writing = Bytes::new();
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the stream in order. What the peer still sends is read and dropped for a moment: closing a
    /// socket with unread bytes resets it, and the reset could overtake the close frame.
    pub(super) fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.poll_until(cx, self.deadline(LINGER)).is_ready() {
            return Poll::Ready(Ok(()));
        }
        if !self.shut {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            self.shut = true;
        }
        for _ in 0..STEPS {
            if ready!(poll_read(&mut self.io, cx))?.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        turn::end(cx)
    }

    /// Ready at the deadline, in the hub's time. It may move with every event: a timer that is early is set again when
    /// it fires, which costs less than to set it each time.
    pub(super) fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Duration) -> Poll<()> {
        let deadline = self.link.hub().started() + deadline;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

/// Reads what there is, nothing at the end of the stream. The buffer for it is the thread's, so that
/// a session holds none while it waits.
pub(super) fn poll_read(
    reader: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
) -> Poll<io::Result<Vec<u8>>> {
    thread_local! {
        static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BUFFER].into());
    }
    BUFFER.with_borrow_mut(|buffer| {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(reader).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().to_vec()))
    })
}
