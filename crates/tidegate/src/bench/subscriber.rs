//! A connection that subscribes: little state, and no understanding beyond what counting takes.

use std::io::{self, Read, Write};

use mio::net::TcpStream;

use super::check::Check;
use super::framing::{Chunks, Frames, Framing, Said, client_frame};
use super::head::Head;
use super::payload::MARKER;
use super::publisher::waits;
use super::target::ACCEPT;

/// Room before what is read, for what was kept of the read before.
pub(crate) const ROOM: usize = 64;
const _: () = assert!(MARKER <= ROOM);

/// One subscriber.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) stream: TcpStream,
    pub(crate) topic: u32,
    pub(crate) check: Check,
    pub(crate) state: State,
    framing: Framing,
    kept: [u8; ROOM],
    kept_bytes: usize,
    /// What is to be written and is not yet; the request, a pong.
    out: Vec<u8>,
    /// The response's head as far as it has come.
    head: Vec<u8>,
    /// What is to be written once the head is there.
    first: Vec<u8>,
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

/// What one read brought.
#[derive(Debug)]
pub(crate) enum Brought {
    /// Bytes of events, in the buffer from `start` to `end`.
    Body {
        start: usize,
        end: usize,
        /// Whether there may be more at once.
        more: bool,
        /// Why the stream is over after these bytes, if it is.
        over: Option<String>,
    },
    Nothing,
    /// The connection has ended, and why.
    End(String),
}

impl Subscriber {
    pub(crate) fn new(stream: TcpStream, topic: u32, request: Vec<u8>, first: Vec<u8>) -> Self {
        Self {
            stream,
            topic,
            check: Check::default(),
            state: State::Asking,
            framing: Framing::Bare,
            kept: [0; ROOM],
            kept_bytes: 0,
            out: request,
            head: Vec::new(),
            first,
        }
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) if written == self.out.len() => self.out = Vec::new(),
                Ok(written) => drop(self.out.drain(..written)),
                Err(error) if waits(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads once. What came stands in `buffer` from [`ROOM`] on, what was kept before it.
    pub(crate) fn read(&mut self, buffer: &mut [u8], ws: bool, said: &mut Vec<Said>) -> Brought {
        let read = match self.stream.read(&mut buffer[ROOM..]) {
            Ok(0) => return Brought::End("the server closed the connection".to_owned()),
            Ok(read) => read,
            Err(error) if waits(&error) => return Brought::Nothing,
            Err(error) => return Brought::End(error.to_string()),
        };
        let more = read == buffer.len() - ROOM;
        let mut bytes = ROOM..ROOM + read;
        if self.state == State::Asking {
            match self.answered(&buffer[bytes.clone()], ws) {
                Ok(Some(used)) => bytes.start += used,
                Ok(None) => return Brought::Nothing,
                Err(why) => return Brought::End(why),
            }
            if let Err(error) = self.flush() {
                return Brought::End(error.to_string());
            }
            buffer.copy_within(bytes.clone(), ROOM);
            bytes = ROOM..ROOM + bytes.len();
        }
        let body = match self.framing.decode(&mut buffer[bytes], said) {
            Ok(body) => body,
            Err(why) => return Brought::End(why.to_owned()),
        };
        let mut over = None;
        for said in said.drain(..) {
            match said {
                Said::Ping(payload) => {
                    self.out.extend_from_slice(&client_frame(10, &payload));
                    if let Err(error) = self.flush() {
                        return Brought::End(error.to_string());
                    }
                }
                Said::End(Some(code)) => {
                    over = Some(format!("the server closed with code {code}"));
                }
                Said::End(None) => over = Some("the server ended the stream".to_owned()),
            }
        }
        let start = ROOM - self.kept_bytes;
        buffer[start..ROOM].copy_from_slice(&self.kept[..self.kept_bytes]);
        Brought::Body {
            start,
            end: ROOM + body,
            more,
            over,
        }
    }

    /// Keeps the end of what was read for the next read.
    pub(crate) fn keep(&mut self, end: &[u8]) {
        self.kept[..end.len()].copy_from_slice(end);
        self.kept_bytes = end.len();
    }

    /// Takes the head. How many of `bytes` were the last of it, once it is complete.
    fn answered(&mut self, bytes: &[u8], ws: bool) -> Result<Option<usize>, String> {
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let Some(head) = Head::read(&self.head)? else {
            return Ok(None);
        };
        let body = String::from_utf8_lossy(&self.head[head.bytes..]);
        let body: String = body.trim().chars().take(300).collect();
        let status = head.status;
        if ws {
            if status != 101 {
                return Err(format!("the WebSocket was refused: status {status} {body}"));
            }
            if head.websocket_accept != ACCEPT {
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
                let kind = head.content_type;
                return Err(format!("the answer is not text/event-stream but `{kind}`"));
            }
            if head.chunked {
                self.framing = Framing::Chunks(Chunks::default());
            }
        }
        self.head = Vec::new();
        self.state = State::Open;
        self.out.append(&mut self.first);
        Ok(Some(head.bytes - before))
    }
}
