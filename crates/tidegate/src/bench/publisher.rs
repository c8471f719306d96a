//! A connection that publishes, one request at a time.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Interest, Registry, Token};

use super::framing::{Chunks, Framing, Said};
use super::head::Head;
use super::io::{Io, Tls, waits};

/// The longest answer to a publish that is read.
const LONGEST: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Publisher {
    address: SocketAddr,
    tls: Option<Tls>,
    token: Token,
    io: Option<Io>,
    /// What of the request is to be written and is not yet.
    request: Vec<u8>,
    answer: Vec<u8>,
    /// When the request under way was handed in.
    busy: Option<Instant>,
}

/// How a publish ended.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It was accepted, after this long.
    Accepted(Duration),
    /// It was refused, or its outcome is not known.
    Failed(String),
}

impl Publisher {
    pub(crate) fn new(address: SocketAddr, tls: Option<Tls>, token: Token) -> Self {
        Self {
            address,
            tls,
            token,
            io: None,
            request: Vec::new(),
            answer: Vec::new(),
            busy: None,
        }
    }

    pub(crate) fn is_free(&self) -> bool {
        self.busy.is_none()
    }

    /// Sends what `write` puts into the buffer; the connection is made first if there is none.
    pub(crate) fn send(
        &mut self,
        registry: &Registry,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Answer> {
        write(&mut self.request);
        self.answer.clear();
        self.busy = Some(Instant::now());
        if self.io.is_none() {
            let connect = || {
                let mut io = Io::connect(self.address, self.tls.as_ref())?;
                let interest = Interest::READABLE | Interest::WRITABLE;
                registry.register(io.socket(), self.token, interest)?;
                io::Result::Ok(io)
            };
            match connect() {
                Ok(io) => self.io = Some(io),
                Err(error) => return Err(self.fail(&format!("cannot connect: {error}"))),
            }
            // The poll says when it is connected.
            return Ok(());
        }
        self.write().map_err(|error| self.fail(&error.to_string()))
    }

    fn fail(&mut self, why: &str) -> Answer {
        self.io = None;
        self.busy = None;
        Answer::Failed(why.to_owned())
    }

    fn write(&mut self) -> io::Result<()> {
        match &mut self.io {
            Some(io) => io.flush(&mut self.request),
            None => Ok(()),
        }
    }

    /// The poll says that something can be done. The answer, if it is complete.
    pub(crate) fn on_event(&mut self) -> Option<Answer> {
        let refused = self.io.as_mut()?.socket().take_error().ok().flatten();
        if let Some(error) = refused {
            return self.lost(&error.to_string());
        }
        if self.busy.is_some()
            && let Err(error) = self.write()
        {
            return self.lost(&error.to_string());
        }
        let mut bytes = [0; 4096];
        loop {
            match self.io.as_mut()?.read(&mut bytes) {
                Ok((0, _)) => return self.lost("the connection was closed without an answer"),
                Ok((read, _)) => self.answer.extend_from_slice(&bytes[..read]),
                Err(error) if waits(&error) => {
                    // A TLS handshake may have got far enough for the request to be written.
                    let written = self.write();
                    return written
                        .err()
                        .and_then(|error| self.lost(&error.to_string()));
                }
                Err(error) => return self.lost(&error.to_string()),
            }
            match self.complete() {
                Ok(None) if self.answer.len() > LONGEST => {
                    return self.lost("the answer is over 1 MiB");
                }
                Ok(None) => {}
                Ok(Some(answer)) => return Some(answer),
                Err(why) => return self.lost(why),
            }
        }
    }

    /// The connection is gone; that matters only to a request under way.
    fn lost(&mut self, why: &str) -> Option<Answer> {
        let busy = self.busy.is_some();
        let failed = self.fail(why);
        busy.then_some(failed)
    }

    fn complete(&mut self) -> Result<Option<Answer>, &'static str> {
        let Some(head) = Head::read(&self.answer)? else {
            return Ok(None);
        };
        let body = &self.answer[head.bytes..];
        let whole = match head.content_length {
            _ if head.is_all() => true,
            Some(length) => body.len() as u64 >= length,
            None if head.chunked => {
                let mut said = Vec::new();
                let mut chunks = Framing::Chunks(Chunks::default());
                chunks.decode(&mut body.to_vec(), &mut said)?;
                said.contains(&Said::End(None))
            }
            None => return Err("the answer says neither its length nor that it is in chunks"),
        };
        if !whole {
            return Ok(None);
        }
        let took = self.busy.take().map(|since| since.elapsed());
        let answer = match head.status {
            200..300 => Answer::Accepted(took.unwrap_or_default()),
            status => {
                let body = String::from_utf8_lossy(body);
                let body: String = body.trim().chars().take(300).collect();
                Answer::Failed(format!("status {status}: {body}"))
            }
        };
        if head.close {
            self.io = None;
        }
        Ok(Some(answer))
    }
}
