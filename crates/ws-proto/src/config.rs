//! The limits of a connection.

use core::time::Duration;

/// The limits of a connection.
///
/// A [`Connection`](crate::Connection) holds no payload, so none of these costs memory by itself;
/// they bound what is handed on. With an [`Assembler`](crate::Assembler) per connection the worst
/// case is 1.25 times [`max_message`](Self::max_message) for each peer that is in the middle of a
/// message, and while that grows, once more.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub(crate) limits: Limits,
    pub(crate) compressed: bool,
}

/// What each connection keeps of its [`Config`]: 32 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_frame: u64,
    pub(crate) max_message: u64,
    pub(crate) max_fragments: u32,
    pub(crate) max_pings: u32,
    /// In milliseconds, `u32::MAX` for never.
    message_timeout: u32,
    /// In milliseconds.
    close_timeout: u32,
}

impl Limits {
    /// When a message that began `now` has to be over.
    pub(crate) fn message_deadline(&self, now: Duration) -> Option<Duration> {
        let timeout = Duration::from_millis(self.message_timeout.into());
        now.checked_add(timeout)
            .filter(|_| self.message_timeout < u32::MAX)
    }

    /// When a closing handshake that began `now` has to be over.
    pub(crate) fn close_deadline(&self, now: Duration) -> Duration {
        now.saturating_add(Duration::from_millis(self.close_timeout.into()))
    }
}

/// The time in milliseconds, rounded up, so that nobody is given less than was asked for.
fn millis(timeout: Duration) -> u32 {
    u32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

impl Config {
    /// The largest payload of one data frame, in bytes; 1 MiB by default. A larger one is refused
    /// on its header with [`CloseCode::TOO_BIG`](crate::CloseCode::TOO_BIG).
    pub fn max_frame(&mut self, bytes: usize) -> &mut Self {
        self.limits.max_frame = bytes as u64;
        self
    }

    /// The largest message over all its fragments, in bytes; 1 MiB by default. The frame that would
    /// exceed it is refused on its header with [`CloseCode::TOO_BIG`](crate::CloseCode::TOO_BIG).
    pub fn max_message(&mut self, bytes: usize) -> &mut Self {
        self.limits.max_message = bytes as u64;
        self
    }

    /// The most frames that one message may come in, empty ones counted; 4096 by default, and never
    /// less than one. A further one is refused on its first byte with
    /// [`CloseCode::POLICY`](crate::CloseCode::POLICY).
    pub fn max_fragments(&mut self, count: u32) -> &mut Self {
        self.limits.max_fragments = count.max(1);
        self
    }

    /// The most pings and pongs, counted together, that may arrive within one second; 10,000 by
    /// default. One more is refused with [`CloseCode::POLICY`](crate::CloseCode::POLICY). They are
    /// never queued, so this saves time alone: that of answering them.
    pub fn max_pings(&mut self, per_second: u32) -> &mut Self {
        self.limits.max_pings = per_second;
        self
    }

    /// How long a message may take from its first byte to its last, pings between its fragments
    /// included; 60 s by default. [`Connection::handle_timeout`](crate::Connection::handle_timeout)
    /// then fails the connection with [`CloseCode::POLICY`](crate::CloseCode::POLICY), so a peer
    /// cannot hold the memory of a message that it never ends. Kept in milliseconds, rounded up;
    /// 50 days or more, and so [`Duration::MAX`], lift the limit.
    pub fn message_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.limits.message_timeout = millis(timeout);
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
    /// that the connection counts as closed, whatever the peer does. Kept in milliseconds, rounded
    /// up, 49 days at most.
    pub fn close_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.limits.close_timeout = millis(timeout);
        self
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits {
                max_frame: 1 << 20,
                max_message: 1 << 20,
                max_fragments: 4096,
                max_pings: 10_000,
                message_timeout: 60_000,
                close_timeout: 10_000,
            },
            compressed: false,
        }
    }
}
