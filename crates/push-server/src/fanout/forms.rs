//! The logs of one pattern, and how their events are encoded.

use std::num::NonZeroU64;

use backpressure::{Log, Policy, Reader, ShardHandle, encode_keyed};
use replay_store::Event;

use super::Shared;
use crate::form::Form;

/// How the events of a log are encoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Encoding {
    form: Form,
    /// Each with its key before it, for subscribers that conflate.
    keyed: bool,
}

impl Encoding {
    pub(super) const COUNT: usize = 2 * Form::ALL.len();

    pub(crate) fn new(form: Form, policy: &Policy) -> Self {
        let keyed = matches!(policy, Policy::Conflate { .. });
        Self { form, keyed }
    }

    const fn index(self) -> usize {
        self.form as usize * 2 + self.keyed as usize
    }

    fn all() -> impl Iterator<Item = Self> {
        let both = |form| [false, true].map(|keyed| Self { form, keyed });
        Form::ALL.into_iter().flat_map(both)
    }
}

/// Where a subscription attaches.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) encoding: Encoding,
    /// The worker that wakes its readers, if one does.
    pub(crate) shard: Option<ShardHandle>,
}

/// The logs of one pattern, in each encoding that has a subscriber; one of them as a rule.
#[derive(Debug, Default)]
pub(super) struct Forms {
    log: Option<Log>,
    /// How the events of `log` are encoded, if there is one or was.
    encoding: Option<Encoding>,
    /// The logs in other encodings. In a box, since few topics have any.
    others: Option<Box<[Option<Log>; Encoding::COUNT]>>,
    /// Whether one of several events that are being appended went to these logs.
    pub(super) dirty: bool,
    /// The end of the topic that these are the logs of, if that was its last event.
    pub(super) end: Option<NonZeroU64>,
}

impl Forms {
    /// A reader of the log of one encoding, which begins at `seq` if it is new.
    pub(super) fn subscribe(&mut self, seat: &Seat, shared: &Shared, seq: u64) -> Reader {
        let log = self
            .place(seat.encoding)
            .get_or_insert_with(|| Log::with_budget(shared.config, seq, &shared.budget));
        let mut reader = match &seat.shard {
            Some(shard) => log.subscribe_with(shard),
            None => log.subscribe(),
        };
        if shared.blocking {
            reader.set_blocking(true);
        }
        reader
    }

    /// Where the log of an encoding is, or goes.
    fn place(&mut self, encoding: Encoding) -> &mut Option<Log> {
        if self.log.is_none() && self.others.is_none() {
            self.encoding = Some(encoding);
        }
        if self.encoding == Some(encoding) {
            return &mut self.log;
        }
        &mut self.others.get_or_insert_default()[encoding.index()]
    }

    pub(super) fn logs(&self) -> impl Iterator<Item = &Log> {
        let others = self.others.iter().flat_map(|logs| logs.iter());
        others.chain([&self.log]).flatten()
    }

    /// Every place with a log, and how that log's events are encoded.
    fn places(&mut self) -> impl Iterator<Item = (Encoding, &mut Option<Log>)> {
        let others = self
            .others
            .iter_mut()
            .flat_map(|logs| Encoding::all().zip(logs.iter_mut()));
        others.chain(self.encoding.zip(Some(&mut self.log)))
    }

    /// Takes all logs out.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Log> + use<> {
        let others = self.others.take().into_iter().flat_map(|logs| *logs);
        others.chain([self.log.take()]).flatten()
    }

    /// Appends an event, in each encoding that has a reader, and says whether one has.
    pub(super) fn append(&mut self, event: &mut Encoded<'_>) -> bool {
        let mut appended = false;
        for (encoding, place) in self.places() {
            let Some(log) = place else { continue };
            if log.readers() == 0 {
                *place = None;
                continue;
            }
            log.append(event.event.position.seq, event.get(encoding));
            appended = true;
        }
        appended
    }

    pub(super) fn is_read(&self) -> bool {
        self.logs().any(|log| log.readers() > 0)
    }

    pub(super) fn readers(&self) -> usize {
        self.logs().map(Log::readers).sum()
    }

    pub(super) fn close(&self) {
        self.logs().for_each(Log::close);
    }
}

/// An event in the encodings that were asked for, each made once however many patterns match.
pub(super) struct Encoded<'e> {
    pub(super) event: &'e Event,
    pub(super) buffers: &'e mut [Vec<u8>; Encoding::COUNT],
}

impl Encoded<'_> {
    fn get(&mut self, encoding: Encoding) -> &[u8] {
        let mut bytes = std::mem::take(&mut self.buffers[encoding.index()]);
        if bytes.is_empty() {
            let Encoding { form, keyed } = encoding;
            if keyed {
                let key = self.event.conflate_key.as_ref().map(|key| {
                    // A topic has no control characters.
                    [self.event.topic.as_str().as_bytes(), b"\0", key.as_bytes()].concat()
                });
                let seq = self.event.position.seq;
                let plain = self.get(Encoding { form, keyed: false });
                encode_keyed(seq, key.as_deref(), plain, &mut bytes);
            } else {
                form.event(self.event, &mut bytes);
            }
        }
        let slot = &mut self.buffers[encoding.index()];
        *slot = bytes;
        slot
    }
}
