//! Bounded fan-out: one log of encoded events, read by any number of readers of any speed.
//!
//! ```text
//!                  +-- Reader --> a fast subscriber: every event as it comes
//!   append --> Log +-- Reader --> a slow one: all it has missed in few large slices
//!   wake           +-- Reader --> one that stands still: `Evicted`, once the log is full
//! ```
//!
//! An event is encoded once, by the caller, and appended as bytes with its **seq**, a number that
//! increases. A [`Reader`] is a place in the [`Log`]; what it takes out is a [`Chunk`], whole events one
//! after another in one piece of shared memory. What happens to a subscriber that is too slow is a
//! [`Policy`]. [`Readers`] reads several logs as one. A [`Shard`] wakes the readers of one worker thread,
//! a [`Budget`] bounds the memory of many logs, and a [`queue`] takes replies to one receiver.
//!
//! This crate does no IO, has no runtime, no timers and no opinion on what the bytes are. If each
//! message is for one receiver only, a channel is what you want; if messages are values and not
//! bytes, `tokio::sync::broadcast` or `async-broadcast`; if only the newest counts, a watch.
//!
//! # The contract
//!
//! The writer, for each event or batch of events:
//!
//! 1. [appends](Log::append) it to every log that it belongs to,
//! 2. publishes its **watermark**: the highest seq up to which step 1 is done,
//! 3. [wakes](Log::wake) each of these logs.
//!
//! A subscriber takes the watermark first and then reads up to it. If it has nothing, it waits with
//! [`poll_ready_through`](Readers::poll_ready_through), which takes the watermark again after the waker is
//! registered. So nothing is read out of order, and no wake is lost.
//! A subscriber of a single log needs no watermark: it [reads](Reader::read) whatever is there.
//!
//! ```
//! use std::future::poll_fn;
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU64, Ordering};
//!
//! use backpressure::{Log, LogConfig, ReadError, Readers};
//! use bytes::BytesMut;
//!
//! let logs = [(); 2].map(|()| Log::new(LogConfig::default(), 0));
//! let watermark = Arc::new(AtomicU64::new(0));
//! let mut readers = Readers::new(logs.iter().map(Log::subscribe).collect());
//!
//! let writer = {
//!     let (logs, watermark) = (logs.clone(), Arc::clone(&watermark));
//!     std::thread::spawn(move || {
//!         logs[0].append(1, b"one ");
//!         logs[1].append(2, b"two ");
//!         logs[0].append(3, b"three ");
//!         logs[1].append(3, b"three ");
//!         watermark.store(3, Ordering::Release);
//!         logs.iter().for_each(Log::wake);
//!     })
//! };
//!
//! let received = futures::executor::block_on(async {
//!     let (mut received, mut scratch) = (Vec::new(), BytesMut::new());
//!     loop {
//!         let readable =
//!             poll_fn(|cx| readers.poll_ready_through(cx, || watermark.load(Ordering::Acquire)));
//!         let through = readable.await?;
//!         while let Some(chunk) = readers.read_through(through, 64 << 10, &mut scratch)? {
//!             received.extend_from_slice(&chunk.bytes);
//!             if chunk.last == 3 {
//!                 return Ok::<_, ReadError>(received);
//!             }
//!         }
//!     }
//! })?;
//! assert_eq!(received, b"one two three ");
//! writer.join().unwrap();
//! # Ok::<(), ReadError>(())
//! ```
//!
//! # What becomes of a slow reader
//!
//! | the reader | what happens |
//! |---|---|
//! | is within the log's [bounds](LogConfig) | nothing is lost; it gets all that is pending in chunks of up to 64 KiB |
//! | is so far behind that segments it has not read were evicted | every read says [`Evicted`](ReadError::Evicted), until it jumps |
//! | is `Evicted` and the events are in a store | read them there, subscribe again |
//! | is `Evicted` and may lose events | [`jump_within(max, watermark)`](Readers::jump_within) says exactly how many it lost; report them |
//! | is [judged](Policy::judge) too far behind by its policy | [`Disconnect`](Verdict::Disconnect) or [`Jump`](Verdict::Jump) |
//! | conflates | what it has not read is taken into a [`Conflation`], which keeps the latest event of each key |
//! | [blocks](Reader::set_blocking) | publishers that ask for [`Admission`] wait for it, up to a deadline |
//! | holds chunks that it does not send | they, and only they, keep their segments in memory |
//! | has a log that is closed | [`Closed`](ReadError::Closed) at once; what it had not read is dropped |
//!
//! At any time what a reader has taken, what its skips and jumps returned, and its
//! [lag](Reader::lag) add up to what was appended since it subscribed.
//!
//! # Memory
//!
//! A log keeps only what some reader has not read: nothing while every reader is at the head, or
//! without readers. The worst case is [`LogConfig::max_bytes`] and one segment. See [`Log`] and
//! [`Chunk`] for what idle logs, readers and chunks cost.
//!
//! Segments that were read are kept for the next log that needs one: of every size from 1 to 64 KiB as
//! many as take 128 KiB, so at most 1.2 MiB with their indexes for all logs of a process, and one of
//! 1 KiB for each thread.
#![forbid(unsafe_code)]
#![cfg_attr(doctest, doc = include_str!("../README.md"))]

mod admission;
mod budget;
mod buf;
mod conflate;
mod error;
mod flush;
mod lag;
mod log;
mod mark;
mod merge;
mod policy;
#[cfg(not(all(test, loom)))]
mod pool;
mod queue;
mod reader;
mod segment;
mod shard;
mod stream;
mod sync;
mod tail;
mod waiters;

#[cfg(test)]
mod tests;

pub use admission::Admission;
pub use budget::Budget;
pub use buf::ReaderBuf;
pub use conflate::{Conflated, ConflatedChunk, Conflation, Skipped, encode_keyed};
pub use error::{AdmitError, ParsePolicyError, ReadError};
pub use flush::FlushWindow;
pub use lag::Lag;
pub use log::{Log, LogConfig};
pub use merge::Readers;
pub use policy::{Policy, Verdict};
pub use queue::{Receiver, SendError, SendErrorKind, Sender, queue};
pub use reader::{Chunk, Reader};
pub use shard::{Shard, ShardHandle};
pub use stream::Chunks;
