//! Server-Sent Events with no sockets and no clock: the event stream of the HTML standard,
//! section 9.2, decoded and encoded, and the state machine of `EventSource`.
//!
//! ```text
//!  server   events ──► Frame ──► bytes ──► (your transport)
//!  client   (your transport) ──► Source::push ──► SourceItems ──► you
//!                  │  ▲
//!        handle_*  ▼  │ Action: connect, open, wait, fail
//!                 Source
//! ```
//!
//! * [`Frame`] writes one block of an event stream. What must not hold a line break cannot: types
//!   and ids are the validated [`EventName`] and [`EventId`], and line breaks in data and comments
//!   become lines of their own. Whatever strings it is given, nothing can be injected.
//! * [`Decoder`] reads an event stream in whatever pieces it arrives. It never fails on grammar:
//!   the standard gives every sequence of bytes a meaning. Memory is bounded by [`Limits`], and an
//!   event that lies in one piece is borrowed from it.
//! * [`source::Source`] is a client without its IO: it says when to connect, with which
//!   `Last-Event-ID`, what response to accept and how long to wait before the next try, as a
//!   browser, as a program that must not lose its stream, or for the one stream that an LLM's API
//!   answers to a POST.
//!
//! There is no HTTP here and no timer. For a ready server, use `push-server`; for a ready client,
//! `push-client`; if all you need is to send events from an axum handler, axum's own `Sse` is there
//! already.
//!
//! # A client loop
//!
//! Ask [`Source::action`](source::Source::action) what to do, do it, and tell the source what
//! happened; its documentation has the whole contract. Here with blocking IO; nothing changes with
//! any other.
//!
//! ```
//! use std::io::{self, Read};
//! use std::time::{Duration, Instant};
//!
//! use sse_proto::Item;
//! use sse_proto::source::{Action, Connect, End, FailReason, Response, Source};
//! # use sse_proto::source::{Attempt, Mode};
//!
//! /// What your HTTP client gives.
//! struct Reply {
//!     status: u16,
//!     content_type: Vec<u8>,
//!     body: Box<dyn Read>,
//! }
//!
//! fn run<P: FnMut(sse_proto::source::Attempt) -> Option<Duration>>(
//!     mut source: Source<P>,
//!     mut request: impl FnMut(&Connect<'_>) -> io::Result<Reply>,
//!     random: impl Fn() -> u64,
//!     mut on_event: impl FnMut(&str, &str),
//! ) -> Option<FailReason> {
//!     let origin = Instant::now();
//!     let mut body: Box<dyn Read> = Box::new(io::empty());
//!     let mut buffer = vec![0; 16 * 1024];
//!     loop {
//!         match source.action() {
//!             // The URL and the headers are in `connect`.
//!             Action::Connect(connect) => match request(&connect) {
//!                 Ok(reply) => {
//!                     body = reply.body;
//!                     let head = Response::new(reply.status).content_type(&reply.content_type);
//!                     source.handle_response(head, origin.elapsed(), random());
//!                 }
//!                 Err(_) => {
//!                     source.handle_end(End::Network, origin.elapsed(), random());
//!                 }
//!             },
//!             Action::Open => match body.read(&mut buffer) {
//!                 Ok(0) => {
//!                     source.handle_end(End::Eof, origin.elapsed(), random());
//!                 }
//!                 Ok(len) => {
//!                     let mut items = source.push(&buffer[..len]);
//!                     while let Some(item) = items.next() {
//!                         if let Item::Event(event) = item {
//!                             on_event(event.event, event.data);
//!                         }
//!                     }
//!                 }
//!                 Err(_) => {
//!                     source.handle_end(End::Network, origin.elapsed(), random());
//!                 }
//!             },
//!             Action::WaitUntil(at) => {
//!                 std::thread::sleep(at.saturating_sub(origin.elapsed()));
//!                 source.handle_timeout(origin.elapsed());
//!             }
//!             Action::Fail(reason) => return Some(reason),
//!             _ => return None,
//!         }
//!     }
//! }
//! #
//! # let mut replies = vec![
//! #     (204, ""),
//! #     (200, "data: c\n\n"),
//! #     (503, ""),
//! #     (200, "retry: 0\nid: 7\nevent: x\ndata: a\n\ndata: b\n\ndata: lost"),
//! # ];
//! # let mut ids = Vec::new();
//! # let mut resilience = sse_proto::source::Resilience::new();
//! # resilience.floor(Duration::from_millis(1));
//! # let policy = |attempt: Attempt| Some(attempt.at_least);
//! # let source = Source::new("http://a.test/", Mode::Resilient(resilience), policy);
//! # let mut events = String::new();
//! # let request = |connect: &Connect<'_>| {
//! #     ids.push(connect.last_event_id.map(<[u8]>::to_vec));
//! #     let (status, body) = replies.pop().ok_or(io::ErrorKind::NotConnected)?;
//! #     let content_type = b"text/event-stream".to_vec();
//! #     Ok(Reply { status, content_type, body: Box::new(body.as_bytes()) })
//! # };
//! # let end = run(source, request, || 4, |name, data| events += &format!("{name} {data};"));
//! # assert_eq!(end, Some(FailReason::NoContent));
//! # assert_eq!(events, "x a;message b;message c;");
//! # let seven = Some(b"7".to_vec());
//! # assert_eq!(ids, [None, seven.clone(), seven.clone(), seven]);
//! ```
//!
//! # A server loop
//!
//! Send [`RESPONSE_HEADERS`], resume after [`read_last_event_id`], and write
//! [`KEEP_ALIVE`] when nothing else was written for some 15 s, so that neither a proxy nor the
//! client takes a quiet stream for a dead one. Encode an event once, however many subscribers it
//! has: the bytes are the same for all.
//!
//! ```
//! use std::io::{self, Write};
//! use std::sync::mpsc::{Receiver, RecvTimeoutError};
//! use std::time::Duration;
//!
//! use sse_proto::{EventId, EventName, Frame, KEEP_ALIVE, RESPONSE_HEADERS, read_last_event_id};
//!
//! fn serve(
//!     last_event_id: Option<&[u8]>,
//!     log: &[&str],
//!     live: &Receiver<Vec<u8>>,
//!     mut out: impl Write,
//! ) -> io::Result<()> {
//!     write!(out, "HTTP/1.1 200 OK\r\nconnection: close\r\n")?;
//!     for (name, value) in RESPONSE_HEADERS {
//!         write!(out, "{name}: {value}\r\n")?;
//!     }
//!     write!(out, "\r\n")?;
//!     let resumed = last_event_id.and_then(read_last_event_id);
//!     let resumed = resumed.and_then(|id| std::str::from_utf8(id).ok()?.parse().ok());
//!     for (number, text) in log.iter().enumerate().skip(resumed.unwrap_or(0)) {
//!         out.write_all(&encode(number + 1, text))?;
//!     }
//!     loop {
//!         match live.recv_timeout(Duration::from_secs(15)) {
//!             Ok(frame) => out.write_all(&frame)?,
//!             Err(RecvTimeoutError::Timeout) => out.write_all(KEEP_ALIVE)?,
//!             Err(RecvTimeoutError::Disconnected) => return Ok(()),
//!         }
//!     }
//! }
//!
//! const LINE: EventName<'_> = match EventName::new("line") {
//!     Ok(name) => name,
//!     Err(_) => panic!(),
//! };
//!
//! fn encode(number: usize, text: &str) -> Vec<u8> {
//!     let number = number.to_string();
//!     let mut frame = Frame::new().event(LINE).data(text);
//!     if let Ok(id) = EventId::new(&number) {
//!         frame = frame.id(id);
//!     }
//!     let mut out = Vec::new();
//!     frame.encode_to(&mut out);
//!     out
//! }
//! # let (sender, live) = std::sync::mpsc::channel();
//! # sender.send(encode(3, "c\nd")).unwrap();
//! # drop(sender);
//! # let mut out = Vec::new();
//! # serve(Some(b"1"), &["a", "b"], &live, &mut out).unwrap();
//! # let out = String::from_utf8(out).unwrap();
//! # let events = "event: line\nid: 2\ndata: b\n\nevent: line\nid: 3\ndata: c\ndata: d\n\n";
//! # assert_eq!(out.split_once("\r\n\r\n").unwrap().1, events);
//! ```
#![cfg_attr(doctest, doc = include_str!("../README.md"))]
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::cast_possible_truncation,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::std_instead_of_core,
        clippy::unwrap_used
    )
)]

extern crate alloc;

mod decode;
pub use decode::{Decoder, Incomplete, Items};

mod event;
pub use event::{Event, EventRef, Item};

mod field;
pub use field::{EventId, EventName, FieldError};

mod frame;
pub use frame::{Frame, KEEP_ALIVE};

mod headers;
pub use headers::{
    CACHE_CONTROL, CONTENT_TYPE, LAST_EVENT_ID, RESPONSE_HEADERS, X_ACCEL_BUFFERING,
    is_event_stream, last_event_id_value, read_last_event_id,
};

mod limits;
pub use limits::{Excess, Limits, Part};

pub mod source;

mod text;
