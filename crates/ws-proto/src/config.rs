//! The limits of a connection.

use core::time::Duration;

/// The limits of a connection.
///
/// A [`Connection`](crate::Connection) holds no payload, so none of these costs memory by itself;
/// they bound what is handed on. With an [`Assembler`](crate::Assembler) per connection the worst
/// case is twice [`max_message`](Self::max_message) (a vector grows by doubling) for each peer that
/// is in the middle of a message.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub(crate) max_frame: u64,
    pub(crate) max_message: u64,
    pub(crate) max_fragments: u32,
    pub(crate) max_pings: u32,
    pub(crate) message_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) compressed: bool,
}

impl Config {
    /// The largest payload of one data frame, in bytes; 1 MiB by default. A larger one is refused
    /// on its header with [`CloseCode::TOO_BIG`](crate::CloseCode::TOO_BIG).
    pub fn max_frame(&mut self, bytes: usize) -> &mut Self {
        self.max_frame = bytes as u64;
        self
    }

    /// The largest message over all its fragments, in bytes; 1 MiB by default. The frame that would
    /// exceed it is refused on its header with [`CloseCode::TOO_BIG`](crate::CloseCode::TOO_BIG).
    pub fn max_message(&mut self, bytes: usize) -> &mut Self {
        self.max_message = bytes as u64;
        self
    }

    /// The most frames that one message may come in, empty ones counted; 4096 by default, and never
    /// less than one. A further one is refused on its first byte with
    /// [`CloseCode::POLICY`](crate::CloseCode::POLICY).
    pub fn max_fragments(&mut self, count: u32) -> &mut Self {
        self.max_fragments = count.max(1);
        self
    }

    /// The most pings and pongs, counted together, that may arrive within one second; 10,000 by
    /// default. One more is refused with [`CloseCode::POLICY`](crate::CloseCode::POLICY). They are
    /// never queued, so this saves time alone: that of answering them.
    pub fn max_pings(&mut self, per_second: u32) -> &mut Self {
        self.max_pings = per_second;
        self
    }

    /// How long a message may take from its first byte to its last, pings between its fragments
    /// included; 60 s by default. [`Connection::handle_timeout`](crate::Connection::handle_timeout)
    /// then fails the connection with [`CloseCode::POLICY`](crate::CloseCode::POLICY), so a peer
    /// cannot hold the memory of a message that it never ends. [`Duration::MAX`] lifts the limit.
    pub fn message_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.message_timeout = timeout;
        self
    }

    /// Whether the peer may send compressed messages: set it if and only if the opening handshake
    /// agreed on permessage-deflate (RFC 7692); not by default. The limits above then hold for the
    /// compressed size; an `Assembler` that inflates limits the other.
    pub fn compressed(&mut self, allowed: bool) -> &mut Self {
        self.compressed = allowed;
        self
    }

    /// How long the closing handshake may take from its first Close frame; 10 s by default. After
    /// that the connection counts as closed, whatever the peer does.
    pub fn close_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.close_timeout = timeout;
        self
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_frame: 1 << 20,
            max_message: 1 << 20,
            max_fragments: 4096,
            max_pings: 10_000,
            message_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(10),
            compressed: false,
        }
    }
}
