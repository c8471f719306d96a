//! All connections, and the one loop that serves them.

mod connect;
mod read;

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use anyhow::Context;
use memchr::memmem::Finder;
use mio::{Events, Poll, Token};

use super::check::Tally;
use super::connection::{Connection, Wire};
use super::figures::Figures;
use super::framing::Said;
use super::options::Bench;
use super::payload::Marker;
use super::publisher::{Answer, Publisher};
use super::subscriber::{ROOM, State, Subscriber};
use super::target::{PublishRequest, Target};

pub(crate) use connect::Resume;

/// Publishers' tokens begin here; connections' are their places.
const PUBLISHERS: usize = 1 << 30;

/// What one read takes at most.
const READ: usize = 256 * 1024;

pub(crate) struct Crowd {
    poll: Poll,
    events: Events,
    pub(crate) target: Target,
    run: u16,
    /// How long nothing may happen before it counts as nothing more to come.
    pub(crate) patience: Duration,
    origin: Instant,
    connections: Vec<Connection>,
    pub(crate) subscribers: Vec<Subscriber>,
    pub(crate) publishers: Vec<Publisher>,
    requests: Vec<PublishRequest>,
    /// Messages of each topic so far.
    pub(crate) published: Vec<u32>,
    /// Subscribers of each topic that read.
    pub(crate) live: Vec<u32>,
    /// What all subscribers together must come by, and how far they are.
    pub(crate) expected: u64,
    pub(crate) progress: u64,
    pub(crate) last_progress: Instant,
    pub(crate) tally: Tally,
    pub(crate) figures: Figures,
    /// Everything one subscriber receives, while its last id is wanted.
    pub(crate) capture: Option<Vec<u8>>,
    gap: Finder<'static>,
    buffer: Box<[u8]>,
    /// Connections whose socket may hold more than was read.
    pending: VecDeque<usize>,
    opened: usize,
    said: Vec<Said>,
}

impl Crowd {
    pub(crate) fn new(target: Target, run: u16, options: &Bench) -> anyhow::Result<Self> {
        let (topics, size) = (options.topics, options.size as usize);
        let requests = (0..topics).map(|topic| target.publish_request(topic, size));
        let publisher = |n: u32| {
            let token = Token(PUBLISHERS + n as usize);
            Publisher::new(target.publish.address, target.publish.tls.clone(), token)
        };
        Ok(Self {
            poll: Poll::new().context("no poll to be had")?,
            events: Events::with_capacity(4096),
            requests: requests.collect(),
            gap: Finder::new(target.gap),
            run,
            patience: Duration::from_secs_f64(options.patience),
            origin: Instant::now(),
            connections: Vec::new(),
            subscribers: Vec::new(),
            publishers: (0..options.publishers).map(publisher).collect(),
            target,
            published: vec![0; topics as usize],
            live: vec![0; topics as usize],
            expected: 0,
            progress: 0,
            last_progress: Instant::now(),
            tally: Tally::default(),
            figures: Figures::new(),
            capture: None,
            buffer: vec![0; ROOM + READ].into_boxed_slice(),
            pending: VecDeque::new(),
            opened: 0,
            said: Vec::new(),
        })
    }

    /// Begins to measure anew.
    pub(crate) fn measure(&mut self) {
        self.figures = Figures::new();
    }

    /// These subscribers stop reading.
    pub(crate) fn stall(&mut self, stalls: impl Fn(u32) -> bool) -> io::Result<u32> {
        let mut stalled = 0;
        for (n, subscriber) in self.subscribers.iter_mut().enumerate() {
            if stalls(n as u32) && subscriber.state == State::Open {
                let connection = &mut self.connections[subscriber.connection];
                if matches!(connection.wire, Wire::Http1 { .. }) {
                    let socket = connection.io.socket();
                    self.poll.registry().deregister(socket)?;
                    connection.live = false;
                }
                subscriber.state = State::Stalled;
                self.live[subscriber.topic as usize] -= 1;
                stalled += 1;
            }
        }
        Ok(stalled)
    }

    /// Publishes the next message of `topic`, due at `due`, by `publisher`, which is free.
    pub(crate) fn publish(&mut self, publisher: usize, topic: u32, due: Instant) {
        let place = topic as usize;
        let marker = Marker {
            run: self.run,
            topic,
            seq: self.published[place],
            time: nanos(due.saturating_duration_since(self.origin)),
        };
        self.published[place] += 1;
        self.expected += u64::from(self.live[place]);
        let requests = std::mem::take(&mut self.requests);
        self.send(publisher, |out| requests[place].write(&marker, out));
        self.requests = requests;
    }

    /// Sends what `write` puts into the buffer by `publisher`, which is free.
    pub(crate) fn send(&mut self, publisher: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let sent = self.publishers[publisher].send(self.poll.registry(), write);
        if let Err(answer) = sent {
            self.answered(answer);
        }
    }

    /// Waits at most `timeout` for something to happen, and serves all of it.
    pub(crate) fn turn(&mut self, timeout: Duration) -> anyhow::Result<()> {
        let mut timeout = if self.pending.is_empty() {
            timeout
        } else {
            Duration::ZERO
        };
        while let Err(error) = self.poll.poll(&mut self.events, Some(timeout)) {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error).context("waiting for sockets");
            }
            // What has come while this process was stopped.
            timeout = Duration::ZERO;
        }
        for _ in 0..self.pending.len() {
            if let Some(place) = self.pending.pop_front() {
                self.read(place, true);
            }
        }
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            match event.token().0.checked_sub(PUBLISHERS) {
                Some(publisher) => {
                    if let Some(answer) = self.publishers[publisher].on_event() {
                        self.answered(answer);
                    }
                }
                None => {
                    let place = event.token().0;
                    if event.is_writable() {
                        self.write(place);
                    }
                    if event.is_readable() || event.is_error() {
                        // Less than was asked for means that there is no more; but the end comes
                        // without an event of its own.
                        self.read(place, event.is_read_closed());
                    }
                }
            }
        }
        std::mem::swap(&mut self.events, &mut events);
        Ok(())
    }

    fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Accepted(took) => {
                self.figures.accepted += 1;
                self.figures.publish_latency.saturating_record(nanos(took));
                self.last_progress = Instant::now();
            }
            Answer::Failed(why) => {
                self.figures.failed += 1;
                self.figures.first_failure.get_or_insert(why);
            }
        }
    }

    fn write(&mut self, place: usize) {
        let connection = &mut self.connections[place];
        if connection.live
            && let Err(error) = connection.flush()
        {
            self.cut(place, &error.to_string());
        }
    }

    /// The connection is gone, and its subscribers with it.
    fn cut(&mut self, place: usize, why: &str) {
        let connection = &mut self.connections[place];
        // A registration ends with its socket; one that is shut down only is as good as gone.
        let _ = self.poll.registry().deregister(connection.io.socket());
        let _ = connection.io.socket().shutdown(std::net::Shutdown::Both);
        connection.live = false;
        for number in connection.subscribers.clone() {
            self.ended(number, why);
        }
    }

    fn ended(&mut self, number: usize, why: &str) {
        let subscriber = &mut self.subscribers[number];
        let topic = subscriber.topic as usize;
        let state = std::mem::replace(&mut subscriber.state, State::Closed);
        if matches!(state, State::Closed | State::Stalled) {
            subscriber.state = state;
            return;
        }
        self.live[topic] -= 1;
        if let Some(next) = subscriber.check.next() {
            self.expected -= u64::from(self.published[topic] - next);
        }
        self.figures.closed += 1;
        self.figures.first_end.get_or_insert_with(|| why.to_owned());
    }

    /// What was never received counts as lost from now on.
    pub(crate) fn close_the_books(&mut self) {
        for subscriber in &mut self.subscribers {
            if subscriber.state != State::Stalled {
                let published = self.published[subscriber.topic as usize];
                subscriber.check.end(published, &mut self.tally);
            }
        }
    }

    /// Ends all subscriptions.
    pub(crate) fn disperse(&mut self) {
        self.connections.clear();
        self.subscribers.clear();
        self.pending.clear();
        self.live.fill(0);
        self.opened = 0;
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
