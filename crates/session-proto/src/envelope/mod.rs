//! The messages of the WebSocket subprotocol `tidegate.v1+json`: one JSON object per text message,
//! told apart by its `type`.
//!
//! A client begins with [`ClientMessage::Resume`]. Unknown fields are ignored, so that either end
//! can be newer than the other. Where a field occurs twice the last one counts, as in
//! `JSON.parse`.
//!
//! Parsing borrows every string that needs no unescaping and keeps nothing of unknown fields. At
//! worst, for a list of empty topics, it takes some 24 bytes of memory per byte of the message.

mod client;
pub use client::ClientMessage;

mod encoding;
pub use encoding::Encoding;

mod error;
pub use error::EnvelopeError;

mod json;

mod server;
pub use server::{GapReason, ServerMessage};

/// The name of the subprotocol, for `Sec-WebSocket-Protocol`.
pub const SUBPROTOCOL: &str = "tidegate.v1+json";
