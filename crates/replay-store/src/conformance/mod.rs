//! Tests that every store must pass. Public, so that a store in another crate runs them too.
//!
//! A store gives a [`Factory`] and gets one `#[test]` per case:
//!
//! ```
//! use replay_store::conformance::{Factory, Setup};
//! use replay_store::{Epoch, MemoryConfig, MemoryStore};
//!
//! struct Memory;
//!
//! impl Factory for Memory {
//!     type Store = MemoryStore;
//!
//!     async fn fresh(&self, setup: &Setup) -> MemoryStore {
//!         let config = MemoryConfig {
//!             retention: setup.retention,
//!             rules: setup.rules.clone(),
//!             keys: setup.keys,
//!             max_event_bytes: setup.max_event_bytes,
//!         };
//!         MemoryStore::new(config, Epoch(7), setup.clock.clock())
//!     }
//! }
//!
//! # #[cfg(test)]
//! replay_store::conformance_tests!(Memory);
//! # replay_store::conformance::run(&Memory);
//! ```
//!
//! A case that needs what the store does not promise prints that it was skipped, and which promise
//! it lacked. Every page that a case reads is checked against what must hold of all pages.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::{Clock, KeyWindow, ReplayStore, Retention, RetentionRules};

#[doc(hidden)]
pub mod appending;
#[doc(hidden)]
pub mod concurrency;
#[doc(hidden)]
pub mod durability;
#[doc(hidden)]
pub mod ends;
#[doc(hidden)]
pub mod gaps;
#[doc(hidden)]
pub mod keys;
#[doc(hidden)]
pub mod oracle;
#[doc(hidden)]
pub mod patterns;
#[doc(hidden)]
pub mod reading;
#[doc(hidden)]
pub mod retention;
mod subject;
#[doc(hidden)]
pub mod topics;

/// Makes the stores that the cases run against.
pub trait Factory: Sync {
    /// The store.
    type Store: ReplayStore;

    /// Does the store take the time from [`Setup::clock`]? If not, cases that turn the clock are
    /// skipped.
    const TURNABLE_CLOCK: bool = true;

    /// Does the store bound the keys it remembers by [`KeyWindow::count`]? If not, cases that count
    /// them are skipped.
    const COUNTED_KEYS: bool = true;

    /// An empty log that no other case uses.
    fn fresh(&self, setup: &Setup) -> impl Future<Output = Self::Store> + Send;

    /// Ends `store` as its process would end it, and opens again what it left. `None` if the store
    /// keeps nothing, which skips what needs this.
    fn reopen(
        &self,
        store: Self::Store,
        setup: &Setup,
    ) -> impl Future<Output = Option<Self::Store>> + Send {
        let _ = (store, setup);
        std::future::ready(None)
    }

    /// Runs a future to its end, on any of several threads at once. A store that needs a runtime
    /// enters it here.
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        block_on(future)
    }
}

/// How a case wants its store.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What the store keeps.
    pub retention: Retention,
    /// What it keeps of some topics.
    pub rules: RetentionRules,
    /// The keys it remembers.
    pub keys: KeyWindow,
    /// The largest event it takes.
    pub max_event_bytes: usize,
    /// Its clock.
    pub clock: TestClock,
}

impl Default for Setup {
    /// Everything is kept; events of up to 1 MiB.
    fn default() -> Self {
        Self {
            retention: Retention::UNBOUNDED,
            rules: RetentionRules::default(),
            keys: KeyWindow::default(),
            max_event_bytes: 1 << 20,
            clock: TestClock::default(),
        }
    }
}

/// A clock that a case turns. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct TestClock(Arc<AtomicU64>);

impl Default for TestClock {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(1_700_000_000_000)))
    }
}

impl TestClock {
    /// The face that a store sees.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let now = Arc::clone(&self.0);
        Clock::new(move || now.load(Ordering::SeqCst))
    }

    /// Turns the clock to a time, in milliseconds since the Unix epoch.
    pub fn set(&self, unix_ms: u64) {
        self.0.store(unix_ms, Ordering::SeqCst);
    }

    /// Turns the clock forward.
    pub fn advance(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

/// The case does not apply: the store lacks this promise.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Skipped(pub &'static str);

/// What a case returns; it panics if the store fails it.
pub type Outcome = Result<(), Skipped>;

/// Runs every case one after the other.
///
/// # Panics
/// The store failed a case.
pub fn run<F: Factory>(factory: &F) {
    macro_rules! run_each {
        ([$factory:expr] $($module:ident: $($case:ident)*;)*) => {
            $($(report(stringify!($case), $module::$case($factory));)*)*
        };
    }
    crate::__conformance_cases!([run_each][factory]);
}

/// Prints that a case was skipped.
#[doc(hidden)]
#[expect(
    clippy::print_stdout,
    reason = "a skipped test must not pass in silence"
)]
pub fn report(case: &str, outcome: Outcome) {
    if let Err(Skipped(lacking)) = outcome {
        println!("skipped {case}: the store does not promise `{lacking}`");
    }
}

/// Makes one `#[test]` per case of the [conformance suite](crate::conformance). Takes an
/// expression that makes the [`Factory`](crate::conformance::Factory).
#[macro_export]
macro_rules! conformance_tests {
    ($factory:expr) => {
        $crate::__conformance_cases!([$crate::__conformance_test_each][$factory]);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_test_each {
    ([$factory:expr] $($module:ident: $($case:ident)*;)*) => {
        $($(
            #[test]
            fn $case() {
                let outcome = $crate::conformance::$module::$case(&$factory);
                $crate::conformance::report(stringify!($case), outcome);
            }
        )*)*
    };
}

/// The list of all cases, handed to another macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    ([$($each:tt)*] $argument:tt) => {
        $($each)*! {
            $argument
            appending:
                events_come_back_as_they_were_appended
                positions_are_those_answered
                a_batch_is_appended_in_one_piece
                an_empty_batch_appends_nothing
                prev_is_the_seq_before_in_the_topic
                timestamps_never_decrease
                what_is_too_large_is_refused
                a_closed_store_refuses;
            reading:
                pages_of_any_size_add_up
                every_position_resumes_after_itself
                a_page_is_limited_by_bytes_and_never_empty_for_it
                an_unknown_topic_is_empty
                an_empty_log_has_no_gap
                latest_is_the_end_of_the_log
                one_topic_among_many_is_read;
            patterns:
                a_pattern_reads_every_topic_that_it_matches
                overlapping_patterns_read_each_event_once
                a_pattern_may_match_nothing
                a_pattern_is_judged_by_the_floors_of_its_topics
                a_pattern_is_judged_by_what_was_forgotten
                a_pattern_among_many_topics_is_read;
            topics:
                topics_are_listed_by_name_and_in_pages
                trimmed_topics_are_listed_until_they_are_forgotten
                ten_thousand_topics;
            ends:
                a_topic_ends_once
                an_ended_topic_takes_no_more
                an_end_within_a_batch_counts
                a_retry_of_what_came_before_the_end_is_answered
                an_end_survives_reopening;
            gaps:
                a_foreign_epoch_is_told
                a_cursor_beyond_the_end_is_told
                what_is_no_cursor_is_told
                a_cursor_below_the_floor_is_told
                the_largest_floor_counts
                a_forgotten_topic_is_judged_by_its_floor
                seqs_are_not_used_again_after_trimming_all;
            keys:
                a_retry_answers_the_first_position
                a_key_belongs_to_one_topic
                a_key_with_another_event_is_refused
                a_key_may_repeat_within_a_batch
                keys_leave_the_window_by_count
                keys_leave_the_window_by_age;
            retention:
                a_topic_is_bounded_by_count
                a_topic_is_bounded_by_bytes
                events_grow_too_old
                the_log_is_bounded_by_bytes
                a_rule_bounds_the_topics_it_matches
                ages_may_differ_by_topic;
            durability:
                reopening_keeps_everything
                an_epoch_begins_with_the_first_append_after_reopening
                cursors_stay_valid_across_reopening
                keys_survive_reopening
                floors_survive_reopening;
            concurrency:
                what_is_visible_has_no_hole
                an_abandoned_append_is_whole_or_nothing
                hints_tell_the_truth
                replay_and_live_join;
            oracle:
                the_memory_store_agrees;
        }
    };
}

/// Runs a future on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}
