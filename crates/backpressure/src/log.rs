//! The writing end.

use core::fmt;
use core::mem::replace;
use core::ops::{Deref, DerefMut};
use core::task::Waker;
use core::time::Duration;

use crate::admission::Blocking;
use crate::segment::{FIRST_CAPACITY, LAST_CAPACITY};
use crate::shard::ShardHandle;
use crate::sync::{Arc, AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering};
use crate::tail::Tail;
use crate::waiters::{Armed, Due, Taken, Waiters};
use crate::{Admission, Budget, Lag, Reader};

/// Bounds of what a log keeps in memory for readers that are behind.
///
/// ```
/// use backpressure::LogConfig;
///
/// let mut config = LogConfig::default();
/// config.max_bytes(1 << 20).max_events(10_000);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogConfig {
    pub(crate) max_bytes: usize,
    pub(crate) max_events: usize,
    /// In nanoseconds; `u64::MAX` for no bound.
    pub(crate) max_age: u64,
}

impl LogConfig {
    /// How many bytes of memory the tail may take, its indexes included. Default 8 MiB.
    ///
    /// Whole segments are evicted, oldest first, to keep to it. A segment starts at 1 KiB and doubles
    /// to at most an eighth of this bound, but to no less than 1 KiB and no more than 64 KiB; a larger
    /// event has a segment of its own. The newest segment stays, so the worst case is this bound and
    /// one segment: its buffer, a copy of it that readers share, and its index, which takes 32 bytes an
    /// event (at most 4,096 events) or a quarter of the buffer, whichever is more.
    pub const fn max_bytes(&mut self, bytes: usize) -> &mut Self {
        self.max_bytes = bytes;
        self
    }

    /// How many events the tail may hold. Default 100,000. Zero means one.
    pub const fn max_events(&mut self, events: usize) -> &mut Self {
        self.max_events = events;
        self
    }

    /// How long the tail keeps an event, whether it was read or not. Default: no bound.
    ///
    /// Whole segments are evicted, oldest first, once the oldest event in them is this old, by the
    /// times of [`Log::append_at`] and [`Log::handle_timeout`]. A segment takes events for an eighth of
    /// this time, so an event stays for at least seven eighths of it.
    pub const fn max_age(&mut self, age: Duration) -> &mut Self {
        let nanos = age.as_nanos();
        self.max_age = if nanos < u64::MAX as u128 {
            nanos as u64
        } else {
            u64::MAX
        };
        self
    }

    /// The bytes and the events of one segment, so small that evicting a whole one is no great step.
    pub(crate) fn segment_bounds(&self) -> (usize, usize) {
        let bytes = (self.max_bytes / 8).clamp(FIRST_CAPACITY, LAST_CAPACITY);
        (1 << bytes.ilog2(), (self.max_events / 8).clamp(1, 4096))
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            max_bytes: 8 << 20,
            max_events: 100_000,
            max_age: u64::MAX,
        }
    }
}

/// An append-only log of encoded events: the writing end. A clone is the same log.
///
/// The log is closed by [`close`](Self::close), or when its last clone is dropped.
///
/// # Memory
///
/// Bytes are kept only for readers that have not read them: a log whose readers have all read
/// everything holds none, and an append to a log without readers moves two counters. An idle log
/// takes at most 184 bytes, also with one reader. With more it takes 64 for each
/// [`Shard`](crate::Shard) with readers (those without one count as one), and 64 for each reader.
/// What readers are behind on is bounded by [`LogConfig`]. What they have taken out is theirs: a
/// [`Chunk`](crate::Chunk) keeps the segment it was cut from in memory while it lives.
pub struct Log {
    shared: Arc<Shared>,
}

/// What the writing end and the readers have in common.
///
/// Nothing but this crate's own code runs while the lock is held: wakers are cloned, called and
/// dropped outside, since each of these may run a task that uses the same log.
pub(crate) struct Shared {
    /// The events before the head, or `CLOSED`: so much of the state as a reader at the head needs to
    /// know that there is nothing for it. Changed under the lock only.
    head: AtomicU64,
    /// How many writing ends there are.
    writers: AtomicUsize,
    state: Mutex<State>,
}

/// In the place of a head that no reader is at.
const CLOSED: u64 = u64::MAX;

pub(crate) struct State {
    pub(crate) tail: Tail,
    pub(crate) waiters: Waiters,
    /// Readers that publishers wait for, and publishers that wait. Boxed, since few logs have any.
    pub(crate) blocking: Option<Box<Blocking>>,
    /// `None` once closed, so that a budget and its logs do not keep each other in memory.
    budget: Option<Budget>,
    /// What the budget knows of the tail's memory.
    settled: usize,
    /// The budget knows this log, or is about to.
    entered: bool,
    pub(crate) closed: bool,
}

/// The state, locked. Settles with the budget before it is unlocked.
pub(crate) struct Locked<'a>(MutexGuard<'a, State>);

impl Log {
    /// An empty log, for events with a seq above `start`.
    #[must_use]
    pub fn new(config: LogConfig, start: u64) -> Self {
        Self::create(config, start, None)
    }

    /// Like [`new`](Self::new), with a bound that it shares with other logs.
    #[must_use]
    pub fn with_budget(config: LogConfig, start: u64, budget: &Budget) -> Self {
        Self::create(config, start, Some(budget.clone()))
    }

    fn create(config: LogConfig, start: u64, budget: Option<Budget>) -> Self {
        let state = State {
            tail: Tail::new(config, start),
            waiters: Waiters::default(),
            blocking: None,
            budget,
            settled: 0,
            entered: false,
            closed: false,
        };
        let shared = Shared {
            head: AtomicU64::new(state.tail.head().events),
            writers: AtomicUsize::new(1),
            state: Mutex::new(state),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Appends one event in its encoded form. Wakes nobody: see [`wake`](Self::wake).
    ///
    /// Does nothing if the log is closed. It takes the same few steps for any number of readers, and
    /// allocates only for events larger than a segment and where the log has no segment yet that it
    /// or another log has used before.
    ///
    /// # Panics
    ///
    /// If `seq` is not above that of the event before, and not above what the log was created with.
    pub fn append(&self, seq: u64, encoded: &[u8]) {
        self.append_at(seq, encoded, Duration::ZERO);
    }

    /// Like [`append`](Self::append) for a log with a [`max_age`](LogConfig::max_age): it is `now`, how
    /// long it is since any moment that the caller chose.
    ///
    /// A time before the latest that the log was told counts as that one.
    ///
    /// # Panics
    ///
    /// As [`append`](Self::append).
    pub fn append_at(&self, seq: u64, encoded: &[u8], now: Duration) {
        if let Some(state) = self.lock_and_append(seq, encoded, now) {
            self.unlock_and_enforce(state);
        }
    }

    /// [Appends](Self::append) one event and [wakes](Self::wake), for less than what both take. Only for
    /// a log that is read without a watermark.
    ///
    /// # Panics
    ///
    /// As [`append`](Self::append).
    pub fn publish(&self, seq: u64, encoded: &[u8]) {
        let Some(mut state) = self.lock_and_append(seq, encoded, Duration::ZERO) else {
            return;
        };
        let armed = state.waiters.take_armed();
        self.unlock_and_enforce(state);
        if !armed.is_empty() {
            let state = self.shared().lock();
            Shared::wake_armed(self.shared(), state, armed);
        }
    }

    /// `None` if the log is closed.
    fn lock_and_append(&self, seq: u64, encoded: &[u8], now: Duration) -> Option<Locked<'_>> {
        let mut state = self.shared().lock();
        if state.closed {
            return None;
        }
        let head = state.tail.head().seq;
        if seq <= head {
            drop(state);
            panic!("seq {seq} was appended to a log whose head is {head}: seqs must increase");
        }
        state.tail.handle_timeout(now);
        state.tail.append(seq, encoded);
        let head = state.tail.head().events;
        self.shared().head.store(head, Ordering::Release);
        Some(state)
    }

    fn unlock_and_enforce(&self, mut state: Locked<'_>) {
        let Some(budget) = &state.budget else { return };
        let budget = budget.clone();
        let enters = state.tail.memory() > 0 && !replace(&mut state.entered, true);
        drop(state);
        if enters {
            budget.enter(self.shared());
        }
        budget.enforce();
    }

    /// Wakes every reader that waits; those of a [`Shard`](crate::Shard) by telling it, and each
    /// shard once.
    ///
    /// Call it after the events were appended to every log they belong to and the watermark that
    /// readers look at was published; once for any number of appends. A reader that is woken before
    /// it may read an event would go back to sleep, and nothing would wake it again.
    pub fn wake(&self) {
        Shared::wake(self.shared());
    }

    /// A new reader at the head: it gets what is appended from now on.
    #[must_use]
    pub fn subscribe(&self) -> Reader {
        Reader::new(Arc::clone(self.shared()), None)
    }

    /// A new reader at the head that is woken by `shard`'s worker. See [`Shard`](crate::Shard).
    #[must_use]
    pub fn subscribe_with(&self, shard: &ShardHandle) -> Reader {
        Reader::new(Arc::clone(self.shared()), Some(shard))
    }

    /// Asks to append, once no [blocking](Reader::set_blocking) reader is further than `max` behind,
    /// or to be told at `deadline` that one still is. See [`Admission`].
    #[must_use]
    pub fn admit(&self, max: Lag, deadline: Duration) -> Admission {
        Admission::new(Arc::clone(self.shared()), max, deadline)
    }

    /// Number of readers.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.shared().lock().waiters.readers()
    }

    /// The seq of the last event appended, or the one the log was created with.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.shared().lock().tail.head().seq
    }

    /// Bytes of memory that the tail takes now: buffers, copies shared by readers, indexes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.shared().memory()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next: when the oldest event in memory
    /// reaches the [`max_age`](LogConfig::max_age). `None` if there is no event or no such bound.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.shared().lock().tail.poll_timeout()
    }

    /// It is `now`: evicts the events that have reached the [`max_age`](LogConfig::max_age). For many
    /// logs see [`Budget::handle_timeout`].
    ///
    /// Wakes nobody, like [`evict_to`](Self::evict_to).
    pub fn handle_timeout(&self, now: Duration) {
        self.shared().handle_timeout(now);
    }

    /// Evicts the oldest segments, all of them if need be, until the tail takes at most `max_bytes`
    /// of memory. For a bound over several logs.
    ///
    /// Wakes nobody: a reader that waits has nothing to lose, except events that the next
    /// [`wake`](Self::wake) is for.
    pub fn evict_to(&self, max_bytes: usize) {
        self.shared().evict_to(max_bytes);
    }

    /// Closes the log. Every reader, also one that subscribes later, gets
    /// [`ReadError::Closed`](crate::ReadError::Closed) at once instead of what it had not read, and
    /// those that wait are woken.
    pub fn close(&self) {
        Shared::close(self.shared());
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Clone for Log {
    fn clone(&self) -> Self {
        // Only the count itself matters: whoever clones has a writing end, so it is not zero.
        self.shared.writers.fetch_add(1, Ordering::Relaxed);
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // The lock in `close` orders what the other writing ends did before it.
        if self.shared.writers.fetch_sub(1, Ordering::Relaxed) == 1 {
            Shared::close(&self.shared);
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared().lock();
        f.debug_struct("Log")
            .field("head", &state.tail.head().seq)
            .field("readers", &state.waiters.readers())
            .field("memory", &state.tail.memory())
            .field("closed", &state.closed)
            .finish()
    }
}

impl State {
    /// Tells the budget what has changed.
    fn settle(&mut self) {
        if let Some(budget) = &self.budget {
            let memory = self.tail.memory();
            if memory != self.settled {
                budget.settle(self.settled, memory);
                self.settled = memory;
            }
        }
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.0
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.0.settle();
    }
}

impl Shared {
    /// Locks the state.
    ///
    /// A panic under the lock, which only a mistake in this crate can cause, may have left a hole in
    /// the log. So it closes the log: readers start again elsewhere instead of missing something.
    pub(crate) fn lock(&self) -> Locked<'_> {
        Locked(self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = poisoned.into_inner();
            state.closed = true;
            self.head.store(CLOSED, Ordering::Release);
            state
        }))
    }

    /// Whether a reader with so many events before it has read everything, and the log is open.
    ///
    /// Takes no lock. A reader that took a watermark or was woken sees every event that was appended
    /// before; other than that, one that is appended at this moment may be seen or not.
    pub(crate) fn is_head(&self, events: u64) -> bool {
        self.head.load(Ordering::Acquire) == events
    }

    pub(crate) fn handle_timeout(&self, now: Duration) {
        self.lock().tail.handle_timeout(now);
    }

    pub(crate) fn memory(&self) -> usize {
        self.lock().tail.memory()
    }

    pub(crate) fn evict_to(&self, max_bytes: usize) {
        self.lock().tail.evict_to(max_bytes);
    }

    /// Whether the log takes no memory, so that the budget may forget it until it does.
    pub(crate) fn leave_if_empty(&self) -> bool {
        let mut state = self.lock();
        let empty = state.tail.memory() == 0;
        state.entered &= !empty;
        empty
    }

    /// Wakes the readers of one shard that wait, and returns how many they were.
    pub(crate) fn wake_readers_of(&self, shard: &ShardHandle) -> usize {
        let wakers = self.lock().waiters.take_shard(shard);
        self.call(Some(shard), wakers)
    }

    fn wake(this: &Arc<Self>) {
        let mut state = this.lock();
        let armed = state.waiters.take_armed();
        Self::wake_armed(this, state, armed);
    }

    fn wake_armed<'a>(this: &'a Arc<Self>, mut state: Locked<'a>, mut armed: Armed) {
        while let Some(due) = state.waiters.next_due(&mut armed) {
            drop(state);
            match due {
                Due::Readers(wakers) => {
                    this.call(None, wakers);
                }
                Due::Shard(shard) => shard.notify(this),
            }
            if armed.is_empty() {
                return;
            }
            state = this.lock();
        }
    }

    fn close(this: &Arc<Self>) {
        let mut state = this.lock();
        state.closed = true;
        this.head.store(CLOSED, Ordering::Release);
        state.tail.evict_to(0);
        let publishers = state.release_all();
        state.settle();
        let budget = state.budget.take();
        drop(state);
        drop(budget);
        publishers.into_iter().for_each(Waker::wake);
        Self::wake(this);
    }

    /// Calls wakers, and keeps the memory they were in for the next time.
    fn call(&self, shard: Option<&ShardHandle>, taken: Taken) -> usize {
        match taken {
            Taken::None => 0,
            Taken::One(waker) => {
                waker.wake();
                1
            }
            Taken::Many(mut wakers) => {
                let count = wakers.len();
                if count > 0 {
                    for (_, waker) in wakers.drain(..) {
                        waker.wake();
                    }
                    self.lock().waiters.give_back(shard, wakers);
                }
                count
            }
        }
    }
}
