//! Events as JetStream messages.

use async_nats::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use replay_store::{Append, Epochs, Event, EventType, Fingerprint, Position, StoreError};
use serde_json::Value;
use sha1::{Digest as _, Sha1};

use crate::subject::{Subjects, decode, encode};

/// The event's type.
const EVENT: &str = "Tidegate-Event";
/// `=` and the conflate key, which may be empty.
const CONFLATE: &str = "Tidegate-Conflate";
/// The seq before the event in its topic; the server has compared it.
const PREV: &str = "Tidegate-Prev";
const MESSAGE_ID: &str = "Nats-Msg-Id";
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";

/// The most that header fields take: two texts of 255 bytes, each byte at most three long, and
/// numbers.
pub(crate) const MAX_HEADERS: usize = 2048;

/// One message of the stream.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) seq: u64,
    pub(crate) time_ms: u64,
    pub(crate) subject: String,
    pub(crate) data: Bytes,
    event: Option<String>,
    conflate: Option<String>,
    prev: Option<String>,
}

impl Stored {
    /// As a consumer delivers it; where it stands is written in the reply subject.
    pub(crate) fn delivered(message: async_nats::Message) -> Result<Self, StoreError> {
        let (seq, time_ms) = message
            .reply
            .as_ref()
            .and_then(|reply| metadata(reply.as_str()))
            .ok_or_else(|| corrupt("a message was delivered without its place in the stream"))?;
        let field = |name: &str| {
            let value = message.headers.as_ref()?.get(name)?;
            Some(value.as_str().to_owned())
        };
        Ok(Self {
            seq,
            time_ms,
            subject: message.subject.to_string(),
            event: field(EVENT),
            conflate: field(CONFLATE),
            prev: field(PREV),
            data: message.payload,
        })
    }

    /// As `STREAM.MSG.GET` answers it.
    pub(crate) fn answered(message: &Value) -> Result<Self, StoreError> {
        let parse = || {
            let text = |name| message.get(name)?.as_str();
            let bytes = |name| STANDARD.decode(text(name).unwrap_or_default()).ok();
            let fields = String::from_utf8(bytes("hdrs")?).ok()?;
            let field = |name: &str| {
                let mut fields = fields.split("\r\n").filter_map(|line| line.split_once(':'));
                let (_, value) = fields.find(|(field, _)| *field == name)?;
                Some(value.trim().to_owned())
            };
            Some(Self {
                seq: message.get("seq")?.as_u64()?,
                time_ms: unix_ms(text("time")?)?,
                subject: text("subject")?.to_owned(),
                event: field(EVENT),
                conflate: field(CONFLATE),
                prev: field(PREV),
                data: bytes("data")?.into(),
            })
        };
        parse().ok_or_else(|| corrupt("the server answered a message that cannot be read"))
    }

    /// The event, if this is one. `epochs` reach up to its seq.
    pub(crate) fn event(self, subjects: &Subjects, epochs: &Epochs) -> Option<Event> {
        let topic = subjects.topic(&self.subject)?;
        let event = match self.event {
            Some(name) => Some(EventType::stored(&decode(&name)?).ok()?),
            None => None,
        };
        let conflate_key = match self.conflate {
            Some(key) => Some(decode(key.strip_prefix('=')?)?.into()),
            None => None,
        };
        Some(Event {
            position: Position::new(epochs.of(self.seq), self.seq),
            prev: self.prev.and_then(|prev| prev.parse().ok()),
            topic,
            event,
            data: self.data,
            conflate_key,
            timestamp_ms: self.time_ms,
        })
    }

    pub(crate) fn is_end(&self) -> bool {
        self.event.as_deref() == Some(EventType::end().as_str())
    }

    /// Is this what `append` would have stored?
    pub(crate) fn is(&self, append: &Append, subjects: &Subjects) -> bool {
        let stored = Self {
            event: self.event.clone(),
            conflate: self.conflate.clone(),
            prev: None,
            subject: self.subject.clone(),
            data: self.data.clone(),
            ..*self
        };
        let nowhere = Epochs::new(replay_store::Epoch(0));
        stored.event(subjects, &nowhere).is_some_and(|event| {
            let stored = Append {
                event: event.event,
                conflate_key: event.conflate_key,
                ..Append::new(event.topic, event.data)
            };
            stored.topic == append.topic && Fingerprint::of(&stored) == Fingerprint::of(append)
        })
    }
}

/// The header fields of an event that follows the message `last` of its topic. `prev` is what the
/// event will tell of it.
pub(crate) fn headers(append: &Append, last: u64, prev: Option<u64>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(EXPECTED, last.to_string());
    if let Some(prev) = prev {
        headers.insert(PREV, prev.to_string());
    }
    if let Some(event) = &append.event {
        headers.insert(EVENT, encode(event.as_str()));
    }
    if let Some(key) = &append.conflate_key {
        headers.insert(CONFLATE, format!("={}", encode(key)));
    }
    if let Some(id) = message_id(append) {
        headers.insert(MESSAGE_ID, id);
    }
    headers
}

/// The header fields of any message that follows `last` of its subject.
pub(crate) fn following(last: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(EXPECTED, last.to_string());
    headers
}

/// Header fields that the server answers with where the event of this key stands, and refuses if
/// there is none: no log is ever so long.
pub(crate) fn probe(append: &Append) -> Option<HeaderMap> {
    let mut headers = following(Position::MAX_SEQ + 1);
    headers.insert(MESSAGE_ID, message_id(append)?);
    Some(headers)
}

/// SHA-1 of the topic, a byte that is in no topic, and the key.
fn message_id(append: &Append) -> Option<String> {
    let key = append.idempotency_key.as_ref()?;
    let mut digest = Sha1::new();
    digest.update(append.topic.as_str());
    digest.update([0]);
    digest.update(key.as_bytes());
    Some(STANDARD_NO_PAD.encode(digest.finalize()))
}

/// Seq and time from `$JS.ACK.<stream>.<consumer>.<deliveries>.<seq>.<..>.<nanoseconds>.<pending>`,
/// or the form with a domain and an account before the stream.
fn metadata(reply: &str) -> Option<(u64, u64)> {
    let tokens: Vec<_> = reply.split('.').collect();
    let shift = if tokens.len() > 9 { 2 } else { 0 };
    if tokens.get(..2)? != ["$JS", "ACK"] {
        return None;
    }
    let number = |at: usize| tokens.get(at + shift)?.parse::<u64>().ok();
    Some((number(5)?, number(7)? / 1_000_000))
}

/// Milliseconds since the Unix epoch of an RFC 3339 time in UTC.
fn unix_ms(time: &str) -> Option<u64> {
    let (date, clock) = time.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, by| {
        let numbers = text.split(by).map(|part: &str| part.parse::<u64>().ok());
        numbers.collect::<Option<Vec<_>>>()
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [year, month, day]: [u64; 3] = numbers(date, '-')?.try_into().ok()?;
    let [hour, minute, second]: [u64; 3] = numbers(clock, ':')?.try_into().ok()?;
    let fraction: String = format!("{fraction}00").chars().take(3).collect();
    // Years that begin in March have their leap day at the end.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year.checked_sub(1)?, month + 9)
    };
    let days = (365 * year + year / 4 - year / 100 + year / 400) + (153 * month + 2) / 5 + day;
    let seconds = days.checked_sub(719_469)? * 86_400 + hour * 3600 + minute * 60 + second;
    Some(seconds * 1000 + fraction.parse::<u64>().ok()?)
}

pub(crate) fn corrupt(detail: &str) -> StoreError {
    StoreError::Corrupt {
        detail: detail.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_millisecond() {
        assert_eq!(unix_ms("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(unix_ms("2000-02-29T12:34:56.7Z"), Some(951_827_696_700));
        assert_eq!(
            unix_ms("2026-11-22T16:10:28.123456789Z"),
            Some(1_795_363_828_123)
        );
        for wrong in [
            "",
            "2026-11-22",
            "2026-11-22T16:10Z",
            "x-11-22T16:10:28Z",
            "2026-11-22T16:10:28+01:00",
        ] {
            assert_eq!(unix_ms(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_reply_subject_tells_the_place_in_both_forms() {
        let place = Some((42, 1_700_000_000_000));
        assert_eq!(metadata("$JS.ACK.S.c.1.42.7.1700000000000999999.3"), place);
        assert_eq!(
            metadata("$JS.ACK.d.acc.S.c.1.42.7.1700000000000999999.3.tok"),
            place
        );
        assert_eq!(metadata("_INBOX.x"), None);
        assert_eq!(metadata("$JS.ACK.S.c.1.x.7.1.3"), None);
    }

    #[test]
    fn a_message_id_belongs_to_one_topic_and_key() {
        let id = |topic: &str, key: &str| {
            message_id(&Append {
                idempotency_key: Some(key.into()),
                ..Append::new(replay_store::Topic::new(topic).expect("valid"), "")
            })
        };
        assert_eq!(id("a", "bc"), id("a", "bc"));
        assert_ne!(id("a", "bc"), id("ab", "c"));
        assert_ne!(id("a", "b"), id("a", "c"));
    }
}
