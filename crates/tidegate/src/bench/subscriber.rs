//! One subscriber: little state, and no understanding beyond what counting takes.

use super::check::Check;
use super::framing::{Chunks, Frames, Framing, Said};
use super::head::Head;
use super::payload::MARKER;
use super::target::ACCEPT;

/// Room before what is read, for what was kept of the read before.
pub(crate) const ROOM: usize = 64;
const _: () = assert!(MARKER <= ROOM);

#[derive(Debug)]
pub(crate) struct Subscriber {
    /// The place of its connection.
    pub(crate) connection: usize,
    pub(crate) topic: u32,
    pub(crate) check: Check,
    pub(crate) state: State,
    /// Bytes of its HTTP/2 stream that the server was not told to be taken.
    pub(crate) taken: u32,
    framing: Framing,
    kept: [u8; ROOM],
    kept_bytes: usize,
    /// The response's head as far as it has come.
    head: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    /// The request is not answered yet.
    Asking,
    /// Events may come.
    Open,
    /// It does not read any more.
    Stalled,
    /// The connection is gone.
    Closed,
}

/// Which protocols carry the events.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Transport {
    pub(crate) ws: bool,
    pub(crate) http2: bool,
}

impl Subscriber {
    pub(crate) fn new(connection: usize, topic: u32, check: Check) -> Self {
        Self {
            connection,
            topic,
            check,
            state: State::Asking,
            taken: 0,
            framing: Framing::Bare,
            kept: [0; ROOM],
            kept_bytes: 0,
            head: Vec::new(),
        }
    }

    /// Takes bytes of an HTTP/1.1 head. How many of them were the last of it, once it is complete.
    pub(crate) fn head(
        &mut self,
        bytes: &[u8],
        transport: Transport,
    ) -> Result<Option<usize>, String> {
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let Some(head) = Head::read(&self.head)? else {
            return Ok(None);
        };
        let body = String::from_utf8_lossy(&self.head[head.bytes..]);
        let body: String = body.trim().chars().take(300).collect();
        self.answered(&head, &body, transport)?;
        self.head = Vec::new();
        Ok(Some(head.bytes - before))
    }

    /// The request was answered.
    ///
    /// # Errors
    ///
    /// When events cannot come of this answer.
    pub(crate) fn answered(
        &mut self,
        head: &Head,
        body: &str,
        transport: Transport,
    ) -> Result<(), String> {
        let status = head.status;
        if transport.ws {
            let accepted = if transport.http2 { 200 } else { 101 };
            if status != accepted {
                return Err(format!("the WebSocket was refused: status {status} {body}"));
            }
            if !transport.http2 && head.websocket_accept != ACCEPT {
                return Err("the handshake's Sec-WebSocket-Accept is wrong".to_owned());
            }
            self.framing = Framing::Frames(Frames::default());
        } else {
            if status != 200 {
                return Err(format!(
                    "the subscription was refused: status {status} {body}"
                ));
            }
            if !head.content_type.starts_with("text/event-stream") {
                let kind = &head.content_type;
                return Err(format!("the answer is not text/event-stream but `{kind}`"));
            }
            if head.chunked {
                self.framing = Framing::Chunks(Chunks::default());
            }
        }
        self.state = State::Open;
        Ok(())
    }

    /// Moves the events' bytes in `bytes` to its front and returns how many they are.
    pub(crate) fn decode(
        &mut self,
        bytes: &mut [u8],
        said: &mut Vec<Said>,
    ) -> Result<usize, &'static str> {
        self.framing.decode(bytes, said)
    }

    /// What was kept of what it read before.
    pub(crate) fn kept(&self) -> &[u8] {
        &self.kept[..self.kept_bytes]
    }

    /// Keeps the end of what was read for the next read.
    pub(crate) fn keep(&mut self, end: &[u8]) {
        self.kept[..end.len()].copy_from_slice(end);
        self.kept_bytes = end.len();
    }
}
