//! Why JetStream did not do what it was asked.

use async_nats::{RequestError, RequestErrorKind};
use serde_json::Value;

use crate::config::OpenError;

/// The account has no more; the server has not; JetStream is off for the account, or everywhere.
const ACCOUNT_RESOURCES_EXCEEDED: u64 = 10_002;
const INSUFFICIENT_RESOURCES: u64 = 10_023;
const STORAGE_RESOURCES_EXCEEDED: u64 = 10_047;
const NOT_ENABLED_FOR_ACCOUNT: u64 = 10_039;
const NOT_ENABLED: u64 = 10_076;

/// Told apart by what there is to do about it; each with what was said.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Off(String),
    #[error("{0}")]
    NoRoom(String),
    #[error("{0}")]
    NotPermitted(String),
    #[error("{0}")]
    Other(String),
}

impl Refusal {
    /// The answer is an error.
    pub(crate) fn answered(answer: &Value) -> Self {
        let said = describe(answer);
        match error_code(answer) {
            Some(NOT_ENABLED_FOR_ACCOUNT | NOT_ENABLED) => Self::Off(said),
            Some(
                ACCOUNT_RESOURCES_EXCEEDED | INSUFFICIENT_RESOURCES | STORAGE_RESOURCES_EXCEEDED,
            ) => Self::NoRoom(said),
            _ => Self::Other(said),
        }
    }

    /// There is no answer. `forbidden` is what the server said that it does not permit.
    pub(crate) fn unanswered(error: &RequestError, forbidden: Option<String>) -> Self {
        match (error.kind(), forbidden) {
            (RequestErrorKind::NoResponders, _) => Self::Off(error.to_string()),
            (_, Some(said)) => Self::NotPermitted(said),
            _ => Self::Other(error.to_string()),
        }
    }
}

impl From<Refusal> for OpenError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Off(detail) => Self::JetStreamOff { detail },
            Refusal::NoRoom(detail) => Self::NoRoom { detail },
            Refusal::NotPermitted(detail) => Self::NotPermitted { detail },
            Refusal::Other(detail) => Self::JetStream { detail },
        }
    }
}

pub(crate) fn error_code(answer: &Value) -> Option<u64> {
    let error = answer.get("error")?;
    Some(error.get("err_code").and_then(Value::as_u64).unwrap_or(0))
}

fn describe(answer: &Value) -> String {
    let error = answer
        .get("error")
        .and_then(|error| error.get("description"));
    error
        .and_then(Value::as_str)
        .unwrap_or("no reason given")
        .to_owned()
}
