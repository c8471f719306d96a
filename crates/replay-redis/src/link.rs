//! One connection to Redis, made again when it was lost.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::Failure;
use crate::script::Script;
use crate::server;

/// Waits before another attempt, doubled with each that fails.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LAST_WAIT: Duration = Duration::from_secs(2);

pub(crate) struct Link {
    client: Client,
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// Counts connections, so that only the one that failed is given up.
    made: u64,
    failure: Option<Waiting>,
}

struct Waiting {
    until: Instant,
    wait: Duration,
    detail: String,
}

impl Link {
    pub(crate) fn new(client: Client, timeout: Duration) -> Self {
        Self {
            client,
            timeout,
            state: Mutex::default(),
        }
    }

    /// Calls a script; `call` is one of [`Script::call`].
    ///
    /// Dropping this leaves open whether the script ran.
    pub(crate) async fn call(&self, script: &Script, call: &Cmd) -> Result<Value, Failure> {
        let (mut connection, made) = self.connection().await?;
        let mut answer = call.query_async(&mut connection).await;
        if matches!(&answer, Err(error) if is_unknown_script(error)) {
            let loaded = script.load().query_async::<Value>(&mut connection).await;
            answer = match loaded {
                Ok(_) => call.query_async(&mut connection).await,
                Err(error) => Err(error),
            };
        }
        let error = match answer {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        // A server that answers "later" keeps its connection; one that became a replica may have
        // a successor under the same name.
        if error.code().is_none() || error.code() == Some("READONLY") {
            let mut state = self.state.lock().await;
            if state.made == made {
                state.connection = None;
            }
        }
        Err(Failure::of(&error))
    }

    async fn connection(&self) -> Result<(MultiplexedConnection, u64), Failure> {
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection {
            return Ok((connection.clone(), state.made));
        }
        if let Some(waiting) = &state.failure
            && Instant::now() < waiting.until
        {
            return Err(Failure::Refused(waiting.detail.clone()));
        }
        match self.connect().await {
            Ok(connection) => {
                state.made += 1;
                state.failure = None;
                state.connection = Some(connection.clone());
                Ok((connection, state.made))
            }
            Err(detail) => {
                let wait = state.failure.as_ref().map_or(FIRST_WAIT, |failure| {
                    failure.wait.saturating_mul(2).min(LAST_WAIT)
                });
                state.failure = Some(Waiting {
                    until: Instant::now() + wait,
                    wait,
                    detail: detail.clone(),
                });
                Err(Failure::Refused(detail))
            }
        }
    }

    /// Connects, and looks whether this server may be used: it may be another one than before.
    async fn connect(&self) -> Result<MultiplexedConnection, String> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        let connecting = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let mut connection = connecting.await.map_err(|error| error.to_string())?;
        let checked = server::check(&mut connection).await;
        checked.map_err(|error| error.to_string())?;
        Ok(connection)
    }
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}
