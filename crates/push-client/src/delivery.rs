//! What a subscriber is handed.

use core::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use session_proto::envelope::{Encoding, GapReason, ServerMessage};

use crate::error::{ClientError, ConnectionError};

/// One thing that happened on a subscription, in the order in which it happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Delivery {
    /// An event, above all that were delivered before it.
    Event(ReceivedEvent),
    /// Events between the last delivered one and the next may be missing; why, and how far.
    Gap(GapNotice),
    /// Everything up to this cursor was delivered; what follows happens live.
    Ready {
        /// The cursor.
        id: String,
    },
    /// The hub accepted a connection.
    Connected,
    /// The connection ended or could not be made; another attempt follows on its own.
    Disconnected {
        /// The wait before that attempt.
        retry_in: Duration,
        /// What happened.
        why: ConnectionError,
    },
}

/// An event as published, with its place in the log.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ReceivedEvent {
    /// The cursor: store it to resume after this event.
    pub id: String,
    /// The event's number in the log.
    pub seq: u64,
    /// The number of the event before it in the same topic: 0 if it is the first, `None` if that
    /// is not known.
    pub prev: Option<u64>,
    /// When it was published, in milliseconds since 1970, if the hub says.
    pub time: Option<u64>,
    /// The topic it was published to.
    pub topic: String,
    /// The event type, if it was published with one.
    pub event: Option<String>,
    /// The data as published.
    pub data: Bytes,
}

/// A hole in what a subscriber was sent that the hub knows of.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct GapNotice {
    /// Why events may be missing.
    pub reason: GapReason,
    /// The cursor that could not be continued without a gap, if there was one.
    pub after: Option<String>,
    /// The cursor from which delivery goes on.
    pub id: String,
    /// How many events were skipped, where the hub counts them.
    pub skipped: Option<u64>,
}

impl TryFrom<ServerMessage<'_>> for ReceivedEvent {
    type Error = ClientError;

    fn try_from(message: ServerMessage<'_>) -> Result<Self, ClientError> {
        let malformed = |detail: &dyn core::fmt::Display| ClientError::Malformed {
            what: "event",
            detail: detail.to_string(),
        };
        let ServerMessage::Event {
            id,
            seq,
            prev,
            time,
            topic,
            event,
            data,
            encoding,
        } = message
        else {
            return Err(malformed(&"not of the type `event`"));
        };
        let data = match encoding {
            None => Bytes::from(data.into_owned()),
            Some(Encoding::Base64) => STANDARD
                .decode(&*data)
                .map_err(|error| malformed(&error))?
                .into(),
            Some(other) => return Err(malformed(&format_args!("encoded as {other:?}"))),
        };
        Ok(Self {
            id: id.into_owned(),
            seq,
            prev,
            time,
            topic: topic.into_owned(),
            event: event.map(Into::into),
            data,
        })
    }
}
