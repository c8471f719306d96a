//! One end of a connection: bytes in, events out, and what is to be sent.

use core::fmt;
use core::mem;
use core::time::Duration;

use crate::close::{CloseCode, CloseFrame, Closed, Eof};
use crate::config::{Config, Limits};
use crate::decoder::{Body, Coding, Decoder, Demands, Piece, next_whole};
use crate::error::{ControlError, Rule, Violation};
use crate::frame::{Header, Kind, OpCode};
use crate::inline::InlineBytes;
use crate::lifecycle::Lifecycle;
use crate::mask::{MaskSource, apply_mask};
use crate::role::{Client, Role, Server};
#[cfg(feature = "alloc")]
use crate::utf8::Utf8;
#[cfg(feature = "alloc")]
use alloc::vec::Vec;

/// One end of an established WebSocket connection (RFC 6455).
///
/// Bytes go in through [`push`](Self::push), bytes come out of [`poll_transmit`](Self::poll_transmit)
/// and [`send`](Self::send), time goes in as the time since an origin of the caller's choice, which
/// must not go backwards. No call blocks, and none can be cancelled halfway.
///
/// # Memory
/// A server's connection is 96 bytes, a client's 96 and its source of masks, and it owns no heap
/// while it is idle or receives data. A control frame that is queued or comes in pieces, and the
/// closing handshake, take up to 700 bytes of heap until they are over. Without the `alloc` feature
/// that room is inline.
///
/// # Closing
/// Either [`close`](Self::close), or a Close frame from the peer (answered at once with the same
/// code), or a [`Violation`] begins to close. From then on nothing is sent but control frames
/// already queued and the Close frame, and nothing the peer sends is delivered except the first
/// Close frame. The connection is [`closed`](Self::closed)
/// - at a server, when both Close frames went over the transport; then close the transport;
/// - at a client, when the server then ended the transport;
/// - after a violation, when the Close frame was handed out; close the transport after that, best by
///   shutting down the sending half and reading on until the peer does so too, since a reset could
///   overtake the Close frame;
/// - when the transport ended, or [`Config::close_timeout`] is over.
#[derive(Debug)]
pub struct Connection<R: Role> {
    role: R,
    limits: Limits,
    decoder: Decoder,
    lifecycle: Lifecycle,
    /// When the message or frame that is not finished has to be.
    message_deadline: Deadline,
    /// How many pings and pongs arrived in which second; that wraps around.
    pings: u32,
    pings_second: u32,
    /// Whether the peer may send compressed messages.
    compressed: bool,
    /// The fragmented message being sent.
    pub(crate) sending: Option<Coding>,
    #[cfg(feature = "alloc")]
    pub(crate) sending_utf8: Utf8,
}

/// A point in time, or none, in 8 bytes: nanoseconds, of which there are enough for 584 years.
#[derive(Clone, Copy)]
struct Deadline(u64);

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl Deadline {
    const NEVER: Self = Self(u64::MAX);

    fn at(time: Option<Duration>) -> Self {
        time.and_then(|time| u64::try_from(time.as_nanos()).ok())
            .map_or(Self::NEVER, Self)
    }

    fn get(self) -> Option<Duration> {
        (self.0 < u64::MAX).then(|| Duration::from_nanos(self.0))
    }
}

/// What a connection received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// A part of a message, as much of it as has arrived.
    Data(Chunk<'b>),
    /// A ping. The pong is queued.
    Ping(&'b [u8]),
    /// A pong, asked for or not.
    Pong(&'b [u8]),
    /// The peer's Close frame, the last event of a connection. The answer is queued.
    Close(CloseFrame<'b>),
}

/// A part of a message.
///
/// Each frame gives at least one chunk, also if it is empty; where chunks are cut otherwise
/// depends on how the bytes arrived. Text that is not compressed is UTF-8 over all chunks of a
/// message, but a chunk may begin or end within a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'b> {
    /// What the message is.
    pub kind: Kind,
    /// The bytes, unmasked.
    pub payload: &'b [u8],
    /// Whether the payload is still compressed (RFC 7692) and must be inflated; never unless
    /// [`Config::compressed`] allows it.
    pub compressed: bool,
    /// Whether the message begins here.
    pub first: bool,
    /// Whether the message ends here.
    pub last: bool,
}

/// A control frame as bytes, ready to be sent: at most 131.
pub type ControlFrame = InlineBytes<131>;

impl Connection<Server> {
    /// The server's end of a connection whose opening handshake is over.
    #[must_use]
    pub fn server(config: Config) -> Self {
        Self::new(config, Server)
    }
}

impl<M: MaskSource> Connection<Client<M>> {
    /// The client's end of a connection whose opening handshake is over.
    #[must_use]
    pub fn client(config: Config, masks: M) -> Self {
        Self::new(config, Client(masks))
    }
}

impl<R: Role> Connection<R> {
    fn new(config: Config, role: R) -> Self {
        Self {
            role,
            limits: config.limits,
            decoder: Decoder::new(),
            lifecycle: Lifecycle::default(),
            message_deadline: Deadline::NEVER,
            pings: 0,
            pings_second: 0,
            compressed: config.compressed,
            sending: None,
            #[cfg(feature = "alloc")]
            sending_utf8: Utf8::new(),
        }
    }

    /// Takes bytes that arrived and returns the events in them.
    ///
    /// The bytes are unmasked in place and used up as the events are taken: take them until there
    /// are none, or keep [`Events::into_rest`] and push it before anything that arrived later.
    #[inline]
    pub fn push<'c, 'b>(&'c mut self, bytes: &'b mut [u8], now: Duration) -> Events<'c, 'b, R> {
        let input = Input {
            rest: bytes,
            whole_below: self.whole_below(),
        };
        Events {
            connection: self,
            input,
            now,
        }
    }

    /// Appends the control frames that are due to `out`: the latest pong, a ping, the Close frame.
    /// Returns whether there were any.
    ///
    /// Write them before data. Pings that arrive faster than this is called are answered once, for
    /// the latest of them (RFC 6455 section 5.5.3), so a peer cannot make the queue grow.
    #[cfg(feature = "alloc")]
    #[inline]
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        if self.lifecycle.is_idle() {
            return false;
        }
        let mut any = false;
        while let Some(frame) = self.poll_control() {
            out.extend_from_slice(&frame);
            any = true;
        }
        any
    }

    /// The next control frame that is due; like `poll_transmit`, one at a time and without heap.
    pub fn poll_control(&mut self) -> Option<ControlFrame> {
        let (opcode, mut payload) = self.lifecycle.poll::<R>()?;
        let header = self.header(opcode, payload.len() as u64);
        if let Some(key) = header.mask {
            apply_mask(payload.as_mut_slice(), key, 0);
        }
        let mut frame = ControlFrame::new();
        frame.push(&header.encode());
        frame.push(&payload);
        Some(frame)
    }

    /// Queues a ping, in place of one that is still queued.
    ///
    /// # Errors
    /// [`ControlError::Closing`], or [`ControlError::TooLong`] for a payload over 125 bytes.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), ControlError> {
        if self.is_closing() {
            return Err(ControlError::Closing);
        }
        if payload.len() > 125 {
            return Err(ControlError::TooLong);
        }
        self.lifecycle.set_ping(payload);
        Ok(())
    }

    /// Begins to close: queues a Close frame and drops what is unfinished. With
    /// [`CloseCode::NO_STATUS`] and no reason the frame is empty.
    ///
    /// # Errors
    /// [`ControlError::Closing`] if that has begun already, [`ControlError::InvalidCloseCode`] if
    /// the code is not [sendable](CloseCode::is_sendable), [`ControlError::TooLong`] for a reason
    /// over 123 bytes.
    pub fn close(
        &mut self,
        code: CloseCode,
        reason: &str,
        now: Duration,
    ) -> Result<(), ControlError> {
        if self.is_closing() {
            return Err(ControlError::Closing);
        }
        let is_empty = code == CloseCode::NO_STATUS && reason.is_empty();
        if !is_empty && !code.is_sendable() {
            return Err(ControlError::InvalidCloseCode);
        }
        if reason.len() > 123 {
            return Err(ControlError::TooLong);
        }
        let deadline = self.limits.close_deadline(now);
        self.lifecycle.close(code, reason, deadline);
        Ok(())
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); changes with any other call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.lifecycle.is_open() {
            self.message_deadline.get()
        } else {
            self.lifecycle.deadline()
        }
    }

    /// Ends a closing handshake that takes too long, and fails the connection if a message does: the
    /// Close frame is queued then, and [`closed`](Self::closed) will tell
    /// [`Rule::MessageTimeout`]. Does nothing before its time.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.lifecycle.is_open() && self.message_deadline.get().is_some_and(|due| now >= due) {
            let deadline = self.limits.close_deadline(now);
            self.lifecycle.fail::<R>(Rule::MessageTimeout, deadline);
        } else {
            self.lifecycle.handle_timeout::<R>(now);
        }
    }

    /// The transport ended: nothing more will arrive, nothing more can be sent.
    pub fn handle_eof(&mut self, how: Eof) {
        self.handle_eof_unsent(how, 0);
    }

    /// The transport ended like this, and so many of the bytes handed out were not written to it:
    /// they are added to [`Closed::unsent`]. After a close it may be called, once, for the number
    /// alone.
    pub fn handle_eof_unsent(&mut self, how: Eof, unsent: u64) {
        self.lifecycle.handle_eof::<R>(how, unsent);
    }

    /// How the connection ended, once it did. What [`poll_transmit`](Self::poll_transmit) gave
    /// before must be written before the transport is closed.
    #[must_use]
    pub fn closed(&self) -> Option<Closed> {
        self.lifecycle.closed()
    }

    /// Whether the closing handshake has begun or is over, so that no data can be sent any more.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        !self.lifecycle.is_open()
    }

    /// See [`Input::whole_below`].
    #[inline]
    fn whole_below(&self) -> usize {
        if !self.lifecycle.is_idle() || !self.decoder.is_between_messages() {
            return 0;
        }
        let most = self.limits.max_frame.min(self.limits.max_message);
        usize::try_from(most).map_or(usize::MAX, |most| most.saturating_add(1))
    }

    /// Notes how far the bytes that were decoded reach.
    fn note_progress(&mut self, now: Duration) {
        if !self.decoder.is_unfinished() || !self.lifecycle.is_open() {
            self.message_deadline = Deadline::NEVER;
        } else if self.message_deadline.get().is_none() {
            self.message_deadline = Deadline::at(self.limits.message_deadline(now));
        }
    }

    /// Whether one more ping or pong is within the limit.
    fn count_ping(&mut self, now: Duration) -> Result<(), Rule> {
        // The remainder fits.
        let second = u32::try_from(now.as_secs() % (1 << 32)).unwrap_or(0);
        if second != self.pings_second {
            (self.pings_second, self.pings) = (second, 0);
        }
        self.pings = self.pings.saturating_add(1);
        if self.pings > self.limits.max_pings {
            return Err(Rule::TooManyPings);
        }
        Ok(())
    }

    /// The next event, whatever it is.
    #[inline(never)]
    fn next_piece<'e, 'b: 'e>(
        &'e mut self,
        input: &mut Input<'b>,
        now: Duration,
    ) -> Option<Result<Event<'e>, Violation>> {
        loop {
            let Self {
                limits,
                compressed,
                decoder,
                lifecycle,
                ..
            } = &mut *self;
            if input.rest.is_empty() && lifecycle.is_idle() {
                return None;
            }
            let demands = Demands {
                limits,
                masked: R::RECEIVES_MASKED,
                compressed: *compressed,
            };
            if !lifecycle.is_reading() {
                input.rest = &mut [];
                return None;
            }
            let is_open = lifecycle.is_open();
            let piece = decoder.next(&mut input.rest, demands, lifecycle);
            self.note_progress(now);
            input.whole_below = self.whole_below();
            match piece {
                Ok(None) => return None,
                Ok(Some(Piece::Data(chunk))) if is_open => return Some(Ok(Event::Data(chunk))),
                Ok(Some(Piece::Control(opcode, body))) if is_open || opcode == OpCode::Close => {
                    return Some(self.control(opcode, body, now));
                }
                // Once this end has said Close, only the peer's Close has an effect.
                Ok(Some(_)) => {}
                Err(rule) => return Some(Err(self.fail(rule, now))),
            }
        }
    }

    fn fail(&mut self, rule: Rule, now: Duration) -> Violation {
        let deadline = self.limits.close_deadline(now);
        self.lifecycle.fail::<R>(rule, deadline);
        rule.into()
    }

    fn control<'e, 'b: 'e>(
        &'e mut self,
        opcode: OpCode,
        body: Body<'b>,
        now: Duration,
    ) -> Result<Event<'e>, Violation> {
        if opcode != OpCode::Close
            && let Err(rule) = self.count_ping(now)
        {
            return Err(self.fail(rule, now));
        }
        let whole = match body {
            Body::Whole(payload) => Some(payload),
            Body::Gathered => None,
        };
        if opcode == OpCode::Ping {
            self.lifecycle.set_pong(whole);
        }
        if opcode == OpCode::Close {
            let payload = whole.unwrap_or_else(|| self.lifecycle.gathered());
            match CloseFrame::parse(payload).map(|frame| frame.code) {
                Ok(code) => {
                    let deadline = self.limits.close_deadline(now);
                    self.lifecycle.receive_close::<R>(code, deadline);
                }
                Err(rule) => return Err(self.fail(rule, now)),
            }
        }
        let payload = whole.unwrap_or_else(|| self.lifecycle.gathered());
        Ok(match opcode {
            OpCode::Ping => Event::Ping(payload),
            OpCode::Close => Event::Close(CloseFrame::parse(payload)?),
            _ => Event::Pong(payload),
        })
    }

    pub(crate) fn header(&mut self, opcode: OpCode, len: u64) -> Header {
        let mut header = Header::new(opcode, len);
        header.mask = self.role.next_mask();
        header
    }
}

/// The events in the bytes of one [`Connection::push`]: a lending iterator.
#[derive(Debug)]
#[must_use = "bytes are only decoded as events are taken"]
pub struct Events<'c, 'b, R: Role> {
    connection: &'c mut Connection<R>,
    input: Input<'b>,
    now: Duration,
}

/// What is not decoded yet.
#[derive(Debug, Default)]
struct Input<'b> {
    rest: &'b mut [u8],
    /// Frames with fewer bytes of payload than this may be taken whole, with nothing else to look at:
    /// none within a message, once the connection closes, or while a control frame is kept.
    whole_below: usize,
}

impl<'b, R: Role> Events<'_, 'b, R> {
    /// The next event. After `Some(Err(..))`, and after a Close frame, there are none: what the
    /// peer sent behind it is dropped.
    ///
    /// # Errors
    /// The peer broke the protocol or a limit. A Close frame with the violation's code is queued,
    /// unless one was queued before.
    #[expect(
        clippy::should_implement_trait,
        reason = "the event borrows from the iterator"
    )]
    #[inline]
    pub fn next(&mut self) -> Option<Result<Event<'_>, Violation>> {
        let Input { rest, whole_below } = &mut self.input;
        let event = match next_whole(rest, R::RECEIVES_MASKED, *whole_below) {
            Some(Ok(chunk)) => return Some(Ok(Event::Data(chunk))),
            Some(Err(rule)) => Some(Err(self.connection.fail(rule, self.now))),
            None if rest.is_empty() && *whole_below > 0 => return None,
            None => {
                // On a copy, so that the input of the caller's loop may stay in registers.
                let mut input = mem::take(&mut self.input);
                let event = self.connection.next_piece(&mut input, self.now);
                self.input = input;
                event
            }
        };
        if let Some(Err(_) | Ok(Event::Close(_))) = event {
            self.input.whole_below = 0;
        }
        event
    }

    /// The bytes that are not decoded yet.
    #[must_use]
    pub fn into_rest(self) -> &'b mut [u8] {
        self.input.rest
    }
}
