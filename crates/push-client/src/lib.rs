//! Subscribers that resume and a publisher that survives outages, for the Tidegate hub.
//!
//! A [`Subscriber`] hands out every event of its topics exactly once and in order, or a
//! [gap](Delivery::Gap) that says why it cannot. It reads Server-Sent Events or speaks WebSocket,
//! reconnects with full-jitter backoff, and resumes from the last id it saw; that ids only ever
//! rise is checked, not believed. A [`Publisher`] sends an event again, under the same idempotency
//! key, until the hub has stored or refused it.
//!
//! Neither has a task behind it: what is not awaited does nothing, reads nothing and holds no more
//! memory than [documented](SubscribeOptions::max_event). Both need a tokio runtime with time and
//! IO enabled. To `https` and `wss` addresses they speak TLS 1.3 or 1.2, with the [`Roots`] of the
//! system or your own.
//!
//! For the protocols without IO, use `sse-proto` and `ws-proto`; in a browser, `EventSource` will
//! do.
#![cfg_attr(doctest, doc = include_str!("../README.md"))]
#![forbid(unsafe_code)]

mod cursor;

mod delivery;
pub use delivery::{Delivery, GapNotice, ReceivedEvent};

mod error;
pub use error::{ClientError, ConfigError, ConnectionError, Problem};

mod http;

mod options;
pub use options::{PublishOptions, SubscribeOptions, Transport};

mod publisher;
pub use publisher::{Message, Published, Publisher};

mod pulse;
mod reconnect;
mod signal;
mod sse;

mod subscriber;
pub use subscriber::Subscriber;

mod tls;
pub use tls::Roots;

mod ws;

pub use session_proto::envelope::GapReason;
