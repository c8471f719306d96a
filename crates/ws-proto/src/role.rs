//! Server and client, and what differs between them.

use core::fmt;

use crate::mask::MaskSource;

mod sealed {
    #[expect(unnameable_types, reason = "this is what seals the trait")]
    pub trait Sealed {}
}

/// Which end of the connection this is: [`Server`] or [`Client`].
pub trait Role: sealed::Sealed {
    /// Whether frames that arrive must be masked (RFC 6455 section 5.1).
    #[doc(hidden)]
    const RECEIVES_MASKED: bool;

    /// Whether this end closes the transport first once both Close frames went over it (section
    /// 7.1.1: the server does).
    #[doc(hidden)]
    const CLOSES_TRANSPORT: bool;

    /// The masking key of the next frame sent.
    #[doc(hidden)]
    fn next_mask(&mut self) -> Option<[u8; 4]>;
}

/// The server's end: receives masked frames, sends unmasked ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Server;

impl sealed::Sealed for Server {}

impl Role for Server {
    const RECEIVES_MASKED: bool = true;
    const CLOSES_TRANSPORT: bool = true;

    fn next_mask(&mut self) -> Option<[u8; 4]> {
        None
    }
}

/// The client's end: receives unmasked frames, sends frames masked with keys from `M`.
pub struct Client<M: MaskSource>(pub(crate) M);

impl<M: MaskSource> sealed::Sealed for Client<M> {}

impl<M: MaskSource> Role for Client<M> {
    const RECEIVES_MASKED: bool = false;
    const CLOSES_TRANSPORT: bool = false;

    fn next_mask(&mut self) -> Option<[u8; 4]> {
        Some(self.0.next_mask())
    }
}

// Keys still to be used have no place in a log, so the source is not printed.
impl<M: MaskSource> fmt::Debug for Client<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
