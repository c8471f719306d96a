//! All connections, and the one loop that serves them.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use memchr::memmem::Finder;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

use super::check::{Check, Tally};
use super::connection::{Connection, Wire};
use super::framing::{Said, client_frame};
use super::http2::{Http2, Piece, STALLED_WINDOW, STREAM_WINDOW, write_taken};
use super::io::{Io, waits};
use super::payload::{Marker, scan};
use super::publisher::{Answer, Publisher};
use super::subscriber::{ROOM, State, Subscriber};
use super::target::{PublishRequest, Target};

/// Publishers' tokens begin here; connections' are their places.
const PUBLISHERS: usize = 1 << 30;

/// What one read takes at most.
const READ: usize = 256 * 1024;

/// Handshakes under way at the same time.
const HANDSHAKES: usize = 64;

/// How long nothing may happen before it counts as nothing more to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes that a stalled subscriber's kernel takes; the least it grants.
const STALLED_BUFFER: usize = 4096;

pub(crate) struct Crowd {
    poll: Poll,
    events: Events,
    pub(crate) target: Target,
    run: u16,
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

/// Where subscribers resume.
#[derive(Debug)]
pub(crate) struct Resume {
    /// The cursor.
    pub(crate) after: String,
    /// The number of the first message behind it.
    pub(crate) next: u32,
}

/// What is measured; begins anew with each stage.
pub(crate) struct Figures {
    pub(crate) received: u64,
    pub(crate) reads: u64,
    /// From when a message was due to when it was read, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    pub(crate) accepted: u64,
    pub(crate) publish_latency: Histogram<u64>,
    pub(crate) failed: u64,
    pub(crate) first_failure: Option<String>,
    pub(crate) closed: u64,
    pub(crate) first_end: Option<String>,
}

impl Figures {
    fn new() -> Self {
        let hour = 3_600_000_000_000;
        let histogram = || {
            Histogram::new_with_bounds(1, hour, 3)
                .expect("these bounds are in the histogram's range")
        };
        Self {
            received: 0,
            reads: 0,
            latency: histogram(),
            accepted: 0,
            publish_latency: histogram(),
            failed: 0,
            first_failure: None,
            closed: 0,
            first_end: None,
        }
    }
}

impl Crowd {
    pub(crate) fn new(
        target: Target,
        run: u16,
        topics: u32,
        publishers: u32,
        size: usize,
    ) -> anyhow::Result<Self> {
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
            origin: Instant::now(),
            connections: Vec::new(),
            subscribers: Vec::new(),
            publishers: (0..publishers).map(publisher).collect(),
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

    /// Connects `count` subscribers, spread over the topics. `stalls` says which will stop reading.
    ///
    /// # Errors
    ///
    /// When one cannot connect or is refused.
    pub(crate) fn connect(
        &mut self,
        count: u32,
        from: Option<&Resume>,
        stalls: impl Fn(u32) -> bool,
    ) -> anyhow::Result<()> {
        let topics = self.published.len() as u32;
        let first = self.subscribers.len();
        let goal = self.opened + count as usize;
        let mut last = (self.opened, Instant::now());
        while self.opened < goal {
            let asked = self.subscribers.len() - first;
            let under_way = first + asked - self.opened;
            if asked < count as usize && under_way < HANDSHAKES {
                let streams = self.target.streams as usize;
                let places = asked..(asked + streams).min(count as usize);
                self.ask(places, topics, from, &stalls).with_context(|| {
                    format!(
                        "connection {} to {}",
                        asked + 1,
                        self.target.subscribe.address
                    )
                })?;
                continue;
            }
            self.turn(Duration::from_millis(100))?;
            if let Some(why) = &self.figures.first_end {
                let address = self.target.subscribe.address;
                bail!(
                    "subscriber {} of {count} at {address}: {why}",
                    self.opened - first + 1
                );
            }
            if self.opened != last.0 {
                last = (self.opened, Instant::now());
            } else if last.1.elapsed() > PATIENCE * 2 {
                bail!(
                    "{} of {count} subscribers are connected, and for {} s no other was answered; \
                     is the server out of descriptors or connections?",
                    self.opened - first,
                    PATIENCE.as_secs() * 2
                );
            }
        }
        Ok(())
    }

    /// Connects the subscribers with these numbers, all on one connection.
    fn ask(
        &mut self,
        numbers: Range<usize>,
        topics: u32,
        from: Option<&Resume>,
        stalls: impl Fn(u32) -> bool,
    ) -> io::Result<()> {
        let place = &self.target.subscribe;
        let mut io = Io::connect(place.address, place.tls.as_ref())?;
        let stalls = numbers.clone().any(|number| stalls(number as u32));
        let after = from.map(|from| from.after.as_str());
        let topic = |number: usize| number as u32 % topics;
        let mut out = Vec::new();
        let wire = if self.target.transport.http2 {
            let requests = numbers
                .clone()
                .map(|n| self.target.http2_request(topic(n), after));
            let window = if stalls {
                STALLED_WINDOW
            } else {
                STREAM_WINDOW
            };
            Wire::Http2(Box::new(Http2::new(requests.collect(), window, &mut out)))
        } else {
            if stalls {
                SockRef::from(&*io.socket()).set_recv_buffer_size(STALLED_BUFFER)?;
            }
            let topic = topic(numbers.start);
            out = self.target.subscribe_request(topic, after);
            let first = self.target.first_messages(topic, after);
            Wire::Http1 { first }
        };
        let connection = self.connections.len();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(io.socket(), Token(connection), interest)?;
        let first = self.subscribers.len();
        for topic in numbers.map(topic) {
            let mut check = Check::default();
            if let Some(from) = from {
                check = Check::expecting(from.next);
                self.expected += u64::from(self.published[topic as usize] - from.next);
            }
            self.subscribers
                .push(Subscriber::new(connection, topic, check));
            self.live[topic as usize] += 1;
        }
        self.connections.push(Connection {
            io,
            out,
            wire,
            subscribers: first..self.subscribers.len(),
            live: true,
        });
        Ok(())
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
        let timeout = if self.pending.is_empty() {
            timeout
        } else {
            Duration::ZERO
        };
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result.context("waiting for sockets")?,
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

    /// Reads a connection once, and again in the next turn when there may be more or `until_empty`.
    fn read(&mut self, place: usize, until_empty: bool) {
        let connection = &mut self.connections[place];
        if !connection.live {
            return;
        }
        let (read, more) = match connection.io.read(&mut self.buffer[ROOM..]) {
            Ok((0, _)) => return self.cut(place, "the server closed the connection"),
            Ok(read) => read,
            // A handshake may have got far enough for the request to be written.
            Err(error) if waits(&error) => return self.write(place),
            Err(error) => return self.cut(place, &error.to_string()),
        };
        let bytes = ROOM..ROOM + read;
        let result = match connection.wire {
            Wire::Http1 { .. } => self.http1(place, bytes),
            Wire::Http2(_) => self.http2(place, bytes),
        };
        if let Err(why) = result {
            return self.cut(place, &why);
        }
        self.write(place);
        if more || until_empty {
            self.pending.push_back(place);
        }
    }

    fn http1(&mut self, place: usize, mut bytes: Range<usize>) -> Result<(), String> {
        let connection = &mut self.connections[place];
        let number = connection.subscribers.start;
        let subscriber = &mut self.subscribers[number];
        if subscriber.state == State::Asking {
            let head = subscriber.head(&self.buffer[bytes.clone()], self.target.transport)?;
            let Some(used) = head else {
                return Ok(());
            };
            bytes.start += used;
            self.opened += 1;
            if let Wire::Http1 { first } = &mut connection.wire {
                connection.out.append(first);
            }
        }
        self.body(number, bytes)
    }

    fn http2(&mut self, place: usize, bytes: Range<usize>) -> Result<(), String> {
        let mut at = bytes.start;
        loop {
            let connection = &mut self.connections[place];
            let Wire::Http2(http2) = &mut connection.wire else {
                return Ok(());
            };
            let read = &self.buffer[..bytes.end];
            let Some(piece) = http2.next(read, &mut at, &mut connection.out)? else {
                return Ok(());
            };
            let (stream, last) = match &piece {
                Piece::Head { stream, last, .. } | Piece::Data { stream, last, .. } => {
                    (*stream, *last)
                }
                Piece::Reset { stream, .. } => (*stream, true),
            };
            let Some(number) = connection.place(stream) else {
                return Err(format!(
                    "the server speaks on stream {stream}, which nobody opened"
                ));
            };
            let subscriber = &mut self.subscribers[number];
            let result = match (subscriber.state, piece) {
                (State::Closed | State::Stalled, _) => continue,
                (State::Asking, Piece::Head { head, .. }) => {
                    let answered = subscriber.answered(&head, "", self.target.transport);
                    self.opened += usize::from(answered.is_ok());
                    answered
                }
                (_, Piece::Head { .. }) => Ok(()),
                (_, Piece::Reset { why, .. }) => Err(why),
                (_, Piece::Data { bytes, taken, .. }) => {
                    subscriber.taken += taken;
                    if subscriber.taken > STALLED_WINDOW / 2 {
                        write_taken(&mut connection.out, stream, subscriber.taken);
                        subscriber.taken = 0;
                    }
                    self.body(number, bytes)
                }
            };
            match result {
                Ok(()) if !last => {}
                Ok(()) => self.ended(number, "the server ended the stream"),
                Err(why) => self.ended(number, &why),
            }
        }
    }

    /// Bytes of a subscriber's body have come; they stand in the buffer.
    fn body(&mut self, number: usize, bytes: Range<usize>) -> Result<(), String> {
        let subscriber = &mut self.subscribers[number];
        let body = subscriber.decode(&mut self.buffer[bytes.clone()], &mut self.said)?;
        let connection = &mut self.connections[subscriber.connection];
        let mut over = None;
        for said in self.said.drain(..) {
            match said {
                Said::Ping(payload) => connection.say(number, &client_frame(10, &payload)),
                Said::End(Some(code)) => {
                    over = Some(format!("the server closed with code {code}"));
                }
                Said::End(None) => over = Some("the server ended the stream".to_owned()),
            }
        }
        if body > 0 {
            self.look(number, bytes.start..bytes.start + body);
        }
        over.map_or(Ok(()), Err)
    }

    /// Counts and checks what stands in the buffer, with what was kept put before it.
    fn look(&mut self, number: usize, bytes: Range<usize>) {
        if let Some(capture) = &mut self.capture {
            capture.extend_from_slice(&self.buffer[bytes.clone()]);
        }
        let subscriber = &mut self.subscribers[number];
        let start = bytes.start - subscriber.kept().len();
        self.buffer[start..bytes.start].copy_from_slice(subscriber.kept());
        let body = &self.buffer[start..bytes.end];
        let now = Instant::now();
        let time = nanos(now.saturating_duration_since(self.origin));
        let (figures, tally) = (&mut self.figures, &mut self.tally);
        let mut gaps = self.gap.find_iter(body).peekable();
        let before = subscriber.check.next();
        let mut first = None;
        let rest = scan(body, |marker, at| {
            if marker.run != self.run {
                return;
            }
            while gaps.next_if(|gap| *gap < at).is_some() {
                subscriber.check.gap(tally);
            }
            if marker.topic != subscriber.topic {
                tally.misrouted += 1;
                return;
            }
            first.get_or_insert(marker.seq);
            subscriber.check.see(marker.seq, tally);
            figures.received += 1;
            figures
                .latency
                .saturating_record(time.saturating_sub(marker.time));
        });
        gaps.for_each(|_| subscriber.check.gap(tally));
        figures.reads += 1;
        let keep = rest.keep_from(body, self.target.gap.len());
        subscriber.keep(&body[keep..]);
        if let (Some(first), Some(next)) = (first, subscriber.check.next()) {
            self.progress += u64::from(next - before.unwrap_or(first));
            self.last_progress = now;
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
