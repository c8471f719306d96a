//! Feature `serde`: events as JSON and back.
#![cfg(feature = "serde")]

use sse_proto::{Decoder, Event, Item};

#[test]
fn events_are_serialised_alike_borrowed_and_owned_and_read_back() {
    let mut decoder = Decoder::new();
    let mut items = decoder.push(b"id: 7\ndata: a\ndata: b\n\nevent: x\ndata\n\n");
    for expected in [
        r#"{"event":"message","data":"a\nb","id":"7"}"#,
        r#"{"event":"x","data":"","id":"7"}"#,
    ] {
        let Some(Item::Event(event)) = items.next() else {
            panic!("no event");
        };
        assert_eq!(serde_json::to_string(&event).unwrap(), expected);
        let owned = event.to_owned();
        assert_eq!(serde_json::to_string(&owned).unwrap(), expected);
        assert_eq!(serde_json::from_str::<Event>(expected).unwrap(), owned);
    }
}
