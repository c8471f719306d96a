//! Control frames and the closing handshake (RFC 6455 sections 5.5 and 7).

use core::time::Duration;

use crate::close::{CloseCode, Closed, Ending, Eof, Initiator};
use crate::error::Rule;
use crate::frame::OpCode;
use crate::role::Role;
use crate::slot::{ControlPayload, Slot};

/// What is queued, what came of a control frame in pieces, and how far closing has come. An open
/// connection with nothing of these has only a null pointer here, where there is a heap.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle(Option<Stored>);

#[cfg(feature = "alloc")]
type Stored = alloc::boxed::Box<Busy>;
#[cfg(not(feature = "alloc"))]
type Stored = Busy;

#[derive(Debug, Default)]
struct Busy {
    pong: Slot,
    ping: Slot,
    close: Slot,
    /// The payload of a control frame that comes in pieces.
    gathered: Slot,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
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
    /// Whether the connection is open, and nothing is queued or gathered.
    #[inline]
    pub(crate) const fn is_idle(&self) -> bool {
        self.0.is_none()
    }

    /// The next control frame that is due.
    pub(crate) fn poll<R: Role>(&mut self) -> Option<(OpCode, ControlPayload)> {
        let busy = self.0.as_mut()?;
        let due = busy.poll::<R>();
        self.shrink();
        due
    }

    pub(crate) fn set_ping(&mut self, payload: &[u8]) {
        self.busy().ping.set(payload);
    }

    /// Answers the ping that has just arrived.
    pub(crate) fn set_pong(&mut self, whole: Option<&[u8]>) {
        let busy = self.busy();
        let payload = whole.unwrap_or_else(|| busy.gathered.as_slice());
        busy.pong.set(payload);
    }

    /// Adds to the payload of a control frame that comes in pieces.
    pub(crate) fn gather(&mut self, piece: &[u8]) {
        self.busy().gathered.append(piece);
    }

    pub(crate) fn gathered(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |busy| busy.gathered.as_slice())
    }

    pub(crate) fn drop_gathered(&mut self) {
        if let Some(busy) = &mut self.0 {
            busy.gathered.clear();
            self.shrink();
        }
    }

    pub(crate) fn close(&mut self, code: CloseCode, reason: &str, deadline: Duration) {
        self.busy().begin(Initiator::Local, code, reason, deadline);
    }

    /// The peer's Close frame arrived: answer it, unless it is the answer.
    pub(crate) fn receive_close<R: Role>(&mut self, code: CloseCode, deadline: Duration) {
        let busy = self.busy();
        busy.begin(Initiator::Remote, code, "", deadline);
        if let State::Closing(closing) = &mut busy.state {
            closing.received = Some(code);
        }
        busy.settle::<R>();
    }

    /// Fails the connection (RFC 6455 section 7.1.7).
    pub(crate) fn fail<R: Role>(&mut self, rule: Rule, deadline: Duration) {
        let busy = self.busy();
        busy.begin(Initiator::Local, rule.close_code(), rule.as_str(), deadline);
        if let State::Closing(closing) = &mut busy.state {
            closing.broken = Some(rule);
        }
        busy.settle::<R>();
    }

    pub(crate) fn handle_timeout<R: Role>(&mut self, now: Duration) {
        if let Some(busy) = &mut self.0
            && let State::Closing(closing) = busy.state
            && now >= closing.deadline
        {
            busy.end::<R>(closing.closed(Ending::TimedOut));
        }
    }

    pub(crate) fn handle_eof<R: Role>(&mut self, how: Eof, unsent: u64) {
        let busy = self.busy();
        let ending = Ending::Transport(how);
        match busy.state {
            State::Open => busy.end::<R>(Closed {
                initiator: Initiator::Remote,
                code: CloseCode::ABNORMAL,
                sent: None,
                ending,
                unsent: 0,
            }),
            State::Closing(closing) => busy.end::<R>(closing.closed(ending)),
            State::Closed(_) => {}
        }
        if let State::Closed(closed) = &mut busy.state {
            closed.unsent = closed.unsent.saturating_add(unsent);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        match self.state()? {
            State::Closing(closing) => Some(closing.deadline),
            State::Open | State::Closed(_) => None,
        }
    }

    pub(crate) fn closed(&self) -> Option<Closed> {
        match self.state()? {
            State::Closed(closed) => Some(*closed),
            State::Open | State::Closing(_) => None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state(), None | Some(State::Open))
    }

    /// Whether what the peer sends still has a meaning.
    pub(crate) fn is_reading(&self) -> bool {
        match self.state() {
            None | Some(State::Open) => true,
            Some(State::Closing(closing)) => closing.received.is_none() && closing.broken.is_none(),
            Some(State::Closed(_)) => false,
        }
    }

    fn state(&self) -> Option<&State> {
        self.0.as_ref().map(|busy| &busy.state)
    }

    fn busy(&mut self) -> &mut Busy {
        self.0.get_or_insert_with(|| Stored::from(Busy::default()))
    }

    /// Gives the memory back once there is nothing to keep.
    fn shrink(&mut self) {
        if self.0.as_ref().is_some_and(|busy| busy.is_idle()) {
            self.0 = None;
        }
    }
}

impl Busy {
    fn poll<R: Role>(&mut self) -> Option<(OpCode, ControlPayload)> {
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
        self.settle::<R>();
        Some((OpCode::Close, payload))
    }

    fn is_idle(&self) -> bool {
        let slots = [&self.pong, &self.ping, &self.close, &self.gathered];
        matches!(self.state, State::Open) && slots.iter().all(|slot| slot.is_empty())
    }

    /// Queues a Close frame, unless one was before.
    fn begin(&mut self, initiator: Initiator, code: CloseCode, reason: &str, deadline: Duration) {
        if !matches!(self.state, State::Open) {
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
    fn settle<R: Role>(&mut self) {
        if let State::Closing(closing) = self.state
            && closing.sent
            && (closing.broken.is_some() || (closing.received.is_some() && R::CLOSES_TRANSPORT))
        {
            self.end::<R>(closing.closed(Ending::Clean));
        }
    }

    fn end<R: Role>(&mut self, mut closed: Closed) {
        let overhead = if R::RECEIVES_MASKED { 2 } else { 6 };
        for slot in [&mut self.pong, &mut self.ping, &mut self.close] {
            if let Some(payload) = slot.take() {
                closed.unsent += overhead + payload.len() as u64;
            }
        }
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
            unsent: 0,
        }
    }
}
