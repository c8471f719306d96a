//! Following the stream: one consumer per node, from which the hints come.

use std::sync::Weak;
use std::time::Duration;

use futures::StreamExt as _;
use replay_store::{Hint, StoreError};
use serde_json::json;

use crate::message::Stored;
use crate::reader::{create, delete};
use crate::session::{Session, unavailable};
use crate::store::Shared;

/// Until a lost server is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// Messages of one request.
const BATCH: usize = 256;

/// How long a request stands, and how often the server says that it still does.
const STANDS: Duration = Duration::from_secs(20);
const HEARTBEAT: Duration = Duration::from_secs(2);

/// The longest silence of a server that is there.
const SILENCE: Duration = Duration::from_secs(5);

/// Runs until the store is closed or dropped.
pub(crate) async fn follow(store: Weak<Shared>) {
    loop {
        let Some(shared) = store.upgrade() else {
            return;
        };
        match shared.session().await {
            Err(StoreError::Closed) => return,
            Err(_) => {}
            Ok(session) => {
                drop(shared);
                // What ends this is told again by the next read.
                let _ = follow_session(&store, &session).await;
                if store.upgrade().is_none_or(|shared| shared.is_closed()) {
                    return;
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow_session(store: &Weak<Shared>, session: &Session) -> Result<(), StoreError> {
    let info = session.info().await?;
    let epochs = session.epochs(info.last).await?;
    // What came before was perhaps not heard of.
    push(store, &Hint::bare(epochs.current()));
    let name = create(session, None, info.last + 1).await?;
    let followed = deliver(store, session, &name, info.last).await;
    if !session.is_dead() {
        delete(session, &name).await;
    }
    followed
}

async fn deliver(
    store: &Weak<Shared>,
    session: &Session,
    name: &str,
    mut last: u64,
) -> Result<(), StoreError> {
    let failed = |error: &dyn std::fmt::Display| unavailable(&error.to_string());
    let client = session.client();
    let inbox = client.new_inbox();
    let mut messages = client
        .subscribe(inbox.clone())
        .await
        .map_err(|it| failed(&it))?;
    let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{name}", session.stream);
    let query = json!({
        "batch": BATCH,
        "expires": crate::stream::nanoseconds(STANDS),
        "idle_heartbeat": crate::stream::nanoseconds(HEARTBEAT),
    })
    .to_string();
    loop {
        session.keep_epochs().await?;
        client
            .publish_with_reply(subject.clone(), inbox.clone(), query.clone().into())
            .await
            .map_err(|it| failed(&it))?;
        let mut got = 0;
        while got < BATCH {
            let next = tokio::time::timeout(SILENCE, messages.next()).await;
            let Ok(Some(message)) = next else {
                return Err(unavailable("the consumer is silent"));
            };
            if store.upgrade().is_none_or(|shared| shared.is_closed()) || session.is_dead() {
                return Ok(());
            }
            match message.status.map(|status| status.as_u16()) {
                // A heartbeat.
                Some(100) => continue,
                // The request has stood long enough.
                Some(408) => break,
                Some(_) => return Err(unavailable("the consumer is gone")),
                None => {}
            }
            got += 1;
            let stored = Stored::delivered(message)?;
            if stored.seq != last + 1 {
                // Trimmed before it came here, or the stream has lost its end.
                return Err(unavailable("the consumer left something out"));
            }
            let log_prev = last;
            last = stored.seq;
            let epochs = {
                let mut known = session.known();
                if stored.subject == session.subjects.epochs {
                    known.learn(&stored)?;
                }
                known.through = known.through.max(last);
                known.epochs.clone()
            };
            if let Some(event) = stored.event(&session.subjects, &epochs) {
                let hint = Hint {
                    epoch: event.position.epoch,
                    log_prev,
                    events: [event].into(),
                };
                push(store, &hint);
            }
        }
    }
}

fn push(store: &Weak<Shared>, hint: &Hint) {
    if let Some(shared) = store.upgrade() {
        for waker in shared.hints.push(hint) {
            waker.wake();
        }
    }
}
