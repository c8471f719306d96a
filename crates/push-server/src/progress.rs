//! Cuts connections that make no write progress.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use crate::link::Peer;

/// A byte stream whose writes fail with [`io::ErrorKind::TimedOut`] once the peer has taken
/// nothing for `patience` while something was to be written. Policies act on what is not yet in
/// the kernel; this ends a peer that holds on to what is.
pub(crate) struct WriteProgress<IO> {
    io: IO,
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    peer: Peer,
    /// Counts the connection for as long as its socket is open, whoever has it.
    _permit: Option<OwnedSemaphorePermit>,
}

impl<IO> WriteProgress<IO> {
    pub(crate) const fn new(
        io: IO,
        patience: Duration,
        peer: Peer,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            io,
            patience,
            stalled: None,
            peer,
            _permit: permit,
        }
    }

    pub(crate) const fn get_ref(&self) -> &IO {
        &self.io
    }

    fn judge<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_pending() != self.stalled.is_some() {
            self.peer.set_blocked(written.is_pending());
        }
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + patience)));
        std::task::ready!(stalled.as_mut().poll(cx));
        self.peer.set_cut();
        tracing::debug!(?patience, "cut a connection that took nothing");
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for WriteProgress<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for WriteProgress<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.judge(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.judge(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::metrics::Registry;

    fn anyone() -> Peer {
        let address = ([127, 0, 0, 1], 1).into();
        Peer::new(std::sync::Arc::new(Registry::new()), address)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_cut_after_the_patience_and_no_sooner() {
        let (mut peer, io) = tokio::io::duplex(4);
        let mut io = WriteProgress::new(io, Duration::from_secs(30), anyone(), None);
        let begun = Instant::now();
        let error = io.write_all(b"0123456789").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), 30);
        let mut taken = [0; 4];
        peer.read_exact(&mut taken).await.unwrap();
        assert_eq!(&taken, b"0123");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_a_little_at_a_time_is_kept() {
        let (mut peer, io) = tokio::io::duplex(1);
        let mut io = WriteProgress::new(io, Duration::from_secs(30), anyone(), None);
        let reader = tokio::spawn(async move {
            let mut taken = Vec::new();
            while taken.len() < 10 {
                tokio::time::sleep(Duration::from_secs(29)).await;
                taken.push(peer.read_u8().await.unwrap());
            }
            taken
        });
        io.write_all(b"0123456789").await.unwrap();
        assert_eq!(reader.await.unwrap(), b"0123456789");
    }
}
