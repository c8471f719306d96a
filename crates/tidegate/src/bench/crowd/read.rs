//! From what a connection receives to what its subscribers have seen.

use std::ops::Range;
use std::time::Instant;

use super::{Crowd, nanos};
use crate::bench::connection::Wire;
use crate::bench::framing::{Said, client_frame};
use crate::bench::http2::{Piece, STALLED_WINDOW, write_taken};
use crate::bench::io::waits;
use crate::bench::payload::scan;
use crate::bench::subscriber::{ROOM, State};

impl Crowd {
    /// Reads a connection once, and again in the next turn when there may be more or `until_empty`.
    pub(super) fn read(&mut self, place: usize, until_empty: bool) {
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
}
