//! An experimental replay store on NATS JetStream, which any number of nodes share.
//!
//! ```text
//!  topic  a/b  ──►  subject  EVENTS.t.a.b.-   ┐
//!  epochs      ──►  subject  EVENTS.epochs    ┘ one stream; its sequence is the log's
//! ```
//!
//! # What an event is in the stream
//!
//! The subject is `<stream>.t.`, then each segment of the topic as a token, then `-`. In a token,
//! every byte but visible ASCII, and `.`, `*`, `>` and `%`, is written as `%` and two upper-case
//! hexadecimal digits. The header fields `Tidegate-Event`, `Tidegate-Conflate` (`=` and the key)
//! are written the same way; `Tidegate-Prev` is the seq before in the topic; `Nats-Msg-Id` the
//! SHA-1 of topic and idempotency key. A message that is none of these is no event, and skipped.
//!
//! # Epochs
//!
//! A log begins in an epoch derived from the time its stream was made. A message on
//! `<stream>.epochs` lists all epochs with their births, and its own seq may be the birth of one.
//! The first append of a node over a new connection is preceded by such a message. So if a server
//! lost the end of the log, what comes in its place is another epoch, and who saw what was lost is
//! told; if it lost nothing, every cursor stays valid.
//!
//! # What is asked of whom
//!
//! The state of the stream, the last message of a subject and whether anything follows are asked of
//! the stream's leader. Only events themselves come from consumers, which may lag behind.
//!
//! For one node, `replay-sqlite` is the better store; for several, `replay-redis` promises more.

#![forbid(unsafe_code)]
#![cfg_attr(doctest, doc = include_str!("../README.md"))]

mod append;
mod config;
mod connect;
mod known;
mod message;
mod reader;
mod refusal;
mod session;
mod store;
mod stream;
mod subject;
mod tail;

pub use self::config::{NatsConfig, OpenError};
pub use self::store::NatsStore;
