//! The hub as its users see it: requests in, streams and sessions out, on a memory store.
//!
//! Time is virtual and nothing but the last module touches a socket.

mod admin;
mod compression;
mod ends;
mod heartbeat;
mod limited;
mod log;
mod metrics;
mod publish;
mod purge;
mod resume;
mod samples;
mod slow;
mod sse;
mod support;
mod ws;
