//! WebSocket (RFC 6455) with no sockets, no clock and no randomness.
//!
//! ```text
//!   bytes in ──► push ──────────► Events ──► you
//!  bytes out ◄── poll_transmit ◄── send, ping, close ◄── you
//!       time ──► handle_timeout ◄── poll_timeout
//! ```
//!
//! A [`Connection`] is one end of one established connection. It decodes frames in the caller's
//! own buffer (unmasking in place), answers pings, drives the closing handshake, and turns every
//! breach of the protocol into a [`Violation`] whose close code is already queued for the peer.
//! The opening handshake is in [`handshake`]; it takes and gives header fields and is not tied to
//! any HTTP implementation.
//!
//! What it deliberately does not do: read sockets, parse HTTP, keep time, choose masks, buffer
//! messages behind your back. An idle connection is 96 bytes and owns no heap; a declared length never
//! allocates; only an unfinished message in an [`Assembler`] does, and it grows with the bytes received.
//! Compression (permessage-deflate, RFC 7692) is negotiated by [`handshake::DeflateParams`], switched
//! on by [`Config::compressed`] and done, with the feature `deflate`, by a `Deflater` and an
//! `Inflater` beside the connection; otherwise a reserved bit is a violation.
//!
//! # The contract
//!
//! - No bytes of a peer make it panic, and none grow its memory beyond what [`Config`], [`Assembler`]
//!   and `Inflater` say; the README has them in one table.
//! - However the bytes are cut when they arrive, the messages, control frames and violations are the
//!   same. Only where [`Chunk`]s are cut depends on it.
//! - The first rule that is broken is told, as a [`Rule`] with its section and its close code, as soon
//!   as the byte that breaks it is there.
//! - Every call returns at once, and nothing is lost if you stop between two of them.
//! - What goes out is right too: text is validated, Close frames are last, a message is not cut in
//!   two by another one, and what was compressed is sent.
//!
//! Use something else if you want a socket-like object that reads and writes for you:
//! `tokio-tungstenite` or, in this workspace, `push-server` and `push-client`.
//!
//! # The loop
//!
//! After each [`push`](Connection::push), take events until there are none, then drain
//! [`poll_transmit`](Connection::poll_transmit) **before** writing data of your own, then look at
//! [`closed`](Connection::closed) and [`poll_timeout`](Connection::poll_timeout).
//!
//! ```
//! # #[cfg(feature = "alloc")] {
//! use core::time::Duration;
//! use ws_proto::{Assembler, Config, Connection, Event, Kind, Message};
//!
//! let now = Duration::ZERO;
//! let mut server = Connection::server(Config::default());
//! // A real client takes its masks from a cryptographically strong source.
//! let mut client = Connection::client(Config::default(), || [0x37, 0xfa, 0x21, 0x3d]);
//!
//! let mut wire = Vec::new();
//! client.send(Kind::Text, b"Hello", &mut wire).unwrap();
//!
//! let mut assembler = Assembler::new(1 << 20);
//! let mut reply = Vec::new();
//! let mut events = server.push(&mut wire, now);
//! while let Some(event) = events.next() {
//!     match event {
//!         Ok(Event::Data(chunk)) => match assembler.push(chunk) {
//!             Ok(Some(message)) => assert_eq!(message, Message::Text("Hello".into())),
//!             Ok(None) => {}                            // the message goes on
//!             Err(violation) => panic!("{violation}"),  // close with `violation.code`
//!         },
//!         Ok(Event::Ping(_) | Event::Pong(_)) => {}     // pings are answered for you
//!         Ok(Event::Close(frame)) => println!("peer closes: {}", frame.reason),
//!         Err(violation) => println!("peer broke {violation}"), // the Close is queued
//!     }
//! }
//! server.poll_transmit(&mut reply);
//! assert!(reply.is_empty() && server.closed().is_none() && server.poll_timeout().is_none());
//! # }
//! ```
#![cfg_attr(all(doctest, feature = "alloc"), doc = include_str!("../README.md"))]
#![no_std]
#![cfg_attr(
    not(feature = "alloc"),
    expect(
        rustdoc::broken_intra_doc_links,
        reason = "the documentation is that of the default features"
    )
)]
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        clippy::std_instead_of_core
    )
)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod close;
mod config;
mod connection;
mod decoder;
#[cfg(feature = "deflate")]
mod deflate;
mod error;
mod frame;
pub mod handshake;
mod inline;
mod lifecycle;
mod mask;
#[cfg(feature = "alloc")]
mod message;
#[cfg(feature = "alloc")]
mod prepared;
mod role;
mod sending;
mod slot;
mod utf8;

pub use close::{CloseCode, CloseFrame, Closed, Ending, Eof, Initiator};
pub use config::Config;
pub use connection::{Chunk, Connection, ControlFrame, Event, Events};
#[cfg(feature = "deflate")]
pub use deflate::{Deflater, Inflater, Inflating};
pub use error::{ControlError, Rule, SendError, Violation};
#[cfg(feature = "alloc")]
pub use frame::encode_server_frame;
pub use frame::{Header, HeaderBytes, Kind, OpCode, Parsed};
pub use inline::InlineBytes;
pub use mask::{MaskSource, apply_mask};
#[cfg(feature = "alloc")]
pub use message::{Assembler, Message};
#[cfg(feature = "alloc")]
pub use prepared::Prepared;
pub use role::{Client, Role, Server};
pub use sending::Fragment;
