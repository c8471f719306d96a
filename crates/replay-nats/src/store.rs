//! The store: what it shares between its users, and the trait.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::BoxStream;
use replay_store::{
    After, Append, Appended, Capabilities, Hint, Hints, Limit, Page, ReplayStore, Selector,
    StoreError,
};
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, RwLock, Semaphore};

use crate::append::{Topics, append};
use crate::config::{NatsConfig, OpenError};
use crate::reader::read;
use crate::session::{Session, unavailable, unknown};
use crate::tail::follow;

/// How often a read begins anew because the stream changed under it.
const READ_TRIES: usize = 3;

/// How long a failed attempt to connect answers for the next ones.
const RETRY: Duration = Duration::from_millis(200);

/// A log in one JetStream stream, which other hubs may share. Clones are the same store.
///
/// It needs the tokio runtime that it was opened in for as long as it is used; its futures may be
/// polled anywhere.
#[derive(Clone, Debug)]
pub struct NatsStore(Arc<Shared>);

pub(crate) struct Shared {
    config: NatsConfig,
    capabilities: Capabilities,
    seeds: Box<dyn Fn() -> u64 + Send + Sync>,
    link: AsyncMutex<Link>,
    topics: Topics,
    readers: Semaphore,
    pub(crate) hints: Hints,
    /// The task that hints come from, once somebody asked for them.
    following: Mutex<bool>,
    runtime: Handle,
    closed: AtomicBool,
    /// Appends hold it for reading while they are under way.
    writing: RwLock<()>,
}

/// The way to the server.
struct Link {
    session: Arc<Session>,
    /// When and why the last attempt to replace it failed.
    failed: Option<(Instant, StoreError)>,
}

impl NatsStore {
    /// Connects, and makes the stream if it is missing. `seeds` gives the names of epochs: 64 bits
    /// each that no other log of yours has; take them from the operating system's randomness.
    ///
    /// # Errors
    /// See [`OpenError`]; the stream was made or not.
    ///
    /// # Cancel safety
    /// The stream was made or not.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn open(
        config: NatsConfig,
        seeds: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<Self, OpenError> {
        config.check()?;
        let session = Session::open(&config, None).await?;
        let capabilities = Capabilities {
            dense: false,
            exact_gaps: false,
            atomic_batch: false,
            per_topic_retention: false,
            survives_process: session.on_disk,
            // Whether the server syncs before it answers cannot be asked.
            survives_power: false,
            survives_failover: false,
            dedup_window: session.dedup_window,
            max_event_bytes: session.max_event_bytes,
        };
        Ok(Self(Arc::new(Shared {
            readers: Semaphore::new(config.readers.clamp(1, Semaphore::MAX_PERMITS)),
            capabilities,
            seeds: Box::new(seeds),
            link: AsyncMutex::new(Link {
                session: Arc::new(session),
                failed: None,
            }),
            topics: Topics::default(),
            hints: Hints::default(),
            following: Mutex::new(false),
            runtime: Handle::current(),
            closed: AtomicBool::new(false),
            writing: RwLock::new(()),
            config,
        })))
    }

    /// Runs on the store's runtime, to the end even if nobody waits for it.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
        failed: fn(&str) -> StoreError,
    ) -> Result<T, StoreError> {
        match self.0.runtime.spawn(work).await {
            Ok(done) => done,
            Err(error) => Err(failed(&error.to_string())),
        }
    }
}

impl Shared {
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The session as it is, or a new one if it has ended.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, StoreError> {
        if self.is_closed() {
            return Err(StoreError::Closed);
        }
        let mut link = self.link.lock().await;
        if link.session.is_dead() {
            // Those who waited while it failed need not wait for it once more each.
            if let Some((failed, error)) = &link.failed
                && failed.elapsed() < RETRY
            {
                return Err(error.clone());
            }
            match Session::open(&self.config, Some(&link.session)).await {
                Ok(session) => link.session = Arc::new(session),
                Err(error) => {
                    let error = unavailable(&error.to_string());
                    link.failed = Some((Instant::now(), error.clone()));
                    return Err(error);
                }
            }
        }
        Ok(Arc::clone(&link.session))
    }

    async fn append(&self, batch: &[Append]) -> Result<Vec<Appended>, StoreError> {
        let _writing = self.writing.read().await;
        let session = self.session().await?;
        // Nothing of the batch was sent yet.
        session
            .begin_epoch(&self.seeds)
            .await
            .map_err(|error| match error {
                StoreError::OutcomeUnknown { detail } => StoreError::Unavailable { detail },
                error => error,
            })?;
        append(&session, &self.topics, batch, &self.capabilities).await
    }

    async fn read(
        &self,
        selector: &Selector,
        after: After,
        limit: Limit,
    ) -> Result<Page, StoreError> {
        let _permit = self
            .readers
            .acquire()
            .await
            .map_err(|_| StoreError::Closed)?;
        let mut tries = 0;
        loop {
            let session = self.session().await?;
            tries += 1;
            match read(&session, selector, after, limit).await {
                Err(_) if session.is_dead() && tries < READ_TRIES => {}
                page => return page,
            }
        }
    }
}

impl ReplayStore for NatsStore {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities
    }

    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        if self.0.is_closed() {
            return Err(StoreError::Closed);
        }
        Append::check_batch(&batch, &self.0.capabilities)?;
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let shared = Arc::clone(&self.0);
        let work = async move { shared.append(&batch).await };
        self.run(work, unknown).await
    }

    async fn read(
        &self,
        selector: &Selector,
        after: After,
        limit: Limit,
    ) -> Result<Page, StoreError> {
        let (shared, selector) = (Arc::clone(&self.0), selector.clone());
        let work = async move { shared.read(&selector, after, limit).await };
        self.run(work, unavailable).await
    }

    fn hints(&self) -> Option<BoxStream<'static, Hint>> {
        let hints = self.0.hints.subscribe();
        let mut following = self
            .0
            .following
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *following, true) {
            self.0.runtime.spawn(follow(Arc::downgrade(&self.0)));
        }
        Some(hints.boxed())
    }

    async fn close(&self) -> Result<(), StoreError> {
        if !self.0.closed.swap(true, Ordering::AcqRel) {
            self.0.readers.close();
            self.0.hints.end();
        }
        drop(self.0.writing.write().await);
        Ok(())
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsStore")
            .field("stream", &self.config.stream)
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}
