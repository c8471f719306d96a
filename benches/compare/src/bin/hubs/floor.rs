//! The floor: what delivering costs when nothing is done but `send`. One thread, one epoll.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// How events leave.
#[derive(Clone, Copy, PartialEq)]
pub enum Way {
    /// One `send` of one pre-encoded buffer per subscriber and event, before the publish is answered.
    OneEach,
    /// Everything pending in one `send`; publishes are taken in between and answered at once.
    AllPending,
}

const LISTENER: Token = Token(usize::MAX);

/// Subscribers served between two looks at the sockets.
const SLICE: usize = 64;

/// Bytes of a log that make it worth looking for what everybody has read.
const TRIM: usize = 64 << 20;

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    /// The topic, once it is a subscriber.
    topic: Option<usize>,
    /// `AllPending`: how far into the topic's log it is. `OneEach`: into `backlog`.
    cursor: u64,
    backlog: Vec<u8>,
}

#[derive(Default)]
struct Topic {
    subscribers: Vec<usize>,
    log: Vec<u8>,
    /// Position of the log's first byte.
    base: u64,
    /// Where the next slice begins, and how long the log was when this round began.
    sweep: usize,
    round: u64,
    queued: bool,
}

impl Topic {
    fn end(&self) -> u64 {
        self.base + self.log.len() as u64
    }
}

struct Floor {
    way: Way,
    poll: Poll,
    connections: Vec<Option<Connection>>,
    names: HashMap<String, usize>,
    topics: Vec<Topic>,
    /// Topics with something to send.
    queue: std::collections::VecDeque<usize>,
    number: u64,
}

pub fn run(way: Way) -> io::Result<()> {
    let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    let mut floor = Floor {
        way,
        poll: Poll::new()?,
        connections: Vec::new(),
        names: HashMap::new(),
        topics: Vec::new(),
        queue: Default::default(),
        number: 0,
    };
    floor
        .poll
        .registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening {}", listener.local_addr()?);
    let mut events = Events::with_capacity(1024);
    loop {
        let timeout = (!floor.queue.is_empty()).then_some(std::time::Duration::ZERO);
        match floor.poll.poll(&mut events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in &events {
            if event.token() == LISTENER {
                floor.accept(&listener)?;
                continue;
            }
            let at = event.token().0;
            if event.is_writable() {
                floor.flush(at);
            }
            if event.is_readable() {
                floor.read(at);
            }
        }
        floor.serve();
    }
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let token = Token(self.connections.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut stream, token, interest)?;
            self.connections.push(Some(Connection {
                stream,
                input: Vec::new(),
                topic: None,
                cursor: 0,
                backlog: Vec::new(),
            }));
        }
    }

    fn close(&mut self, at: usize) {
        if let Some(connection) = self.connections[at].take() {
            if let Some(topic) = connection.topic {
                self.topics[topic].subscribers.retain(|other| *other != at);
            }
        }
    }

    fn read(&mut self, at: usize) {
        let mut bytes = [0; 16 * 1024];
        loop {
            let Some(connection) = &mut self.connections[at] else {
                return;
            };
            match connection.stream.read(&mut bytes) {
                Ok(0) => return self.close(at),
                Ok(read) => connection.input.extend_from_slice(&bytes[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.close(at),
            }
            self.requests(at);
        }
    }

    fn requests(&mut self, at: usize) {
        loop {
            let Some(connection) = &mut self.connections[at] else {
                return;
            };
            let input = &connection.input;
            let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                return;
            };
            let head = String::from_utf8_lossy(&input[..end]).into_owned();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "))
                .map_or(0, |length| {
                    length.parse().expect("the generator writes a number")
                });
            let whole = end + 4 + length;
            if input.len() < whole {
                return;
            }
            let body = input[end + 4..whole].to_vec();
            connection.input.drain(..whole);
            let path = head.split(' ').nth(1).unwrap_or_default();
            let topic = self.topic(path.rsplit('/').next().unwrap_or_default());
            let answer: &[u8] = if head.starts_with("GET") {
                self.topics[topic].subscribers.push(at);
                let end = self.topics[topic].end();
                if let Some(connection) = &mut self.connections[at] {
                    (connection.topic, connection.cursor) = (Some(topic), end);
                    connection.input = Vec::new();
                    if self.way == Way::OneEach {
                        connection.cursor = 0;
                    }
                }
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
            } else {
                self.publish(topic, &body);
                b"HTTP/1.1 204 No Content\r\n\r\n"
            };
            // The head of a response fits into an empty socket.
            let written = match &mut self.connections[at] {
                Some(connection) => connection.stream.write(answer),
                None => return,
            };
            if written.is_err() {
                self.close(at);
            }
        }
    }

    fn topic(&mut self, name: &str) -> usize {
        if let Some(topic) = self.names.get(name) {
            return *topic;
        }
        self.topics.push(Topic::default());
        let topic = self.topics.len() - 1;
        self.names.insert(name.to_owned(), topic);
        topic
    }

    fn publish(&mut self, topic: usize, data: &[u8]) {
        self.number += 1;
        let mut event = format!("id: {}\ndata: ", self.number).into_bytes();
        event.extend_from_slice(data);
        event.extend_from_slice(b"\n\n");
        if self.way == Way::AllPending {
            let state = &mut self.topics[topic];
            state.log.extend_from_slice(&event);
            if !state.queued {
                (state.queued, state.sweep, state.round) = (true, 0, state.end());
                self.queue.push_back(topic);
            }
            return;
        }
        let subscribers = std::mem::take(&mut self.topics[topic].subscribers);
        for at in &subscribers {
            let Some(connection) = &mut self.connections[*at] else {
                continue;
            };
            let sent = match connection.backlog.is_empty() {
                true => connection.stream.write(&event).unwrap_or(0),
                false => 0,
            };
            if sent < event.len() {
                connection.backlog.extend_from_slice(&event[sent..]);
            }
        }
        self.topics[topic].subscribers = subscribers;
    }

    /// Sends to a slice of the subscribers of the first topic in the queue.
    fn serve(&mut self) {
        let Some(&number) = self.queue.front() else {
            return;
        };
        let from = self.topics[number].sweep;
        let to = (from + SLICE).min(self.topics[number].subscribers.len());
        for place in from..to {
            let at = self.topics[number].subscribers[place];
            self.flush(at);
        }
        let topic = &mut self.topics[number];
        topic.sweep = to;
        if to < topic.subscribers.len() {
            return;
        }
        self.queue.pop_front();
        if topic.round < topic.end() {
            (topic.sweep, topic.round) = (0, topic.end());
            self.queue.push_back(number);
        } else {
            topic.queued = false;
        }
        if topic.log.len() > TRIM {
            let cursors = topic.subscribers.iter();
            let cursors = cursors.filter_map(|at| self.connections[*at].as_ref());
            let read = cursors.map(|connection| connection.cursor).min();
            let read = read.unwrap_or(topic.end());
            topic.log.drain(..(read - topic.base) as usize);
            topic.base = read;
        }
    }

    /// Sends what is pending for one connection.
    fn flush(&mut self, at: usize) {
        let Some(connection) = &mut self.connections[at] else {
            return;
        };
        let Some(topic) = connection.topic else {
            return;
        };
        let (pending, base) = match self.way {
            Way::OneEach => (&connection.backlog, 0),
            Way::AllPending => (&self.topics[topic].log, self.topics[topic].base),
        };
        while ((connection.cursor - base) as usize) < pending.len() {
            match connection
                .stream
                .write(&pending[(connection.cursor - base) as usize..])
            {
                Ok(written) => connection.cursor += written as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.close(at),
            }
        }
        if self.way == Way::OneEach {
            connection.backlog = Vec::new();
            connection.cursor = 0;
        }
    }
}
