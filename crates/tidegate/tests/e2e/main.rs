//! The hub as its users meet it: the binary, real sockets, and programs that are not ours.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stderr,
    reason = "what a failure needs to be repeated and understood"
)]

mod browser;
mod event_stream;
mod hub;
mod program;
mod random;
mod raw;
mod subscription;

mod admin;
mod backup;
mod bench;
mod command_line;
mod docs;
mod gaps;
mod headers;
mod idle;
mod interop;
mod killed;
mod log;
mod nats;
mod outage;
mod page;
mod proxies;
mod quick_start;
mod refusals;
mod resume;
mod serving;
mod shared;
mod stalled;
mod tls;
