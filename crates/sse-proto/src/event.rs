//! What a decoder gives out.

use alloc::borrow::{Cow, ToOwned};
use alloc::string::String;
use core::time::Duration;

use crate::limits::Part;

/// What a [`Decoder`](crate::Decoder) found in the stream. Its events are borrowed from the decoder,
/// or owned if they were asked for by [`Items::next_owned`](crate::Items::next_owned).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Item<'a, E = EventRef<'a>> {
    /// An event is complete.
    Event(E),
    /// A block without data set the last event ID. There is no event, but a client that resumes
    /// must do so from here.
    Id(&'a str),
    /// The server set the reconnection time. It takes effect with its line, not with the event.
    Retry(Duration),
    /// A comment without its colon, as received; only
    /// [on request](crate::Decoder::with_comments).
    Comment(&'a [u8]),
    /// An event exceeded a limit and will not be delivered;
    /// [`Limits::on_excess`](crate::Limits::on_excess) decides what happens to the rest.
    TooLarge {
        /// Which limit it was.
        part: Part,
        /// The limit, in bytes.
        max: usize,
    },
}

/// An event, borrowed from the decoder until the next item is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct EventRef<'a> {
    /// The event's type; `message` where the stream named none.
    pub event: &'a str,
    /// The data, its lines joined by line feeds. May be empty.
    pub data: &'a str,
    /// The last event ID when the event was dispatched. It outlives the event that set it: events
    /// without an id of their own carry the one before. Empty if there never was one.
    pub id: &'a str,
}

impl EventRef<'_> {
    /// Copies the event out of the decoder: one allocation for the data, one for an id and one for a
    /// type other than `message`, where they are not empty. If all events are to be owned,
    /// [`Items::next_owned`](crate::Items::next_owned) copies less.
    #[must_use]
    pub fn to_owned(&self) -> Event {
        Event {
            event: match self.event {
                "message" => Cow::Borrowed("message"),
                name => Cow::Owned(name.to_owned()),
            },
            data: self.data.to_owned(),
            id: self.id.to_owned(),
        }
    }
}

/// An event that owns its strings; see [`EventRef`] for what they mean.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub struct Event {
    /// The event's type. Borrowed if it is `message`, the default.
    pub event: Cow<'static, str>,
    /// The data.
    pub data: String,
    /// The last event ID when the event was dispatched.
    pub id: String,
}
