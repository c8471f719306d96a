//! Messages to be sent, whole and in fragments (RFC 6455 sections 5.4 and 6.1).

use crate::connection::Connection;
use crate::decoder::Coding;
#[cfg(feature = "deflate")]
use crate::deflate::Deflater;
use crate::error::SendError;
use crate::frame::{Header, Kind, OpCode};
#[cfg(feature = "deflate")]
use crate::mask::apply_mask;
#[cfg(feature = "alloc")]
use crate::mask::extend_with_frame;
use crate::role::Role;
#[cfg(feature = "alloc")]
use crate::utf8::Utf8;
#[cfg(feature = "alloc")]
use alloc::vec::Vec;

/// Whether a fragmented message goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// More fragments follow.
    More,
    /// This is the last one.
    Last,
}

impl<R: Role> Connection<R> {
    /// Appends a whole message as one frame to `out`, after the control frames that are due.
    ///
    /// # Errors
    /// [`SendError`] says why nothing was written; the text of a text message is validated.
    #[cfg(feature = "alloc")]
    pub fn send(&mut self, kind: Kind, payload: &[u8], out: &mut Vec<u8>) -> Result<(), SendError> {
        if kind == Kind::Text && core::str::from_utf8(payload).is_err() {
            return Err(SendError::InvalidUtf8);
        }
        let header = self.start_message(kind, payload.len() as u64)?;
        self.write(&header, payload, out);
        Ok(())
    }

    /// Appends a whole message as one frame to `out` like [`send`](Self::send), compressed by the
    /// connection's own `deflater` (RFC 7692). Only after permessage-deflate was agreed on. What is not
    /// worth compressing goes through `send`: both may be mixed freely. What was compressed is sent,
    /// also if it grew, since the deflater's window has moved and the peer's must follow.
    ///
    /// # Errors
    /// [`SendError`] says why nothing was written; `deflater` then was not touched, except by
    /// [`SendError::Compression`].
    #[cfg(feature = "deflate")]
    pub fn send_compressed(
        &mut self,
        kind: Kind,
        payload: &[u8],
        deflater: &mut Deflater,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        if kind == Kind::Text && core::str::from_utf8(payload).is_err() {
            return Err(SendError::InvalidUtf8);
        }
        let mut header = self.start_message(kind, 0)?;
        header.rsv1 = true;
        self.write_deflated(header, payload, deflater, out)
    }

    /// Appends the next fragment of a message to `out`, after the control frames that are due. The
    /// first fragment begins the message, [`Fragment::Last`] ends it. A character of a text message
    /// may be cut between fragments.
    ///
    /// # Errors
    /// [`SendError`] says why nothing was written.
    #[cfg(feature = "alloc")]
    pub fn send_fragment(
        &mut self,
        kind: Kind,
        fragment: Fragment,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        let utf8 = self.validate(kind, fragment, payload)?;
        let header = self.start_fragment(kind, fragment, payload.len() as u64)?;
        self.sending_utf8 = utf8;
        self.write(&header, payload, out);
        Ok(())
    }

    /// Appends the next fragment of a message to `out` like [`send_fragment`](Self::send_fragment),
    /// compressed like [`send_compressed`](Self::send_compressed). The peer can inflate each
    /// fragment when it arrives; that costs four bytes for each but the last.
    ///
    /// All fragments of a message are compressed, or none: RSV1 is on the first (RFC 7692 section
    /// 6.1). Other messages cannot come between (RFC 6455 section 5.4), so neither can they within
    /// `deflater`.
    ///
    /// # Errors
    /// [`SendError`] says why nothing was written; `deflater` then was not touched, except by
    /// [`SendError::Compression`].
    #[cfg(feature = "deflate")]
    pub fn send_fragment_compressed(
        &mut self,
        kind: Kind,
        fragment: Fragment,
        payload: &[u8],
        deflater: &mut Deflater,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        let utf8 = self.validate(kind, fragment, payload)?;
        let header = self.next_fragment(Coding::new(kind, true), fragment, 0)?;
        self.sending_utf8 = utf8;
        self.write_deflated(header, payload, deflater, out)
    }

    /// The header of a whole message of `len` bytes, for callers who write the frame themselves:
    /// first what [`poll_control`](Self::poll_control) gives, then the header, then the payload,
    /// masked with [`apply_mask`](crate::apply_mask) if the header has a key. Text must be UTF-8.
    ///
    /// # Errors
    /// [`SendError::Closing`] or [`SendError::MessageUnfinished`].
    pub fn start_message(&mut self, kind: Kind, len: u64) -> Result<Header, SendError> {
        if self.is_closing() {
            return Err(SendError::Closing);
        }
        if self.sending.is_some() {
            return Err(SendError::MessageUnfinished);
        }
        Ok(self.header(kind.into(), len))
    }

    /// The header of the next fragment of a message, otherwise like
    /// [`start_message`](Self::start_message).
    ///
    /// # Errors
    /// [`SendError::Closing`] or [`SendError::KindChanged`].
    pub fn start_fragment(
        &mut self,
        kind: Kind,
        fragment: Fragment,
        len: u64,
    ) -> Result<Header, SendError> {
        self.next_fragment(Coding::new(kind, false), fragment, len)
    }

    fn next_fragment(
        &mut self,
        coding: Coding,
        fragment: Fragment,
        len: u64,
    ) -> Result<Header, SendError> {
        if self.is_closing() {
            return Err(SendError::Closing);
        }
        let (opcode, rsv1) = match self.sending {
            None => (coding.kind().into(), coding.is_compressed()),
            Some(begun) if begun == coding => (OpCode::Continuation, false),
            Some(_) => return Err(SendError::KindChanged),
        };
        self.sending = (fragment == Fragment::More).then_some(coding);
        let mut header = self.header(opcode, len);
        header.fin = fragment == Fragment::Last;
        header.rsv1 = rsv1;
        Ok(header)
    }

    /// How far the text is validated with this fragment.
    #[cfg(feature = "alloc")]
    fn validate(&self, kind: Kind, fragment: Fragment, payload: &[u8]) -> Result<Utf8, SendError> {
        let mut utf8 = if self.sending.is_some() {
            self.sending_utf8
        } else {
            Utf8::new()
        };
        if kind == Kind::Text {
            utf8.push(payload).map_err(|_| SendError::InvalidUtf8)?;
            if fragment == Fragment::Last {
                utf8.finish().map_err(|_| SendError::InvalidUtf8)?;
            }
        }
        Ok(utf8)
    }

    #[cfg(feature = "alloc")]
    #[inline]
    fn write(&mut self, header: &Header, payload: &[u8], out: &mut Vec<u8>) {
        self.poll_transmit(out);
        extend_with_frame(out, &header.encode(), header.mask, payload);
    }

    #[cfg(feature = "deflate")]
    fn write_deflated(
        &mut self,
        mut header: Header,
        payload: &[u8],
        deflater: &mut Deflater,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        self.poll_transmit(out);
        let start = out.len();
        if deflater.deflate(payload, header.fin, out).is_err() {
            out.truncate(start);
            return Err(SendError::Compression);
        }
        header.len = (out.len() - start) as u64;
        if let (Some(key), Some(masked)) = (header.mask, out.get_mut(start..)) {
            apply_mask(masked, key, 0);
        }
        // Its length was not known before; moving what is already small costs less than a buffer.
        let head = header.encode();
        out.extend_from_slice(&head);
        if let Some(frame) = out.get_mut(start..) {
            frame.rotate_right(head.len());
        }
        Ok(())
    }
}
