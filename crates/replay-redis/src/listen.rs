//! Hears that something was appended, by any node: one connection that subscribes again after it was
//! lost.

use std::sync::Weak;
use std::time::Duration;

use futures::StreamExt as _;
use redis::Client;
use replay_store::{Epoch, Hint, Hints};
use tokio::time::{sleep, timeout};

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LAST_WAIT: Duration = Duration::from_secs(2);

/// Runs until the store is gone.
pub(crate) async fn run(client: Client, channel: String, limit: Duration, hints: Weak<Hints>) {
    let mut wait = FIRST_WAIT;
    while hints.strong_count() > 0 {
        let subscribed = async {
            let mut pubsub = client.get_async_pubsub().await?;
            pubsub.subscribe(&channel).await?;
            Ok::<_, redis::RedisError>(pubsub)
        };
        if let Ok(Ok(pubsub)) = timeout(limit, subscribed).await {
            wait = FIRST_WAIT;
            // Whatever was appended meanwhile was not heard.
            push(&hints, Epoch(0));
            let mut heard = pubsub.into_on_message();
            while let Some(message) = heard.next().await {
                push(
                    &hints,
                    epoch(message.get_payload_bytes()).unwrap_or(Epoch(0)),
                );
            }
        } else {
            wait = wait.saturating_mul(2).min(LAST_WAIT);
        }
        sleep(wait).await;
    }
}

/// The events are read from the log: a hint says only that there are some.
fn push(hints: &Weak<Hints>, epoch: Epoch) {
    if let Some(hints) = hints.upgrade() {
        for waker in hints.push(&Hint::bare(epoch)) {
            waker.wake();
        }
    }
}

fn epoch(payload: &[u8]) -> Option<Epoch> {
    let text = str::from_utf8(payload).ok()?;
    u64::from_str_radix(text, 16).ok().map(Epoch)
}
