//! The listener over real sockets: with hyper's body and on the fast path, clients see the same.

mod http2;
mod paths;
mod policies;
mod replay;
mod support;
