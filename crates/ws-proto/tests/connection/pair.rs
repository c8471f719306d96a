//! Both ends of a connection in virtual time, and what each did to close it.

use std::time::Duration;

use ws_proto::{
    Client, CloseCode, Closed, Config, Connection, Ending, Event, Initiator, Role, Server,
};

use crate::{KEY, Masks, read, transmit};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// What one end did, from its own point of view.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// It sent this Close frame.
    Sent(u16, String),
    /// It received this Close frame.
    Received(u16, String),
    Closed(Closed),
}

pub(crate) fn sent(code: u16, reason: &str) -> Step {
    Step::Sent(code, reason.into())
}

pub(crate) fn received(code: u16, reason: &str) -> Step {
    Step::Received(code, reason.into())
}

pub(crate) fn closed(initiator: Initiator, code: u16, said: Option<u16>, ending: Ending) -> Step {
    let sent = said.map(CloseCode::from);
    Step::Closed(Closed {
        initiator,
        code: code.into(),
        sent,
        ending,
        unsent: 0,
    })
}

impl Step {
    /// The end, with so many bytes that never left.
    pub(crate) fn unsent(self, bytes: u64) -> Self {
        match self {
            Self::Closed(mut closed) => {
                closed.unsent = bytes;
                Self::Closed(closed)
            }
            other => panic!("not the end: {other:?}"),
        }
    }
}

/// One end and what it has to tell.
pub(crate) struct End<R: Role> {
    pub(crate) connection: Connection<R>,
    /// Reads what this end sends.
    witness: fn(&[u8]) -> (u16, String),
    steps: Vec<Step>,
}

/// Both ends of a connection and a clock.
pub(crate) struct Pair {
    pub(crate) server: End<Server>,
    pub(crate) client: End<Client<Masks>>,
    pub(crate) now: Duration,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let mut config = Config::default();
        config.close_timeout(TIMEOUT);
        Self {
            server: End {
                connection: Connection::server(config),
                witness: |bytes| close_frame(&read(&mut crate::client(), &[bytes])),
                steps: Vec::new(),
            },
            client: End {
                connection: Connection::client(config, || KEY),
                witness: |bytes| close_frame(&read(&mut crate::server(), &[bytes])),
                steps: Vec::new(),
            },
            now: Duration::from_secs(100),
        }
    }

    /// Lets the server send and the client receive.
    pub(crate) fn deliver_to_client(&mut self) {
        let bytes = self.server.transmit();
        self.client.receive(bytes, self.now);
    }

    /// Lets the client send and the server receive.
    pub(crate) fn deliver_to_server(&mut self) {
        let bytes = self.client.transmit();
        self.server.receive(bytes, self.now);
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.now += time;
        self.server.connection.handle_timeout(self.now);
        self.client.connection.handle_timeout(self.now);
    }

    #[track_caller]
    pub(crate) fn expect(self, server: &[Step], client: &[Step]) {
        assert_eq!(self.server.finish(), server, "the server");
        assert_eq!(self.client.finish(), client, "the client");
    }
}

impl<R: Role> End<R> {
    pub(crate) fn transmit(&mut self) -> Vec<u8> {
        let bytes = transmit(&mut self.connection);
        if !bytes.is_empty() {
            let (code, reason) = (self.witness)(&bytes);
            self.steps.push(Step::Sent(code, reason));
        }
        bytes
    }

    pub(crate) fn receive(&mut self, mut bytes: Vec<u8>, now: Duration) {
        let mut events = self.connection.push(&mut bytes, now);
        while let Some(event) = events.next() {
            match event {
                Ok(Event::Close(frame)) => {
                    self.steps.push(received(frame.code.into(), frame.reason));
                }
                other => panic!("only Close frames are expected here: {other:?}"),
            }
        }
    }

    fn finish(mut self) -> Vec<Step> {
        self.steps
            .extend(self.connection.closed().map(Step::Closed));
        self.steps
    }
}

fn close_frame(seen: &[crate::Seen]) -> (u16, String) {
    match seen {
        [crate::Seen::Close(code, reason)] => (*code, reason.clone()),
        other => panic!("one Close frame is expected here: {other:?}"),
    }
}
