//! Real-time push over one replayable log, on tokio and hyper.
//!
//! A [`Hub`] publishes events into a store and hands every subscriber the log's suffix after its
//! cursor, over Server-Sent Events or WebSocket: each event once and in order, or an explicit
//! gap. It comes in layers; use the one you need:
//!
//! 1. [`Subscriber`] (bytes), [`EventBody`] (an [`http_body::Body`]) and [`websocket`] (over any
//!    byte stream): for a server you have already. [`Hub::handle`] answers whole requests.
//! 2. [`Server`]: a listener for HTTP/1.1 and HTTP/2, in plain text or over [`Tls`], with socket
//!    options, time-outs and an orderly end.
//!
//! The examples `axum_sse`, `axum_ws` and `hyper_sse` are applications around the first layer.
//!
//! What it does not do: it is not a router, and stores nothing by itself; the store is a
//! [`replay_store::ReplayStore`].
//!
//! ```no_run
//! use push_server::{Hub, HubConfig, Server};
//! use replay_store::AnyStore;
//!
//! # async fn example(store: AnyStore) -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::start(HubConfig::new(), store).await?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! Server::new(hub).serve(listener, std::future::pending()).await;
//! # Ok(())
//! # }
//! ```

#![deny(unsafe_code)]

mod access;
mod admin;
mod batch;
mod config;
mod fanout;
mod form;
mod http;
mod hub;
mod link;
mod metered;
mod metrics;
mod patterns;
mod progress;
mod ready;
mod serve;
mod sse;
mod subscriber;
mod turn;
mod ws;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use self::access::Access;
pub use self::admin::Admin;
pub use self::config::{Compression, ConfigError, HubConfig, MAX_HEARTBEAT};
pub use self::form::Form;
pub use self::http::HubBody;
pub use self::http::problem::Problem;
pub use self::hub::{Hub, PublishError};
pub use self::metrics::Metrics;
pub use self::ready::NotReady;
pub use self::serve::{Pages, Server, Tls, TlsError};
pub use self::sse::{BodyError, EventBody};
pub use self::subscriber::{Subscriber, SubscriberError};
pub use self::ws::websocket;
