//! One ordered, replayable log of events over many topics.
//!
//! ```text
//!  append ──► ReplayStore ──► read: a Page (events, bounds, maybe a Gap)
//!                 │ hints                       │
//!                 ▼                             ▼
//!  attach ──►   Feed ──► Tail (in RAM) ──►    Join ──► Start, Gap, Events.., Live
//! ```
//!
//! * Every event has a [`Position`]: an [`Epoch`], which names one unbroken history, and a seq that
//!   increases over the whole log. So one cursor resumes any set of topics.
//! * A [`ReplayStore`] appends and reads. A [`Page`] is one consistent snapshot; what a cursor cannot
//!   be given is a [`Gap`] in it, with the position to continue from. [`Epochs::judge`] decides that
//!   for every store.
//! * A [`Feed`] follows the log once per node, and fills a [`Tail`] that you provide: encoded bytes,
//!   or whatever many subscribers share.
//! * A [`Join`] takes one subscriber from its cursor through as many pages as it takes to the live end
//!   of the log: every event exactly once and in order, or an explicit gap.
//! * [`MemoryStore`] keeps the log in this process. [`conformance`] tests a store of your own.
//!
//! Nothing here reads a clock, makes randomness, starts a thread or needs a runtime: the time is a
//! [`Clock`], epochs are arguments, the feed is a future that you run and is given its timer.
//!
//! This is no message broker: there are no consumer groups and no acknowledgements. If nobody comes
//! back to what was missed, a broadcast channel does. For a log that survives the process, use
//! `replay-sqlite`; for a ready server, `push-server`.
//!
//! # Example
//!
//! ```
//! use replay_store::{
//!     After, Append, Clock, Epoch, GapReason, Limit, MemoryConfig, MemoryStore, ReplayStore,
//!     Retention, Topic,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # futures::executor::block_on(async {
//! let retention = Retention { events: 2, ..Retention::default() };
//! let config = MemoryConfig { retention, ..MemoryConfig::default() };
//! let store = MemoryStore::new(config, Epoch(0x5eed), Clock::new(|| 1_700_000_000_000));
//!
//! let topic = Topic::new("prices")?;
//! let mut batch = vec![];
//! for price in ["1.00", "1.01", "1.02"] {
//!     batch.push(Append::new(topic.clone(), price));
//! }
//! let appended = store.append(batch).await?;
//!
//! // Two events are kept. Who has seen the first one misses nothing.
//! let cursor = After::Position(appended[0].position);
//! let page = store.read(&topic.clone().into(), cursor, Limit::default()).await?;
//! assert_eq!((page.events.len(), page.gap), (2, None));
//!
//! // Who was there before it is told that something is missing, and gets what is left.
//! let cursor = After::parse(b"0000000000005eed-0");
//! let page = store.read(&topic.into(), cursor, Limit::default()).await?;
//! assert_eq!(page.gap.map(|gap| gap.reason), Some(GapReason::Trimmed));
//! assert_eq!(page.events.len(), 2);
//! # Ok(())
//! # })
//! # }
//! ```
#![cfg_attr(doctest, doc = include_str!("../README.md"))]
#![forbid(unsafe_code)]

mod any;
pub mod conformance;
mod epochs;
mod error;
mod event;
pub mod feed;
mod fingerprint;
mod gap;
mod hints;
mod memory;
mod page;
mod pattern;
mod plan;
mod position;
mod retention;
mod selector;
mod store;
mod topic;
mod topic_info;

pub use any::AnyStore;
pub use epochs::{Epochs, Judged};
pub use error::StoreError;
pub use event::{Append, Appended, Event, EventType, EventTypeError};
pub use feed::{Attachment, Feed, FeedClosed, FeedConfig, FeedHandle, Join, JoinError, Step, Tail};
pub use fingerprint::Fingerprint;
pub use gap::{Gap, GapReason};
pub use hints::{HintStream, Hints};
pub use memory::{MemoryConfig, MemoryStore};
pub use page::{Bounds, Limit, Page};
pub use pattern::Pattern;
pub use plan::plan_batch;
pub use position::{After, Cursor, CursorError, Epoch, Position};
pub use retention::{Clock, KeyWindow, Retention, RetentionRules, TopicRetention};
pub use selector::{Selector, SelectorError};
pub use store::{Capabilities, Hint, ReplayStore};
pub use topic::{Topic, TopicError};
pub use topic_info::TopicInfo;
