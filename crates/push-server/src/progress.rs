//! Cuts connections that make no write progress.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use crate::link::Peer;

/// A byte stream whose writes fail with [`io::ErrorKind::TimedOut`] once the peer has taken
/// nothing for its [patience](Peer::patience) while something was to be written. Policies act on what is not yet in
/// the kernel; this ends a peer that holds on to what is.
pub(crate) struct WriteProgress<IO> {
    io: IO,
    stalled: Option<Pin<Box<Sleep>>>,
    peer: Peer,
    /// Counts the connection for as long as its socket is open, whoever has it.
    _permit: Option<OwnedSemaphorePermit>,
}

/// Parts of up to so many bytes together are copied into one: `send` takes the kernel less time than
/// `writev`, and an answer of the hub is a head and a short body.
const JOINED: usize = 512;

impl<IO> WriteProgress<IO> {
    pub(crate) const fn new(io: IO, peer: Peer, permit: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            io,
            stalled: None,
            peer,
            _permit: permit,
        }
    }

    pub(crate) const fn get_ref(&self) -> &IO {
        &self.io
    }

    /// The last write found no room.
    pub(crate) const fn is_blocked(&self) -> bool {
        self.stalled.is_some()
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
        let patience = self.peer.patience();
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
        let len = bufs.iter().map(|buf| buf.len()).sum();
        let written = if len <= JOINED {
            let mut joined = [0; JOINED];
            let mut end = 0;
            for buf in bufs {
                joined[end..end + buf.len()].copy_from_slice(buf);
                end += buf.len();
            }
            Pin::new(&mut self.io).poll_write(cx, &joined[..len])
        } else {
            Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
        };
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
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::metrics::Registry;

    /// Takes everything, and keeps what each write brought.
    #[derive(Default)]
    struct Writes(Vec<Vec<u8>>);

    impl AsyncWrite for Writes {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.push(buf.to_vec());
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn short_parts_are_written_as_one_and_long_ones_as_they_are() {
        let mut io = WriteProgress::new(Writes::default(), anyone(Duration::MAX), None);
        let long = [b'x'; JOINED];
        let (short, too_long) = ([b"head ".as_slice(), b"", b"body"], [b"head", &long[..]]);
        assert_eq!(
            io.write_vectored(&short.map(io::IoSlice::new))
                .await
                .unwrap(),
            9
        );
        // What has no vectored writes of its own takes the first part.
        assert_eq!(
            io.write_vectored(&too_long.map(io::IoSlice::new))
                .await
                .unwrap(),
            4
        );
        assert_eq!(io.get_ref().0, [b"head body".as_slice(), b"head"]);
    }

    fn anyone(patience: Duration) -> Peer {
        let address = ([127, 0, 0, 1], 1).into();
        Peer::new(std::sync::Arc::new(Registry::new()), address, patience)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_cut_after_the_patience_and_no_sooner() {
        let (mut peer, io) = tokio::io::duplex(4);
        let mut io = WriteProgress::new(io, anyone(Duration::from_secs(30)), None);
        let begun = Instant::now();
        let error = io.write_all(b"0123456789").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), 30);
        let mut taken = [0; 4];
        peer.read_exact(&mut taken).await.unwrap();
        assert_eq!(&taken, b"0123");
    }

    #[test]
    fn no_patience_is_shorter_than_it_was_said_to_be() {
        for nanos in [1, 999_999, 1_000_001] {
            let said = Duration::from_nanos(nanos);
            assert!(anyone(said).patience() >= said, "{said:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_a_little_at_a_time_is_kept() {
        let (mut peer, io) = tokio::io::duplex(1);
        let mut io = WriteProgress::new(io, anyone(Duration::from_secs(30)), None);
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
