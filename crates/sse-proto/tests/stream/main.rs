//! Event streams in and out: the conformance vectors, tables, and properties against an oracle.

mod decode;
mod encode;
mod limits;
mod oracle;
mod vectors;

use sse_proto::{Decoder, Event, Incomplete, Item, Part};

/// An [`Item`] that owns what it holds.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Event(Event),
    Id(String),
    Retry(u128),
    Comment(String),
    TooLarge(Part),
}

fn event(event: &str, data: &str, id: &str) -> Seen {
    Seen::Event(Event {
        event: event.to_owned().into(),
        data: data.into(),
        id: id.into(),
    })
}

/// An event of the default type, without an id.
fn message(data: &str) -> Seen {
    event("message", data, "")
}

fn id(id: &str) -> Seen {
    Seen::Id(id.into())
}

/// Everything that `decoder` finds in one connection's `chunks`, and what the end cut off. It is the
/// same whether events are borrowed, owned or either in turns.
fn read(decoder: &mut Decoder, chunks: &[&[u8]]) -> (Vec<Seen>, Incomplete) {
    let before = decoder.clone();
    let borrowed = read_as(decoder, chunks, |_| false);
    for (how, owned) in [("owned", [true, true]), ("in turns", [false, true])] {
        let mut again = before.clone();
        let seen = read_as(&mut again, chunks, |number| owned[number % 2]);
        assert_eq!(seen, borrowed, "{how}, from {chunks:?}");
        assert_eq!(again.last_event_id(), decoder.last_event_id());
    }
    borrowed
}

fn read_as(
    decoder: &mut Decoder,
    chunks: &[&[u8]],
    owned: impl Fn(usize) -> bool,
) -> (Vec<Seen>, Incomplete) {
    let mut seen = Vec::new();
    for chunk in chunks {
        let mut items = decoder.push(chunk);
        while let Some(item) = if owned(seen.len()) {
            items.next_owned().map(|item| own(item, |event| event))
        } else {
            items.next().map(|item| own(item, |event| event.to_owned()))
        } {
            seen.push(item);
        }
        assert_eq!(items.remaining(), b"");
    }
    let incomplete = decoder.finish();
    (seen, incomplete)
}

fn own<E: std::fmt::Debug>(item: Item<'_, E>, event: impl Fn(E) -> Event) -> Seen {
    match item {
        Item::Event(borrowed) => Seen::Event(event(borrowed)),
        Item::Id(id) => Seen::Id(id.into()),
        Item::Retry(delay) => Seen::Retry(delay.as_millis()),
        Item::Comment(text) => Seen::Comment(String::from_utf8_lossy(text).into()),
        Item::TooLarge { part, .. } => Seen::TooLarge(part),
        other => panic!("an item this test does not know: {other:?}"),
    }
}
