//! The store: the face of the log, the one that appends, and the one that listens.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo as _};
use replay_store::{
    After, Append, Appended, Capabilities, Clock, Hint, Hints, Limit, Page, ReplayStore, Selector,
    StoreError, Topic, TopicInfo,
};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::config::RedisConfig;
use crate::error::OpenError;
use crate::listen;
use crate::log::{Log, lock};
use crate::server::{self, Advice};
use crate::writer::{self, Command, QUEUE};

/// A dead connection is noticed within about a minute, even one that only listens.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// A store on Redis. Clones are the same store; when the last one is dropped, what is queued is
/// written and the connections are closed.
#[derive(Clone)]
pub struct RedisStore(Arc<Shared>);

struct Shared {
    log: Arc<Log>,
    capabilities: Capabilities,
    advice: Vec<Advice>,
    /// `None` once closed.
    commands: Mutex<Option<mpsc::Sender<Command>>>,
    hints: Arc<Hints>,
    listener: AbortHandle,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Connects to Redis, looks at how it is set up, and makes the log if there is none. What the
    /// store starts runs on the runtime that this is called on.
    ///
    /// `seeds` gives 64 random bits with each batch, for the epoch that begins with it if one does.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached, or is set up so that it cannot keep a log.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time and IO.
    pub async fn connect(
        config: RedisConfig,
        seeds: impl FnMut() -> u64 + Send + 'static,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        if !config.has_valid_prefix() {
            return Err(OpenError::Prefix);
        }
        let client = client(&config.url)?;
        let unreachable = |error: &dyn fmt::Display| OpenError::Unreachable {
            detail: error.to_string(),
        };
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(config.timeout))
            .set_response_timeout(Some(config.timeout));
        let connected = client
            .get_multiplexed_async_connection_with_config(&settings)
            .await;
        let mut connection = connected.map_err(|error| unreachable(&error))?;
        let checked = server::check(&mut connection).await?;
        drop(connection);

        let capabilities = Capabilities {
            dense: true,
            exact_gaps: true,
            atomic_batch: true,
            per_topic_retention: true,
            survives_process: checked.synced,
            survives_power: checked.synced,
            survives_failover: false,
            dedup_window: if config.keys.count == 0 {
                Duration::ZERO
            } else {
                config.keys.age
            },
            max_event_bytes: config.max_event_bytes,
        };
        let runtime = Handle::current();
        let timeout = config.timeout;
        let seeds = Box::new(seeds);
        let log = Arc::new(Log::new(config, &client, clock, seeds, runtime.clone()));
        log.tick(0, &[])
            .await
            .map_err(|error| unreachable(&error))?;

        let (commands, receiver) = mpsc::channel(QUEUE);
        runtime.spawn(writer::run(Arc::clone(&log), receiver));
        let hints = Arc::new(Hints::default());
        let channel = format!("{}:hints", log.base);
        let listening = listen::run(client, channel, timeout, Arc::downgrade(&hints));
        Ok(Self(Arc::new(Shared {
            log,
            capabilities,
            advice: checked.advice,
            commands: Mutex::new(Some(commands)),
            hints,
            listener: runtime.spawn(listening).abort_handle(),
        })))
    }

    /// What to change about Redis so that it keeps what was acknowledged. Empty if there is nothing.
    #[must_use]
    pub fn advice(&self) -> &[Advice] {
        &self.0.advice
    }

    /// The log, unless the store is closed.
    fn log(&self) -> Result<&Log, StoreError> {
        let open = lock(&self.0.commands).is_some();
        open.then_some(&*self.0.log).ok_or(StoreError::Closed)
    }
}

fn client(url: &str) -> Result<Client, OpenError> {
    let refused = |error: redis::RedisError| OpenError::Url {
        detail: error.to_string(),
    };
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE)
        .with_retries(3);
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive);
    let info = url.into_connection_info().map_err(refused)?;
    Client::open(info.set_tcp_settings(tcp)).map_err(refused)
}

impl ReplayStore for RedisStore {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities
    }

    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        let commands = lock(&self.0.commands).clone().ok_or(StoreError::Closed)?;
        Append::check_batch(&batch, &self.0.capabilities)?;
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, answer) = oneshot::channel();
        let sent = commands.send(Command::Append(batch, reply)).await;
        sent.map_err(|_| StoreError::Closed)?;
        // It is answered unless the runtime ends, or the store was closed before it was taken.
        answer.await.unwrap_or_else(|_| {
            self.log()?;
            Err(StoreError::OutcomeUnknown {
                detail: "the runtime ended".into(),
            })
        })
    }

    async fn read(
        &self,
        selector: &Selector,
        after: After,
        limit: Limit,
    ) -> Result<Page, StoreError> {
        self.log()?.read(selector, after, limit).await
    }

    async fn trim(&self, selector: &Selector, through: u64) -> Result<(), StoreError> {
        self.log()?.trim(selector, through).await
    }

    async fn topics(
        &self,
        selector: &Selector,
        after: Option<&Topic>,
        limit: usize,
    ) -> Result<Vec<TopicInfo>, StoreError> {
        self.log()?.topics(selector, after, limit).await
    }

    fn hints(&self) -> Option<BoxStream<'static, Hint>> {
        Some(self.0.hints.subscribe().boxed())
    }

    async fn close(&self) -> Result<(), StoreError> {
        let Some(commands) = lock(&self.0.commands).take() else {
            return Ok(());
        };
        let (reply, closed) = oneshot::channel();
        let sent = commands.send(Command::Close(reply)).await;
        if sent.is_ok() {
            // If the runtime ended, there is nothing left to wait for.
            let _ended = closed.await;
        }
        self.0.listener.abort();
        self.0.hints.end();
        Ok(())
    }
}
