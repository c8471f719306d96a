//! One connection to NATS, and what is known of the stream as long as it lasts.
//!
//! A connection is never mended: when it breaks, everything known goes with it, nothing that still
//! waited in it is sent, and the next use opens another one. So whatever a server lost while it was
//! away, the first message that this node sends it afterwards is the one that begins an epoch.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use async_nats::{Client, HeaderMap, Request};
use bytes::Bytes;
use replay_store::{Epochs, StoreError};
use serde_json::{Value, json};

use crate::config::{NatsConfig, OpenError};
use crate::connect::{Signs, connect};
use crate::known::Known;
use crate::message::{MAX_HEADERS, Stored, following};
use crate::refusal::{Refusal, error_code};
use crate::stream::{Info, settings};
use crate::subject::Subjects;

/// No such stream; no such message; the message that was to come last did not.
const STREAM_NOT_FOUND: u64 = 10_059;
const NO_MESSAGE: u64 = 10_037;
const WRONG_LAST: u64 = 10_071;

#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    pub(crate) stream: String,
    pub(crate) subjects: Subjects,
    pub(crate) created: String,
    pub(crate) max_event_bytes: usize,
    pub(crate) dedup_window: Duration,
    pub(crate) on_disk: bool,
    timeout: Duration,
    signs: Arc<Signs>,
    /// Something was ever trimmed.
    trimmed: AtomicBool,
    /// The largest seq seen: a log that ends before it has lost events.
    seen: AtomicU64,
    known: Mutex<Known>,
    /// The next append of this node begins an epoch first.
    epoch_due: tokio::sync::Mutex<bool>,
}

/// How the server answered a publish.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Published {
    At(u64),
    /// The message id is known: nothing was stored, the first one stands there.
    Duplicate(u64),
    /// Another message of the subject came between.
    Conflict,
}

impl Session {
    /// Connects, and makes the stream if it is missing. `before` is the session before this one.
    pub(crate) async fn open(
        config: &NatsConfig,
        before: Option<&Self>,
    ) -> Result<Self, OpenError> {
        let subjects = Subjects::new(&config.stream);
        let signs = Arc::new(Signs::default());
        let client = connect(config, &signs).await?;
        let mut session = Self {
            client,
            stream: config.stream.clone(),
            subjects,
            created: String::new(),
            max_event_bytes: 0,
            dedup_window: Duration::ZERO,
            on_disk: false,
            timeout: config.timeout,
            signs,
            trimmed: AtomicBool::new(false),
            seen: AtomicU64::new(0),
            known: Mutex::new(Known {
                epochs: Epochs::new(replay_store::Epoch(0)),
                through: 0,
                told_at: 0,
                told_ms: 0,
            }),
            epoch_due: tokio::sync::Mutex::new(false),
        };
        let mut info = session.try_info().await?;
        if info.is_none() {
            let create = format!("$JS.API.STREAM.CREATE.{}", config.stream);
            let created = session
                .api(&create, &settings(config, &session.subjects))
                .await;
            // Another hub may have made it at the same time.
            info = session.try_info().await?;
            if info.is_none() {
                return Err(Refusal::answered(&created?).into());
            }
        }
        let info = info.ok_or_else(|| Refusal::Other("it answers nothing".to_owned()))?;
        info.check(&config.stream, &session.subjects)?;
        session.adopt(config, &info, before);
        Ok(session)
    }

    fn adopt(&mut self, config: &NatsConfig, info: &Info, before: Option<&Self>) {
        let largest = match usize::try_from(info.setting("max_msg_size")) {
            Ok(size) if size > 0 => size.min(self.client.max_payload()),
            _ => self.client.max_payload(),
        };
        self.max_event_bytes = config
            .max_event_bytes
            .min(largest.saturating_sub(MAX_HEADERS));
        let window = u64::try_from(info.setting("duplicate_window")).unwrap_or(0);
        self.dedup_window = Duration::from_nanos(window);
        self.on_disk = info.settings.get("storage").and_then(Value::as_str) == Some("file");
        self.created.clone_from(&info.created);
        self.trimmed = AtomicBool::new(info.floor > 0);
        self.seen = AtomicU64::new(info.last);
        // A log that is empty may have had events that a session before this one saw.
        let before = before.filter(|it| it.created == self.created);
        let seen = before.map_or(0, |it| it.seen.load(Ordering::Acquire));
        self.epoch_due = tokio::sync::Mutex::new(info.last > 0 || seen > 0);
        let mut known = Known {
            epochs: Epochs::new(info.epoch(&self.stream)),
            through: 0,
            told_at: 0,
            told_ms: 0,
        };
        // If retention has trimmed what told the epochs, the session before still knows them.
        if let Some(before) = before {
            let old = before.known().clone();
            if old.told_at > 0 && old.told_at <= info.floor && old.through <= info.last {
                known.epochs = old.epochs;
            }
        }
        self.known = Mutex::new(known);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.signs.is_dead()
    }

    /// Nothing known of the stream holds any longer.
    pub(crate) fn end(&self) {
        self.signs.die();
    }

    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// The state of the stream. A stream that is another one, or has lost its end, ends the session.
    pub(crate) async fn info(&self) -> Result<Info, StoreError> {
        // What is seen while the answer is on its way may be younger than it.
        let seen = self.seen.load(Ordering::Acquire);
        let Some(info) = self
            .try_info()
            .await
            .map_err(|it| unavailable(&it.to_string()))?
        else {
            self.end();
            return Err(unavailable("the stream was deleted"));
        };
        if info.created != self.created {
            self.end();
            return Err(unavailable("the stream was made anew"));
        }
        self.seen.fetch_max(info.last, Ordering::AcqRel);
        if info.last < seen {
            self.end();
            return Err(unavailable("the stream has lost its last events"));
        }
        info.check(&self.stream, &self.subjects)
            .map_err(|refused| unavailable(&refused.to_string()))?;
        if info.floor > 0 {
            self.trimmed.store(true, Ordering::Release);
        }
        Ok(info)
    }

    async fn try_info(&self) -> Result<Option<Info>, Refusal> {
        let subject = format!("$JS.API.STREAM.INFO.{}", self.stream);
        let ask = async |deleted| {
            let answer = self
                .api(&subject, &json!({"deleted_details": deleted}))
                .await?;
            match error_code(&answer) {
                Some(STREAM_NOT_FOUND) => Ok(None),
                Some(_) => Err(Refusal::answered(&answer)),
                None => Info::parse(&answer)
                    .map(Some)
                    .ok_or_else(|| Refusal::Other("its answer cannot be read".to_owned())),
            }
        };
        match ask(false).await? {
            Some(info) if info.holes => ask(true).await,
            info => Ok(info),
        }
    }

    /// Was nothing ever trimmed, as far as the leader says now?
    pub(crate) async fn is_whole(&self) -> Result<bool, StoreError> {
        if self.trimmed.load(Ordering::Acquire) {
            return Ok(false);
        }
        Ok(self.info().await?.floor == 0)
    }

    /// The first message at or above `seq` that `filter` lets through, from the leader.
    pub(crate) async fn next(&self, filter: &str, seq: u64) -> Result<Option<Stored>, StoreError> {
        self.get(&json!({"seq": seq, "next_by_subj": filter})).await
    }

    /// The last message of a subject, from the leader.
    pub(crate) async fn last(&self, subject: &str) -> Result<Option<Stored>, StoreError> {
        self.get(&json!({"last_by_subj": subject})).await
    }

    pub(crate) async fn at(&self, seq: u64) -> Result<Option<Stored>, StoreError> {
        self.get(&json!({"seq": seq})).await
    }

    async fn get(&self, query: &Value) -> Result<Option<Stored>, StoreError> {
        let subject = format!("$JS.API.STREAM.MSG.GET.{}", self.stream);
        let answer = self
            .api(&subject, query)
            .await
            .map_err(|it| unavailable(&it.to_string()))?;
        match error_code(&answer) {
            Some(NO_MESSAGE) => Ok(None),
            Some(code) => {
                if code == STREAM_NOT_FOUND {
                    self.end();
                }
                Err(unavailable(&Refusal::answered(&answer).to_string()))
            }
            None => answer.get("message").map(Stored::answered).transpose(),
        }
    }

    /// Publishes one message and waits until the stream has it.
    pub(crate) async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        data: Bytes,
    ) -> Result<Published, StoreError> {
        if self.is_dead() {
            return Err(unavailable("the connection is lost"));
        }
        let request = Request::new()
            .headers(headers)
            .payload(data)
            .timeout(Some(self.timeout));
        let answer = match self.client.send_request(subject.clone(), request).await {
            Ok(answer) => answer,
            Err(error) => {
                use async_nats::RequestErrorKind as Kind;
                return Err(match error.kind() {
                    // Nobody took it; the stream is gone, or has no leader.
                    Kind::NoResponders | Kind::InvalidSubject | Kind::MaxPayloadExceeded => {
                        unavailable(&error.to_string())
                    }
                    Kind::TimedOut | Kind::Other => {
                        let forbidden = self.signs.forbidden(&subject);
                        unknown(&Refusal::unanswered(&error, forbidden).to_string())
                    }
                });
            }
        };
        let answer: Value = serde_json::from_slice(&answer.payload)
            .map_err(|_| unknown("the server's answer cannot be read"))?;
        match error_code(&answer) {
            Some(WRONG_LAST) => return Ok(Published::Conflict),
            Some(_) => return Err(unavailable(&Refusal::answered(&answer).to_string())),
            None => {}
        }
        let seq = answer
            .get("seq")
            .and_then(Value::as_u64)
            .ok_or_else(|| unknown("the server's answer names no place"))?;
        Ok(
            if answer.get("duplicate").and_then(Value::as_bool) == Some(true) {
                Published::Duplicate(seq)
            } else {
                self.seen.fetch_max(seq, Ordering::AcqRel);
                Published::At(seq)
            },
        )
    }

    /// Asks JetStream something.
    pub(crate) async fn api(&self, subject: &str, query: &Value) -> Result<Value, Refusal> {
        if self.is_dead() {
            return Err(Refusal::Other("the connection is lost".to_owned()));
        }
        let request = Request::new()
            .payload(query.to_string().into())
            .timeout(Some(self.timeout));
        let answer = self
            .client
            .send_request(subject.to_owned(), request)
            .await
            .map_err(|error| Refusal::unanswered(&error, self.signs.forbidden(subject)))?;
        serde_json::from_slice(&answer.payload).map_err(|error| Refusal::Other(error.to_string()))
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing panics while it holds this lock.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The epochs of the log as it is when it ends with `last`, which it has reached.
    pub(crate) async fn epochs(&self, last: u64) -> Result<Epochs, StoreError> {
        if self.known().through < last {
            let told = self.last(&self.subjects.epochs).await?;
            let mut known = self.known();
            if let Some(told) = told {
                known.learn(&told)?;
            }
            known.through = known.through.max(last);
        }
        Ok(self.known().at(last))
    }

    /// Begins an epoch, if this node must before it appends.
    pub(crate) async fn begin_epoch(&self, seed: impl Fn() -> u64) -> Result<(), StoreError> {
        let mut due = self.epoch_due.lock().await;
        if *due {
            self.tell_epochs(Some(seed())).await?;
            *due = false;
        }
        Ok(())
    }

    /// Tells the epochs again before retention takes away what told them last.
    pub(crate) async fn keep_epochs(&self) -> Result<(), StoreError> {
        let info = self.info().await?;
        let (told_at, told_ms) = {
            let known = self.known();
            (known.told_at, known.told_ms)
        };
        let max_age_ms = u64::try_from(info.setting("max_age")).unwrap_or(0) / 1_000_000;
        let now_ms = UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
        let age_ms = u64::try_from(now_ms)
            .unwrap_or(u64::MAX)
            .saturating_sub(told_ms);
        let old = max_age_ms > 0 && age_ms > max_age_ms / 2;
        let deep = info.floor > 0 && told_at <= info.floor + (info.last - info.floor) / 2;
        if told_at > 0 && (old || deep) {
            self.tell_epochs(None).await?;
        }
        Ok(())
    }

    /// Appends a message that tells all epochs, and begins one if asked to.
    pub(crate) async fn tell_epochs(&self, seed: Option<u64>) -> Result<(), StoreError> {
        loop {
            let told = self.last(&self.subjects.epochs).await?;
            let (text, last) = {
                let mut known = self.known();
                if let Some(told) = &told {
                    known.learn(told)?;
                }
                (known.tell(seed), told.map_or(0, |told| told.seq))
            };
            let subject = self.subjects.epochs.clone();
            match self.publish(subject, following(last), text.into()).await? {
                // Another node has just told them.
                Published::Conflict if seed.is_none() => return Ok(()),
                Published::Conflict => {}
                Published::At(_) | Published::Duplicate(_) => return Ok(()),
            }
        }
    }
}

pub(crate) fn unavailable(detail: &str) -> StoreError {
    StoreError::Unavailable {
        detail: detail.into(),
    }
}

pub(crate) fn unknown(detail: &str) -> StoreError {
    StoreError::OutcomeUnknown {
        detail: detail.into(),
    }
}
