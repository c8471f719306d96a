//! What the client of a session asks for, and the answers.

use std::sync::Arc;

use replay_store::{After, Append, Pattern, Selector};
use session_proto::envelope::{ClientMessage, ServerMessage};
use ws_proto::{Deflater, Kind};

use super::Session;
use crate::form::{Form, frame};
use crate::http::events::{parse_policy, publish_text};
use crate::http::problem::Problem;
use crate::ws::append;

/// The shortest answer that is worth compressing by itself.
const COMPRESS_FROM: usize = 1024;

impl<IO> Session<IO> {
    /// Does what one message asks for.
    pub(super) fn handle(&mut self, text: &str) {
        let message = match ClientMessage::parse(text) {
            Ok(message) => message,
            Err(error) => return self.error(None, error.code(), &error.to_string()),
        };
        match message {
            ClientMessage::Resume {
                after,
                topics,
                policy,
            } => {
                if self.subscriber.is_some() {
                    let detail =
                        "resume opens a session and is sent once; use subscribe to add topics";
                    return self.error(None, "already_resumed", detail);
                }
                let result = select(&topics).and_then(|selector| {
                    let policy = match policy {
                        Some(name) => parse_policy(self.link.hub(), &name)?,
                        None => self.link.hub().config().policy,
                    };
                    let after = after.map_or(After::Latest, |id| After::parse(id.as_bytes()));
                    let form = Form::WebSocket;
                    let mut subscriber = self
                        .link
                        .hub()
                        .subscribe_for(&self.link, selector, form, policy, after);
                    if let Some(shard) = &self.shard {
                        subscriber.set_shard(shard.clone());
                    }
                    Ok(subscriber)
                });
                match result {
                    Ok(subscriber) => self.subscriber = Some(subscriber),
                    Err(problem) => self.problem(None, &problem),
                }
            }
            ClientMessage::Subscribe { topics } => self.change(&topics, |pattern, _| Some(pattern)),
            ClientMessage::Unsubscribe { topics } => {
                self.change(&topics, |pattern, gone| (!gone).then_some(pattern));
            }
            ClientMessage::Publish { ref reference, .. } => {
                let reference = reference.as_deref().map(Arc::from);
                self.publish(reference, append(message));
            }
            ClientMessage::Auth { .. } => {
                self.error(
                    None,
                    "auth_unused",
                    "this hub asks for no token; do not send one",
                );
            }
            _ => self.error(None, "unknown_type", "this hub does not know this message"),
        }
    }

    /// Adds or removes topics: the subscription goes on from where it stands.
    fn change<T: AsRef<str>>(
        &mut self,
        topics: &[T],
        keep: impl Fn(Pattern, bool) -> Option<Pattern>,
    ) {
        let Some(subscriber) = &mut self.subscriber else {
            let detail = "send resume first; it opens the session";
            return self.error(None, "not_resumed", detail);
        };
        let named = match patterns(topics) {
            Ok(named) => named,
            Err(problem) => return self.problem(None, &problem),
        };
        let had = subscriber.selector().to_patterns();
        let added = named.iter().filter(|it| !had.contains(it));
        let all = had.iter().chain(added).cloned();
        let kept = all.filter_map(|pattern| {
            let gone = named.contains(&pattern);
            keep(pattern, gone)
        });
        let selector = match Selector::new(kept.collect()) {
            Ok(selector) => selector,
            Err(error) => return self.problem(None, &error.into()),
        };
        if !subscriber.change_topics(selector) {
            let detail = "wait for the answer to resume before changing topics";
            return self.error(None, "not_resumed", detail);
        }
        let (at, selector) = (subscriber.position(), subscriber.selector().clone());
        self.answer(&ServerMessage::Subscribed {
            at: at.map(|at| at.to_string().into()),
            topics: selector.patterns().map(Into::into).collect(),
        });
    }

    fn publish(&mut self, reference: Option<Arc<str>>, append: Result<Append, Problem>) {
        let append = match append {
            Ok(append) => append,
            Err(problem) => return self.problem(reference.as_deref(), &problem),
        };
        let hub = self.link.hub().clone();
        let publishes = self.publishes.get_or_insert_default();
        publishes.push_back(Box::pin(async move {
            let reference = reference.as_deref().map(Into::into);
            let answer = match publish_text(&hub, append).await {
                Ok(appended) => ServerMessage::Published {
                    reference,
                    id: appended.position.to_string().into(),
                    duplicate: appended.duplicate,
                },
                Err(problem) => {
                    hub.registry().refused(&problem);
                    ServerMessage::Error {
                        reference,
                        code: problem.code().into(),
                        detail: problem.to_string().into(),
                    }
                }
            };
            let mut out = Vec::new();
            frame(&answer, &mut out);
            out
        }));
    }

    fn problem(&mut self, reference: Option<&str>, problem: &Problem) {
        self.link.hub().registry().refused(problem);
        self.error(reference, problem.code(), &problem.to_string());
    }

    fn error(&mut self, reference: Option<&str>, code: &str, detail: &str) {
        let message = ServerMessage::Error {
            reference: reference.map(Into::into),
            code: code.into(),
            detail: detail.into(),
        };
        self.answer(&message);
    }

    fn answer(&mut self, message: &ServerMessage<'_>) {
        let mut text = Vec::new();
        message.to_json(&mut text);
        let sent = match self.deflate {
            // By itself even where the client tolerates more: a compressor that is kept would be
            // the largest part of the connection by far.
            Some(side) if side.no_context_takeover && text.len() >= COMPRESS_FROM => self
                .connection
                .send_compressed(Kind::Text, &text, &mut Deflater::new(side), &mut self.out),
            _ => self.connection.send(Kind::Text, &text, &mut self.out),
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "an answer was not sent");
        }
    }
}

fn select<T: AsRef<str>>(topics: &[T]) -> Result<Selector, Problem> {
    Ok(Selector::new(patterns(topics)?)?)
}

fn patterns<T: AsRef<str>>(topics: &[T]) -> Result<Vec<Pattern>, Problem> {
    if topics.is_empty() {
        return Err(Problem::TopicMissing);
    }
    let patterns: Result<_, _> = topics.iter().map(|it| Pattern::new(it.as_ref())).collect();
    Ok(patterns?)
}
