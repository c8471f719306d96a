//! The one that appends: whatever queued while Redis was busy goes with the next script call.

use std::sync::Arc;

use redis::Cmd;
use replay_store::{Append, Appended, Fingerprint, Position, StoreError, TopicRetention};
use tokio::sync::{mpsc, oneshot};

use crate::error::Failure;
use crate::log::{Log, Seen, number};
use crate::reply::{self, Items};
use crate::script;

/// Batches that wait; more wait with their publishers.
pub(crate) const QUEUE: usize = 256;
/// The most that share a script call, beyond the first batch. Redis does nothing else meanwhile.
const GROUP_EVENTS: usize = 512;
const GROUP_BYTES: usize = 4 << 20;

pub(crate) enum Command {
    Append(Vec<Append>, oneshot::Sender<Answer>),
    Close(oneshot::Sender<()>),
}

type Answer = Result<Vec<Appended>, StoreError>;

#[derive(Default)]
struct Group {
    batches: Vec<(Vec<Append>, oneshot::Sender<Answer>)>,
    events: usize,
    bytes: usize,
    close: Option<oneshot::Sender<()>>,
}

impl Group {
    fn add(&mut self, command: Command) {
        match command {
            Command::Append(batch, reply) => {
                self.events += batch.len();
                self.bytes += batch.iter().map(|append| append.data.len()).sum::<usize>();
                self.batches.push((batch, reply));
            }
            Command::Close(reply) => self.close = Some(reply),
        }
    }

    fn is_full(&self) -> bool {
        self.events >= GROUP_EVENTS || self.bytes >= GROUP_BYTES || self.close.is_some()
    }
}

/// Serves commands until one says to close, or nobody is left to send any.
pub(crate) async fn run(log: Arc<Log>, mut commands: mpsc::Receiver<Command>) {
    while let Some(first) = commands.recv().await {
        let mut group = Group::default();
        group.add(first);
        while !group.is_full()
            && let Ok(next) = commands.try_recv()
        {
            group.add(next);
        }
        if !group.batches.is_empty() {
            serve(&log, group.batches).await;
        }
        if let Some(reply) = group.close {
            let _gone = reply.send(());
            return;
        }
    }
}

async fn serve(log: &Log, group: Vec<(Vec<Append>, oneshot::Sender<Answer>)>) {
    let seen = log.seen();
    let call = call(log, &seen, group.iter().map(|(batch, _)| &**batch));
    let answered = log.writing.call(&script::APPEND, &call).await;
    let answers = answered
        .map_err(Failure::of_append)
        .and_then(|answer| read(log, &seen, Items::of(answer)?, group.len()));
    match answers {
        Ok(answers) => {
            for ((_, reply), answer) in group.into_iter().zip(answers) {
                // Whoever asked may have gone.
                let _gone = reply.send(answer);
            }
        }
        Err(error) => {
            for (_, reply) in group {
                let _gone = reply.send(Err(error.clone()));
            }
        }
    }
}

fn call<'a>(log: &Log, seen: &Seen, batches: impl ExactSizeIterator<Item = &'a [Append]>) -> Cmd {
    let keys = log.config.keys;
    let mut call = script::APPEND.call(&log.base);
    call.arg(log.clock.now_ms())
        .arg(log.seed())
        .arg(seen.epoch())
        .arg(seen.epoch())
        .arg(seen.tail)
        .arg(log.config.retention.log_bytes.min(Position::MAX_SEQ))
        .arg(number(log.config.retention.idle_topics))
        .arg(number(keys.count))
        .arg(millis(keys.age.as_millis()).unwrap_or(Position::MAX_SEQ))
        .arg(batches.len());
    for batch in batches {
        call.arg(batch.len());
        for append in batch {
            let event = append.event.as_ref().map_or("", |event| event.as_str());
            let bounds = log.config.rules.of(&append.topic, &log.config.retention);
            call.arg(append.topic.as_str())
                .arg(event)
                .arg(optional(append.conflate_key.as_deref()))
                .arg(optional(append.idempotency_key.as_deref()))
                .arg(&Fingerprint::of(append).to_bytes())
                .arg(text(&bounds))
                .arg(&*append.data);
        }
    }
    call
}

/// Tells an empty key from none.
fn optional(key: Option<&str>) -> String {
    key.map_or_else(|| "-".to_owned(), |key| format!("+{key}"))
}

fn text(bounds: &TopicRetention) -> String {
    let age = millis(bounds.age.as_millis()).map_or_else(|| "-".to_owned(), |age| age.to_string());
    let bytes = bounds.bytes.min(Position::MAX_SEQ);
    format!("{} {bytes} {age}", number(bounds.events))
}

/// `None` for an age that no event reaches, and that the scripts could not add to a time.
fn millis(age: u128) -> Option<u64> {
    u64::try_from(age)
        .ok()
        .filter(|age| *age < Position::MAX_SEQ / 2)
}

fn read(
    log: &Log,
    seen: &Seen,
    mut answer: Items,
    batches: usize,
) -> Result<Vec<Answer>, StoreError> {
    let (epochs, tail) = (answer.text()?, answer.number()?);
    let epochs = log.learn(seen, &epochs, tail)?;
    let mut answers = answer.items()?;
    let mut one = || {
        let mut answer = answers.items()?;
        let refused = answer.number()?;
        if refused != 0 {
            let index = usize::try_from(answer.number()?).unwrap_or(usize::MAX);
            return Ok(Err(match refused {
                1 => StoreError::KeyReused { index },
                2 => StoreError::Ended { index },
                3 => StoreError::Exhausted,
                _ => return Err(reply::corrupt("an unknown refusal")),
            }));
        }
        let mut appended = Vec::new();
        while !answer.is_empty() {
            let seq = answer.number()?;
            appended.push(Appended {
                position: Position::new(epochs.of(seq), seq),
                duplicate: answer.number()? == 1,
            });
        }
        Ok(Ok(appended))
    };
    (0..batches).map(|_| one()).collect()
}
