//! The socket of a subscription that has a place with a worker.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::ticket::Ticket;
use crate::progress::WriteProgress;

/// A socket that costs an event one `send` and little else.
///
/// An event wakes many subscriptions, few of which have anything to read. Each would ask the runtime,
/// which keeps what it knows of a socket apart from the socket: memory that no cache holds when there
/// are thousands. So reading waits until the socket itself has woken the subscription, and writing
/// asks the runtime once the kernel takes nothing more.
pub(crate) struct Socket {
    io: WriteProgress<TcpStream>,
    /// Of the place, once there is one.
    ticket: Option<Arc<Ticket>>,
}

impl Socket {
    pub(crate) const fn new(io: WriteProgress<TcpStream>) -> Self {
        Self { io, ticket: None }
    }

    /// From here on it is read by whoever polls that place.
    pub(crate) fn seat(&mut self, ticket: &Arc<Ticket>) {
        self.ticket = Some(Arc::clone(ticket));
    }

    /// Closing resets the connection.
    pub(super) fn set_zero_linger(&self) -> io::Result<()> {
        self.io.get_ref().set_zero_linger()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { io, ticket } = &mut *self;
        let Some(ticket) = ticket else {
            return Pin::new(io).poll_read(cx, buf);
        };
        if !ticket.take_readable() {
            return Poll::Pending;
        }
        let read = Pin::new(io).poll_read(&mut Context::from_waker(&ticket.reading()), buf);
        if read.is_ready() {
            ticket.set_readable();
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        #[cfg(target_os = "linux")]
        if !self.io.is_blocked() {
            use rustix::io::Errno;
            use rustix::net::{SendFlags, send};

            match send(self.io.get_ref(), buf, SendFlags::NOSIGNAL) {
                Ok(written) => return Poll::Ready(Ok(written)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Wake as _;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::link::Peer;
    use crate::metrics::Registry;
    use crate::serve::ticket::Woken;

    /// A seated socket and its client.
    struct Pair {
        socket: Socket,
        client: Option<TcpStream>,
        ticket: Arc<Ticket>,
        woken: Arc<Woken>,
    }

    async fn pair() -> Pair {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address);
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (accepted, address) = accepted.unwrap();
        let patience = Duration::from_secs(60);
        let peer = Peer::new(Arc::new(Registry::new()), address, patience);
        let mut socket = Socket::new(WriteProgress::new(accepted, peer, None));
        let woken = Arc::default();
        let ticket = Ticket::new(7, &woken);
        socket.seat(&ticket);
        ticket.begin();
        Pair {
            socket,
            client: Some(client.unwrap()),
            ticket,
            woken,
        }
    }

    impl Pair {
        fn client(&mut self) -> &mut TcpStream {
            self.client.as_mut().unwrap()
        }

        /// Polls what the place polls, once.
        fn poll<T>(
            &mut self,
            poll: impl FnOnce(Pin<&mut Socket>, &mut Context<'_>) -> Poll<T>,
        ) -> Poll<T> {
            let waker = Arc::clone(&self.ticket).into();
            poll(Pin::new(&mut self.socket), &mut Context::from_waker(&waker))
        }

        fn poll_read(&mut self) -> Poll<Vec<u8>> {
            let mut bytes = [0; 4];
            let mut buffer = ReadBuf::new(&mut bytes);
            self.poll(|io, cx| io.poll_read(cx, &mut buffer))
                .map(|read| {
                    read.unwrap();
                    buffer.filled().to_vec()
                })
        }

        /// Waits until the place was woken.
        async fn woken(&self) {
            let mut places = Vec::new();
            poll_fn(|cx| {
                self.woken.take_into(&mut places, cx);
                if places.is_empty() {
                    Poll::Pending
                } else {
                    Poll::Ready(())
                }
            })
            .await;
            assert_eq!(places, [7]);
            self.ticket.begin();
        }
    }

    #[tokio::test]
    async fn what_the_client_sends_wakes_the_place_and_is_read_to_its_end() {
        let mut pair = pair().await;
        assert_eq!(pair.poll_read(), Poll::Pending);
        for _ in 0..3 {
            pair.client().write_all(b"what it").await.unwrap();
            pair.woken().await;
            assert_eq!(pair.poll_read(), Poll::Ready(b"what".to_vec()));
            assert_eq!(pair.poll_read(), Poll::Ready(b" it".to_vec()));
            assert_eq!(pair.poll_read(), Poll::Pending);
        }
        pair.client().shutdown().await.unwrap();
        pair.woken().await;
        assert_eq!(pair.poll_read(), Poll::Ready(Vec::new()));
    }

    #[tokio::test]
    async fn nothing_is_asked_while_the_socket_has_woken_nobody() {
        let mut pair = pair().await;
        assert_eq!(pair.poll_read(), Poll::Pending);
        // An event wakes the place as well, and says nothing about the socket.
        Arc::clone(&pair.ticket).wake();
        pair.woken().await;
        assert!(!pair.ticket.take_readable());
        assert_eq!(pair.poll_read(), Poll::Pending);
        pair.client().write_all(b"yes").await.unwrap();
        pair.woken().await;
        assert_eq!(pair.poll_read(), Poll::Ready(b"yes".to_vec()));
    }

    #[tokio::test]
    async fn a_full_socket_is_written_on_once_there_is_room() {
        let mut pair = pair().await;
        let piece = [b'x'; 64 * 1024];
        let mut written = 0;
        for round in 0..3 {
            while let Poll::Ready(taken) = pair.poll(|io, cx| io.poll_write(cx, &piece)) {
                written += taken.unwrap();
            }
            assert!(pair.socket.io.is_blocked(), "in round {round}");
            let mut taken = vec![0; written];
            pair.client().read_exact(&mut taken).await.unwrap();
            written = 0;
            pair.woken().await;
        }
        let more = pair.poll(|io, cx| io.poll_write(cx, b"more"));
        assert!(matches!(more, Poll::Ready(Ok(4))), "{more:?}");
        assert!(!pair.socket.io.is_blocked());
    }

    #[tokio::test]
    async fn a_reset_wakes_the_place_and_fails_what_is_written() {
        let mut pair = pair().await;
        assert_eq!(pair.poll_read(), Poll::Pending);
        // Dropping it resets the connection.
        let client = pair.client.take().unwrap();
        client.set_zero_linger().unwrap();
        drop(client);
        pair.woken().await;
        let written = pair.poll(|io, cx| io.poll_write(cx, b"late"));
        assert!(matches!(written, Poll::Ready(Err(_))), "{written:?}");
    }
}
