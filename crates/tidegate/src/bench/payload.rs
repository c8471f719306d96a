//! The payload: filler, and at its end a marker that says which message this is.
//!
//! A marker is found again in whatever a hub wraps around it (a `data:` line, a JSON string), so the
//! stream need not be understood to count and check every event. It consists of characters that no
//! encoding of text on the way changes: JSON, forms and URLs leave them alone.

use memchr::memchr;

/// Bytes of a marker, and so the smallest payload: `~`, run 4, topic 6, seq 8, time 12, `_`.
pub(crate) const MARKER: usize = 32;

const RUN: std::ops::Range<usize> = 1..5;
const TOPIC: std::ops::Range<usize> = 5..11;
const SEQ: std::ops::Range<usize> = 11..19;
const TIME: std::ops::Range<usize> = 19..31;

/// What a marker says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Marker {
    /// Which run of the load generator, so that events of earlier ones are not taken for its own.
    pub(crate) run: u16,
    /// Number of the topic, below 2^24.
    pub(crate) topic: u32,
    /// Number of the message in its topic, from 0.
    pub(crate) seq: u32,
    /// When it was to be sent, in nanoseconds since the run began, below 2^48.
    pub(crate) time: u64,
}

impl Marker {
    /// Writes the marker over the first [`MARKER`] bytes of `place`.
    ///
    /// # Panics
    ///
    /// When `place` is shorter.
    pub(crate) fn write(&self, place: &mut [u8]) {
        place[0] = b'~';
        hex(self.run.into(), &mut place[RUN]);
        hex(self.topic.into(), &mut place[TOPIC]);
        hex(self.seq.into(), &mut place[SEQ]);
        hex(self.time, &mut place[TIME]);
        place[TIME.end] = b'_';
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        if bytes[0] != b'~' || bytes[TIME.end] != b'_' {
            return None;
        }
        Some(Self {
            run: u16::try_from(number(&bytes[RUN])?).ok()?,
            topic: u32::try_from(number(&bytes[TOPIC])?).ok()?,
            seq: u32::try_from(number(&bytes[SEQ])?).ok()?,
            time: number(&bytes[TIME])?,
        })
    }
}

fn hex(mut value: u64, place: &mut [u8]) {
    for digit in place.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

/// Hands every marker in `body` to `found`, with the position behind it. Returns where to go on when
/// more bytes have come: at the beginning of a marker that is not all there, or behind the last one.
pub(crate) fn scan(body: &[u8], mut found: impl FnMut(Marker, usize)) -> Rest {
    let mut at = 0;
    let mut rest = Rest {
        behind: 0,
        partial: None,
    };
    while let Some(ahead) = memchr(b'~', &body[at..]) {
        at += ahead;
        let Some(bytes) = body.get(at..at + MARKER) else {
            rest.partial = Some(at);
            break;
        };
        match Marker::read(bytes) {
            Some(marker) => {
                at += MARKER;
                rest.behind = at;
                found(marker, at);
            }
            None => at += 1,
        }
    }
    rest
}

/// What a [`scan`] leaves over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Rest {
    /// Behind the last marker.
    behind: usize,
    /// Where one begins that may end in later bytes.
    partial: Option<usize>,
}

impl Rest {
    /// From where the `body` must be kept, so that a marker or a word of `word` bytes that it ends
    /// in the middle of is found with the next bytes, and none is found twice.
    pub(crate) fn keep_from(self, body: &[u8], word: usize) -> usize {
        let tail = body.len().saturating_sub(word.saturating_sub(1));
        self.partial
            .unwrap_or(body.len())
            .min(tail)
            .max(self.behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(seq: u32) -> Marker {
        Marker {
            run: 0xbeef,
            topic: 0xabcde,
            seq,
            time: 0x0123_4567_89ab,
        }
    }

    fn text(seq: u32) -> String {
        let mut place = [0; MARKER];
        marker(seq).write(&mut place);
        String::from_utf8(place.to_vec()).unwrap()
    }

    #[test]
    fn a_marker_is_plain_text_of_fixed_length() {
        assert_eq!(text(7), "~beef0abcde000000070123456789ab_");
    }

    #[test]
    fn every_marker_is_found_once_at_every_split_of_the_stream() {
        let stream = format!(
            "id: 1\ndata: xx{}\n\n~not one~~{}{}data: {}\n\n",
            text(1),
            text(2),
            text(3),
            text(0xffff_ffff)
        );
        let expected = [1, 2, 3, 0xffff_ffff].map(marker);
        for first in 0..stream.len() {
            for second in [0, 1, 5, 31, 32, 33] {
                let ends = [first, (first + second).min(stream.len()), stream.len()];
                let (mut kept, mut from, mut found) = (Vec::new(), 0, Vec::new());
                for end in ends {
                    kept.extend_from_slice(&stream.as_bytes()[from..end]);
                    from = end;
                    let rest = scan(&kept, |marker, _| found.push(marker));
                    let keep = rest.keep_from(&kept, 12);
                    assert!(kept.len() - keep < MARKER);
                    kept.drain(..keep);
                }
                assert_eq!(found, expected, "split at {ends:?}");
            }
        }
    }
}
