//! One bound over the memory of many logs.

use core::fmt;
use core::time::Duration;

use crate::log::Shared;
use crate::sync::{Arc, AtomicUsize, Mutex, MutexGuard, Ordering};

/// A bound on the memory that the tails of many logs take together, next to each log's
/// [own](crate::LogConfig). A clone is the same budget.
///
/// When an append goes over it, the logs that take the most memory lose the older half of what they
/// hold, one after another until all together take at most seven eighths of the bound. So a few logs with slow readers do not
/// take away what the many need. Readers learn of it like of any other eviction. Nobody is woken: who
/// waits has nothing to lose, except events that the next wake is for.
///
/// ```
/// use backpressure::{Budget, Log, LogConfig, ReadError};
///
/// let budget = Budget::new(1 << 20);
/// let logs = [(); 4].map(|()| Log::with_budget(LogConfig::default(), 0, &budget));
/// let mut readers = logs.each_ref().map(Log::subscribe);
///
/// logs[0].append(1, &[0; 1000]);
/// logs[1].append(1, &[0; 700_000]);
/// logs[2].append(1, &[0; 600_000]);
/// assert!(budget.memory() <= 1 << 20);
/// assert!(readers[0].is_intact());
/// assert_eq!(readers[1].read(1), Err(ReadError::Evicted));
/// assert!(readers[2].read(1)?.is_some());
/// # Ok::<(), ReadError>(())
/// ```
///
/// # Memory
///
/// The worst case is the bound, and for every thread that appends at this moment one event and one
/// segment. A log with a budget takes no more than one without, but for 8 bytes here while it is in use.
/// [Chunks](crate::Chunk) that readers have taken out do not count.
#[derive(Clone)]
pub struct Budget {
    shared: Arc<BudgetShared>,
}

struct BudgetShared {
    max_bytes: usize,
    memory: AtomicUsize,
    users: Mutex<Users>,
}

/// The logs that may take memory. One that does and is not here is about to enter.
struct Users {
    logs: Vec<Arc<Shared>>,
    /// The number of logs at which those that take none are taken out.
    sweep_at: usize,
}

const FIRST_SWEEP: usize = 64;

impl Budget {
    /// A budget of `max_bytes`.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        let users = Users {
            logs: Vec::new(),
            sweep_at: FIRST_SWEEP,
        };
        Self {
            shared: Arc::new(BudgetShared {
                max_bytes,
                memory: AtomicUsize::new(0),
                users: Mutex::new(users),
            }),
        }
    }

    /// Bytes of memory that all logs of this budget take now.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.shared.memory.load(Ordering::Relaxed)
    }

    /// It is `now`: has every log of this budget evict the events that have reached its
    /// [`max_age`](crate::LogConfig::max_age). Looks only at logs that hold events, and wakes nobody.
    ///
    /// Call it every now and then, for instance once a second.
    pub fn handle_timeout(&self, now: Duration) {
        let mut users = self.users();
        users.logs.retain(|log| {
            log.handle_timeout(now);
            !log.leave_if_empty()
        });
    }

    /// A log's memory has changed. Called under its lock, so the sum counts every log at one moment
    /// or another and is never negative.
    pub(crate) fn settle(&self, before: usize, after: usize) {
        let change = after.wrapping_sub(before);
        self.shared.memory.fetch_add(change, Ordering::Relaxed);
    }

    /// Has this budget know a log that takes memory.
    pub(crate) fn enter(&self, log: &Arc<Shared>) {
        let mut users = self.users();
        if users.logs.len() >= users.sweep_at {
            users.logs.retain(|log| !log.leave_if_empty());
            users.sweep_at = (2 * users.logs.len()).max(FIRST_SWEEP);
        }
        users.logs.push(Arc::clone(log));
    }

    /// Evicts if the bound was exceeded.
    pub(crate) fn enforce(&self) {
        if self.memory() <= self.shared.max_bytes {
            return;
        }
        let target = self.shared.max_bytes / 8 * 7;
        let mut users = self.users();
        // Another thread may have done it while this one waited for the lock.
        while self.memory() > self.shared.max_bytes {
            users.logs.retain(|log| !log.leave_if_empty());
            let mut sizes: Vec<_> = users.logs.iter().map(|log| (log.memory(), log)).collect();
            sizes.sort_unstable_by_key(|(memory, _)| core::cmp::Reverse(*memory));
            let Some((largest, _)) = sizes.first() else {
                return;
            };
            // Down to one size for all that are larger, and no further than is needed.
            let keep = largest / 2;
            for (_, log) in sizes.iter().take_while(|(memory, _)| *memory > keep) {
                if self.memory() <= target {
                    return;
                }
                log.evict_to(keep);
            }
        }
    }

    fn users(&self) -> MutexGuard<'_, Users> {
        // A list of logs to look at is valid at any length.
        self.shared
            .users
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("max_bytes", &self.shared.max_bytes)
            .field("memory", &self.memory())
            .field("logs", &self.users().logs.len())
            .finish_non_exhaustive()
    }
}
