//! Line by line: the way that everything can take.

use alloc::string::String;
use core::mem;
use core::time::Duration;

use super::{BOM, Decoder, Step};
use crate::limits::{Excess, Part};

impl Decoder {
    /// Reads up to the end of one line, or all there is.
    pub(super) fn advance(&mut self, rest: &mut &[u8]) -> Step {
        if mem::take(&mut self.after_cr)
            && let [b'\n', tail @ ..] = rest
        {
            *rest = tail;
            return Step::Quiet;
        }
        self.fresh = false;
        if self.line == Line::Held && self.line_len == 0 && !self.at_start && !self.skipping {
            self.gather_data(rest);
        }
        let (piece, tail) = rest.split_at(line_end(rest).unwrap_or(rest.len()));
        let eol = tail.first();
        *rest = tail.get(1..).unwrap_or_default();
        self.after_cr = eol == Some(&b'\r');
        let ended = eol.is_some();

        if self.line == Line::TooLong {
            if ended {
                self.end_line();
            }
            return Step::Quiet;
        }
        if piece.len() > self.limits.max_line - self.line_len {
            self.at_start = false;
            self.end_line();
            if !ended {
                self.line = Line::TooLong;
            }
            return self.exceed(Part::Line);
        }
        if ended && self.line_len == 0 {
            return self.process_line(piece);
        }
        self.line_len += piece.len();
        self.continue_line(piece);
        if ended {
            self.finish_line()
        } else {
            Step::Quiet
        }
    }

    fn continue_line(&mut self, piece: &[u8]) {
        match self.line {
            Line::Held if self.held.is_empty() => match self.begin_line(piece) {
                Line::Held => self.held.extend_from_slice(piece),
                line => self.line = line,
            },
            Line::Held => {
                let mut held = mem::take(&mut self.held);
                held.extend_from_slice(piece);
                self.line = self.begin_line(&held);
                if self.line != Line::Held {
                    held.clear();
                }
                self.held = held;
            }
            Line::Data => self.continue_data(piece),
            Line::Passed | Line::TooMuch | Line::TooLong => {}
        }
    }

    /// Decides what becomes of a line that begins with `begun`: data goes where it belongs at once,
    /// and what means nothing nowhere.
    fn begin_line(&mut self, begun: &[u8]) -> Line {
        match begun {
            _ if self.at_start => Line::Held,
            [b':', ..] if !self.comments => Line::Passed,
            [b'd', b'a', b't', b'a', b':', value @ ..] if !value.is_empty() => {
                if self.skipping {
                    return Line::Passed;
                }
                self.line = Line::Data;
                self.continue_data(value.strip_prefix(b" ").unwrap_or(value));
                self.line
            }
            _ => Line::Held,
        }
    }

    fn continue_data(&mut self, piece: &[u8]) {
        if self.event.len() + self.data.len() + piece.len() > self.limits.max_event {
            self.line = Line::TooMuch;
        } else {
            self.data.extend_from_slice(piece);
        }
    }

    fn finish_line(&mut self) -> Step {
        let line = self.line;
        let mut held = mem::take(&mut self.held);
        self.end_line();
        let step = match line {
            Line::Held => self.process_line(&held),
            Line::Data => {
                self.data.push(b'\n');
                Step::Quiet
            }
            Line::TooMuch => self.exceed(Part::Event),
            Line::Passed | Line::TooLong => Step::Quiet,
        };
        held.clear();
        self.held = held;
        step
    }

    /// What comes next begins a line.
    pub(super) fn end_line(&mut self) {
        self.line = Line::Held;
        self.held.clear();
        self.line_len = 0;
    }

    fn process_line(&mut self, line: &[u8]) -> Step {
        let line = if mem::take(&mut self.at_start) {
            line.strip_prefix(BOM).unwrap_or(line)
        } else {
            line
        };
        if let [b'd', b'a', b't', b'a', b':', value @ ..] = line {
            return self.process_data(value.strip_prefix(b" ").unwrap_or(value));
        }
        let (name, value) = match memchr::memchr(b':', line) {
            Some(at) => {
                let (name, value) = line.split_at(at);
                (name, value.strip_prefix(b":").unwrap_or(value))
            }
            None if line.is_empty() => return self.dispatch(),
            None => (line, &b""[..]),
        };
        if name.is_empty() {
            return self.process_comment(value);
        }
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => self.process_data(value),
            b"event" if !self.skipping => self.process_event(value),
            b"id" => self.process_id(value),
            b"retry" => self.process_retry(value),
            _ => Step::Quiet,
        }
    }

    fn process_comment(&mut self, text: &[u8]) -> Step {
        if !self.comments {
            return Step::Quiet;
        }
        self.comment.clear();
        self.comment.extend_from_slice(text);
        Step::Comment
    }

    fn process_data(&mut self, value: &[u8]) -> Step {
        if self.skipping {
            return Step::Quiet;
        }
        if self.event.len() + self.data.len() + value.len() > self.limits.max_event {
            return self.exceed(Part::Event);
        }
        self.data.extend_from_slice(value);
        self.data.push(b'\n');
        Step::Quiet
    }

    fn process_event(&mut self, value: &[u8]) -> Step {
        self.event.clear();
        let data = self.data.len().saturating_sub(1);
        if !append_text(&mut self.event, value, self.limits.max_event - data) {
            return self.exceed(Part::Event);
        }
        Step::Quiet
    }

    fn process_id(&mut self, value: &[u8]) -> Step {
        if memchr::memchr(0, value).is_some() {
            return Step::Quiet;
        }
        let held = self.id.len();
        if !append_text(&mut self.id, value, self.limits.max_id) {
            return self.exceed(Part::Id);
        }
        self.id.drain(..held);
        self.id_set = true;
        Step::Quiet
    }

    fn process_retry(&mut self, value: &[u8]) -> Step {
        // `u64::from_str` alone would accept a sign. A number over `u64::MAX` is ignored.
        let digits = value.iter().all(u8::is_ascii_digit);
        let ms = str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse().ok());
        let (true, Some(ms)) = (digits, ms) else {
            return Step::Quiet;
        };
        let delay = Duration::from_millis(ms);
        self.retry = Some(delay);
        Step::Retry(delay)
    }

    pub(super) fn dispatch(&mut self) -> Step {
        self.fresh = true;
        self.skipping = false;
        let id_set = mem::take(&mut self.id_set);
        if id_set {
            mem::swap(&mut self.last_event_id, &mut self.id);
        }
        if self.data.pop().is_some() {
            self.dispatched = true;
            return Step::Event;
        }
        self.event.clear();
        if id_set { Step::Id } else { Step::Quiet }
    }

    fn exceed(&mut self, part: Part) -> Step {
        self.event.clear();
        self.data.clear();
        match self.limits.on_excess {
            Excess::Stop => self.stopped = true,
            Excess::SkipEvent => {
                if mem::replace(&mut self.skipping, true) {
                    return Step::Quiet;
                }
            }
        }
        Step::TooLarge(part)
    }

    pub(super) fn forget_dispatched(&mut self) {
        if mem::take(&mut self.dispatched) {
            self.event.clear();
            self.data.clear();
        }
    }
}

/// What becomes of a line of which only the beginning has arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Line {
    /// Kept until its end: short, as a rule, or not yet known to be something else.
    Held,
    /// A `data` line: its value goes to the data of the event at once.
    Data,
    /// It means nothing: only its end is looked for.
    Passed,
    /// A `data` line that exceeds [`Limits::max_event`](crate::Limits::max_event); said at its end, for it may yet turn out
    /// too long.
    TooMuch,
    /// It exceeded [`Limits::max_line`](crate::Limits::max_line), which has been said.
    TooLong,
}

/// Appends `bytes` as UTF-8, each maximal invalid subpart as U+FFFD; appends nothing and returns
/// false if that takes more than `room` bytes.
fn append_text(out: &mut String, bytes: &[u8], room: usize) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let fits = text.len() <= room;
    if fits {
        out.push_str(&text);
    }
    fits
}

/// Where the line ends that `bytes` begin with.
#[inline]
pub(super) fn line_end(bytes: &[u8]) -> Option<usize> {
    let ends = |byte: &u8| matches!(byte, b'\n' | b'\r');
    // For a few bytes the way into the vector code is longer than the way past them.
    if bytes.len() < SHORT {
        bytes.iter().position(ends)
    } else {
        memchr::memchr2(b'\n', b'\r', bytes)
    }
}

/// As measured: see the row A4 in `docs/benchmarks.md`.
const SHORT: usize = 16;
