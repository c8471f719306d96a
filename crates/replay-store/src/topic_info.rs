//! What a store knows of a topic.

use crate::Topic;

/// One topic that a store knows: it has retained events, or had some and is not forgotten.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TopicInfo {
    /// Its name.
    pub topic: Topic,
    /// Events retained.
    pub events: u64,
    /// Bytes retained, as [`Event::cost`](crate::Event::cost) counts them.
    pub bytes: u64,
    /// The seq last appended to it, retained or not.
    pub last: u64,
    /// Its last event is [`$end`](crate::EventType::end); nothing can be published to it any more.
    pub ended: bool,
}
