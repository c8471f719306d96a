//! What a batch will be answered, before anything of it is written. Shared by the embedded stores.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::{Append, Appended, Capabilities, Fingerprint, Position, StoreError, Topic};

/// Answers for a whole batch: the positions that its events will have, from the one after `last`
/// on, and of those that are duplicates, the position of the first. `known` looks an idempotency
/// key up, `ended` where a topic has ended; keys and ends within the batch count too.
///
/// # Errors
/// The batch breaks a rule, and none of it may be appended; or `known` or `ended` failed.
pub fn plan_batch<E: From<StoreError>>(
    batch: &[Append],
    capabilities: &Capabilities,
    last: Position,
    mut known: impl FnMut(&Append) -> Result<Option<(Fingerprint, Position)>, E>,
    mut ended: impl FnMut(&Topic) -> Result<Option<Position>, E>,
) -> Result<Vec<Appended>, E> {
    Append::check_batch(batch, capabilities)?;
    let mut next = last;
    let mut plan = Vec::with_capacity(batch.len());
    // What the batch itself decides for its later events; one event has none.
    let several = batch.len() > 1;
    let mut in_batch = HashMap::new();
    let mut ends = HashMap::new();
    for (index, append) in batch.iter().enumerate() {
        let key = append
            .idempotency_key
            .as_ref()
            .map(|key| (&append.topic, key));
        let first = match key.and_then(|key| in_batch.get(&key).copied()) {
            None if key.is_some() => known(append)?,
            first => first,
        };
        if let Some((fingerprint, position)) = first {
            if fingerprint != Fingerprint::of(append) {
                return Err(StoreError::KeyReused { index }.into());
            }
            plan.push(Appended {
                position,
                duplicate: true,
            });
            continue;
        }
        let end = if several {
            match ends.entry(&append.topic) {
                Entry::Occupied(known) => *known.into_mut(),
                Entry::Vacant(unknown) => *unknown.insert(ended(&append.topic)?),
            }
        } else {
            ended(&append.topic)?
        };
        if let Some(position) = end {
            if !append.is_end() {
                return Err(StoreError::Ended { index }.into());
            }
            plan.push(Appended {
                position,
                duplicate: true,
            });
            continue;
        }
        next.seq += 1;
        if next.seq > Position::MAX_SEQ {
            return Err(StoreError::Exhausted.into());
        }
        if several && append.is_end() {
            ends.insert(&append.topic, Some(next));
        }
        if several && let Some(key) = key {
            in_batch.insert(key, (Fingerprint::of(append), next));
        }
        plan.push(Appended {
            position: next,
            duplicate: false,
        });
    }
    Ok(plan)
}
