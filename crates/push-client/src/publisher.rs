//! The publisher: each event exactly once, however often it had to be sent.

use core::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use session_proto::BackoffConfig;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use crate::error::{ClientError, ConfigError, ConnectionError};
use crate::http::{Endpoint, HttpConnection, READ_BUFFER, unexpected};
use crate::options::PublishOptions;
use crate::reconnect::Reconnect;
use crate::signal::Failure;

/// One event to publish.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Message {
    /// The data.
    pub data: Bytes,
    /// The event type, if it has one.
    pub event: Option<String>,
    /// Of events with the same key a slow subscriber may be handed the latest alone.
    pub conflate_key: Option<String>,
    /// Of events with the same key in the same topic the hub stores the first alone. Without one,
    /// [`Publisher::publish`] makes one up: 128 random bits.
    pub idempotency_key: Option<String>,
}

impl Message {
    /// A message of data alone.
    pub fn new(data: impl Into<Bytes>) -> Self {
        Self {
            data: data.into(),
            ..Self::default()
        }
    }
}

/// What the hub says about a published event.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct Published {
    /// The event's cursor.
    pub id: String,
    /// An event with the same idempotency key was there already; the id is its.
    pub duplicate: bool,
}

/// Publishes events to a hub and tries again, with the same idempotency key, until the hub has
/// said that the event is stored or refused.
///
/// Publishes may run at the same time; how they come to lie in the log is then up to chance. One
/// that was answered lies before all that begin later. Connections are kept for the next publish.
pub struct Publisher {
    endpoint: Endpoint,
    options: PublishOptions,
    backoff: BackoffConfig,
    /// At most `options.connections`.
    idle: Mutex<Vec<HttpConnection>>,
    permits: Semaphore,
}

impl Publisher {
    /// A publisher to the hub at `base_url`, like `http://127.0.0.1:8080` or
    /// `https://hub.example`, with the default options. It connects with the first publish.
    ///
    /// # Errors
    /// If the URL is not one of a hub, or there is nobody to [vouch](PublishOptions::roots) for a
    /// hub that speaks TLS.
    pub fn new(base_url: &str) -> Result<Self, ConfigError> {
        Self::with_options(base_url, PublishOptions::default())
    }

    /// The same with options.
    ///
    /// # Errors
    /// As [`new`](Self::new), or if the backoff makes no sense.
    pub fn with_options(base_url: &str, options: PublishOptions) -> Result<Self, ConfigError> {
        Ok(Self {
            endpoint: Endpoint::parse(base_url, options.roots.as_ref())?,
            backoff: BackoffConfig::new(options.backoff_base, options.backoff_cap)?,
            permits: Semaphore::new(options.connections),
            options,
            idle: Mutex::default(),
        })
    }

    /// Publishes one event and waits until the hub has stored it. Failing connections and the
    /// answers 408, 425, 429 and 5xx but 501 lead to another attempt after a full-jitter backoff, without
    /// end unless there is a [deadline](PublishOptions::deadline).
    ///
    /// # Errors
    /// [`Refused`](ClientError::Refused) if the hub refuses the event,
    /// [`Deadline`](ClientError::Deadline) if it did not answer in time; see [`ClientError`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection it uses. The event may or may not have been
    /// published; publish it again with the same `idempotency_key` to have it published once.
    pub async fn publish(&self, topic: &str, message: Message) -> Result<Published, ClientError> {
        let idempotency_key = match &message.idempotency_key {
            Some(key) => key.clone(),
            None => random_key()?,
        };
        let request = self.request(topic, message, &idempotency_key)?;
        self.deliver(&request, Some(idempotency_key)).await
    }

    /// Ends a topic: it takes no more events, and streams of it end after its last one, `$end`. The
    /// answer is where that lies. Retried as [`publish`](Self::publish) is.
    ///
    /// # Errors
    /// As for [`publish`](Self::publish).
    ///
    /// # Cancel safety
    /// The topic may or may not have ended; ending it again does no harm.
    pub async fn end(&self, topic: &str) -> Result<Published, ClientError> {
        let request = self
            .endpoint
            .request(Method::POST, "end", &[("topic", topic)])?;
        self.deliver(&request, None).await
    }

    /// Removes what the hub has of the topics that `patterns` match, and answers the cursor up to
    /// which that was done. Retried as [`publish`](Self::publish) is; a retry also removes what was
    /// published meanwhile.
    ///
    /// # Errors
    /// As for [`publish`](Self::publish).
    ///
    /// # Cancel safety
    /// The events may or may not have been removed.
    pub async fn purge<T: AsRef<str>>(&self, patterns: &[T]) -> Result<String, ClientError> {
        #[derive(Deserialize)]
        struct Purged {
            through: String,
        }
        let topics: Vec<_> = patterns.iter().map(|it| ("topic", it.as_ref())).collect();
        let request = self.endpoint.request(Method::DELETE, "events", &topics)?;
        let purged: Purged = self.deliver(&request, None).await?;
        Ok(purged.through)
    }

    /// Sends the request until it is answered for good.
    async fn deliver<T: DeserializeOwned>(
        &self,
        request: &Request<Full<Bytes>>,
        idempotency_key: Option<String>,
    ) -> Result<T, ClientError> {
        let began = Instant::now();
        let deadline = self.options.deadline;
        let left = || deadline.map(|deadline| deadline.saturating_sub(began.elapsed()));
        let give_up = |after, attempts, last| {
            Err(ClientError::Deadline {
                after,
                attempts,
                last,
                idempotency_key,
            })
        };

        let turn = self.permits.acquire();
        let _permit = match left() {
            None => turn.await,
            Some(after) => match timeout(after, turn).await {
                Ok(permit) => permit,
                Err(_) => return give_up(after, 0, ConnectionError::Timeout { after }),
            },
        };
        let mut reconnect = Reconnect::new(self.backoff);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let longest = self.options.attempt_timeout;
            let longest = left().map_or(longest, |left| left.min(longest));
            let (why, asked) = match timeout(longest, self.attempt(request)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(Failure::Retry { why, after })) => (why, after),
                Ok(Err(Failure::Stop(error) | Failure::Violation(error))) => return Err(error),
                Ok(Err(Failure::Ended)) => {
                    return Err(unexpected(StatusCode::NO_CONTENT, &HeaderMap::new()));
                }
                Err(_) => (ConnectionError::Timeout { after: longest }, None),
            };
            if let Some(delay) = asked {
                reconnect.ask(delay);
            }
            let delay = reconnect.next_delay();
            if let Some(after) = deadline
                && left().is_some_and(|left| left <= delay)
            {
                return give_up(after, attempts, why);
            }
            tracing::warn!(%why, retry_in = ?delay, attempts, "asking again");
            sleep(delay).await;
        }
    }

    /// Sends the request once, and takes the answer.
    async fn attempt<T: DeserializeOwned>(
        &self,
        request: &Request<Full<Bytes>>,
    ) -> Result<T, Failure> {
        let (mut http, response) = self.send(request).await?;
        let outcome = if response.status() == StatusCode::OK {
            let body = http.read(response.into_body(), READ_BUFFER).await?;
            serde_json::from_slice(&body).map_err(|error| {
                let detail = error.to_string();
                Failure::Stop(ClientError::Malformed {
                    what: "answer to a publish",
                    detail,
                })
            })
        } else {
            Err(http.explain(response).await)
        };
        self.pool().push(http);
        outcome
    }

    /// Sends the request on a kept connection if one still works, and else on a new one. That the
    /// hub closed an idle connection is no failed attempt.
    async fn send(
        &self,
        request: &Request<Full<Bytes>>,
    ) -> Result<(HttpConnection, Response<Incoming>), Failure> {
        loop {
            // The lock must not be held while the hub answers.
            let kept = self.pool().pop();
            let Some(mut http) = kept else { break };
            if let Ok(response) = http.send(request.clone()).await {
                return Ok((http, response));
            }
        }
        let mut http = HttpConnection::open(&self.endpoint).await?;
        let response = http.send(request.clone()).await?;
        Ok((http, response))
    }

    fn request(
        &self,
        topic: &str,
        message: Message,
        idempotency_key: &str,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = self
            .endpoint
            .request(Method::POST, "events", &[("topic", topic)])?;
        let headers = request.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        );
        for (header, value) in [
            ("event-type", message.event.as_deref()),
            ("conflate-key", message.conflate_key.as_deref()),
            ("idempotency-key", Some(idempotency_key)),
        ] {
            if let Some(value) = value {
                headers.insert(
                    HeaderName::from_static(header),
                    header_value(header, value)?,
                );
            }
        }
        *request.body_mut() = Full::new(message.data);
        Ok(request)
    }

    fn pool(&self) -> MutexGuard<'_, Vec<HttpConnection>> {
        // A panic elsewhere cannot have left the list half changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("endpoint", &self.endpoint)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// 128 random bits in hexadecimal digits.
fn random_key() -> Result<String, ClientError> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bits)))
}

/// A header value that arrives as it is: HTTP drops spaces at either end.
fn header_value(header: &'static str, value: &str) -> Result<HeaderValue, ClientError> {
    let error = ClientError::HeaderValue { header };
    if value.is_empty() || value.trim_matches([' ', '\t']) != value {
        return Err(error);
    }
    HeaderValue::from_bytes(value.as_bytes()).map_err(|_| error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_128_bits_in_hex_and_differ() {
        let keys = [random_key().unwrap(), random_key().unwrap()];
        assert_ne!(keys[0], keys[1]);
        for key in keys {
            assert_eq!(key.len(), 32);
            assert!(key.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
        }
    }

    #[test]
    fn values_that_a_header_would_change_are_refused() {
        for (value, expected) in [
            ("order.created", true),
            ("mit Umlaut: ä", true),
            ("a\tb", true),
            ("", false),
            (" a", false),
            ("a\t", false),
            ("a\r\nx: y", false),
            ("a\0", false),
        ] {
            assert_eq!(
                header_value("event-type", value).is_ok(),
                expected,
                "{value:?}"
            );
        }
    }
}
