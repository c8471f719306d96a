//! Waking the readers of one worker by one wake of that worker.

use core::fmt;
use core::mem::{replace, take};
use core::task::{Context, Poll, Waker};

use crate::log::Shared;
use crate::sync::{Arc, Mutex, MutexGuard};

/// The readers of one worker, woken by that worker itself.
///
/// Waking a task of another thread costs a system call or an interrupt of that thread's work, and a
/// thousand subscribers of one event would cost a thousand of them. Readers that
/// [subscribe with a shard](crate::Log::subscribe_with) are not woken by [`Log::wake`](crate::Log::wake)
/// but by whoever polls the shard, so make one shard for every worker thread and poll it there:
///
/// - [`Log::wake`](crate::Log::wake) tells the shards that have waiting readers in this log, no others;
/// - a shard that was told wakes its worker at most once until it is polled again, whatever the number
///   of logs, events and readers;
/// - [`poll_wake`](Self::poll_wake), on the worker, wakes the readers.
///
/// When the shard is dropped, its readers are woken like those without one.
///
/// ```
/// use std::future::poll_fn;
///
/// use backpressure::{Log, LogConfig, Shard};
/// use futures::executor::LocalPool;
/// use futures::task::LocalSpawnExt;
///
/// let log = Log::new(LogConfig::default(), 0);
/// let mut shard = Shard::new();
/// let mut readers = [(); 3].map(|()| log.subscribe_with(&shard.handle()));
///
/// let writer = std::thread::spawn(move || {
///     log.append(1, b"event");
///     log.wake(); // wakes the worker below once, which wakes three readers
///     log
/// });
///
/// let mut worker = LocalPool::new();
/// worker.spawner().spawn_local(async move {
///     loop {
///         poll_fn(|cx| shard.poll_wake(cx)).await;
///     }
/// })?;
/// for reader in &mut readers {
///     worker.run_until(poll_fn(|cx| reader.poll_ready(cx)))?;
///     assert_eq!(reader.read(64 << 10)?.map(|chunk| chunk.last), Some(1));
/// }
/// writer.join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Memory
///
/// About 100 bytes, and 8 for each log that was woken since the last poll.
pub struct Shard {
    handle: ShardHandle,
}

/// Names a [`Shard`] where readers subscribe. A clone is the same shard.
#[derive(Clone)]
pub struct ShardHandle {
    shared: Arc<ShardShared>,
}

struct ShardShared {
    state: Mutex<ShardState>,
}

#[derive(Default)]
struct ShardState {
    /// Logs that were woken since the last poll and have waiting readers of this shard.
    woken: Vec<Arc<Shared>>,
    /// An empty vector that takes the place of `woken` while the logs in it are walked.
    spare: Vec<Arc<Shared>>,
    /// The worker's, if it waits for `woken` to fill.
    worker: Option<Waker>,
    /// The worker's end is gone.
    closed: bool,
}

impl Shard {
    /// A shard without readers.
    #[must_use]
    pub fn new() -> Self {
        let state = Mutex::new(ShardState::default());
        let shared = Arc::new(ShardShared { state });
        Self {
            handle: ShardHandle { shared },
        }
    }

    /// What readers subscribe with.
    #[must_use]
    pub fn handle(&self) -> ShardHandle {
        self.handle.clone()
    }

    /// Wakes the readers of this shard whose logs were woken, and returns how many they were. If no
    /// log was, the task waits for one.
    ///
    /// Call it in a loop from one task of the worker whose readers these are.
    pub fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let worker = cx.waker().clone();
        let mut state = self.handle.lock();
        if state.woken.is_empty() {
            let replaced = state.worker.replace(worker);
            drop(state);
            drop(replaced);
            return Poll::Pending;
        }
        let spare = take(&mut state.spare);
        let mut logs = replace(&mut state.woken, spare);
        drop(state);
        let readers = self.handle.wake_readers(&mut logs);
        self.handle.lock().spare = logs;
        Poll::Ready(readers)
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard")
            .field("woken_logs", &self.handle.lock().woken.len())
            .finish()
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        let mut state = self.handle.lock();
        let left = take(&mut *state);
        state.closed = true;
        drop(state);
        let ShardState {
            mut woken, worker, ..
        } = left;
        self.handle.wake_readers(&mut woken);
        drop(worker);
    }
}

impl ShardHandle {
    /// Has the worker wake its readers in `log`.
    pub(crate) fn notify(&self, log: &Arc<Shared>) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            log.wake_readers_of(self);
            return;
        }
        state.woken.push(Arc::clone(log));
        let worker = state.worker.take();
        drop(state);
        if let Some(worker) = worker {
            worker.wake();
        }
    }

    fn wake_readers(&self, logs: &mut Vec<Arc<Shared>>) -> usize {
        logs.drain(..).map(|log| log.wake_readers_of(self)).sum()
    }

    fn lock(&self) -> MutexGuard<'_, ShardState> {
        // Nothing under this lock panics, and a list of logs to look at is valid at any length.
        self.shared
            .state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl PartialEq for ShardHandle {
    /// Whether both name the same shard.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Eq for ShardHandle {}

impl fmt::Debug for ShardHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardHandle").finish_non_exhaustive()
    }
}
