//! An ordered, replayable log of events over many topics.
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
mod position;
mod retention;
mod store;
mod topic;

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
pub use position::{After, CursorError, Epoch, Position};
pub use retention::{Clock, KeyWindow, Retention};
pub use store::{Capabilities, Hint, ReplayStore};
pub use topic::{Selector, SelectorError, Topic, TopicError};
