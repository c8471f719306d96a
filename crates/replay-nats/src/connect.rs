//! A connection to NATS that is over when it is lost, instead of being mended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::{
    Auth, AuthError, Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr, ServerError,
};

use crate::config::{NatsConfig, OpenError};
use crate::subject::decode;

/// What a connection tells of itself.
#[derive(Debug, Default)]
pub(crate) struct Signs {
    dead: AtomicBool,
    /// What the server last said that it does not permit. It says so instead of an answer.
    forbidden: Mutex<Option<String>>,
}

impl Signs {
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    pub(crate) fn die(&self) {
        self.dead.store(true, Ordering::Release);
    }

    /// Why a request to this subject was not permitted, if it was not.
    pub(crate) fn forbidden(&self, subject: &str) -> Option<String> {
        let said = self.lock_forbidden().clone();
        // Without its inbox, no request is answered.
        said.filter(|it| it.contains("Subscription") || it.contains(&format!("\"{subject}\"")))
    }

    fn lock_forbidden(&self) -> MutexGuard<'_, Option<String>> {
        // Nothing panics while it holds this lock.
        self.forbidden
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, event: Event) {
        match event {
            Event::Disconnected | Event::Closed => self.die(),
            Event::ServerError(ServerError::Other(said))
                if said.starts_with("Permissions Violation") =>
            {
                *self.lock_forbidden() = Some(said);
            }
            _ => {}
        }
    }
}

/// Connects; what becomes of the connection is told to `signs`.
pub(crate) async fn connect(config: &NatsConfig, signs: &Arc<Signs>) -> Result<Client, OpenError> {
    let servers = config
        .servers
        .split(',')
        .map(|it| it.trim().parse::<ServerAddr>());
    let servers: Vec<_> =
        servers
            .collect::<Result<_, _>>()
            .map_err(|error| OpenError::Address {
                detail: error.to_string(),
            })?;
    let text = |part: Option<&str>| part.and_then(decode);
    let user = text(servers.first().and_then(ServerAddr::username));
    let password = text(servers.first().and_then(ServerAddr::password));
    // The client would connect again by itself and send what still waits in it. It is let connect
    // once, and gives up when it is refused its credentials the second time.
    let spent = Arc::new(AtomicBool::new(false));
    let once = Arc::clone(&spent);
    let credentials = move |_nonce| {
        let refused = once.load(Ordering::Acquire);
        let (user, password) = (user.clone(), password.clone());
        async move {
            if refused {
                return Err(AuthError::new("a lost connection is replaced, not mended"));
            }
            let mut auth = Auth::new();
            (auth.username, auth.password) = (user, password);
            Ok(auth)
        }
    };
    let told = Arc::clone(signs);
    let client = ConnectOptions::with_auth_callback(credentials)
        .name("tidegate")
        .max_reconnects(servers.len())
        .ignore_discovered_servers()
        .connection_timeout(config.timeout)
        .ping_interval(config.timeout)
        .event_callback(move |event| {
            told.take(event);
            std::future::ready(())
        })
        .connect(&servers[..])
        .await
        .map_err(|error| {
            let detail = error.to_string();
            match error.kind() {
                ConnectErrorKind::AuthorizationViolation => OpenError::Credentials { detail },
                _ => OpenError::Connect { detail },
            }
        })?;
    spent.store(true, Ordering::Release);
    Ok(client)
}
