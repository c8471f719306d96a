//! Connecting subscribers, a number of them at a time.

use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mio::{Interest, Token};
use socket2::SockRef;

use super::Crowd;
use crate::bench::check::Check;
use crate::bench::connection::{Connection, Wire};
use crate::bench::http2::{Http2, STALLED_WINDOW, STREAM_WINDOW};
use crate::bench::io::Io;
use crate::bench::subscriber::Subscriber;

/// Handshakes under way at the same time.
const HANDSHAKES: usize = 64;

/// Bytes that a stalled subscriber's kernel takes; the least it grants.
const STALLED_BUFFER: usize = 4096;

/// Where subscribers resume.
#[derive(Debug)]
pub(crate) struct Resume {
    /// The cursor.
    pub(crate) after: String,
    /// The number of the first message behind it.
    pub(crate) next: u32,
}

impl Crowd {
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
            } else if last.1.elapsed() > self.patience * 2 {
                bail!(
                    "{} of {count} subscribers are connected, and for {} s no other was answered; \
                     is the server out of descriptors or connections?",
                    self.opened - first,
                    self.patience.as_secs_f64() * 2.0
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
}
