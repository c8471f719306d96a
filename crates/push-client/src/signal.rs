//! What either transport tells the subscriber.

use core::time::Duration;

use crate::delivery::{GapNotice, ReceivedEvent};
use crate::error::{ClientError, ConnectionError};

/// One thing that arrived on a connection.
#[derive(Debug)]
pub(crate) enum Signal {
    Event(ReceivedEvent),
    Gap(GapNotice),
    Ready {
        id: String,
    },
    /// An id that only says how far the stream is.
    Id(String),
    /// The reconnection time, which lasts until the hub names another.
    Retry(Duration),
    /// The wait that the hub asks for once, before the next attempt.
    Drain(Duration),
}

/// Why there is no connection, or no more.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The hub says that there is nothing more to come.
    Ended,
    /// Trying again may help, not before `after` if the hub named a delay.
    Retry {
        why: ConnectionError,
        after: Option<Duration>,
    },
    /// The hub broke the protocol: the application is told, then a new connection is made.
    Violation(ClientError),
    /// Trying again would not help.
    Stop(ClientError),
}

impl From<ConnectionError> for Failure {
    fn from(why: ConnectionError) -> Self {
        Self::Retry { why, after: None }
    }
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        ConnectionError::from(error).into()
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        ConnectionError::from(error).into()
    }
}
