//! All connections, and the one loop that serves them.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use memchr::memmem::Finder;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

use super::check::{Check, Tally};
use super::payload::{Marker, scan};
use super::publisher::{Answer, Publisher};
use super::subscriber::{Brought, ROOM, State, Subscriber};
use super::target::{PublishRequest, Target};

/// Publishers' tokens begin here; subscribers' are their places.
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
    /// Subscribers whose socket may hold more than was read.
    pending: VecDeque<usize>,
    opened: usize,
    said: Vec<super::framing::Said>,
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
        let address = target.publish.address;
        let requests = (0..topics).map(|topic| target.publish_request(topic, size));
        let publisher = |n: u32| Publisher::new(address, Token(PUBLISHERS + n as usize));
        Ok(Self {
            poll: Poll::new().context("no poll to be had")?,
            events: Events::with_capacity(4096),
            requests: requests.collect(),
            gap: Finder::new(target.gap),
            target,
            run,
            origin: Instant::now(),
            subscribers: Vec::new(),
            publishers: (0..publishers).map(publisher).collect(),
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
                let n = asked as u32;
                self.ask(n % topics, from, stalls(n)).with_context(|| {
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

    fn ask(&mut self, topic: u32, from: Option<&Resume>, stalls: bool) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.target.subscribe.address)?;
        stream.set_nodelay(true)?;
        if stalls {
            SockRef::from(&stream).set_recv_buffer_size(STALLED_BUFFER)?;
        }
        let place = Token(self.subscribers.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, place, interest)?;
        let after = from.map(|from| from.after.as_str());
        let request = self.target.subscribe_request(topic, after);
        let first = self.target.first_messages(topic, after);
        let mut subscriber = Subscriber::new(stream, topic, request, first);
        if let Some(from) = from {
            subscriber.check = Check::expecting(from.next);
            self.expected += u64::from(self.published[topic as usize] - from.next);
        }
        self.subscribers.push(subscriber);
        self.live[topic as usize] += 1;
        Ok(())
    }

    /// These subscribers stop reading.
    pub(crate) fn stall(&mut self, stalls: impl Fn(u32) -> bool) -> io::Result<u32> {
        let mut stalled = 0;
        for (n, subscriber) in self.subscribers.iter_mut().enumerate() {
            if stalls(n as u32) && subscriber.state == State::Open {
                self.poll.registry().deregister(&mut subscriber.stream)?;
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
        let request = &self.requests[place];
        let sent = self.publishers[publisher]
            .send(self.poll.registry(), |out| request.write(&marker, out));
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
        let subscriber = &mut self.subscribers[place];
        if subscriber.state == State::Closed {
            return;
        }
        if let Err(error) = subscriber.flush() {
            self.ended(place, error.to_string());
        }
    }

    /// Reads once, and again in the next turn when the buffer was too small or `until_empty`.
    fn read(&mut self, place: usize, until_empty: bool) {
        let subscriber = &mut self.subscribers[place];
        if matches!(subscriber.state, State::Closed | State::Stalled) {
            return;
        }
        let asking = subscriber.state == State::Asking;
        let brought = subscriber.read(&mut self.buffer, self.target.ws, &mut self.said);
        if asking && subscriber.state == State::Open {
            self.opened += 1;
        }
        match brought {
            Brought::Nothing => {}
            Brought::End(why) => self.ended(place, why),
            Brought::Body {
                start,
                end,
                more,
                over,
            } => {
                if end > ROOM {
                    self.look(place, start, end);
                }
                match over {
                    Some(why) => self.ended(place, why),
                    None if more || until_empty => self.pending.push_back(place),
                    None => {}
                }
            }
        }
    }

    /// Counts and checks what stands in the buffer.
    fn look(&mut self, place: usize, start: usize, end: usize) {
        let body = &self.buffer[start..end];
        if let Some(capture) = &mut self.capture {
            capture.extend_from_slice(&self.buffer[ROOM..end]);
        }
        let now = Instant::now();
        let time = nanos(now.saturating_duration_since(self.origin));
        let subscriber = &mut self.subscribers[place];
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

    fn ended(&mut self, place: usize, why: String) {
        let subscriber = &mut self.subscribers[place];
        let topic = subscriber.topic as usize;
        // A registration ends with its socket; one that is shut down only is as good as gone.
        let _ = self.poll.registry().deregister(&mut subscriber.stream);
        let _ = subscriber.stream.shutdown(std::net::Shutdown::Both);
        subscriber.state = State::Closed;
        self.live[topic] -= 1;
        if let Some(next) = subscriber.check.next() {
            self.expected -= u64::from(self.published[topic] - next);
        }
        self.figures.closed += 1;
        self.figures.first_end.get_or_insert(why);
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
        self.subscribers.clear();
        self.pending.clear();
        self.live.fill(0);
        self.opened = 0;
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
