//! How much a decoder may hold, and what it does about more.

/// How much a peer may make a [`Decoder`](crate::Decoder) hold.
///
/// A decoder holds at most one line, one event and two ids. Buffers grow by doubling and are kept
/// for the next event, so the worst case is about
/// `2 * (max_line + max_event) + 4 * max_id` bytes, and for data that is not UTF-8 another
/// `6 * max_event`. A decoder that saw only small events stays small, and lines of data are not held
/// twice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    pub(crate) max_line: usize,
    pub(crate) max_event: usize,
    pub(crate) max_id: usize,
    pub(crate) on_excess: Excess,
}

impl Limits {
    /// The defaults: lines and events of 16 MiB, ids of 64 KiB, [`Excess::SkipEvent`].
    #[must_use]
    pub const fn new() -> Self {
        Self {
            max_line: 16 * 1024 * 1024 + 64,
            max_event: 16 * 1024 * 1024,
            max_id: 64 * 1024,
            on_excess: Excess::SkipEvent,
        }
    }

    /// Longest line in bytes as received, without its line break. Default: 16 MiB and 64 bytes, so
    /// that an event of the largest default size fits on one `data` line.
    pub const fn max_line(&mut self, bytes: usize) -> &mut Self {
        self.max_line = bytes;
        self
    }

    /// Largest event in bytes: its type, and its data as received. Each byte of data that is not
    /// UTF-8 may become a U+FFFD of three bytes beyond that. Default: 16 MiB.
    pub const fn max_event(&mut self, bytes: usize) -> &mut Self {
        self.max_event = bytes;
        self
    }

    /// Longest id in bytes of UTF-8. Default: 64 KiB.
    pub const fn max_id(&mut self, bytes: usize) -> &mut Self {
        self.max_id = bytes;
        self
    }

    /// What to do about an event over a limit. Default: [`Excess::SkipEvent`].
    pub const fn on_excess(&mut self, excess: Excess) -> &mut Self {
        self.on_excess = excess;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

/// What a decoder does about an event that is over a limit. Either way it says so first, with
/// [`Item::TooLarge`](crate::Item::TooLarge).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Excess {
    /// Leave out that one event and go on after it. Its id still counts, so that a client that
    /// resumes does not meet the same event again.
    SkipEvent,
    /// Read nothing more until [`Decoder::reset_connection`](crate::Decoder::reset_connection).
    Stop,
}

/// Which limit was exceeded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Part {
    /// [`Limits::max_line`]
    Line,
    /// [`Limits::max_event`]
    Event,
    /// [`Limits::max_id`]
    Id,
}
