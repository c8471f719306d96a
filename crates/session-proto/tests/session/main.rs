//! Heartbeat and backoff in virtual time, close codes, and the envelope on the wire.

mod backoff;
mod close;
#[cfg(feature = "json")]
mod envelope;
#[cfg(feature = "json")]
mod envelope_json;
mod heartbeat;
