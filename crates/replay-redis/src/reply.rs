//! Reading what the scripts answer.

use std::sync::Arc;

use redis::Value;
use replay_store::{Epoch, Epochs, Event, EventType, Position, StoreError, Topic};

/// What no script of ours answers, or nobody of ours has stored.
pub(crate) fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt {
        detail: what.into(),
    }
}

/// Hands out the items of an array one by one.
pub(crate) struct Items(std::vec::IntoIter<Value>);

impl Items {
    pub(crate) fn of(value: Value) -> Result<Self, StoreError> {
        match value {
            Value::Array(items) => Ok(Self(items.into_iter())),
            _ => Err(corrupt("an array was expected")),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    pub(crate) fn items(&mut self) -> Result<Self, StoreError> {
        Self::of(self.next()?)
    }

    /// A number, written as such or in digits.
    pub(crate) fn number(&mut self) -> Result<u64, StoreError> {
        let number = match self.next()? {
            Value::Int(number) => u64::try_from(number).ok(),
            Value::BulkString(text) => parse(&text),
            _ => None,
        };
        number.ok_or_else(|| corrupt("a number was expected"))
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        match self.next()? {
            Value::BulkString(bytes) => Ok(bytes),
            _ => Err(corrupt("a string was expected")),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String, StoreError> {
        String::from_utf8(self.bytes()?).map_err(|_| corrupt("a text was expected"))
    }

    fn next(&mut self) -> Result<Value, StoreError> {
        self.0.next().ok_or_else(|| corrupt("an answer is short"))
    }

    /// Reads the rest as entries of the stream.
    pub(crate) fn events(self, epochs: &Epochs) -> Result<Vec<Event>, StoreError> {
        self.0.map(|entry| event(entry, epochs)).collect()
    }
}

fn parse(digits: &[u8]) -> Option<u64> {
    str::from_utf8(digits).ok()?.parse().ok()
}

/// Epochs as the log keeps them: `EPOCH:BIRTH`, separated by spaces.
pub(crate) fn epochs(text: &str) -> Result<Epochs, StoreError> {
    let entry = |entry: &str| {
        let (epoch, birth) = entry.split_once(':')?;
        let epoch = u64::from_str_radix(epoch, 16).ok()?;
        Some((Epoch(epoch), birth.parse().ok()?))
    };
    let births: Option<Vec<_>> = text.split(' ').map(entry).collect();
    births
        .and_then(Epochs::restore)
        .ok_or_else(|| corrupt("the epochs of the log cannot be read"))
}

/// One entry of the stream.
fn event(entry: Value, epochs: &Epochs) -> Result<Event, StoreError> {
    let mut entry = Items::of(entry)?;
    let id = entry.text()?;
    let seq = id
        .strip_suffix("-0")
        .and_then(|seq| seq.parse().ok())
        .ok_or_else(|| corrupt("an entry of the stream has a foreign id"))?;
    let mut fields = entry.items()?;
    let mut field = |name: &str| {
        if fields.is_empty() {
            return Ok(None);
        }
        if fields.bytes()? != name.as_bytes() {
            return Err(corrupt(&format!("event {seq} has foreign fields")));
        }
        fields.bytes().map(Some)
    };
    let missing = || corrupt(&format!("event {seq} lacks a field"));
    let topic = field("t")?.ok_or_else(missing)?;
    let timestamp = field("m")?.ok_or_else(missing)?;
    let prev = field("p")?.ok_or_else(missing)?;
    let data = field("d")?.ok_or_else(missing)?;
    let event = field("e")?.filter(|name| !name.is_empty());
    let conflate = field("c")?;

    let text = |bytes: Vec<u8>| {
        String::from_utf8(bytes).map_err(|_| corrupt(&format!("event {seq} has a foreign text")))
    };
    let event = event
        .map(text)
        .transpose()?
        .map(|name| EventType::stored(&name))
        .transpose()
        .map_err(|error| corrupt(&error.to_string()))?;
    Ok(Event {
        position: Position::new(epochs.of(seq), seq),
        prev: match &*prev {
            b"-" => None,
            digits => Some(parse(digits).ok_or_else(missing)?),
        },
        topic: Topic::new(&text(topic)?).map_err(|error| corrupt(&error.to_string()))?,
        event,
        data: data.into(),
        conflate_key: conflate.map(text).transpose()?.map(Arc::from),
        timestamp_ms: parse(&timestamp).ok_or_else(missing)?,
    })
}
