//! What both ends of a long-lived push session share, with no sockets and no clock.
//!
//! * [`Heartbeat`] says when to send something on an idle connection, and when a silent peer is
//!   dead.
//! * [`Backoff`] says how long to wait before the next attempt to connect.
//! * [`classify_close`] says whether there should be one, after a WebSocket was closed.
//! * [`envelope`] is the JSON that the WebSocket subprotocol `tidegate.v1+json` speaks. Cursors are
//!   opaque strings to it, and base64 is left to its user.
//!
//! Time is a [`Duration`](core::time::Duration) since any fixed origin, the same for all calls on
//! one machine; entropy is an argument.
#![cfg_attr(all(doctest, feature = "json"), doc = include_str!("../README.md"))]
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::cast_possible_truncation,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::std_instead_of_core,
        clippy::unwrap_used
    )
)]

#[cfg(feature = "json")]
extern crate alloc;

mod backoff;
pub use backoff::{Backoff, BackoffConfig, BackoffError};

mod close;
pub use close::{TOKEN_REQUIRED, Verdict, classify_close};

#[cfg(feature = "json")]
pub mod envelope;

mod heartbeat;
pub use heartbeat::{Beat, Heartbeat, HeartbeatConfig, HeartbeatError};
