//! Against a real `nats-server` with JetStream.

mod conformance;
mod killing;
mod log;
mod nodes;
mod opening;
mod readers;
mod retaining;
mod server;
