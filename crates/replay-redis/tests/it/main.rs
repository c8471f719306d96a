//! The store against real servers, each test with one of its own.

mod bounded;
mod conformance;
mod crash;
mod failover;
mod outage;
mod proxy;
mod support;
