//! Control frames to be sent and the closing handshake (RFC 6455 sections 5.5 and 7).

use core::time::Duration;

use crate::close::{CloseCode, Closed, Ending, Eof, Initiator};
use crate::error::Rule;
use crate::frame::OpCode;
use crate::slot::{ControlPayload, Slot};

/// What is queued, and how far closing has come.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    pub(crate) pong: Slot,
    pub(crate) ping: Slot,
    close: Slot,
    state: State,
    /// Whether this end closes the transport once both Close frames went over it.
    closes_transport: bool,
}

#[derive(Debug)]
enum State {
    Open,
    Closing(Closing),
    Closed(Closed),
}

#[derive(Clone, Copy, Debug)]
struct Closing {
    initiator: Initiator,
    /// When to give up.
    deadline: Duration,
    /// The code of our Close frame.
    code: CloseCode,
    /// Whether our Close frame was handed out.
    sent: bool,
    /// The code of the peer's Close frame, once it arrived.
    received: Option<CloseCode>,
    /// The rule that the peer broke, after which nothing of it is read any more.
    broken: Option<Rule>,
}

impl Lifecycle {
    pub(crate) fn new(closes_transport: bool) -> Self {
        Self {
            pong: Slot::default(),
            ping: Slot::default(),
            close: Slot::default(),
            state: State::Open,
            closes_transport,
        }
    }

    /// The next control frame that is due.
    pub(crate) fn poll(&mut self) -> Option<(OpCode, ControlPayload)> {
        if let Some(payload) = self.pong.take() {
            return Some((OpCode::Pong, payload));
        }
        if let Some(payload) = self.ping.take() {
            return Some((OpCode::Ping, payload));
        }
        let payload = self.close.take()?;
        if let State::Closing(closing) = &mut self.state {
            closing.sent = true;
        }
        self.settle();
        Some((OpCode::Close, payload))
    }

    pub(crate) fn close(&mut self, code: CloseCode, reason: &str, deadline: Duration) {
        self.begin(Initiator::Local, code, reason, deadline);
    }

    /// The peer's Close frame arrived: answer it, unless it is the answer.
    pub(crate) fn receive_close(&mut self, code: CloseCode, deadline: Duration) {
        self.begin(Initiator::Remote, code, "", deadline);
        if let State::Closing(closing) = &mut self.state {
            closing.received = Some(code);
        }
        self.settle();
    }

    /// Fails the connection (RFC 6455 section 7.1.7).
    pub(crate) fn fail(&mut self, rule: Rule, deadline: Duration) {
        self.begin(Initiator::Local, rule.close_code(), rule.as_str(), deadline);
        if let State::Closing(closing) = &mut self.state {
            closing.broken = Some(rule);
        }
        self.settle();
    }

    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        if let State::Closing(closing) = self.state
            && now >= closing.deadline
        {
            self.end(closing.closed(Ending::TimedOut));
        }
    }

    pub(crate) fn handle_eof(&mut self, how: Eof) {
        match self.state {
            State::Open => self.end(Closed {
                initiator: Initiator::Remote,
                code: CloseCode::ABNORMAL,
                sent: None,
                ending: Ending::Transport(how),
            }),
            State::Closing(closing) => self.end(closing.closed(Ending::Transport(how))),
            State::Closed(_) => {}
        }
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        match self.state {
            State::Closing(closing) => Some(closing.deadline),
            State::Open | State::Closed(_) => None,
        }
    }

    pub(crate) fn closed(&self) -> Option<Closed> {
        match self.state {
            State::Closed(closed) => Some(closed),
            State::Open | State::Closing(_) => None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Whether what the peer sends still has a meaning.
    pub(crate) fn is_reading(&self) -> bool {
        match self.state {
            State::Open => true,
            State::Closing(closing) => closing.received.is_none() && closing.broken.is_none(),
            State::Closed(_) => false,
        }
    }

    /// Queues a Close frame, unless one was before.
    fn begin(&mut self, initiator: Initiator, code: CloseCode, reason: &str, deadline: Duration) {
        if !self.is_open() {
            return;
        }
        self.close.set(&[]);
        if code != CloseCode::NO_STATUS {
            self.close.append(&code.as_u16().to_be_bytes());
            self.close.append(reason.as_bytes());
        }
        self.state = State::Closing(Closing {
            initiator,
            deadline,
            code,
            sent: false,
            received: None,
            broken: None,
        });
    }

    /// Ends the connection if nothing is left to wait for.
    fn settle(&mut self) {
        if let State::Closing(closing) = self.state
            && closing.sent
            && (closing.broken.is_some() || (closing.received.is_some() && self.closes_transport))
        {
            self.end(closing.closed(Ending::Clean));
        }
    }

    fn end(&mut self, closed: Closed) {
        self.pong.clear();
        self.ping.clear();
        self.close.clear();
        self.state = State::Closed(closed);
    }
}

impl Closing {
    /// The end of it: `otherwise`, unless a violation or a finished handshake tells more.
    fn closed(&self, otherwise: Ending) -> Closed {
        let ending = match (self.broken, self.received) {
            (Some(rule), _) => Ending::Failed(rule),
            (None, Some(_)) if self.sent => Ending::Clean,
            _ => otherwise,
        };
        Closed {
            initiator: self.initiator,
            code: self.received.unwrap_or(CloseCode::ABNORMAL),
            sent: self.sent.then_some(self.code),
            ending,
        }
    }
}
