//! Messages that are encoded once and sent to many.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::connection::Connection;
#[cfg(feature = "deflate")]
use crate::deflate::Deflater;
use crate::error::SendError;
#[cfg(feature = "deflate")]
use crate::frame::{Header, Parsed};
use crate::frame::{Kind, OpCode, encode_server_frame};
use crate::handshake::{DeflateSide, WindowBits};
use crate::role::Server;

/// A message as a server sends it, encoded once for each form that connections agreed on. Sending it
/// costs one reference, whatever its size.
///
/// ```
/// use ws_proto::{Config, Connection, Prepared};
///
/// let message = Prepared::text("to everybody");
/// let mut server = Connection::server(Config::default());
/// // What `poll_transmit` gives goes first; then this, as it is.
/// let frame = server.send_prepared(&message, None)?;
/// assert_eq!(&frame[..2], b"\x81\x0c");
/// # Ok::<(), ws_proto::SendError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Prepared {
    plain: Bytes,
    /// Compressed by itself, with a window of this size at most.
    deflated: Option<(Bytes, WindowBits)>,
}

impl Prepared {
    /// A text message.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::new(OpCode::Text, text.as_bytes())
    }

    /// A binary message.
    #[must_use]
    pub fn binary(bytes: &[u8]) -> Self {
        Self::new(OpCode::Binary, bytes)
    }

    fn new(opcode: OpCode, payload: &[u8]) -> Self {
        let mut frame = Vec::new();
        encode_server_frame(opcode, payload, &mut frame);
        Self {
            plain: frame.into(),
            deflated: None,
        }
    }

    /// Adds the compressed form, by a `deflater` that serves every message of its worker and was
    /// made for no context takeover. A form that is not smaller is not kept.
    ///
    /// # Panics
    /// If `deflater` keeps its context: nobody but one connection could inflate what it writes.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn with_deflate(mut self, deflater: &mut Deflater) -> Self {
        let side = deflater.side();
        assert!(
            side.no_context_takeover,
            "a prepared message is compressed without context takeover"
        );
        let Some((kind, payload)) = self.message() else {
            return self;
        };
        let mut deflated = Vec::new();
        if deflater.deflate(payload, true, &mut deflated).is_ok() {
            let mut header = Header::new(kind.into(), deflated.len() as u64);
            header.rsv1 = true;
            let frame = [&header.encode()[..], &deflated].concat();
            if frame.len() < self.plain.len() {
                self.deflated = Some((frame.into(), side.max_window_bits));
            }
        }
        self
    }

    /// The frame for a connection that agreed on this for its server, `None` if on no compression.
    ///
    /// The compressed form is for connections without context takeover alone: with it, the peer's
    /// window would hold a message that the connection's own compressor has not seen.
    #[must_use]
    pub fn frame(&self, agreed: Option<DeflateSide>) -> &Bytes {
        match (&self.deflated, agreed) {
            (Some((frame, bits)), Some(agreed))
                if agreed.no_context_takeover && *bits <= agreed.max_window_bits =>
            {
                frame
            }
            _ => &self.plain,
        }
    }

    #[cfg(feature = "deflate")]
    fn message(&self) -> Option<(Kind, &[u8])> {
        let Parsed::Done { header, used } = Header::parse(&self.plain).ok()? else {
            return None;
        };
        let kind = match header.opcode {
            OpCode::Text => Kind::Text,
            _ => Kind::Binary,
        };
        Some((kind, self.plain.get(used..)?))
    }
}

impl Connection<Server> {
    /// The frame of a prepared message for this connection, to be written after the control frames
    /// that are due. `agreed` is what holds for the server; see [`Prepared::frame`].
    ///
    /// # Errors
    /// [`SendError::Closing`] or [`SendError::MessageUnfinished`]; then nothing may be written.
    pub fn send_prepared(
        &mut self,
        message: &Prepared,
        agreed: Option<DeflateSide>,
    ) -> Result<Bytes, SendError> {
        let frame = message.frame(agreed);
        // The header is in the frame already; this asks whether one may be sent.
        self.start_message(Kind::Binary, frame.len() as u64)?;
        Ok(frame.clone())
    }
}
