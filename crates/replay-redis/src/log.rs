//! One log in Redis, as one node sees it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::{Cmd, Value};
use replay_store::{
    After, Clock, Epoch, Epochs, Limit, Page, Position, Selector, StoreError, Topic, TopicInfo,
};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::config::RedisConfig;
use crate::error::Failure;
use crate::link::Link;
use crate::reply::{self, Items};
use crate::script::{self, Script};

/// The most that one script call returns, whatever the limit of the page.
const PAGE_EVENTS: usize = 1024;
const PAGE_BYTES: usize = 4 << 20;
/// Names per call when topics are listed.
const NAMES: usize = 500;
/// How often a page is asked for while the log changes underneath.
const ATTEMPTS: usize = 100;

pub(crate) struct Log {
    pub(crate) config: RedisConfig,
    pub(crate) clock: Clock,
    pub(crate) base: String,
    pub(crate) runtime: Handle,
    /// Appends, and whatever else changes the log.
    pub(crate) writing: Arc<Link>,
    reading: Arc<Link>,
    turns: Arc<Semaphore>,
    seeds: Mutex<Seeds>,
    seen: Mutex<Seen>,
}

pub(crate) type Seeds = Box<dyn FnMut() -> u64 + Send>;

/// What this node knows of the log.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    /// `None` before the first answer.
    pub(crate) epochs: Option<Arc<Epochs>>,
    /// The last seq in the current epoch.
    pub(crate) tail: u64,
}

impl Seen {
    /// The current epoch as the scripts are told it; no epoch is written like this if none is known.
    pub(crate) fn epoch(&self) -> String {
        self.epochs
            .as_ref()
            .map_or_else(|| "-".to_owned(), |epochs| epochs.current().to_string())
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

impl Log {
    pub(crate) fn new(
        config: RedisConfig,
        client: &redis::Client,
        clock: Clock,
        seeds: Seeds,
        runtime: Handle,
    ) -> Self {
        let link = || Arc::new(Link::new(client.clone(), config.timeout));
        Self {
            base: format!("{{{}}}", config.prefix),
            runtime,
            writing: link(),
            reading: link(),
            turns: Arc::new(Semaphore::new(config.readers.max(1))),
            seeds: Mutex::new(seeds),
            seen: Mutex::default(),
            clock,
            config,
        }
    }

    /// The epoch that begins if one is due.
    pub(crate) fn seed(&self) -> String {
        Epoch(lock(&self.seeds)()).to_string()
    }

    pub(crate) fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }

    /// Takes down what a script answered: the epochs if they are not those of `before`, and the tail.
    pub(crate) fn learn(
        &self,
        before: &Seen,
        epochs: &str,
        tail: u64,
    ) -> Result<Arc<Epochs>, StoreError> {
        let epochs = match &before.epochs {
            Some(known) if epochs.is_empty() => Arc::clone(known),
            _ => Arc::new(reply::epochs(epochs)?),
        };
        let mut seen = lock(&self.seen);
        let same = seen
            .epochs
            .as_ref()
            .is_some_and(|it| it.current() == epochs.current());
        let tail = if same { seen.tail.max(tail) } else { tail };
        *seen = Seen {
            epochs: Some(Arc::clone(&epochs)),
            tail,
        };
        Ok(epochs)
    }

    pub(crate) async fn read(
        &self,
        selector: &Selector,
        after: After,
        limit: Limit,
    ) -> Result<Page, StoreError> {
        let seen = self.seen();
        // A guess, which the answer confirms or not: it is judged as every store judges it.
        let mut start = match (after, seen.epochs) {
            (After::Latest, _) => None,
            (_, Some(epochs)) => Some(epochs.judge(after, 0, Position::MAX_SEQ).start()),
            (After::Position(cursor), None) => Some(cursor.seq),
            (After::Earliest | After::Unknown, None) => Some(0),
        };
        let mut checked = (0, 0);
        let mut ticked = false;
        for _ in 0..ATTEMPTS {
            let seen = self.seen();
            let call = self.read_call(&seen, selector, start, checked, limit);
            let mut answer = Items::of(self.ask(&script::READ, call).await?)?;
            match answer.number()? {
                0 => {}
                1 => {
                    self.tick(0, &[]).await?;
                    continue;
                }
                _ => {
                    checked = (answer.number()?, answer.number()?);
                    continue;
                }
            }
            if answer.number()? == 1 && !ticked {
                ticked = true;
                // A log that cannot be written now can still be read; it only shows what is too
                // old.
                if self.tick(0, &[]).await.is_ok() {
                    continue;
                }
            }
            let (epochs, tail) = (answer.text()?, answer.number()?);
            let epochs = self.learn(&seen, &epochs, tail)?;
            let judged = epochs.judge(after, answer.number()?, tail);
            let (read_from, scanned_to) = (answer.number()?, answer.number()?);
            if judged.start() >= tail {
                return Ok(judged.into_page(Vec::new(), false));
            }
            if judged.start() == read_from {
                let events = answer.items()?.events(&epochs)?;
                return Ok(judged.into_page_through(events, scanned_to));
            }
            start = Some(judged.start());
        }
        Err(StoreError::Unavailable {
            detail: "the log changes faster than it can be read".into(),
        })
    }

    fn read_call(
        &self,
        seen: &Seen,
        selector: &Selector,
        start: Option<u64>,
        checked: (u64, u64),
        limit: Limit,
    ) -> Cmd {
        let mut call = script::READ.call(&self.base);
        call.arg(self.clock.now_ms()).arg(seen.epoch());
        match start {
            Some(start) => call.arg(start),
            None => call.arg("+"),
        };
        call.arg(limit.events.clamp(1, PAGE_EVENTS))
            .arg(limit.bytes.min(PAGE_BYTES))
            .arg(if selector.is_all() { "all" } else { "some" })
            .arg(checked.0)
            .arg(checked.1)
            .arg(selector.topics().len());
        for topic in selector.topics() {
            call.arg(topic.as_str());
        }
        for pattern in selector.wildcards() {
            call.arg(pattern.as_str()).arg(pattern.prefix());
        }
        call
    }

    /// Trims what is too old, and of `topics` everything up to `through`; makes the log if there is
    /// none. A call does a bounded part: `true` if some of `topics` has more to trim.
    pub(crate) async fn tick(&self, through: u64, topics: &[Topic]) -> Result<bool, StoreError> {
        let mut call = script::TICK.call(&self.base);
        call.arg(self.clock.now_ms())
            .arg(self.seed())
            .arg(number(self.config.retention.idle_topics))
            .arg(through);
        for topic in topics {
            call.arg(topic.as_str());
        }
        let link = Arc::clone(&self.writing);
        let call = async move { link.call(&script::TICK, &call).await };
        let answer = self.runtime.spawn(call).await;
        let answer = answer.map_err(|_| StoreError::Closed)?;
        match answer.map_err(Failure::of_read)? {
            Value::Int(more) => Ok(more == 1),
            _ => Err(reply::corrupt("a number was expected")),
        }
    }

    pub(crate) async fn trim(&self, selector: &Selector, through: u64) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let topics = self.topics(selector, after.as_ref(), NAMES).await?;
            let names: Vec<_> = topics.into_iter().map(|info| info.topic).collect();
            while !names.is_empty() && self.tick(through, &names).await? {}
            match names.into_iter().next_back() {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    pub(crate) async fn topics(
        &self,
        selector: &Selector,
        after: Option<&Topic>,
        limit: usize,
    ) -> Result<Vec<TopicInfo>, StoreError> {
        let wanted = |topic: &Topic| after.is_none_or(|after| after < topic);
        let mut found = Vec::new();
        let exact: Vec<_> = selector.topics().iter().filter(|it| wanted(it)).collect();
        if !exact.is_empty() {
            let mut call = self.topics_call("-", "+", 0);
            for topic in exact {
                call.arg(topic.as_str());
            }
            found = self.list(call).await?;
        }
        for pattern in selector.wildcards() {
            // No byte of a name is 255.
            let prefix = pattern.prefix().as_bytes();
            let highest = [b"(", prefix, b"\xff"].concat();
            let mut lowest = match after {
                Some(after) if after.as_str().as_bytes() >= prefix => {
                    [b"(", after.as_str().as_bytes()].concat()
                }
                _ => [b"[", prefix].concat(),
            };
            let mut matching = 0;
            while matching < limit {
                let names = self
                    .list(self.topics_call(&lowest, &highest, NAMES))
                    .await?;
                let Some(last) = names.last() else { break };
                lowest = [b"(", last.topic.as_str().as_bytes()].concat();
                let before = found.len();
                found.extend(names.into_iter().filter(|it| pattern.matches(&it.topic)));
                matching += found.len() - before;
            }
        }
        found.sort_unstable_by(|a, b| a.topic.cmp(&b.topic));
        found.dedup_by(|a, b| a.topic == b.topic);
        found.truncate(limit);
        Ok(found)
    }

    fn topics_call(&self, lowest: impl AsRef<[u8]>, highest: impl AsRef<[u8]>, most: usize) -> Cmd {
        let mut call = script::TOPICS.call(&self.base);
        call.arg(self.clock.now_ms())
            .arg(lowest.as_ref())
            .arg(highest.as_ref())
            .arg(most);
        call
    }

    async fn list(&self, call: Cmd) -> Result<Vec<TopicInfo>, StoreError> {
        let mut answer = Items::of(self.ask(&script::TOPICS, call.clone()).await?)?;
        if answer.number()? == 1 && self.tick(0, &[]).await.is_ok() {
            answer = Items::of(self.ask(&script::TOPICS, call).await?)?;
            answer.number()?;
        }
        let mut topics = Vec::new();
        while !answer.is_empty() {
            let name = answer.text()?;
            topics.push(TopicInfo {
                topic: Topic::new(&name).map_err(|error| reply::corrupt(&error.to_string()))?,
                last: answer.number()?,
                bytes: answer.number()?,
                ended: answer.number()? == 1,
                events: answer.number()?,
            });
        }
        Ok(topics)
    }

    /// Reads, when it is its turn. The turn lasts until Redis has answered, even if nobody waits for
    /// that any more.
    async fn ask(&self, script: &'static Script, call: Cmd) -> Result<Value, StoreError> {
        let turns = Arc::clone(&self.turns);
        let turn = turns.acquire_owned().await;
        let turn = turn.map_err(|_| StoreError::Closed)?;
        let link = Arc::clone(&self.reading);
        let call = async move {
            let mut answer = link.call(script, &call).await;
            // That Redis was started anew is found out only now; a read can be asked for again.
            if matches!(answer, Err(Failure::Lost(_))) {
                answer = link.call(script, &call).await;
            }
            drop(turn);
            answer
        };
        let answer = self.runtime.spawn(call).await;
        let answer = answer.map_err(|_| StoreError::Closed)?;
        answer.map_err(Failure::of_read)
    }
}

/// A bound as the scripts take it: what they cannot count to is no bound.
pub(crate) fn number(bound: usize) -> u64 {
    (bound as u64).min(Position::MAX_SEQ)
}

/// Nothing here panics while it holds a lock, except a source of seeds, which is then left alone.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
