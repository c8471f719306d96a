//! The short way: an event that lies in one piece, and data that goes on in the next.

use super::line::{Line, line_end};
use super::{BOM, DEFAULT_TYPE, Decoder, Step};
use crate::frame::KEEP_ALIVE;
use crate::text::utf8;

impl Decoder {
    /// Reads one whole block off `rest` if there is one of the usual kind: the keep-alives before it,
    /// then `event` and `id` in any order, one line of `data` and the blank line. Gives its type and
    /// its data. Of anything else it reads nothing and leaves it to [`advance`](Self::advance).
    #[inline]
    pub(super) fn whole_event<'c>(&mut self, rest: &mut &'c [u8]) -> Option<(&'c str, &'c str)> {
        if self.at_start || self.after_cr {
            self.at_start &= rest.first().is_none_or(|byte| BOM.first() == Some(byte));
            if self.at_start || self.after_cr {
                return None;
            }
        }
        while let Some(tail) = rest.strip_prefix(KEEP_ALIVE)
            && !self.comments
            && self.limits.max_line > 0
        {
            *rest = tail;
        }
        let mut event = &b""[..];
        let mut id = None;
        let mut tail = *rest;
        loop {
            let (name, line) = match tail {
                [b'd', b'a', b't', b'a', b':', line @ ..] => (Name::Data, line),
                [b'e', b'v', b'e', b'n', b't', b':', line @ ..] => (Name::Event, line),
                [b'i', b'd', b':', line @ ..] => (Name::Id, line),
                _ => return None,
            };
            let value = line.strip_prefix(b" ").unwrap_or(line);
            let Some(end) = line_end(value) else {
                let first = tail.len() == rest.len();
                if first && matches!(name, Name::Data) && !line.is_empty() {
                    self.begin_data(rest, value);
                }
                return None;
            };
            let (value, end) = value.split_at(end);
            if tail.len() - end.len() > self.limits.max_line {
                return None;
            }
            tail = match end {
                [b'\r', b'\n', tail @ ..] | [b'\n', tail @ ..] => tail,
                _ => return None,
            };
            match name {
                Name::Event if event.is_empty() => event = value,
                Name::Id if id.is_none() => id = Some(value),
                Name::Event | Name::Id => return None,
                Name::Data => {
                    let ([b'\r', b'\n', tail @ ..] | [b'\n', tail @ ..]) = tail else {
                        return None;
                    };
                    if event.len() + value.len() > self.limits.max_event {
                        return None;
                    }
                    let event = match event {
                        [] => DEFAULT_TYPE,
                        event => utf8(event)?,
                    };
                    let data = utf8(value)?;
                    if let Some(id) = id {
                        self.commit(id)?;
                    }
                    *rest = tail;
                    return Some((event, data));
                }
            }
        }
    }

    /// Reads all of `rest`, the beginning of the line of data that a block begins with, whose value is
    /// `value` so far.
    pub(super) fn begin_data(&mut self, rest: &mut &[u8], value: &[u8]) {
        if rest.len() <= self.limits.max_line && value.len() <= self.limits.max_event {
            self.fresh = false;
            self.line = Line::Data;
            self.line_len = rest.len();
            self.data.extend_from_slice(value);
            *rest = &[];
        }
    }

    /// Makes `id` the last event ID if it can be as it is.
    fn commit(&mut self, id: &[u8]) -> Option<()> {
        if id.len() > self.limits.max_id || memchr::memchr(0, id).is_some() {
            return None;
        }
        let id = utf8(id)?;
        self.last_event_id.clear();
        self.last_event_id.push_str(id);
        Some(())
    }

    /// Reads on in a line of data: all there is, or up to the end of the event if both ends are there.
    /// Of anything else it reads nothing and leaves it to [`advance`](Self::advance).
    #[inline]
    pub(super) fn stream_data(&mut self, rest: &mut &[u8]) -> Option<Step> {
        let (piece, tail) = rest.split_at(line_end(rest).unwrap_or(rest.len()));
        let tail = match tail {
            [] => None,
            [b'\n', b'\n', tail @ ..] => Some(tail),
            _ => return None,
        };
        let used = self.event.len() + self.data.len();
        if piece.len() > self.limits.max_line - self.line_len
            || piece.len() > self.limits.max_event.saturating_sub(used)
        {
            return None;
        }
        self.data.extend_from_slice(piece);
        *rest = tail.unwrap_or_default();
        if tail.is_none() {
            self.line_len += piece.len();
            return Some(Step::Quiet);
        }
        self.data.push(b'\n');
        self.end_line();
        Some(self.dispatch())
    }

    /// Reads the lines of data, ended by LF, that `rest` begins with.
    pub(super) fn gather_data(&mut self, rest: &mut &[u8]) {
        while let [b'd', b'a', b't', b'a', b':', line @ ..] = *rest {
            let value = line.strip_prefix(b" ").unwrap_or(line);
            let Some(end) = line_end(value) else {
                return;
            };
            let Some((value, tail)) = value.split_at_checked(end + 1) else {
                return;
            };
            let used = self.event.len() + self.data.len() + end;
            if !value.ends_with(b"\n")
                || rest.len() - tail.len() - 1 > self.limits.max_line
                || used > self.limits.max_event
            {
                return;
            }
            self.data.extend_from_slice(value);
            *rest = tail;
        }
    }
}

/// The fields of the usual block.
#[derive(Clone, Copy, Debug)]
enum Name {
    Data,
    Event,
    Id,
}
