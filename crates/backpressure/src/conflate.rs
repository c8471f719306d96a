//! The policy `conflate`: only the latest event of each key.

use core::fmt;
use core::mem::take;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::{Lag, ReadError, Readers};

/// What a subscriber under the policy `conflate` has yet to be sent: the latest event of each key.
///
/// Events go in with a key, such as the topic and what the publisher named, and come out in
/// **rounds**. What is pending when a round begins is fixed: of each key the latest event, in the order
/// of their seqs, and every event without a key. A round is given out whole before the next begins, so
/// a key that changes all the time neither delays the others nor is itself put off for ever.
///
/// What went in comes out as exactly one of: an event, one of the number that a chunk says were
/// [superseded](ConflatedChunk::superseded), or one of the number that a [gap](Conflated::Gap) skipped.
///
/// A log for conflating subscribers holds events that were [encoded with their key](encode_keyed);
/// [`collect`](Self::collect) reads them.
///
/// ```
/// use backpressure::{Conflated, Conflation, Log, LogConfig, Policy, Readers, encode_keyed};
/// use bytes::BytesMut;
///
/// let log = Log::new(LogConfig::default(), 0);
/// let mut readers = Readers::new(vec![log.subscribe()]);
/// let mut encoded = Vec::new();
/// for (seq, key, data) in [(1, "a", "a=1 "), (2, "b", "b=1 "), (3, "a", "a=2 ")] {
///     encoded.clear();
///     encode_keyed(seq, Some(key.as_bytes()), data.as_bytes(), &mut encoded);
///     log.append(seq, &encoded);
/// }
///
/// let mut conflation = Conflation::new(Policy::conflate().max());
/// conflation.collect(&mut readers, log.head(), &mut BytesMut::new())?;
/// let Some(Conflated::Events(chunk)) = conflation.next(64 << 10) else {
///     panic!("two events are pending")
/// };
/// assert_eq!(&chunk.bytes[..], b"b=1 a=2 ");
/// assert_eq!((chunk.last, chunk.events, chunk.superseded), (3, 2, 1));
/// assert!(conflation.next(64 << 10).is_none());
/// # Ok::<(), backpressure::ReadError>(())
/// ```
///
/// # Memory
///
/// At most twice the bound, once for the round and once for what is collected meanwhile: the bytes of
/// the events, and for each of them its key and about 150 bytes more. The bytes are copies, so no
/// segment of a log is kept.
pub struct Conflation {
    max: Lag,
    /// What is left of the round.
    round: Pending,
    /// What the next round is made of.
    collected: Pending,
    /// The seq of each key's event in `collected`.
    latest: BTreeMap<Arc<[u8]>, u64>,
}

/// Events by seq, after a gap if there is one; all are above `gap.through`.
#[derive(Default)]
struct Pending {
    gap: Option<Skipped>,
    events: VecDeque<Event>,
    /// How many of `events` are empty, because their key has a later one.
    holes: usize,
    bytes: u64,
    superseded: u64,
}

struct Event {
    seq: u64,
    key: Option<Arc<[u8]>>,
    /// `None` once superseded.
    bytes: Option<Box<[u8]>>,
}

/// What a [`Conflation`] gives out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Conflated {
    /// Events are missing here. Report it before anything that follows.
    Gap(Skipped),
    /// The next events of the round.
    Events(ConflatedChunk),
}

/// Events that are left out, in a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Skipped {
    /// Nothing at or below this seq follows.
    pub through: u64,
    /// How many events are neither given out nor counted as superseded.
    pub events: u64,
}

/// Events of one round, one after another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConflatedChunk {
    /// Their encoded bytes, as they were appended.
    pub bytes: Bytes,
    /// The seq of the last of them.
    pub last: u64,
    /// How many they are, at least one.
    pub events: usize,
    /// How many events were left out because their key has a later one, since the last chunk.
    pub superseded: u64,
}

impl Conflation {
    /// Nothing yet. Of what is collected for a round, at most `max` is kept: at least one event.
    #[must_use]
    pub fn new(max: Lag) -> Self {
        Self {
            max,
            round: Pending::default(),
            collected: Pending::default(),
            latest: BTreeMap::new(),
        }
    }

    /// Takes everything with a seq of at most `through` out of `readers`, for which pass the
    /// watermark. The events must have been [encoded with their key](encode_keyed).
    ///
    /// What was evicted unread becomes a gap, together with what was collected before it, which it
    /// may have superseded.
    ///
    /// # Errors
    ///
    /// [`ReadError::Closed`] if a log was closed; what was collected stays.
    pub fn collect(
        &mut self,
        readers: &mut Readers,
        through: u64,
        scratch: &mut BytesMut,
    ) -> Result<(), ReadError> {
        loop {
            match readers.read_through(through, 64 << 10, scratch) {
                Ok(None) => return Ok(()),
                Ok(Some(chunk)) => {
                    let mut rest = &chunk.bytes[..];
                    while let Some(event) = split_keyed(&mut rest) {
                        self.push(event.seq, event.key, event.encoded);
                    }
                }
                Err(ReadError::Evicted) => {
                    let everything = Lag {
                        events: u64::MAX,
                        bytes: u64::MAX,
                    };
                    let (through, skipped) = readers.jump_within(everything, through);
                    self.skip(through, skipped.events);
                }
                Err(ReadError::Closed) => return Err(ReadError::Closed),
            }
        }
    }

    /// Collects one event, in place of an earlier one of its key. Without a key it replaces none and
    /// is replaced by none.
    ///
    /// Drops the oldest if that is more than the bound, with a gap.
    ///
    /// # Panics
    ///
    /// If `seq` is not above that of the event before.
    pub fn push(&mut self, seq: u64, key: Option<&[u8]>, encoded: &[u8]) {
        let before = self.collected.end().max(self.round.end());
        assert!(
            before.is_none_or(|before| before < seq),
            "seq {seq} was pushed after {before:?}: seqs must increase"
        );
        let key = key.map(|key| match self.latest.get_key_value(key) {
            Some((key, _)) => Arc::clone(key),
            None => Arc::from(key),
        });
        if let Some(key) = &key
            && let Some(earlier) = self.latest.insert(Arc::clone(key), seq)
        {
            self.collected.supersede(earlier);
        }
        self.collected.bytes += encoded.len() as u64;
        self.collected.events.push_back(Event {
            seq,
            key,
            bytes: Some(encoded.into()),
        });
        while self.collected.live() > 1 && self.collected.lag().exceeds(self.max) {
            self.drop_oldest();
        }
        self.collected.compact();
    }

    /// Puts a gap in the place of everything collected and `events` more, up to the seq `through`.
    pub fn skip(&mut self, through: u64, events: u64) {
        while !self.collected.events.is_empty() {
            self.drop_oldest();
        }
        let superseded = take(&mut self.collected.superseded);
        self.collected.add_gap(through, events + superseded);
    }

    /// The next events, as many whole ones as fit in `max_bytes` but at least one if there is any, or
    /// the gap before them. `None` if there is nothing.
    ///
    /// A new round begins when the last one was given out, with all that was collected by then: call
    /// [`collect`](Self::collect) before.
    pub fn next(&mut self, max_bytes: usize) -> Option<Conflated> {
        if self.round.is_empty() {
            self.latest.clear();
            self.round = take(&mut self.collected);
        }
        let round = &mut self.round;
        if let Some(gap) = round.gap.take() {
            return Some(Conflated::Gap(gap));
        }
        let mut chunk: Option<(Vec<u8>, u64, usize)> = None;
        while let Some(event) = round.events.front() {
            if let Some(bytes) = &event.bytes {
                let (taken, last, events) = chunk.get_or_insert_with(Default::default);
                if *events > 0 && taken.len() + bytes.len() > max_bytes {
                    break;
                }
                taken.extend_from_slice(bytes);
                *last = event.seq;
                *events += 1;
                round.bytes -= bytes.len() as u64;
            } else {
                round.holes -= 1;
            }
            round.events.pop_front();
        }
        let (bytes, last, events) = chunk?;
        Some(Conflated::Events(ConflatedChunk {
            bytes: bytes.into(),
            last,
            events,
            superseded: take(&mut round.superseded),
        }))
    }

    /// What is pending: events of the round and of the next one, and their bytes.
    #[must_use]
    pub fn lag(&self) -> Lag {
        self.round.lag() + self.collected.lag()
    }

    /// Whether there is nothing to give out, not even a gap.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.round.is_empty() && self.collected.is_empty()
    }

    fn drop_oldest(&mut self) {
        let Some(event) = self.collected.events.pop_front() else {
            return;
        };
        let Some(bytes) = event.bytes else {
            self.collected.holes -= 1;
            return;
        };
        self.collected.bytes -= bytes.len() as u64;
        if let Some(key) = event.key {
            self.latest.remove(&key);
        }
        self.collected.add_gap(event.seq, 1);
    }
}

impl fmt::Debug for Conflation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conflation")
            .field("max", &self.max)
            .field("lag", &self.lag())
            .finish_non_exhaustive()
    }
}

impl Pending {
    /// The highest seq that went in.
    fn end(&self) -> Option<u64> {
        let last = self.events.back().map(|event| event.seq);
        last.max(self.gap.map(|gap| gap.through))
    }

    fn live(&self) -> usize {
        self.events.len() - self.holes
    }

    fn lag(&self) -> Lag {
        Lag {
            events: self.live() as u64,
            bytes: self.bytes,
        }
    }

    fn is_empty(&self) -> bool {
        self.gap.is_none() && self.live() == 0
    }

    fn add_gap(&mut self, through: u64, events: u64) {
        let gap = self.gap.get_or_insert(Skipped { through, events: 0 });
        gap.through = gap.through.max(through);
        gap.events += events;
    }

    /// Leaves a hole in the place of the event with this seq.
    fn supersede(&mut self, seq: u64) {
        if let Ok(at) = self.events.binary_search_by_key(&seq, |event| event.seq)
            && let Some(bytes) = self.events[at].bytes.take()
        {
            self.events[at].key = None;
            self.bytes -= bytes.len() as u64;
            self.holes += 1;
            self.superseded += 1;
        }
    }

    /// Closes the holes once they are the greater part, so that a key that changes all the time
    /// takes no memory for it.
    fn compact(&mut self) {
        if self.holes > 16 && self.holes > self.live() {
            self.events.retain(|event| event.bytes.is_some());
            self.holes = 0;
        }
    }
}

/// One event of a log for conflating subscribers.
struct Keyed<'a> {
    seq: u64,
    key: Option<&'a [u8]>,
    encoded: &'a [u8],
}

/// Writes an event with its seq and its key to the end of `out`, as [`Conflation::collect`] expects
/// it in a log. It takes 20 bytes, and the key's, more than `encoded`.
///
/// # Panics
///
/// If the key is 4 GiB or longer.
pub fn encode_keyed(seq: u64, key: Option<&[u8]>, encoded: &[u8], out: &mut Vec<u8>) {
    let key_len = key.map_or(NO_KEY, |key| {
        u32::try_from(key.len())
            .ok()
            .filter(|len| *len != NO_KEY)
            .expect("a key is shorter than 4 GiB")
    });
    out.reserve(20 + key.map_or(0, <[u8]>::len) + encoded.len());
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(&(encoded.len() as u64).to_le_bytes());
    out.extend_from_slice(&key_len.to_le_bytes());
    out.extend_from_slice(key.unwrap_or_default());
    out.extend_from_slice(encoded);
}

/// Takes one event off the front of `rest`; `None` at its end.
///
/// # Panics
///
/// If it is no such event: the log was filled otherwise.
fn split_keyed<'a>(rest: &mut &'a [u8]) -> Option<Keyed<'a>> {
    if rest.is_empty() {
        return None;
    }
    let mut split = |len: usize| {
        let (taken, left) = rest
            .split_at_checked(len)
            .expect("every event in the log of a conflating subscriber is from encode_keyed");
        *rest = left;
        taken
    };
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0, |n, byte| n << 8 | u64::from(*byte))
    };
    let seq = number(split(8));
    let len = number(split(8));
    let key_len = number(split(4));
    let key = (key_len != u64::from(NO_KEY)).then(|| split(key_len as usize));
    let encoded = split(len as usize);
    Some(Keyed { seq, key, encoded })
}

const NO_KEY: u32 = u32::MAX;
