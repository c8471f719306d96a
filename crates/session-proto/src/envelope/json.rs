//! Flat JSON objects, read and written: all that the envelope needs.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::encoding::Encoding;
use super::error::EnvelopeError;

/// The fields of one JSON object that any message knows.
#[derive(Debug)]
pub(super) struct Fields<'a>(Vec<(&'static str, Value<'a>)>);

impl<'a> Fields<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, EnvelopeError> {
        if !text.trim_start_matches(WHITESPACE).starts_with('{') {
            return Err(EnvelopeError::NotAnObject);
        }
        serde_json::from_str(text).map_err(|error| EnvelopeError::NotJson {
            line: error.line(),
            column: error.column(),
        })
    }

    pub(super) fn text(&mut self, field: &'static str) -> Result<Cow<'a, str>, EnvelopeError> {
        required(field, self.optional_text(field)?)
    }

    pub(super) fn optional_text(
        &mut self,
        field: &'static str,
    ) -> Result<Option<Cow<'a, str>>, EnvelopeError> {
        self.take(field, "a string", |value| match value {
            Value::Text(text) => Some(text),
            _ => None,
        })
    }

    pub(super) fn texts(
        &mut self,
        field: &'static str,
    ) -> Result<Vec<Cow<'a, str>>, EnvelopeError> {
        let texts = self.take(field, "a list of strings", |value| match value {
            Value::Texts(texts) => Some(texts),
            _ => None,
        })?;
        required(field, texts)
    }

    pub(super) fn number(&mut self, field: &'static str) -> Result<u64, EnvelopeError> {
        required(field, self.optional_number(field)?)
    }

    pub(super) fn optional_number(
        &mut self,
        field: &'static str,
    ) -> Result<Option<u64>, EnvelopeError> {
        self.take(
            field,
            "a whole number from 0 to 2^64 - 1",
            |value| match value {
                Value::Number(number) => Some(number),
                _ => None,
            },
        )
    }

    pub(super) fn flag(&mut self, field: &'static str) -> Result<bool, EnvelopeError> {
        let flag = self.take(field, "true or false", |value| match value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        })?;
        required(field, flag)
    }

    pub(super) fn encoding(&mut self) -> Result<Option<Encoding>, EnvelopeError> {
        let field = "encoding";
        let Some(name) = self.optional_text(field)? else {
            return Ok(None);
        };
        let unknown = EnvelopeError::UnknownValue {
            field,
            expected: "base64",
        };
        Encoding::from_name(&name).map(Some).ok_or(unknown)
    }

    fn take<T>(
        &mut self,
        field: &'static str,
        expected: &'static str,
        convert: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Result<Option<T>, EnvelopeError> {
        debug_assert!(KNOWN.contains(&field), "{field} is not kept by Fields");
        let Some(at) = self.0.iter().position(|(name, _)| *name == field) else {
            return Ok(None);
        };
        match self.0.swap_remove(at).1 {
            Value::Null => Ok(None),
            value => convert(value)
                .map(Some)
                .ok_or(EnvelopeError::WrongType { field, expected }),
        }
    }
}

fn required<T>(field: &'static str, value: Option<T>) -> Result<T, EnvelopeError> {
    value.ok_or(EnvelopeError::MissingField { field })
}

/// Only these are kept, so that a peer cannot fill memory with names of its own.
const KNOWN: &[&str] = &[
    "after",
    "at",
    "code",
    "conflate_key",
    "data",
    "detail",
    "duplicate",
    "encoding",
    "event",
    "id",
    "idempotency_key",
    "policy",
    "prev",
    "reason",
    "ref",
    "retry_ms",
    "seq",
    "skipped",
    "time",
    "token",
    "topic",
    "topics",
    "type",
];

const WHITESPACE: [char; 4] = [' ', '\t', '\n', '\r'];

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields: Vec<(&'static str, Value<'de>)> = Vec::new();
        while let Some(Value::Text(name)) = map.next_key_seed(NESTED)? {
            let Some(name) = KNOWN.iter().find(|known| **known == name) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = map.next_value_seed(FIELD)?;
            fields.retain(|(held, _)| held != name);
            fields.push((name, value));
        }
        Ok(Fields(fields))
    }
}

/// A JSON value as far as the envelope cares.
#[derive(Debug)]
enum Value<'a> {
    Null,
    Flag(bool),
    Number(u64),
    Text(Cow<'a, str>),
    Texts(Vec<Cow<'a, str>>),
    /// Anything else, of any depth: read over without recursion.
    Other,
}

/// Reads a value. What is nested deeper than a list in a field is ignored, which takes no
/// recursion, so depth is no danger.
#[derive(Clone, Copy)]
struct ValueSeed {
    lists: bool,
}

const FIELD: ValueSeed = ValueSeed { lists: true };
const NESTED: ValueSeed = ValueSeed { lists: false };

impl<'de> DeserializeSeed<'de> for ValueSeed {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value<'de>, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(String::from(text))))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value<'de>, A::Error> {
        let mut texts = Vec::new();
        let mut all = self.lists;
        while all && let Some(value) = list.next_element_seed(NESTED)? {
            match value {
                Value::Text(text) => texts.push(text),
                _ => all = false,
            }
        }
        if all {
            return Ok(Value::Texts(texts));
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }
}

/// Writes one JSON object; closed by [`end`](Self::end).
pub(super) struct Object<'o>(&'o mut Vec<u8>);

impl<'o> Object<'o> {
    pub(super) fn begin(out: &'o mut Vec<u8>, kind: &str) -> Self {
        out.extend_from_slice(b"{\"type\":");
        write_string(kind, out);
        Self(out)
    }

    pub(super) fn end(self) {
        self.0.push(b'}');
    }

    pub(super) fn text(mut self, field: &str, text: &str) -> Self {
        self.name(field);
        write_string(text, self.0);
        self
    }

    pub(super) fn optional_text(self, field: &str, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(field, text),
            None => self,
        }
    }

    pub(super) fn texts(mut self, field: &str, texts: &[Cow<'_, str>]) -> Self {
        self.name(field);
        for (i, text) in texts.iter().enumerate() {
            self.0.push(if i == 0 { b'[' } else { b',' });
            write_string(text, self.0);
        }
        let close: &[u8] = if texts.is_empty() { b"[]" } else { b"]" };
        self.0.extend_from_slice(close);
        self
    }

    pub(super) fn number(mut self, field: &str, number: u64) -> Self {
        self.name(field);
        write_decimal(number, self.0);
        self
    }

    pub(super) fn optional_number(self, field: &str, number: Option<u64>) -> Self {
        match number {
            Some(number) => self.number(field, number),
            None => self,
        }
    }

    pub(super) fn flag(self, field: &str, flag: bool) -> Self {
        self.literal(field, if flag { b"true" } else { b"false" })
    }

    pub(super) fn nullable_text(self, field: &str, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(field, text),
            None => self.literal(field, b"null"),
        }
    }

    fn literal(mut self, field: &str, literal: &[u8]) -> Self {
        self.name(field);
        self.0.extend_from_slice(literal);
        self
    }

    fn name(&mut self, field: &str) {
        self.0.push(b',');
        write_string(field, self.0);
        self.0.push(b':');
    }
}

/// RFC 8259, section 7: only quotes, backslashes and C0 controls must be escaped.
fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))
    {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, tail)) = tail.split_first() else {
            break;
        };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(b'0' + (byte >> 4));
                out.push(char::from_digit(u32::from(byte & 0xf), 16).map_or(b'0', |c| c as u8));
            }
        }
        rest = tail;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn write_decimal(number: u64, out: &mut Vec<u8>) {
    if number >= 10 {
        write_decimal(number / 10, out);
    }
    out.push(b'0' + (number % 10) as u8);
}
