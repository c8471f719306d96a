//! Appending.
//!
//! Every event names the message that it follows in its topic, and the server refuses it if
//! another one came between. So `prev` is true, and nothing follows an end. Within this node the
//! events of a topic wait for each other; against other nodes they are tried again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::{join_all, try_join_all};
use replay_store::{
    Append, Appended, Capabilities, Epoch, Fingerprint, Position, StoreError, Topic, plan_batch,
};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::message::{headers, probe};
use crate::session::{Published, Session, unknown};

/// Events of different topics that are on their way at once; they arrive in order.
const WINDOW: usize = 30;

/// How often an event is tried that others keep coming before.
const TRIES: usize = 1000;

/// Topics whose last event is remembered, about 300 bytes each.
const MAX_TOPICS: usize = 50_000;

type Slot = Arc<AsyncMutex<Option<Last>>>;

/// The last event of each topic that was published to lately.
#[derive(Debug, Default)]
pub(crate) struct Topics(Mutex<HashMap<Topic, Slot>>);

#[derive(Clone, Copy, Debug)]
struct Last {
    /// 0 if the stream has no event of the topic.
    seq: u64,
    /// What the next event tells of it.
    prev: Option<u64>,
    ended: bool,
}

/// The topics of one batch, which nobody else on this node appends to meanwhile.
struct Held(HashMap<Topic, OwnedMutexGuard<Option<Last>>>);

impl Topics {
    async fn hold(&self, batch: &[Append]) -> Held {
        let mut topics: Vec<_> = batch.iter().map(|append| append.topic.clone()).collect();
        topics.sort_unstable();
        topics.dedup();
        let slots: Vec<_> = {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() > MAX_TOPICS {
                known.retain(|_, slot| Arc::strong_count(slot) > 1);
            }
            let slot = |topic: Topic| (topic.clone(), Arc::clone(known.entry(topic).or_default()));
            topics.into_iter().map(slot).collect()
        };
        // In order, so that two batches never wait for each other.
        let mut held = HashMap::new();
        for (topic, slot) in slots {
            held.insert(topic, slot.lock_owned().await);
        }
        Held(held)
    }
}

impl Held {
    fn last(&self, topic: &Topic) -> Option<Last> {
        self.0.get(topic).and_then(|slot| **slot)
    }

    fn set(&mut self, topic: &Topic, last: Last) {
        if let Some(slot) = self.0.get_mut(topic) {
            **slot = Some(last);
        }
    }

    fn appended(&mut self, append: &Append, seq: u64) {
        let last = Last {
            seq,
            prev: Some(seq),
            ended: append.is_end(),
        };
        self.set(&append.topic, last);
    }
}

/// Appends a batch, event by event.
pub(crate) async fn append(
    session: &Session,
    topics: &Topics,
    batch: &[Append],
    capabilities: &Capabilities,
) -> Result<Vec<Appended>, StoreError> {
    let mut held = topics.hold(batch).await;
    let known = prepare(session, &mut held, batch).await?;
    // The positions are told by the server; the plan is for what must be refused, and duplicates.
    let nowhere = Position::new(Epoch(0), 0);
    let plan = plan_batch(
        batch,
        capabilities,
        nowhere,
        |append| {
            let index = batch.iter().position(|it| std::ptr::eq(it, append));
            let seq = index.and_then(|index| known.get(&index).copied());
            Ok::<_, StoreError>(seq.map(|seq| (Fingerprint::of(append), at(seq))))
        },
        |topic| {
            let ended = held.last(topic).filter(|last| last.ended);
            Ok(ended.map(|last| at(last.seq)))
        },
    )?;
    let mut placed: Vec<Option<Appended>> = vec![None; batch.len()];
    let mut next = 0;
    while next < batch.len() {
        let window = window(batch, &plan, next);
        let sent = window
            .iter()
            .map(|&index| send(session, &held, &batch[index]));
        let answers: Vec<_> = join_all(sent).await;
        for (&index, answer) in window.iter().zip(answers) {
            let placed_before = placed.iter().any(Option::is_some);
            let appended = settle(session, &mut held, batch, index, answer).await;
            placed[index] = Some(appended.map_err(|error| partly(error, placed_before))?);
        }
        next = window.last().map_or(batch.len(), |last| last + 1);
        while next < batch.len() && plan[next].duplicate {
            next += 1;
        }
    }
    drop(held);
    answer(session, &plan, &placed).await
}

/// A position in a plan: either of the log, or the number of an event of the batch.
fn at(seq: u64) -> Position {
    Position::new(Epoch(1), seq)
}

/// Looks up what the plan needs: how each topic ends, and, where nothing may be appended if a key
/// is refused, the keys. Answers where the event of each known key stands, by its index.
async fn prepare(
    session: &Session,
    held: &mut Held,
    batch: &[Append],
) -> Result<HashMap<usize, u64>, StoreError> {
    // An ended topic is looked up again: others may have seen that it was forgotten.
    let stale = |last: &Option<Last>| last.is_none_or(|last| last.ended);
    let unsure: Vec<Topic> = held
        .0
        .iter()
        .filter(|(_, last)| stale(last))
        .map(|(topic, _)| topic.clone())
        .collect();
    for chunk in unsure.chunks(WINDOW) {
        let found = try_join_all(chunk.iter().map(|topic| look_up(session, topic))).await?;
        for (topic, last) in chunk.iter().zip(found) {
            held.set(topic, last);
        }
    }
    let ended = held
        .0
        .values()
        .any(|last| last.is_some_and(|last| last.ended));
    if batch.len() == 1 && !ended {
        // The server tells a duplicate when it gets the event.
        return Ok(HashMap::new());
    }
    let mut known = HashMap::new();
    let indices: Vec<_> = (0..batch.len()).collect();
    for chunk in indices.chunks(WINDOW) {
        let probes = chunk
            .iter()
            .map(|&index| first(session, &batch[index], index));
        let found = try_join_all(probes).await?;
        known.extend(
            chunk
                .iter()
                .zip(found)
                .filter_map(|(&i, seq)| Some((i, seq?))),
        );
    }
    Ok(known)
}

async fn look_up(session: &Session, topic: &Topic) -> Result<Last, StoreError> {
    let subject = session.subjects.of(topic);
    Ok(match session.last(&subject).await? {
        Some(stored) => Last {
            seq: stored.seq,
            prev: Some(stored.seq),
            ended: stored.is_end(),
        },
        None => Last {
            seq: 0,
            // If nothing was trimmed since, it never had one.
            prev: session.is_whole().await?.then_some(0),
            ended: false,
        },
    })
}

/// Where the event of the same topic and key stands, if the server remembers it; nothing is
/// appended.
async fn first(
    session: &Session,
    append: &Append,
    index: usize,
) -> Result<Option<u64>, StoreError> {
    let Some(headers) = probe(append) else {
        return Ok(None);
    };
    let subject = session.subjects.of(&append.topic);
    let answer = session.publish(subject, headers, bytes::Bytes::new()).await;
    match answer.map_err(nothing_appended)? {
        Published::Duplicate(seq) => {
            same(session, append, index, seq).await?;
            Ok(Some(seq))
        }
        Published::Conflict | Published::At(_) => Ok(None),
    }
}

/// Refuses an event under the key of another one, unless that one was trimmed.
async fn same(
    session: &Session,
    append: &Append,
    index: usize,
    seq: u64,
) -> Result<(), StoreError> {
    match session.at(seq).await? {
        Some(stored) if !stored.is(append, &session.subjects) => {
            Err(StoreError::KeyReused { index })
        }
        _ => Ok(()),
    }
}

/// The events from `next` on that can be on their way at once: no two of one topic.
fn window(batch: &[Append], plan: &[Appended], next: usize) -> Vec<usize> {
    let mut window = Vec::new();
    for index in next..batch.len() {
        if plan[index].duplicate {
            continue;
        }
        let again = |earlier: &usize| batch[*earlier].topic == batch[index].topic;
        if window.len() == WINDOW || window.iter().any(again) {
            break;
        }
        window.push(index);
    }
    window
}

async fn send(session: &Session, held: &Held, append: &Append) -> Result<Published, StoreError> {
    let last = held.last(&append.topic);
    let headers = headers(
        append,
        last.map_or(0, |last| last.seq),
        last.and_then(|last| last.prev),
    );
    let subject = session.subjects.of(&append.topic);
    session.publish(subject, headers, append.data.clone()).await
}

/// Sees one event through whose first answer is known.
async fn settle(
    session: &Session,
    held: &mut Held,
    batch: &[Append],
    index: usize,
    mut answer: Result<Published, StoreError>,
) -> Result<Appended, StoreError> {
    let append = &batch[index];
    for _ in 0..TRIES {
        match answer? {
            Published::At(seq) => {
                held.appended(append, seq);
                return Ok(Appended {
                    position: at(seq),
                    duplicate: false,
                });
            }
            Published::Duplicate(seq) => {
                same(session, append, index, seq).await?;
                return Ok(Appended {
                    position: at(seq),
                    duplicate: true,
                });
            }
            Published::Conflict => {}
        }
        let last = look_up(session, &append.topic).await?;
        held.set(&append.topic, last);
        if last.ended {
            if !append.is_end() {
                return Err(StoreError::Ended { index });
            }
            return Ok(Appended {
                position: at(last.seq),
                duplicate: true,
            });
        }
        answer = send(session, held, append).await;
    }
    Err(crate::session::unavailable(
        "other hubs publish to this topic faster than this one",
    ))
}

/// Nothing of what failed was appended, but events of the batch before it were, or may have been.
fn partly(error: StoreError, placed_before: bool) -> StoreError {
    match error {
        error @ StoreError::OutcomeUnknown { .. } => error,
        error if placed_before => {
            unknown(&format!("a part of the batch was appended, then: {error}"))
        }
        error => error,
    }
}

fn nothing_appended(error: StoreError) -> StoreError {
    match error {
        StoreError::OutcomeUnknown { detail } => StoreError::Unavailable { detail },
        error => error,
    }
}

/// Positions with the epochs that they are in.
async fn answer(
    session: &Session,
    plan: &[Appended],
    placed: &[Option<Appended>],
) -> Result<Vec<Appended>, StoreError> {
    // The plan numbers what is new from 1 on; a duplicate within the batch has that number.
    let new: Vec<_> = plan
        .iter()
        .zip(placed)
        .filter(|(planned, _)| !planned.duplicate)
        .filter_map(|(planned, placed)| Some((planned.position, placed.as_ref()?.position.seq)))
        .collect();
    let seq = |planned: &Appended, placed: &Option<Appended>| match placed {
        Some(placed) => placed.position.seq,
        None => new
            .iter()
            .find(|(number, _)| *number == planned.position)
            .map_or(planned.position.seq, |(_, seq)| *seq),
    };
    let seqs: Vec<_> = plan
        .iter()
        .zip(placed)
        .map(|(plan, placed)| seq(plan, placed))
        .collect();
    let last = seqs.iter().copied().max().unwrap_or(0);
    let epochs = session
        .epochs(last)
        .await
        .map_err(|error| unknown(&format!("appended, but the epoch is not known: {error}")))?;
    let answers = seqs.iter().zip(plan.iter().zip(placed));
    Ok(answers
        .map(|(&seq, (planned, placed))| Appended {
            position: Position::new(epochs.of(seq), seq),
            duplicate: planned.duplicate || placed.is_some_and(|placed| placed.duplicate),
        })
        .collect())
}
