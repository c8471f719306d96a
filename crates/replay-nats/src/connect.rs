//! A connection to NATS that is over when it is lost, instead of being mended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_nats::{Auth, AuthError, Client, ConnectOptions, ServerAddr};

use crate::config::{NatsConfig, OpenError};
use crate::subject::decode;

/// Connects; `dead` is set when the connection is lost.
pub(crate) async fn connect(
    config: &NatsConfig,
    dead: &Arc<AtomicBool>,
) -> Result<Client, OpenError> {
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
    let dies = Arc::clone(dead);
    let client = ConnectOptions::with_auth_callback(credentials)
        .name("tidegate")
        .max_reconnects(servers.len())
        .ignore_discovered_servers()
        .connection_timeout(config.timeout)
        .ping_interval(config.timeout)
        .event_callback(move |event| {
            if matches!(
                event,
                async_nats::Event::Disconnected | async_nats::Event::Closed
            ) {
                dies.store(true, Ordering::Release);
            }
            std::future::ready(())
        })
        .connect(&servers[..])
        .await
        .map_err(|error| OpenError::Connect {
            detail: error.to_string(),
        })?;
    spent.store(true, Ordering::Release);
    Ok(client)
}
