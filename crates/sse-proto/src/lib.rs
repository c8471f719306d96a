//! Server-Sent Events with no sockets and no clock: the event stream of the HTML standard,
//! section 9.2, encoded and decoded.
//!
//! ```text
//!   events ──► Frame ──► bytes ──► (your transport) ──► Decoder::push ──► Items ──► you
//! ```
//!
//! * [`Frame`] writes one block of an event stream. What must not hold a line break cannot: types
//!   and ids are the validated [`EventName`] and [`EventId`], and line breaks in data and comments
//!   become lines of their own. Whatever strings it is given, nothing can be injected.
//! * [`Decoder`] reads an event stream in whatever pieces it arrives. It never fails on grammar:
//!   the standard gives every sequence of bytes a meaning. Memory is bounded by [`Limits`].
//!
//! There is no HTTP here, no reconnecting and no timer. For a server, use `push-server`; for a
//! client that reconnects and resumes, `push-client`.
#![cfg_attr(doctest, doc = include_str!("../README.md"))]
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

extern crate alloc;

mod decode;
pub use decode::{Decoder, Incomplete, Items};

mod event;
pub use event::{Event, EventRef, Item};

mod field;
pub use field::{EventId, EventName, FieldError};

mod frame;
pub use frame::{Frame, KEEP_ALIVE};

mod headers;
pub use headers::{
    CACHE_CONTROL, CONTENT_TYPE, LAST_EVENT_ID, RESPONSE_HEADERS, X_ACCEL_BUFFERING,
    is_event_stream, last_event_id_value, read_last_event_id,
};

mod limits;
pub use limits::{Excess, Limits, Part};

pub mod source;
